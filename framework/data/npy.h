#pragma once

#include <string>

#include "tensor/core/export.h"
#include "tensor/core/tensor.h"

// NumPy's file format, versions 1 to 3: little endian, C order, one or two dimensions.
namespace tessera {

// f16, f32 and f64 become f32; i32 and i64 stay. Throws DataError where the header is not such a file's, or where its
// shape does not agree with the size of the file.
TESSERA_API Tensor read_npy(const std::string& path);

// The shape that the header tells, after the same checks; the numbers are not read.
TESSERA_API Shape npy_shape(const std::string& path);

// f32, f64, i32 or i64. Throws Error where the disk refuses.
TESSERA_API void write_npy(const std::string& path, const Tensor& values);

}  // namespace tessera
