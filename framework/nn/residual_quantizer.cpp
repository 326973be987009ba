#include "framework/nn/residual_quantizer.h"

#include <algorithm>
#include <cmath>

#include "framework/nn/sinkhorn.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/ops/nearest_code/nearest_code.h"

namespace tessera {
namespace {

constexpr std::int64_t kGrain = 128;

// next = r - e[code], and out += e[code]; -1 changes nothing.
void take_codes(const Tensor& r, const Tensor& book, std::span<const std::int32_t> codes, int levels, int level,
                Tensor& next, Tensor* out) {
  dispatch_float("residual_quantizer", r.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t width = r.columns();
    parallel_rows(r.rows(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int32_t code = codes[static_cast<std::size_t>(i * levels + level)];
        const T *from = r.data<T>() + i * width, *e = book.data<T>() + code * width;
        T* to = next.data<T>() + i * width;
        for (std::int64_t j = 0; j < width; ++j) to[j] = from[j] - e[j];
        if (!out) continue;
        T* sum = out->data<T>() + i * width;
        for (std::int64_t j = 0; j < width; ++j) sum[j] += e[j];
      }
    });
  });
}

double sum_of_squares(const Tensor& x) {
  double total = 0.0;
  dispatch_float("residual_quantizer", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t rows = x.rows(), width = x.columns();
    std::vector<double> partial(static_cast<std::size_t>((rows + kGrain - 1) / kGrain), 0.0);
    parallel_rows(rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
      double sum = 0.0;
      for (std::int64_t i = begin * width; i < end * width; ++i) {
        const auto value = static_cast<double>(x.data<T>()[i]);
        sum += value * value;
      }
      partial[static_cast<std::size_t>(begin / kGrain)] = sum;
    });
    for (const double part : partial) total += part;
  });
  return total;
}

// dz += factor * sum of the residuals after each level.
void add_commitment(const std::vector<Tensor>& after, double factor, const GradSlot& slot) {
  const GradSlot::Into to_add = slot.into();
  const Tensor& buffer = to_add.buffer;
  const double beta = to_add.beta;
  dispatch_float("residual_quantizer", buffer.dtype(), [&](auto type) {
    using T = decltype(type);
    parallel_rows(buffer.numel(), 8192, [&](std::int64_t begin, std::int64_t end) {
      T* to = buffer.template data<T>();
      for (std::int64_t i = begin; i < end; ++i) to[i] = beta == 0.0 ? T{0} : static_cast<T>(beta) * to[i];
      for (const Tensor& r : after) {
        const T* from = r.data<T>();
        for (std::int64_t i = begin; i < end; ++i) to[i] += static_cast<T>(factor) * from[i];
      }
    });
  });
}

// dE_l[k] += factor * sum of the residuals after level l of the rows with code k; with `earlier`, the commitment terms
// of deeper levels too, times that factor. Rows add up in their order.
void add_codebook(const std::vector<Tensor>& after, std::span<const std::int32_t> codes, double factor, double earlier,
                  const GradSlot& slot) {
  GradSlot::Into to_add = slot.into();
  Tensor& buffer = to_add.buffer;
  if (to_add.beta == 0.0) buffer.fill(0.0);
  const auto levels = static_cast<std::int64_t>(after.size());
  dispatch_float("residual_quantizer", buffer.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t count = buffer.dim(1), width = buffer.columns(), rows = after[0].rows();
    parallel_for(levels, [&](std::int64_t level) {
      T* to = buffer.template data<T>() + level * count * width;
      for (std::int64_t i = 0; i < rows; ++i) {
        T* row = to + codes[static_cast<std::size_t>(i * levels + level)] * width;
        const T* from = after[static_cast<std::size_t>(level)].template data<T>() + i * width;
        for (std::int64_t j = 0; j < width; ++j) row[j] += static_cast<T>(factor) * from[j];
        for (std::int64_t deeper = level + 1; earlier != 0.0 && deeper < levels; ++deeper) {
          const T* rest = after[static_cast<std::size_t>(deeper)].template data<T>() + i * width;
          for (std::int64_t j = 0; j < width; ++j) row[j] += static_cast<T>(earlier) * rest[j];
        }
      }
    });
  });
}

