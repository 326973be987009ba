#include "framework/nn/independent_rows.h"

#include <algorithm>
#include <vector>

#include "tensor/gemm/gemm.h"
#include "tensor/ops/join/join.h"

namespace tessera {

Tensor independent_rows(std::int64_t count, const std::function<Tensor(std::span<const std::int32_t>)>& f) {
  if (count == 0) return f({});
  const bool any_number = gemm_backend() == GemmBackend::onednn;
  const std::size_t group = any_number ? 4 : 16;
  std::vector<std::int32_t> rows(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int32_t>(i);
  while (rows.size() % group != 0) rows.push_back(0);
  const std::size_t together = any_number ? rows.size() : group;
  std::vector<Tensor> parts;
  for (std::size_t i = 0; i < rows.size(); i += together) parts.push_back(f(std::span(rows).subspan(i, together)));
  return slice_rows(parts.size() == 1 ? parts.front() : concat_rows(parts), 0, count);
}

}  // namespace tessera
