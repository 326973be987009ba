#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/core/tensor.h"

namespace tessera {

// Codes (n, levels) of vectors (n, D) in f32 that say nothing of them, each of 0 .. codes - 1 alike, by a hash of the
// vector's bytes: equal vectors share their codes, near ones do not. The control for tokenizers; seed and name make
// different draws. Thread-safe.
TESSERA_API std::vector<std::int32_t> hashed_codes(const Tensor& vectors, int levels, int codes, std::uint64_t seed,
                                                   const std::string& name);

}  // namespace tessera
