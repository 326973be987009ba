#include "tensor/ops/product_code/product_code.h"

#include <algorithm>
#include <limits>

#include "tensor/core/agree.h"
#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"

namespace tessera {
namespace {

void check_codebooks(const char* name, const Tensor& codebooks) {
  require_cpu_kernel(name, codebooks.device());
  check(codebooks.shape().rank() == 3 && codebooks.dim(0) >= 1 && codebooks.dim(1) >= 1 && codebooks.dim(2) >= 1 &&
            codebooks.dim(1) <= std::numeric_limits<std::int32_t>::max(),
        name, ": codebooks ", codebooks.shape().text(), ", expected (M, K, D / M), none of them 0");
}

void check_rows(const char* name, const Tensor& x, const Tensor& codebooks) {
  check_agree(name, "x", x, "codebooks", codebooks);
  check_codebooks(name, codebooks);
  check(x.shape().rank() == 2 && x.dim(1) == codebooks.dim(0) * codebooks.dim(2), name, ": x ", x.shape().text(),
        ", codebooks ", codebooks.shape().text(), ", expected (N, D) and (M, K, D / M)");
}

void check_codes(const char* name, std::span<const std::int32_t> codes, const Tensor& codebooks) {
  check(static_cast<std::int64_t>(codes.size()) % codebooks.dim(0) == 0, name, ": ", codes.size(),
        " codes are no multiple of ", codebooks.dim(0), " parts");
  const std::int64_t count = codebooks.dim(1);
  for (const std::int32_t code : codes)
    check(code >= -1 && code < count, name, ": code ", code, ", expected -1 .. ", count - 1);
}

}  // namespace

std::vector<std::int32_t> nearest_product_codes(const Tensor& x, const Tensor& codebooks) {
  check_rows("nearest_product_codes", x, codebooks);
  std::vector<std::int32_t> codes(static_cast<std::size_t>(x.dim(0) * codebooks.dim(0)));
  cpu::nearest_product_codes(x, codebooks, codes.data());
  return codes;
}

Tensor decode_product_codes(std::span<const std::int32_t> codes, const Tensor& codebooks) {
  check_codebooks("decode_product_codes", codebooks);
  check_codes("decode_product_codes", codes, codebooks);
  const std::int64_t parts = codebooks.dim(0), count = codebooks.dim(1), width = codebooks.dim(2);
  const std::int64_t rows = static_cast<std::int64_t>(codes.size()) / parts;
  Tensor y = Tensor::zeros({rows, parts * width}, codebooks.dtype());
  dispatch_float("decode_product_codes", codebooks.dtype(), [&](auto type) {
    using T = decltype(type);
    parallel_rows(rows, 64, [&, from = codebooks.data<T>(), to = y.data<T>()](std::int64_t begin, std::int64_t end) {
      for (std::int64_t at = begin * parts; at < end * parts; ++at) {
        const std::int32_t code = codes[static_cast<std::size_t>(at)];
        if (code >= 0) std::copy_n(from + (at % parts * count + code) * width, width, to + at * width);
      }
    });
  });
  return y;
}

Tensor product_code_means(const Tensor& x, std::span<const std::int32_t> codes, const Tensor& codebooks,
                          std::vector<std::int64_t>& hits) {
  check_rows("product_code_means", x, codebooks);
  check_codes("product_code_means", codes, codebooks);
  check(static_cast<std::int64_t>(codes.size()) == x.dim(0) * codebooks.dim(0), "product_code_means: x ",
        x.shape().text(), " with ", codes.size(), " codes, expected ", x.dim(0) * codebooks.dim(0));
  Tensor means = codebooks.clone();
  hits.assign(static_cast<std::size_t>(codebooks.dim(0) * codebooks.dim(1)), 0);
  cpu::product_code_means(x, codes, means, hits.data());
  return means;
}

}  // namespace tessera
