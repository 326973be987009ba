#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tensor/autograd/parameter.h"
#include "tensor/core/export.h"
#include "tensor/core/tensor.h"

namespace tessera {

// Where a backward writes the gradient of one input.
class TESSERA_API GradSlot {
 public:
  GradSlot(Tensor* gradient, const Shape& shape, DType dtype, Device device)
      : gradient_(gradient), shape_(shape), dtype_(dtype), device_(device) {}

  explicit operator bool() const { return gradient_ != nullptr; }  // false: nobody needs it, skip the work
  const Shape& shape() const { return shape_; }
  void add(Tensor gradient) const;  // the first contribution is stolen, later ones are added in place
  // For kernels that accumulate: the buffer and its beta (0: overwrite, the content is garbage; 1: add).
  struct Into {
    Tensor buffer;
    double beta = 0.0;
  };
  Into into() const;

 private:
  Tensor* gradient_;
  Shape shape_;
  DType dtype_;
  Device device_;
};
using Grads = std::vector<GradSlot>;

// The record of one forward pass on this thread. While a Tape lives, ops on tensors that depend on a parameter or on a
// watched tensor are recorded; without one nothing is, so inference needs no word.
//   Tape tape;
//   Tensor loss = ...;
//   tape.backward(loss);       // adds to Parameter::gradient
// backward is one loop from the loss to the first node; a node's saved tensors are freed as soon as it ran.
// Tapes nest: the inner one records, and tensors of any other tape, older or outer, are constants to it. Not shared
// between threads.
class TESSERA_API Tape {
 public:
  Tape();
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  static Tape* current();

  Tensor watch(const Tensor& x);                 // a leaf whose gradient is kept
  Tensor use(Parameter& parameter);              // the parameter's value as a leaf; once a tape
  void backward(const Tensor& loss);             // of one element, seeded with 1
  void backward(const Tensor& y, Tensor seed);   // seed has the shape of y
  Tensor gradient(const Tensor& watched) const;  // empty where nothing reached it

  struct Node {
    virtual ~Node();
    virtual void backward(const Tensor& dy, Grads& dx) = 0;
    const char* name = "";
    Shape shape;  // of the output
    struct Input {
      int node;  // index on this tape; -1: a constant
      Shape shape;
      DType dtype;
      Device device;
    };
    std::vector<Input> inputs;
  };
  std::int64_t add(std::unique_ptr<Node> node);  // returns the Tensor::node() of its output
  int index_of(const Tensor& x) const;           // -1 where x is not on this tape
  std::size_t size() const { return nodes_.size(); }

 private:
  std::vector<std::unique_ptr<Node>> nodes_;  // null: a leaf
  std::vector<Tensor> gradients_;
  std::unordered_map<Parameter*, int> parameters_;
  std::int64_t number_;  // distinct for each tape; the upper half of its nodes
  Tape* outer_;
};

// No recording on this thread while it lives.
class TESSERA_API NoTape {
 public:
  NoTape();
  ~NoTape();
  NoTape(const NoTape&) = delete;
  NoTape& operator=(const NoTape&) = delete;

 private:
  Tape* outer_;
};

// True where an op on these inputs would be recorded: lets a fused op skip what only its backward needs.
TESSERA_API bool recording(std::initializer_list<const Tensor*> inputs);

// Stands at the end of each op, its backward right under its forward:
//   return record("softmax", y, {&x}, [y](const Tensor& dy, Grads& dx) { ... });
// The closure must not capture tensors with nodes it does not need: capture detach()ed handles.
template <class F>
Tensor record(const char* name, Tensor y, std::initializer_list<const Tensor*> inputs, F backward) {
  if (!recording(inputs)) return y.detach();
  struct Closure final : Tape::Node {
    F function;
    explicit Closure(F f) : function(std::move(f)) {}
    void backward(const Tensor& dy, Grads& dx) override { function(dy, dx); }
  };
  auto node = std::make_unique<Closure>(std::move(backward));
  node->name = name;
  node->shape = y.shape();
  Tape& tape = *Tape::current();
  for (const Tensor* x : inputs) node->inputs.push_back({tape.index_of(*x), x->shape(), x->dtype(), x->device()});
  return y.with_node(tape.add(std::move(node)));
}

}  // namespace tessera
