#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "tensor/core/device.h"
#include "tensor/core/dtype.h"
#include "tensor/core/error.h"
#include "tensor/core/export.h"
#include "tensor/core/shape.h"
#include "tensor/core/storage.h"

namespace tessera {

// A handle to numbers: dense, row-major, on one device. That is the one convention of the library: no strides, so a
// pointer and a shape say everything; a transpose is a flag of the matrix product, jagged data is values + offsets.
// Copying a Tensor copies the handle; clone() copies the numbers. A default-constructed Tensor is empty ("none").
// node() is the tensor's place on a tape (it names the tape too), -1 where its gradient is of no interest; reshape
// keeps it. Thread-safe like a shared_ptr: handles are independent, the numbers are not guarded.
class TESSERA_API Tensor {
 public:
  Tensor() = default;
  explicit Tensor(Shape shape, DType dtype = DType::f32, Device device = Device::cpu());  // not initialised

  static Tensor zeros(Shape shape, DType dtype = DType::f32, Device device = Device::cpu());
  static Tensor full(Shape shape, double value, DType dtype = DType::f32);
  template <class T>
  static Tensor from(std::span<const T> values, Shape shape);  // copies; throws Error where the sizes differ
  template <class T>
  static Tensor from(const std::vector<T>& values, Shape shape) {
    return from(std::span<const T>(values), shape);
  }
  static Tensor scalar(double value, DType dtype = DType::f32) { return full({}, value, dtype); }

  explicit operator bool() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  std::int64_t dim(int axis) const { return shape_.dim(axis); }
  std::int64_t numel() const { return storage_ ? shape_.numel() : 0; }
  std::int64_t rows() const { return shape_.rows(); }        // every dimension but the last
  std::int64_t columns() const { return shape_.columns(); }  // the last dimension
  DType dtype() const { return dtype_; }
  Device device() const { return storage_ ? storage_->device() : Device::cpu(); }
  std::size_t bytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype_); }

  template <class T>
  T* data() const {  // throws Error where T is not the tensor's type
    if (dtype_ != dtype_of<T>) wrong_type(dtype_of<T>);
    return static_cast<T*>(raw());
  }
  void* raw() const;  // null when empty
  template <class T>
  std::span<T> values() const {
    return {data<T>(), static_cast<std::size_t>(numel())};
  }
  double item() const;  // the single element, from any device; throws Error where there are more

  Tensor reshape(Shape shape) const;                             // a view of all numbers; same node
  Tensor row_range(std::int64_t begin, std::int64_t end) const;  // a view of rows of the first dimension; no node
  Tensor clone() const;                                          // own numbers, no node
  Tensor detach() const;                                         // same numbers, no node
  Tensor to(DType dtype) const;                                  // converted copy (CPU), or the handle itself
  Tensor to(Device device) const;                                // copied across, or the handle itself
  void fill(double value);
  void copy_from(const Tensor& source);  // same shape and type, any device

  std::int64_t node() const { return node_; }
  Tensor with_node(std::int64_t node) const;
  bool shares_storage() const { return storage_.use_count() > 1; }

 private:
  [[noreturn]] void wrong_type(DType wanted) const;

  std::shared_ptr<Storage> storage_;
  std::int64_t offset_ = 0;  // in elements
  Shape shape_;
  DType dtype_ = DType::f32;
  std::int64_t node_ = -1;
};

template <class T>
Tensor Tensor::from(std::span<const T> values, Shape shape) {
  check(static_cast<std::int64_t>(values.size()) == shape.numel(), "tensor: ", values.size(), " values for shape ",
        shape.text());
  Tensor out(shape, dtype_of<T>);
  std::copy(values.begin(), values.end(), out.data<T>());
  return out;
}

}  // namespace tessera