// One row of the rotation's transpose; straight through where a direction does not exist.
template <class T>
void rotate_back(const T* z, const T* q, const T* dy, std::int64_t width, T* dz) {
  double zz = 0.0, qq = 0.0;
  for (std::int64_t j = 0; j < width; ++j) zz += double(z[j]) * z[j], qq += double(q[j]) * q[j];
  const double length_z = std::sqrt(zz), length_q = std::sqrt(qq);
  double ww = 0.0, w_dy = 0.0, v_dy = 0.0;
  if (length_z > 1e-12 && length_q > 1e-12) {
    for (std::int64_t j = 0; j < width; ++j) {
      const double w = z[j] / length_z + q[j] / length_q;
      ww += w * w;
      w_dy += w * dy[j];
      v_dy += q[j] / length_q * dy[j];
    }
  }
  if (ww < 1e-12) {
    std::copy_n(dy, width, dz);
    return;
  }
  const double ratio = length_q / length_z;
  for (std::int64_t j = 0; j < width; ++j) {
    const double u = z[j] / length_z, w = u + q[j] / length_q;
    dz[j] = static_cast<T>(ratio * (dy[j] - 2.0 * w_dy / ww * w + 2.0 * v_dy * u));
  }
}

Tensor rotated_gradient(const Tensor& z, const Tensor& q, const Tensor& dy) {
  Tensor dz(z.shape(), z.dtype());
  dispatch_float("residual_quantizer", z.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t width = z.columns();
    parallel_rows(z.rows(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        rotate_back(z.data<T>() + i * width, q.data<T>() + i * width, dy.data<T>() + i * width, width,
                    dz.data<T>() + i * width);
    });
  });
  return dz;
}

}  // namespace

ResidualQuantizer::ResidualQuantizer(const QuantizerOptions& options)
    : options_(options),
      codebooks_(add_parameter("codebooks", {options.levels, options.codes, options.width},
                               uniform(1.0 / static_cast<double>(options.codes)), false)) {
  check(options.levels >= 1 && options.codes >= 1 && options.width >= 1, "residual_quantizer: ", options.levels,
        " levels of ", options.codes, " codes of width ", options.width, ", expected 1 or more of each");
}

ResidualQuantizer::~ResidualQuantizer() = default;

Tensor ResidualQuantizer::codebook(int level) const {
  return codebooks_.value.row_range(level, level + 1).reshape({options_.codes, options_.width});
}

