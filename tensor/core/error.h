#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

#include "tensor/core/export.h"

namespace tessera {

// A user's mistake or a failed resource. The text says where, what was found, what was expected and what to do.
// Subclasses stand with their noun: ConfigError in framework/config, PluginError in framework/plugin, and so on.
class TESSERA_API Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  ~Error() override;
};

// str("x is ", 3) -> "x is 3"
template <class... Args>
std::string str(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return out.str();
}

// check(n > 0, "rows: n is ", n, ", expected 1 or more")
template <class... Args>
void check(bool holds, const Args&... message) {
  if (!holds) throw Error(str(message...));
}

}  // namespace tessera
