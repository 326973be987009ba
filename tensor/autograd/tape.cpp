#include "tensor/autograd/tape.h"

#include <atomic>

#include "tensor/core/dispatch.h"
#include "tensor/ops/accumulate/accumulate.h"

namespace tessera {
namespace {

thread_local Tape* current_tape = nullptr;

std::int64_t next_number() {
  static std::atomic<std::int64_t> next{0};
  return next.fetch_add(1) & 0x7fffffff;
}

}  // namespace

Parameter::Parameter(std::string name_, Tensor value_, bool decays_)
    : name(std::move(name_)), value(std::move(value_)), decays(decays_) {}
Parameter::~Parameter() = default;

Tensor Parameter::operator()() { return current_tape ? current_tape->use(*this) : value; }

void GradSlot::add(Tensor gradient) const {
  check(gradient.numel() == shape_.numel(), "gradient: shape ", gradient.shape().text(), ", input has ", shape_.text());
  // The first contribution is kept as it is, perhaps shared with its maker; nothing is written into shared numbers.
  if (!*gradient_) {
    *gradient_ = gradient.detach();
  } else if (!gradient_->shares_storage()) {
    accumulate(*gradient_, gradient);
  } else {
    if (gradient.shares_storage()) gradient = gradient.clone();
    accumulate(gradient, *gradient_);
    *gradient_ = gradient;
  }
}

GradSlot::Into GradSlot::into() const {
  if (*gradient_) {
    if (gradient_->shares_storage()) *gradient_ = gradient_->clone();
    return {gradient_->reshape(shape_), 1.0};
  }
  *gradient_ = Tensor(shape_, dtype_, device_);
  return {*gradient_, 0.0};
}

Tape::Node::~Node() = default;

Tape::Tape() : number_(next_number()), outer_(current_tape) { current_tape = this; }
Tape::~Tape() { current_tape = outer_; }
Tape* Tape::current() { return current_tape; }

std::int64_t Tape::add(std::unique_ptr<Node> node) {
  nodes_.push_back(std::move(node));
  return number_ << 32 | static_cast<std::int64_t>(nodes_.size() - 1);
}

int Tape::index_of(const Tensor& x) const {
  return x && x.node() >= 0 && x.node() >> 32 == number_ ? static_cast<int>(x.node() & 0xffffffff) : -1;
}

Tensor Tape::watch(const Tensor& x) { return x.with_node(add(nullptr)); }

Tensor Tape::use(Parameter& parameter) {
  auto [it, fresh] = parameters_.try_emplace(&parameter, -1);
  if (fresh) it->second = static_cast<int>(nodes_.size());
  return parameter.value.with_node(fresh ? add(nullptr) : (number_ << 32 | it->second));
}

void Tape::backward(const Tensor& loss) {
  check(loss.numel() == 1, "backward: loss has shape ", loss.shape().text(), ", expected one element");
  Tensor one(loss.shape(), loss.dtype(), loss.device());
  one.fill(1.0);
  backward(loss, one);
}

void Tape::backward(const Tensor& y, Tensor seed) {
  const int last = index_of(y);
  check(last >= 0, "backward: the tensor is not on this tape");
  NoTape no_recording;
  gradients_.assign(nodes_.size(), {});
  for (auto& [parameter, node] : parameters_)
    gradients_[static_cast<std::size_t>(node)] = std::move(parameter->gradient);
  GradSlot(&gradients_[static_cast<std::size_t>(last)], y.shape(), y.dtype(), y.device()).add(std::move(seed));
  for (int i = last; i >= 0; --i) {
    const auto at = static_cast<std::size_t>(i);
    if (!nodes_[at]) continue;
    if (gradients_[at]) {
      Grads slots;
      for (const auto& input : nodes_[at]->inputs)
        slots.emplace_back(input.node < 0 ? nullptr : &gradients_[static_cast<std::size_t>(input.node)], input.shape,
                           input.dtype, input.device);
      const Tensor dy = gradients_[at].reshape(nodes_[at]->shape);
      gradients_[at] = {};
      nodes_[at]->backward(dy, slots);
    }
    nodes_[at].reset();
  }
  for (auto& [parameter, node] : parameters_) {
    Tensor& gradient = gradients_[static_cast<std::size_t>(node)];
    parameter->gradient = gradient ? gradient.reshape(parameter->value.shape()) : Tensor();
  }
}

Tensor Tape::gradient(const Tensor& watched) const {
  const int index = index_of(watched);
  const auto at = static_cast<std::size_t>(index);
  check(index >= 0 && at < gradients_.size(),
        "gradient: the tensor is not watched by this tape, or backward has not run");
  return gradients_[at] ? gradients_[at].reshape(watched.shape()) : Tensor();
}

NoTape::NoTape() : outer_(current_tape) { current_tape = nullptr; }
NoTape::~NoTape() { current_tape = outer_; }

bool recording(std::initializer_list<const Tensor*> inputs) {
  if (!current_tape) return false;
  for (const Tensor* x : inputs)
    if (current_tape->index_of(*x) >= 0) return true;
  return false;
}

}  // namespace tessera
