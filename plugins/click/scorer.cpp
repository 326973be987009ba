#include "plugins/click/scorer.h"

#include <algorithm>
#include <bit>

#include "framework/nn/independent_rows.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"
#include "tensor/ops/dropout/dropout.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"
#include "tensor/ops/matmul/matmul.h"

namespace tessera {
namespace {

constexpr int kLengths = 16;  // 0, 1, 2 .. 3, 4 .. 7, and so on

}  // namespace

ClickScorer::ClickScorer(const ClickOptions& options, int width, const Dataset& data)
    : options_(options), activation_(parse_activation(options.activation)) {
  const auto table = [&](std::unique_ptr<Embedding>& to, const char* name, std::int64_t rows, std::int64_t columns,
                         Initializer values) {
    to = std::make_unique<Embedding>(rows, columns, std::move(values));
    add_module(name, *to);
  };
  std::int64_t in = width;
  if (options.user_buckets > 0) {
    table(users_, "users", options.user_buckets, options.user_width, normal(options.deviation));
    in += options.user_width;
  }
  if (options.length_width > 0) {
    table(lengths_, "lengths", kLengths, options.length_width, normal(options.deviation));
    in += options.length_width;
  }
  if (options.item_bias) table(bias_, "item_bias", data.item_count(), 1, constant(0.0));
  if (options.item_rate > 0.0) {
    rates_ = std::make_unique<ItemRates>(data, options.item_rate);
    rate_weight_ = &add_parameter("item_rate", {1}, constant(1.0), false);
  }
  for (std::size_t i = 0; i <= options.hidden.size(); ++i) {
    const std::int64_t out = i < options.hidden.size() ? options.hidden[i] : 1;
    layers_.push_back(std::make_unique<Linear>(in, out));
    add_module(str("layers.", i), *layers_.back());
    in = out;
  }
}

ClickScorer::~ClickScorer() = default;

Tensor ClickScorer::logits(const ClickRows& rows) {
  std::vector<Tensor> parts{rows.state};
  if (users_) {
    std::vector<std::int32_t> bucket(rows.user.size());
    for (std::size_t i = 0; i < bucket.size(); ++i)
      bucket[i] = rows.user[i] < 0 ? -1
                                   : static_cast<std::int32_t>(philox(0, stream_of("click/user"),
                                                                      static_cast<std::uint64_t>(rows.user[i]))[0] %
                                                               static_cast<std::uint32_t>(options_.user_buckets));
    parts.push_back((*users_)(bucket));
  }
  if (lengths_) {
    std::vector<std::int32_t> bucket(rows.length.size());
    for (std::size_t i = 0; i < bucket.size(); ++i)
      bucket[i] = std::min(kLengths - 1, static_cast<int>(std::bit_width(static_cast<std::uint32_t>(rows.length[i]))));
    parts.push_back((*lengths_)(bucket));
  }
  Tensor x = parts.size() == 1 ? rows.state : concat_columns(parts);
  const auto network = [&](Tensor y) {
    for (std::size_t i = 0; i < layers_.size(); ++i)
      y = (*layers_[i])(dropout(y, options_.dropout), i + 1 < layers_.size() ? activation_ : Activation::none);
    return y;
  };
  const auto count = static_cast<std::int64_t>(rows.item.size());
  x = Tape::current() ? network(x) : independent_rows(count, [&](std::span<const std::int32_t> chosen) {
    return network(gather_rows(x, chosen));
  });
  x = x.reshape({count});
  // Straight to the logit: what is counted needs no network, and no dropout may hide it.
  if (rates_) {
    const Tensor rate = rates_->log_odds(rows.item, rows.time, x.dtype()).reshape({count, 1});
    x = add(x, matmul(rate, (*rate_weight_)().reshape({1, 1})).reshape({count}));
  }
  return bias_ ? add(x, (*bias_)(rows.item).reshape({count})) : x;
}

}  // namespace tessera
