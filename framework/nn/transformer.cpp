#include "framework/nn/transformer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "tensor/ops/dropout/dropout.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"

namespace tessera {
namespace {

std::int64_t length(std::span<const std::int64_t> offset, std::int64_t row) {
  return offset[static_cast<std::size_t>(row) + 1] - offset[static_cast<std::size_t>(row)];
}

// Where the rows of [old | news] lie once each sequence's news stand behind its old rows.
std::vector<std::int32_t> merged_rows(std::span<const std::int64_t> old, std::span<const std::int64_t> news) {
  std::vector<std::int32_t> rows;
  rows.reserve(static_cast<std::size_t>(old.back() + news.back()));
  for (std::size_t b = 0; b + 1 < old.size(); ++b) {
    for (std::int64_t i = old[b]; i < old[b + 1]; ++i) rows.push_back(static_cast<std::int32_t>(i));
    for (std::int64_t i = news[b]; i < news[b + 1]; ++i) rows.push_back(static_cast<std::int32_t>(old.back() + i));
  }
  return rows;
}

// Offsets (B + 1) of continuations, `fresh` rows each, by the memory's row that each looks at.
std::vector<std::int64_t> by_memory(std::span<const std::int32_t> row, std::int64_t fresh, std::size_t offsets) {
  check(std::is_sorted(row.begin(), row.end()),
        "transformer: continuations over a memory must be in order of its rows");
  std::vector<std::int64_t> by_row(offsets, 0);
  for (const std::int32_t r : row) by_row[static_cast<std::size_t>(r) + 1] += fresh;
  for (std::size_t b = 1; b < by_row.size(); ++b) by_row[b] += by_row[b - 1];
  return by_row;
}

// Adds share * softmax(scale q . k) over the keys (n, heads * width), each head after head.
void add_softmax(const double* query, const double* keys, std::int64_t n, std::int64_t heads, std::int64_t width,
                 double share, std::vector<double>& sum) {
  std::vector<double> score(static_cast<std::size_t>(n));
  for (std::int64_t h = 0; h < heads; ++h) {
    for (std::int64_t j = 0; j < n; ++j) {
      const double* key = keys + (j * heads + h) * width;
      score[static_cast<std::size_t>(j)] =
          std::inner_product(key, key + width, query + h * width, 0.0) / std::sqrt(static_cast<double>(width));
    }
    const double top = *std::max_element(score.begin(), score.end());
    double total = 0.0;
    for (double& s : score) total += s = std::exp(s - top);
    for (std::size_t j = 0; j < score.size(); ++j) sum[j] += share * score[j] / total;
  }
}

}  // namespace

TransformerBlock::TransformerBlock(const TransformerOptions& o)
    : options_(o),
      attention_norm_(o.width, o.norm, o.bias),
      qkv_(o.width, 3 * o.inner(), o.bias, normal(o.deviation)),
      out_(o.inner(), o.width, o.bias, normal(o.deviation)),
      ffn_norm_(o.width, o.norm, o.bias),
      ffn_(o.width, o.ffn, o.activation, o.bias, normal(o.deviation)) {
  add_module("attention.norm", attention_norm_);
  add_module("attention.qkv", qkv_);
  add_module("attention.out", out_);
  if (o.cross) {
    cross_norm_ = std::make_unique<Norm>(o.width, o.norm, o.bias);
    add_module("cross.norm", *cross_norm_);
    const auto projection = [&](std::unique_ptr<Linear>& linear, const char* name, int in, int out) {
      linear = std::make_unique<Linear>(in, out, o.bias, normal(o.deviation));
      add_module(name, *linear);
    };
    projection(cross_query_, "cross.query", o.width, o.inner());
    projection(cross_key_, "cross.key", o.width, o.inner());
    projection(cross_value_, "cross.value", o.width, o.inner());
    projection(cross_out_, "cross.out", o.inner(), o.width);
  }
  add_module("ffn.norm", ffn_norm_);
  add_module("ffn", ffn_);
}

TransformerBlock::~TransformerBlock() = default;

Tensor TransformerBlock::qkv(const Tensor& x) { return qkv_(attention_norm_(x)); }

Tensor TransformerBlock::after_attention(const Tensor& x, const Tensor& attended) {
  return add_dropout(x, out_(attended), options_.dropout);
}

Tensor TransformerBlock::cross_attend(const Tensor& x, std::span<const std::int64_t> offset, const Tensor& key,
                                      const Tensor& value, std::span<const std::int64_t> memory_offset) {
  AttentionOptions options;
  options.heads = options_.heads;
  options.mask = AttentionMask::bidirectional;
  const Tensor query = (*cross_query_)((*cross_norm_)(x));
  return add_dropout(x, (*cross_out_)(attention(query, key, value, offset, memory_offset, options)), options_.dropout);
}

Tensor TransformerBlock::feed_forward(const Tensor& x) { return add_dropout(x, ffn_(ffn_norm_(x)), options_.dropout); }

void TransformerBlock::weigh_memory(const Tensor& x, std::span<const std::int64_t> offset, const Tensor& key,
                                    std::span<const std::int64_t> memory_offset, double share,
                                    std::vector<std::vector<double>>& weight) {
  const Tensor query = (*cross_query_)((*cross_norm_)(x)).to(DType::f64), keys = key.to(DType::f64);
  weight.resize(static_cast<std::size_t>(x.rows()));
  for (std::size_t b = 0; b + 1 < offset.size(); ++b) {
    const std::int64_t n = length(memory_offset, static_cast<std::int64_t>(b));
    for (std::int64_t i = offset[b]; i < offset[b + 1] && n > 0; ++i) {
      std::vector<double>& sum = weight[static_cast<std::size_t>(i)];
      sum.resize(static_cast<std::size_t>(n), 0.0);
      add_softmax(query.data<double>() + i * query.columns(), keys.data<double>() + memory_offset[b] * keys.columns(),
                  n, options_.heads, query.columns() / options_.heads, share / options_.heads, sum);
    }
  }
}

Tensor TransformerBlock::memory_keys(const Tensor& memory) { return (*cross_key_)(memory); }
Tensor TransformerBlock::memory_values(const Tensor& memory) { return (*cross_value_)(memory); }

Transformer::Transformer(const TransformerOptions& options) : options_(options) {
  check(options.head_width > 0 || options.width % options.heads == 0, "transformer: width ", options.width,
        " is not divisible by ", options.heads, " heads; give head_width");
  for (int l = 0; l < options.layers; ++l) {
    blocks_.push_back(std::make_unique<TransformerBlock>(options));
    add_module("blocks." + std::to_string(l), *blocks_.back());
  }
  if (options.buckets > 0)
    relative_bias_ =
        &add_parameter("relative_bias", {options.buckets, options.heads}, normal(options.deviation), false);
  if (options.final_norm) {
    final_norm_ = std::make_unique<Norm>(options.width, options.norm, options.bias);
    add_module("norm", *final_norm_);
  }
}

Transformer::~Transformer() = default;

AttentionOptions Transformer::attention_options(bool already_rotated) {
  AttentionOptions options;
  options.heads = options_.heads;
  options.mask = options_.causal ? AttentionMask::causal : AttentionMask::bidirectional;
  options.rope_base = already_rotated ? 0.0 : options_.rope_base;
  options.max_distance = options_.max_distance;
  if (relative_bias_) options.relative_bias = (*relative_bias_)();
  return options;
}

std::pair<Tensor, Tensor> Transformer::before_last(const Tensor& x, std::span<const std::int64_t> offset,
                                                   TransformerCache* cache) {
  const AttentionOptions options = attention_options(false);
  Tensor y = x, qkv;
  if (cache) cache->offset.assign(offset.begin(), offset.end());
  for (std::size_t l = 0; l < blocks_.size(); ++l) {
    if (l > 0)
      y = blocks_[l - 1]->feed_forward(blocks_[l - 1]->after_attention(y, self_attention(qkv, offset, options)));
    qkv = blocks_[l]->qkv(y);
    if (cache) cache->qkv.push_back(qkv.detach());
  }
  return {y, qkv};
}

Tensor Transformer::operator()(const Tensor& x, std::span<const std::int64_t> offset, TransformerCache* cache) {
  const auto [y, qkv] = before_last(x, offset, cache);
  TransformerBlock& last = *blocks_.back();
  return finish(last.feed_forward(last.after_attention(y, self_attention(qkv, offset, attention_options(false)))));
}

Tensor Transformer::last_states(const Tensor& x, std::span<const std::int64_t> offset, TransformerCache* cache) {
  check(options_.causal && !options_.cross, "transformer: last_states() is for causal stacks without a memory");
  const auto [y, qkv] = before_last(x, offset, cache);
  // An empty sequence has no query; its zeros come from the row -1 in the end.
  std::vector<std::int32_t> rows, place;
  std::vector<std::int64_t> queries{0};
  for (std::size_t b = 0; b + 1 < offset.size(); ++b) {
    const bool empty = offset[b + 1] == offset[b];
    place.push_back(empty ? -1 : static_cast<std::int32_t>(rows.size()));
    if (!empty) rows.push_back(static_cast<std::int32_t>(offset[b + 1] - 1));
    queries.push_back(static_cast<std::int64_t>(rows.size()));
  }
  const int inner = options_.inner();
  const Tensor query = gather_rows(slice_columns(qkv, 0, inner), rows);
  const Tensor attended =
      attention(query, slice_columns(qkv, inner, 2 * inner), slice_columns(qkv, 2 * inner, 3 * inner), queries, offset,
                attention_options(false));
  TransformerBlock& last = *blocks_.back();
  return gather_rows(finish(last.feed_forward(last.after_attention(gather_rows(y, rows), attended))), place);
}

Tensor Transformer::operator()(const Tensor& x, std::span<const std::int64_t> offset, const Tensor& memory,
                               std::span<const std::int64_t> memory_offset) {
  const AttentionOptions options = attention_options(false);
  Tensor y = x;
  for (auto& block : blocks_) {
    y = block->after_attention(y, self_attention(block->qkv(y), offset, options));
    y = block->cross_attend(y, offset, block->memory_keys(memory), block->memory_values(memory), memory_offset);
    y = block->feed_forward(y);
  }
  return finish(y);
}

Tensor Transformer::rotated(const Tensor& rows, std::span<const std::int64_t> offset,
                            std::span<const std::int64_t> start) const {
  return options_.rope_base > 0.0 ? rotate_keys(rows, offset, start, options_.heads, options_.rope_base) : rows;
}

// Keys and values are cut out of qkv only when somebody continues: most encodings are never continued.
void Transformer::cut_keys(TransformerCache& cache) const {
  const int inner = options_.inner();
  for (const Tensor& qkv : cache.qkv) {
    cache.key.push_back(rotated(slice_columns(qkv, inner, 2 * inner), cache.offset, {}));
    cache.value.push_back(slice_columns(qkv, 2 * inner, 3 * inner));
  }
  cache.qkv.clear();
}

Tensor Transformer::append(const Tensor& x, std::span<const std::int64_t> offset, TransformerCache& cache) {
  cut_keys(cache);
  const AttentionOptions options = attention_options(true);
  const int inner = options_.inner();
  const std::vector<std::int32_t> order = merged_rows(cache.offset, offset);
  std::vector<std::int64_t> start(offset.size() - 1), merged(cache.offset);
  for (std::size_t b = 0; b < start.size(); ++b) start[b] = length(cache.offset, static_cast<std::int64_t>(b));
  for (std::size_t b = 0; b < merged.size(); ++b) merged[b] += offset[b];
  Tensor y = x;
  for (std::size_t l = 0; l < blocks_.size(); ++l) {
    const Tensor qkv = blocks_[l]->qkv(y);
    const Tensor query = rotated(slice_columns(qkv, 0, inner), offset, start);
    const Tensor key = rotated(slice_columns(qkv, inner, 2 * inner), offset, start);
    cache.key[l] = gather_rows(concat_rows({cache.key[l], key}), order);
    cache.value[l] = gather_rows(concat_rows({cache.value[l], slice_columns(qkv, 2 * inner, 3 * inner)}), order);
    const Tensor attended = attention(query, cache.key[l], cache.value[l], offset, merged, options);
    y = blocks_[l]->feed_forward(blocks_[l]->after_attention(y, attended));
  }
  cache.offset = merged;
  return finish(y);
}

void Transformer::remember(const Tensor& memory, std::span<const std::int64_t> memory_offset, TransformerCache& cache) {
  cache.memory_offset.assign(memory_offset.begin(), memory_offset.end());
  cache.offset.assign(memory_offset.size(), 0);
  for (auto& block : blocks_) {
    cache.memory_key.push_back(block->memory_keys(memory));
    cache.memory_value.push_back(block->memory_values(memory));
    cache.key.emplace_back(Shape{0, options_.inner()}, memory.dtype());
    cache.value.emplace_back(Shape{0, options_.inner()}, memory.dtype());
  }
}

Tensor Transformer::extend(const Tensor& x, std::span<const std::int32_t> row, std::span<const std::int32_t> parent,
                           TransformerCache& cache, const TransformerBranches* previous,
                           TransformerBranches& branches) {
  cut_keys(cache);
  const auto count = static_cast<std::int64_t>(row.size());
  const std::int64_t fresh = count > 0 ? x.rows() / count : 0;
  const int inner = options_.inner(), before = previous ? previous->rows : 0;
  check(fresh * count == x.rows(), "transformer: ", x.rows(), " rows for ", count, " continuations");
  check(!previous || parent.size() == row.size(), "transformer: ", parent.size(), " parents for ", count,
        " continuations");
  const AttentionOptions options = attention_options(false);
  const auto by_row = options_.cross ? by_memory(row, fresh, cache.memory_offset.size()) : std::vector<std::int64_t>();
  branches.row.assign(row.begin(), row.end());
  branches.rows = before + static_cast<int>(fresh);
  branches.key.resize(blocks_.size());
  branches.value.resize(blocks_.size());
  Tensor y = x;
  for (std::size_t l = 0; l < blocks_.size(); ++l) {
    const Tensor qkv = blocks_[l]->qkv(y);
    const Tensor query = slice_columns(qkv, 0, inner);
    // The newest keys and values of a part of qkv, behind those of the continuation that each goes on from.
    const auto grown = [&](int part, const std::vector<Tensor>* old) {
      if (old && fresh == 1) return grow_columns((*old)[l], parent, qkv, part * inner, (part + 1) * inner);
      const Tensor newest = slice_columns(qkv, part * inner, (part + 1) * inner).reshape({count, fresh * inner});
      return old ? concat_columns({gather_rows((*old)[l], parent), newest}) : newest;
    };
    const Tensor key = grown(1, previous ? &previous->key : nullptr),
                 value = grown(2, previous ? &previous->value : nullptr);
    branches.key[l] = key;
    branches.value[l] = value;
    const auto attend = [&](const Tensor& q, int own) {
      const Shape rows{count * own, inner};
      const auto newest = [&](const Tensor& all) {
        return (own < branches.rows ? slice_columns(all, 0, own * inner) : all).reshape(rows);
      };
      return extend_attention(q, newest(key), newest(value), own, cache.key[l], cache.value[l], cache.offset, row,
                              options);
    };
    Tensor attended;
    if (before == 0 || fresh == 1) {
      attended = attend(query, branches.rows);
    } else {  // several rows behind older ones: one row of each continuation at a time
      std::vector<Tensor> parts;
      const Tensor by_branch = query.reshape({count, fresh * inner});
      for (int j = 0; j < fresh; ++j)
        parts.push_back(attend(slice_columns(by_branch, j * inner, (j + 1) * inner), before + j + 1));
      attended = concat_columns(parts).reshape({count * fresh, inner});
    }
    y = blocks_[l]->after_attention(y, attended);
    if (options_.cross && branches.weighs)
      blocks_[l]->weigh_memory(y, by_row, cache.memory_key[l], cache.memory_offset, 1.0 / options_.layers,
                               branches.memory_weight);
    if (options_.cross)
      y = blocks_[l]->cross_attend(y, by_row, cache.memory_key[l], cache.memory_value[l], cache.memory_offset);
    y = blocks_[l]->feed_forward(y);
  }
  return finish(y);
}

}  // namespace tessera