ResidualQuantizer::Output ResidualQuantizer::quantize(const Tensor& z) {
  check(z.columns() == options_.width, "residual_quantizer: z ", z.shape().text(), ", expected width ", options_.width);
  const int levels = options_.levels;
  Output out;
  out.codes.resize(static_cast<std::size_t>(z.rows() * levels));
  Tensor q = Tensor::zeros(z.shape(), z.dtype());
  std::vector<Tensor> after;
  Tensor r = z.detach();
  double squares = 0.0;
  for (int l = 0; l < levels; ++l) {
    const Tensor book = codebook(l);
    const bool uniformly = options_.sinkhorn > 0.0 && l + 1 == levels;
    const auto code = uniformly ? sinkhorn_codes(squared_distances(r, book).to(DType::f32), options_.sinkhorn)
                                : nearest_code(r, book);
    for (std::size_t i = 0; i < code.size(); ++i)
      out.codes[i * static_cast<std::size_t>(levels) + static_cast<std::size_t>(l)] = code[i];
    Tensor next(z.shape(), z.dtype());
    take_codes(r, book, out.codes, levels, l, next, &q);
    squares += sum_of_squares(next);
    out.residuals.push_back(r);
    after.push_back(next);
    r = next;
  }

  const double beta = options_.commitment, learnt = options_.moving_average ? 0.0 : 1.0;
  const double share = 1.0 / static_cast<double>(std::max<std::int64_t>(1, z.numel()));
  const Tensor books = options_.moving_average ? codebooks_.value.detach() : codebooks_();
  const double earlier = options_.gradient_through_codes ? beta : 0.0;
  out.loss = record("quantizer_loss", Tensor::scalar((learnt + beta) * squares * share, z.dtype()), {&z, &books},
                    [after, codes = out.codes, beta, earlier, share](const Tensor& dy, Grads& dx) {
                      const double factor = 2.0 * share * dy.item();
                      if (dx[0]) add_commitment(after, factor * beta, dx[0]);
                      if (dx[1]) add_codebook(after, codes, -factor, -factor * earlier, dx[1]);
                    });
  out.vectors =
      record("quantizer", q, {&z}, [z = z.detach(), q, rotation = options_.rotation](const Tensor& dy, Grads& dx) {
        dx[0].add(rotation ? rotated_gradient(z, q, dy) : dy);
      });
  return out;
}

std::vector<std::int32_t> ResidualQuantizer::encode(const Tensor& z) const {
  check(z.columns() == options_.width, "residual_quantizer: z ", z.shape().text(), ", expected width ", options_.width);
  const int levels = options_.levels;
  std::vector<std::int32_t> codes(static_cast<std::size_t>(z.rows() * levels));
  Tensor r = z.detach();
  for (int l = 0; l < levels; ++l) {
    const auto code = nearest_code(r, codebook(l));
    for (std::size_t i = 0; i < code.size(); ++i)
      codes[i * static_cast<std::size_t>(levels) + static_cast<std::size_t>(l)] = code[i];
    if (l + 1 == levels) break;
    Tensor next(z.shape(), z.dtype());
    take_codes(r, codebook(l), codes, levels, l, next, nullptr);
    r = next;
  }
  return codes;
}

Tensor ResidualQuantizer::decode(std::span<const std::int32_t> codes, int levels) const {
  const auto width = static_cast<std::size_t>(options_.levels);
  check(codes.size() % width == 0, "residual_quantizer: ", codes.size(), " codes are no multiple of ", width,
        " levels");
  check(levels >= 0 && levels <= options_.levels, "residual_quantizer: ", levels, " levels, expected 0 .. ",
        options_.levels);
  const auto rows = static_cast<std::int64_t>(codes.size() / width);
  Tensor out = Tensor::zeros({rows, options_.width}, codebooks_.value.dtype());
  for (std::size_t i = 0; i < codes.size(); ++i)
    check(codes[i] >= -1 && codes[i] < options_.codes, "residual_quantizer: code ", codes[i], ", expected -1 .. ",
          options_.codes - 1);
  dispatch_float("residual_quantizer", out.dtype(), [&](auto type) {
    using T = decltype(type);
    parallel_rows(rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        for (int l = 0; l < levels; ++l) {
          const std::int32_t code = codes[static_cast<std::size_t>(i) * width + static_cast<std::size_t>(l)];
          if (code < 0) continue;
          const T* e = codebooks_.value.template data<T>() +
                       (static_cast<std::int64_t>(l) * options_.codes + code) * options_.width;
          T* to = out.template data<T>() + i * options_.width;
          for (std::int64_t j = 0; j < options_.width; ++j) to[j] += e[j];
        }
    });
  });
  return out;
}

Tensor ResidualQuantizer::last_level_distances(const Tensor& z) const {
  const int last = options_.levels - 1;
  const auto codes = encode(z);
  Tensor r = z.detach();
  for (int l = 0; l < last; ++l) {
    Tensor next(z.shape(), z.dtype());
    take_codes(r, codebook(l), codes, options_.levels, l, next, nullptr);
    r = next;
  }
  return squared_distances(r, codebook(last));
}

