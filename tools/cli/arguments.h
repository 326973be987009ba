#pragma once

#include <boost/program_options.hpp>
#include <string>
#include <vector>

#include "tensor/core/error.h"

namespace tessera::cli {

// A wrong call: exit status 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

// Options of one command, on Boost.Program_options: positional words under the name "word". Adds --help and
// --plugin-dir.
class Arguments {
 public:
  explicit Arguments(const std::string& command);
  boost::program_options::options_description_easy_init options() { return visible_.add_options(); }
  // Throws UsageError. False where --help was asked for (and printed).
  bool parse(const std::vector<std::string>& arguments);

  bool has(const std::string& name) const { return values_.count(name) > 0; }
  template <class T>
  T get(const std::string& name) const {
    return values_[name].as<T>();
  }
  std::string text(const std::string& name) const { return has(name) ? get<std::string>(name) : ""; }
  std::vector<std::string> texts(const std::string& name) const {
    return has(name) ? get<std::vector<std::string>>(name) : std::vector<std::string>{};
  }
  std::vector<std::string> words(std::size_t least, std::size_t most) const;  // throws UsageError

 private:
  std::string command_;
  boost::program_options::options_description visible_;
  boost::program_options::variables_map values_;
};

// --set, --skip-bad: shared by the commands that open a pipeline.
void add_pipeline_options(Arguments& arguments);

}  // namespace tessera::cli
