#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>

#include "tensor/core/error.h"
#include "tensor/core/export.h"
#include "tensor/core/tensor.h"

namespace tessera {

class Rejects;

// What a long-running call may use: seed, words for the user, a request to stop. Borrowed by the callee for the call
// alone.
struct FitContext {
  std::uint64_t seed = 1;
  std::function<void(const std::string& line)> say = [](const std::string&) {};  // one line for the log
  // done: 0 .. 1, below 0 where the rate is to be measured afresh.
  std::function<void(double done, const std::string& what)> progress = [](double, const std::string&) {};
  std::function<bool()> stop = [] { return false; };  // Ctrl-C: leave by throwing Stopped
  Rejects* rejects = nullptr;  // where featurizers count bad records when the user said --skip-bad; null: they throw
};

// A long-running call left because FitContext::stop said so.
class TESSERA_API Stopped : public Error {
 public:
  using Error::Error;
  ~Stopped() override;
};

// Names and tensors of what a component learnt, for saving and loading alike: the component visits the same names in
// both directions; when loading, tensor() replaces the handle (and throws CheckpointError where it is missing).
class TESSERA_API StateVisitor {
 public:
  virtual ~StateVisitor();
  virtual bool loading() const = 0;
  virtual void tensor(const std::string& name, Tensor& value) = 0;
  virtual void text(const std::string& name, std::string& value) = 0;  // small facts: word lists, sizes as text
};

}  // namespace tessera
