#include "plugins/generative_decoder/code_table.h"

#include <algorithm>

#include "tensor/core/random.h"
#include "tensor/ops/cross_entropy/cross_entropy.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"
#include "tensor/ops/matmul/matmul.h"
#include "tensor/ops/norm/norm.h"

namespace tessera {

CodeTable::CodeTable(const Catalog& catalog, int width, const GenerativeOptions& options)
    : catalog_(catalog), width_(width), options_(options), shared_(options.vocabulary == "shared") {
  const auto levels = static_cast<std::size_t>(catalog.levels());
  const auto codes = catalog.codes();
  for (std::size_t l = 0; l < levels; ++l) {
    bool absent = false;
    for (std::size_t i = l; i < codes.size(); i += levels) absent = absent || codes[i] < 0;
    classes_.push_back(catalog.level(static_cast<int>(l)).codes + (absent ? 1 : 0));
    offset_.push_back(offset_.back() + classes_.back());
  }
  for (std::size_t i = 0; i < codes.size(); ++i) tokens_.push_back(class_of(static_cast<int>(i % levels), codes[i]));
  const Initializer table = normal(options.deviation);
  read_ = std::make_unique<Embedding>(offset_.back(), width, table);
  add_module("codes", *read_);
  if (!options.tie) {
    write_ = std::make_unique<Embedding>(offset_.back(), width, table);
    add_module("output", *write_);
  }
  if (options.output_bias && !options.normalize) bias_ = &add_parameter("output.bias", {offset_.back()}, constant(0.0), false);
  if (options.form == "cross") start_ = &add_parameter("start", {1, width}, table);
}

CodeTable::~CodeTable() = default;

std::int32_t CodeTable::class_of(int level, std::int32_t code) const {
  const auto l = static_cast<std::size_t>(level);
  return offset_[l] + (code < 0 ? classes_[l] - 1 : code);
}

Tensor CodeTable::vectors(std::span<const std::int32_t> items) {
  const auto levels = static_cast<std::size_t>(this->levels());
  std::vector<std::int32_t> tokens(items.size() * levels, -1);
  for (std::size_t i = 0; i < items.size(); ++i)
    for (std::size_t l = 0; items[i] >= 0 && l < levels; ++l)
      tokens[i * levels + l] = tokens_[static_cast<std::size_t>(items[i]) * levels + l];
  TrainingScope* scope = TrainingScope::current();
  if (scope && options_.token_dropout > 0.0) {
    Random random(scope->seed(), scope->next_stream());
    for (auto& token : tokens)
      if (random.uniform() < options_.token_dropout) token = -1;
  }
  return read_->sum(tokens, this->levels());
}

Tensor CodeTable::all() { return read_->sum(tokens_, levels()); }

Tensor CodeTable::read(int level, std::span<const std::int32_t> codes) {
  std::vector<std::int32_t> rows(codes.size());
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = class_of(level, codes[i]);
  return (*read_)(rows);
}

Tensor CodeTable::start(std::int64_t rows) {
  return embedding((*start_)(), std::vector<std::int32_t>(static_cast<std::size_t>(rows), 0));
}

std::vector<std::int32_t> CodeTable::targets(int level, std::span<const std::int32_t> items) const {
  std::vector<std::int32_t> targets(items.size());
  const auto levels = static_cast<std::size_t>(this->levels());
  for (std::size_t i = 0; i < items.size(); ++i)
    targets[i] = tokens_[static_cast<std::size_t>(items[i]) * levels + static_cast<std::size_t>(level)] - first(level);
  return targets;
}

std::vector<std::int32_t> CodeTable::codes(int level, std::span<const std::int32_t> items) const {
  std::vector<std::int32_t> codes(items.size());
  for (std::size_t i = 0; i < items.size(); ++i) codes[i] = catalog_.codes_of(items[i])[static_cast<std::size_t>(level)];
  return codes;
}

Tensor CodeTable::queries(const Tensor& query) const {
  const Tensor q = options_.normalize ? l2_normalize(query) : query;
  return options_.temperature == 1.0 ? q : scale(q, 1.0 / options_.temperature);
}

Tensor CodeTable::output_rows(int level) {
  const Tensor table = (write_ ? *write_ : *read_).all();
  const bool whole = first(level) == 0 && end(level) == offset_.back();
  const Tensor rows = whole ? table : slice_rows(table, first(level), end(level));
  return options_.normalize ? l2_normalize(rows) : rows;
}

Tensor CodeTable::output_bias(int level) {
  if (!bias_) return {};
  const Tensor bias = (*bias_)();
  return first(level) == 0 && end(level) == offset_.back() ? bias : slice_rows(bias, first(level), end(level));
}

Tensor CodeTable::loss(int level, const Tensor& query, std::span<const std::int32_t> targets) {
  return linear_cross_entropy(queries(query), output_rows(level), output_bias(level), targets, options_.label_smoothing);
}

Tensor CodeTable::logits(int level, const Tensor& query) {
  const Tensor scores = matmul(queries(query), output_rows(level), false, true);
  const Tensor bias = output_bias(level);
  return bias ? add(scores, bias) : scores;
}

std::int64_t CodeTable::column(int level, std::int32_t code) const { return class_of(level, code) - first(level); }

}  // namespace tessera
