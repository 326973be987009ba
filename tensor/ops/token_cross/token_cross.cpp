#include "tensor/ops/token_cross/token_cross.h"

#include <vector>

#include "tensor/autograd/tape.h"
#include "tensor/core/agree.h"
#include "tensor/core/dispatch.h"
#include "tensor/ops/embedding/embedding.h"

namespace tessera {
namespace {

constexpr const char* kName = "token_cross";

void check_inputs(const TokenCross& in, std::span<const std::int32_t> tokens) {
  check_agree(kName, "table", in.table, "product", in.product);
  check_agree(kName, "table", in.table, "mix", in.mix);
  check_agree(kName, "table", in.table, "bias", in.bias);
  check(in.table.shape().rank() == 2 && in.product.shape() == in.table.shape(), kName, ": table ",
        in.table.shape().text(), " and product ", in.product.shape().text(), ", expected (V, D) both");
  const std::int64_t width = in.table.dim(1);
  check(in.mix.shape().rank() == 3 && in.mix.dim(0) >= 1 && in.mix.dim(1) >= 1 && in.mix.dim(1) == in.mix.dim(2), kName,
        ": mix ", in.mix.shape().text(), ", expected (L, T, T)");
  const std::int64_t layers = in.mix.dim(0), count = in.mix.dim(1), rows = in.table.dim(0);
  check(in.bias.shape() == Shape({layers, width}), kName, ": bias ", in.bias.shape().text(), ", expected (", layers,
        ", ", width, ")");
  check(layers == 1 ? !in.weight || in.weight.numel() == 0
                    : in.weight && in.weight.shape() == Shape({layers - 1, width, width}),
        kName, ": weight ", in.weight.shape().text(), ", expected (", layers - 1, ", ", width, ", ", width, ")");
  check(static_cast<std::int64_t>(tokens.size()) % count == 0, kName, ": ", tokens.size(), " tokens are not rows of ",
        count);
  for (std::size_t i = 0; i < tokens.size(); ++i)
    check(tokens[i] >= -1 && tokens[i] < rows, kName, ": token ", tokens[i], " at position ", i,
          ", expected -1 (none) to ", rows - 1);
}

}  // namespace

Tensor token_cross(const TokenCross& in, std::span<const std::int32_t> tokens) {
  require_cpu_kernel(kName, in.table.device());
  check_inputs(in, tokens);
  const std::int64_t rows = static_cast<std::int64_t>(tokens.size()) / in.mix.dim(1);
  Tensor y({rows, in.table.dim(1)}, in.table.dtype());
  cpu::token_cross_forward(in, tokens, y);
  const Tensor none = in.weight ? in.weight : Tensor::zeros({0, in.table.dim(1), in.table.dim(1)}, in.table.dtype());
  if (!recording({&in.table, &in.product, &in.mix, &in.bias, &none})) return y;
  const TokenCross kept{in.table.detach(), in.product.detach(), in.mix.detach(), in.bias.detach(), none.detach()};
  return record(kName, y, {&in.table, &in.product, &in.mix, &in.bias, &none},
                [kept, ids = std::vector<std::int32_t>(tokens.begin(), tokens.end())](const Tensor& dy, Grads& dx) {
                  const DType type = kept.table.dtype();
                  const std::int64_t width = kept.table.dim(1), each = static_cast<std::int64_t>(ids.size());
                  TokenCross d{Tensor({each, width}, type), Tensor({each, width}, type), Tensor(kept.mix.shape(), type),
                               Tensor(kept.bias.shape(), type), Tensor(kept.weight.shape(), type)};
                  cpu::token_cross_backward(kept, ids, dy, d);
                  for (int i = 0; i < 2; ++i) {
                    if (!dx[static_cast<std::size_t>(i)]) continue;
                    auto [gradient, beta] = dx[static_cast<std::size_t>(i)].into();
                    cpu::embedding_backward(i == 0 ? d.table : d.product, ids, 1, 1.0, beta, gradient);
                  }
                  if (dx[2]) dx[2].add(d.mix);
                  if (dx[3]) dx[3].add(d.bias);
                  if (dx[4]) dx[4].add(d.weight);
                });
}

}  // namespace tessera
