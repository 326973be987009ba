#include "tensor/core/tensor.h"

#include <algorithm>
#include <cstring>

#include "tensor/core/device_copy.h"
#include "tensor/core/dispatch.h"

namespace tessera {

Tensor::Tensor(Shape shape, DType dtype, Device device)
    : storage_(std::make_shared<Storage>(static_cast<std::size_t>(shape.numel()) * size_of(dtype), device)),
      shape_(shape),
      dtype_(dtype) {}

Tensor Tensor::zeros(Shape shape, DType dtype, Device device) {
  Tensor out(shape, dtype, device);
  device_zero(out.raw(), out.bytes(), device);
  return out;
}

Tensor Tensor::full(Shape shape, double value, DType dtype) {
  Tensor out(shape, dtype);
  out.fill(value);
  return out;
}

void* Tensor::raw() const {
  if (!storage_) return nullptr;
  return static_cast<std::byte*>(storage_->data()) + static_cast<std::size_t>(offset_) * size_of(dtype_);
}

double Tensor::item() const {
  check(storage_ && numel() == 1, "item: tensor has shape ", shape_.text(), ", expected one element");
  return to(Device::cpu()).to(DType::f64).data<double>()[0];
}

Tensor Tensor::reshape(Shape shape) const {
  check(shape.numel() == shape_.numel(), "reshape: ", shape_.text(), " does not fit into ", shape.text());
  Tensor out = *this;
  out.shape_ = shape;
  return out;
}

Tensor Tensor::row_range(std::int64_t begin, std::int64_t end) const {
  const std::int64_t rows = shape_.rank() == 0 ? 0 : shape_.dim(0);
  check(0 <= begin && begin <= end && end <= rows, "row_range: ", begin, "..", end, " of ", shape_.text());
  const std::int64_t width = rows == 0 ? 0 : shape_.numel() / rows;
  Tensor out = detach();
  out.offset_ += begin * width;
  switch (shape_.rank()) {
    case 1: out.shape_ = Shape{end - begin}; break;
    case 2: out.shape_ = Shape{end - begin, shape_.dim(1)}; break;
    case 3: out.shape_ = Shape{end - begin, shape_.dim(1), shape_.dim(2)}; break;
    default: out.shape_ = Shape{end - begin, shape_.dim(1), shape_.dim(2), shape_.dim(3)}; break;
  }
  return out;
}

Tensor Tensor::clone() const {
  if (!storage_) return {};
  Tensor out(shape_, dtype_, device());
  out.copy_from(*this);
  return out;
}

Tensor Tensor::detach() const { return with_node(-1); }

Tensor Tensor::with_node(std::int64_t node) const {
  Tensor out = *this;
  out.node_ = node;
  return out;
}

namespace {

template <class To, class From>
To convert(From x) {
  if constexpr (std::is_same_v<From, bf16>) return convert<To>(static_cast<float>(x));
  else if constexpr (std::is_same_v<To, bf16>) return bf16(static_cast<float>(x));
  else return static_cast<To>(x);
}

}  // namespace

Tensor Tensor::to(DType dtype) const {
  if (!storage_ || dtype == dtype_) return *this;
  check(device().is_cpu(), "to: a conversion from ", name_of(dtype_), " to ", name_of(dtype),
        " happens on the cpu, tensor is on ", device().text());
  Tensor out(shape_, dtype);
  dispatch_any(dtype_, [&](auto from) {
    dispatch_any(dtype, [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      const From* x = data<From>();
      std::transform(x, x + numel(), out.data<To>(), [](From value) { return convert<To>(value); });
    });
  });
  return out;
}

Tensor Tensor::to(Device device) const {
  if (!storage_ || device == this->device()) return *this;
  Tensor out(shape_, dtype_, device);
  device_copy(out.raw(), device, raw(), this->device(), bytes());
  return out;
}

void Tensor::fill(double value) {
  if (device().is_cuda()) {
    if (value == 0.0) device_zero(raw(), bytes(), device());  // all bits zero in every type
    else copy_from(full(shape_, value, dtype_));
    return;
  }
  dispatch_any(dtype_, [&](auto type) {
    using T = decltype(type);
    std::fill_n(data<T>(), numel(), convert<T>(value));
  });
}

void Tensor::copy_from(const Tensor& source) {
  check(source.shape_.numel() == shape_.numel() && source.dtype_ == dtype_, "copy: ", name_of(source.dtype_), " ",
        source.shape_.text(), " into ", name_of(dtype_), " ", shape_.text());
  device_copy(raw(), device(), source.raw(), source.device(), bytes());
}

void Tensor::wrong_type(DType wanted) const {
  throw Error(str("tensor: asked for ", name_of(wanted), ", tensor is ", name_of(dtype_), " ", shape_.text()));
}

}  // namespace tessera