void ResidualQuantizer::seed(const Tensor& z, const KMeansOptions& options, const FitContext& context,
                             const std::string& name) {
  KMeansOptions level_options = options;
  level_options.codes = options_.codes;
  Tensor r = z.detach();
  for (int l = 0; l < options_.levels; ++l) {
    const KMeans found = kmeans(r, level_options, context, str(name, "/", l));
    codebook(l).copy_from(found.centres);
    Tensor next(z.shape(), z.dtype());
    take_codes(r, found.centres, found.codes, 1, 0, next, nullptr);
    r = next;
  }
  average_count_ = average_sum_ = {};
}

void ResidualQuantizer::update_averages(const Output& output) {
  const std::int64_t codes = options_.codes, width = options_.width, rows = output.residuals[0].rows();
  const auto levels = static_cast<std::int64_t>(options_.levels);
  const bool first = !average_count_;
  if (first) {  // as if each code had seen one row: itself
    average_count_ = Tensor::full({levels * codes}, 1.0);
    average_sum_ = codebooks_.value.clone().reshape({levels * codes, width});
  }
  const auto decay = static_cast<float>(options_.decay);
  parallel_for(levels, [&](std::int64_t level) {
    std::vector<float> count(static_cast<std::size_t>(codes), 0.0f), sum(static_cast<std::size_t>(codes * width), 0.0f);
    const float* r = output.residuals[static_cast<std::size_t>(level)].data<float>();
    for (std::int64_t i = 0; i < rows; ++i) {
      const std::int32_t code = output.codes[static_cast<std::size_t>(i * levels + level)];
      ++count[static_cast<std::size_t>(code)];
      for (std::int64_t j = 0; j < width; ++j) sum[static_cast<std::size_t>(code * width + j)] += r[i * width + j];
    }
    float* n = average_count_.data<float>() + level * codes;
    float* m = average_sum_.data<float>() + level * codes * width;
    float* e = codebooks_.value.data<float>() + level * codes * width;
    for (std::int64_t k = 0; k < codes; ++k) {
      n[k] = decay * n[k] + (1 - decay) * count[static_cast<std::size_t>(k)];
      for (std::int64_t j = k * width; j < (k + 1) * width; ++j) {
        m[j] = decay * m[j] + (1 - decay) * sum[static_cast<std::size_t>(j)];
        e[j] = m[j] / std::max(n[k], 1e-5f);
      }
    }
  });
}

std::vector<std::int64_t> ResidualQuantizer::revive(std::span<const std::int64_t> hits, const Output& output,
                                                    std::uint64_t seed, std::uint64_t step) {
  std::vector<std::int64_t> revived;
  const std::int64_t codes = options_.codes, width = options_.width, rows = output.residuals[0].rows();
  if (rows == 0) return revived;
  for (std::int64_t l = 0; l < options_.levels; ++l) {
    const Tensor& r = output.residuals[static_cast<std::size_t>(l)];
    const double noise = 1e-2 * std::sqrt(sum_of_squares(r) / static_cast<double>(r.numel()));
    for (std::int64_t k = 0; k < codes; ++k) {
      const std::int64_t at = l * codes + k;
      if (hits[static_cast<std::size_t>(at)] != 0) continue;
      Random random(seed, stream_of(str("revive/", step, "/", at)));
      const float* from = r.data<float>() + random.below(rows) * width;
      float* e = codebooks_.value.data<float>() + at * width;
      for (std::int64_t j = 0; j < width; ++j) e[j] = from[j] + static_cast<float>(noise * random.normal());
      if (average_count_) {
        average_count_.data<float>()[at] = 1.0f;
        std::copy_n(e, width, average_sum_.data<float>() + at * width);
      }
      revived.push_back(at);
    }
  }
  return revived;
}

}  // namespace tessera
