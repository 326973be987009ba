#include "plugins/synthetic/vectors.h"

#include <string>

#include "tensor/core/error.h"
#include "tensor/core/parallel.h"

namespace tessera::synthetic {

Tensor vectors_of(const World& world, const char* modality) {
  const WorldOptions& options = world.options();
  const auto seed = static_cast<std::uint64_t>(options.seed);
  const auto table = [&](const char* purpose, std::int64_t rows) {
    Tensor out({rows, kVectorWidth});
    fill_normal(out, 0.0, 1.0, seed, stream_of(str("synthetic/", purpose, "/", modality)));
    return out;
  };
  const Tensor category = table("category", options.categories),
               category_gain = table("category_gain", options.categories);
  const Tensor kind = table("kind", options.kinds), kind_gain = table("kind_gain", options.kinds);
  const std::string absent = str("synthetic/no_", modality);
  Tensor out({options.items, kVectorWidth});
  fill_normal(out, 0.0, options.vector_noise, seed, stream_of(str("synthetic/vector_noise/", modality)));
  parallel_rows(options.items, 1024, [&](std::int64_t begin, std::int64_t end) {
    for (auto item = static_cast<std::int32_t>(begin); item < end; ++item) {
      const bool lacks = world.lacks(item, absent.c_str());
      const std::int64_t c = world.category(item) * kVectorWidth, k = world.kind(item, modality) * kVectorWidth;
      float* row = out.data<float>() + item * kVectorWidth;
      for (std::int64_t j = 0; j < kVectorWidth; ++j)
        row[j] = lacks ? 0.0f
                       : row[j] + category.data<float>()[c + j] + kind.data<float>()[k + j] +
                             0.5f * category_gain.data<float>()[c + j] * kind_gain.data<float>()[k + j];
    }
  });
  return out;
}

}  // namespace tessera::synthetic
