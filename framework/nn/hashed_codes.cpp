#include "framework/nn/hashed_codes.h"

#include "tensor/core/random.h"

namespace tessera {

std::vector<std::int32_t> hashed_codes(const Tensor& vectors, int levels, int codes, std::uint64_t seed,
                                       const std::string& name) {
  std::vector<std::int32_t> out;
  const auto bytes = static_cast<std::size_t>(vectors.columns()) * sizeof(float);
  for (std::int64_t i = 0; i < vectors.rows(); ++i) {
    std::string text = name + "/";
    text.append(reinterpret_cast<const char*>(vectors.data<float>() + i * vectors.columns()), bytes);
    Random random(seed, stream_of(text));
    for (int l = 0; l < levels; ++l) out.push_back(static_cast<std::int32_t>(random.below(codes)));
  }
  return out;
}

}  // namespace tessera
