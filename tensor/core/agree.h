#pragma once

#include <cstdint>
#include <span>

#include "tensor/core/export.h"
#include "tensor/core/tensor.h"

namespace tessera {

// Throws "add: a is f32 on cpu, b is f64 on cpu; expected one type and one device" unless both are alike, and
// "add: b is empty" where one is.
TESSERA_API void check_agree(const char* op, const char* a_name, const Tensor& a, const char* b_name, const Tensor& b);
TESSERA_API void check_present(const char* op, const char* name, const Tensor& x);
// Jagged offsets (B + 1): from 0, never falling, to rows. Throws "segment_sum: offset ends at 5, x has 6 rows".
TESSERA_API void check_offset(const char* op, std::span<const std::int64_t> offset, std::int64_t rows,
                              const char* what = "x");

}  // namespace tessera
