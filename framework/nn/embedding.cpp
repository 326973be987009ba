#include "framework/nn/embedding.h"

#include "tensor/ops/embedding/embedding.h"

namespace tessera {

Embedding::Embedding(std::int64_t rows, std::int64_t width, Initializer table)
    : table_(add_parameter("table", {rows, width}, std::move(table))) {}

Embedding::~Embedding() = default;

Tensor Embedding::operator()(std::span<const std::int32_t> ids) { return embedding(table_(), ids); }

Tensor Embedding::sum(std::span<const std::int32_t> ids, int levels, double factor) {
  return embedding_sum(table_(), ids, levels, factor);
}

}  // namespace tessera
