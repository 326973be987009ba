#include "plugins/generative_decoder/code_table.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "plugins/generative_decoder/first_vectors.h"
#include "tensor/core/dispatch.h"
#include "tensor/core/random.h"
#include "tensor/ops/cross_entropy/cross_entropy.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"
#include "tensor/ops/matmul/matmul.h"
#include "tensor/ops/norm/norm.h"
#include "tensor/ops/range_cross_entropy/range_cross_entropy.h"
#include "tensor/ops/softmax/softmax.h"

namespace tessera {

CodeTable::CodeTable(const Catalog& catalog, int width, const GenerativeOptions& options,
                     std::span<const std::int64_t> counts)
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
  const Trie& trie = catalog.trie();
  first_node_.assign(1, 0);
  for (int depth = 0; depth <= catalog.levels(); ++depth) {
    first_node_.push_back(first_node_.back() + trie.nodes_at(depth));
    node_class_.emplace_back(static_cast<std::size_t>(trie.nodes_at(depth)));
  }
  for (std::int32_t item = 0; item < catalog.items(); ++item) {
    std::int32_t node = trie.root();
    nodes_.push_back(node);
    for (int l = 0; l < catalog.levels(); ++l) {
      nodes_.push_back(node = trie.child(node, catalog.codes_of(item)[static_cast<std::size_t>(l)]));
      node_class_[static_cast<std::size_t>(l) + 1]
                 [static_cast<std::size_t>(node - first_node_[static_cast<std::size_t>(l) + 1])] = token(item, l);
    }
  }
  if (options.legal) count_taught(counts);
  // Made when the tables begin, not when they are loaded.
  const auto first = [&](Tensor FirstVectors::*part, int depth) {
    if (options.init == "normal") return normal(options.deviation);
    return Initializer([this, part, depth](Tensor& x, std::uint64_t, std::uint64_t) {
      x.copy_from((first_vectors(depth).*part).to(x.dtype()));
    });
  };
  const auto add_table = [&](const std::string& name, std::int64_t rows, const Initializer& begin) {
    auto made = std::make_unique<Embedding>(rows, width, begin);
    add_module(name, *made);
    return made;
  };
  read_ = add_table("codes", offset_.back(), first(&FirstVectors::codes, 0));
  if (!options.tie) write_ = add_table("output", offset_.back(), first(&FirstVectors::codes, 0));
  for (const std::int64_t length : options.input_prefixes) {
    const int depth = static_cast<int>(length);
    input_nodes_[depth] =
        add_table(str("input_prefixes.", depth), trie.nodes_at(depth), first(&FirstVectors::input, depth));
  }
  for (const std::int64_t length : options.output_prefixes) {
    const int depth = static_cast<int>(length);
    output_nodes_[depth] =
        add_table(str("output_prefixes.", depth), trie.nodes_at(depth), first(&FirstVectors::output, depth));
  }
  if (options.output_bias && !options.normalize)
    bias_ = &add_parameter("output.bias", {offset_.back()}, constant(0.0), false);
  if (options.form == "cross") start_ = &add_parameter("start", {1, width}, normal(options.deviation));
}

CodeTable::~CodeTable() = default;

void CodeTable::count_taught(std::span<const std::int64_t> counts) {
  std::vector<std::uint8_t> taught(static_cast<std::size_t>(catalog_.trie().nodes()), 0);
  for (std::int32_t item = 0; item < catalog_.items(); ++item)
    for (int depth = 0; depth <= levels() && counts[static_cast<std::size_t>(item)] > 0; ++depth)
      taught[static_cast<std::size_t>(node(item, depth))] = 1;
  taught_before_.assign(1, 0);
  for (const std::uint8_t one : taught) taught_before_.push_back(taught_before_.back() + one);
  for (std::size_t depth = 0; depth + 1 < first_node_.size(); ++depth) {
    taught_rows_.emplace_back();
    for (std::int32_t node = first_node_[depth]; node < first_node_[depth + 1]; ++node)
      if (this->taught(node)) taught_rows_.back().push_back(node - first_node_[depth]);
  }
}

std::vector<std::int32_t> CodeTable::nodes_of_items(int depth) const {
  std::vector<std::int32_t> out;
  for (std::int32_t item = 0; item < catalog_.items(); ++item)
    out.push_back(node(item, depth) - first_node_[static_cast<std::size_t>(depth)]);
  return out;
}

CodeTable::FirstVectors CodeTable::first_vectors(int wanted) const {
  FirstVectors out;
  const Tensor items = spread_vectors(catalog_.item_vectors(), options_.deviation);
  Tensor rest = items;
  out.codes = Tensor::zeros({offset_.back(), width_}, DType::f32);
  std::vector<std::int32_t> classes(static_cast<std::size_t>(catalog_.items()));
  for (int l = 0; l < levels(); ++l) {
    for (std::size_t i = 0; i < classes.size(); ++i) classes[i] = token(static_cast<std::int32_t>(i), l);
    const Tensor level = group_means(rest, classes, offset_.back());
    const std::int64_t from = offset_[static_cast<std::size_t>(l)], to = offset_[static_cast<std::size_t>(l) + 1];
    out.codes.row_range(from, to).copy_from(level.row_range(from, to));
    rest = subtract(rest, gather_rows(level, classes));
  }
  const auto means = [&](const Tensor& x, int depth) {
    return group_means(x, nodes_of_items(depth), catalog_.trie().nodes_at(depth));
  };
  for (const auto& [depth, table] : input_nodes_) {
    out.input = means(rest, depth);
    if (depth == wanted) break;
    rest = subtract(rest, gather_rows(out.input, nodes_of_items(depth)));
  }
  if (output_nodes_.contains(wanted))
    out.output = subtract(means(items, wanted), gather_rows(out.codes, node_class_[static_cast<std::size_t>(wanted)]));
  return out;
}

std::int32_t CodeTable::class_of(int level, std::int32_t code) const {
  const auto l = static_cast<std::size_t>(level);
  return offset_[l] + (code < 0 ? classes_[l] - 1 : code);
}

Tensor CodeTable::item_vectors(std::span<const std::int32_t> items, bool training) {
  const auto levels = static_cast<std::size_t>(this->levels());
  std::vector<std::int32_t> tokens(items.size() * levels, -1);
  for (std::size_t i = 0; i < items.size(); ++i)
    for (std::size_t l = 0; items[i] >= 0 && l < levels; ++l)
      tokens[i * levels + l] = token(items[i], static_cast<int>(l));
  TrainingScope* scope = training ? TrainingScope::current() : nullptr;
  if (scope && options_.token_dropout > 0.0) {
    Random random(scope->seed(), scope->next_stream());
    for (auto& token : tokens)
      if (random.uniform() < options_.token_dropout) token = -1;
  }
  Tensor sum = read_->sum(tokens, this->levels());
  for (auto& [depth, table] : input_nodes_) {
    std::vector<std::int32_t> rows(items.size(), -1);
    for (std::size_t i = 0; i < items.size(); ++i)
      if (items[i] >= 0) rows[i] = node(items[i], depth) - first_node_[static_cast<std::size_t>(depth)];
    sum = add(sum, (*table)(rows));
  }
  return sum;
}

Tensor CodeTable::vectors(std::span<const std::int32_t> items) { return item_vectors(items, true); }

Tensor CodeTable::all() {
  std::vector<std::int32_t> items(static_cast<std::size_t>(catalog_.items()));
  std::iota(items.begin(), items.end(), 0);
  return item_vectors(items, false);
}

Tensor CodeTable::read(int level, std::span<const std::int32_t> codes) {
  std::vector<std::int32_t> rows(codes.size());
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = class_of(level, codes[i]);
  return (*read_)(rows);
}

Tensor CodeTable::read_items(int level, std::span<const std::int32_t> items) {
  std::vector<std::int32_t> rows(items.size());
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = token(items[i], level);
  return (*read_)(rows);
}

Tensor CodeTable::start(std::int64_t rows) {
  return embedding((*start_)(), std::vector<std::int32_t>(static_cast<std::size_t>(rows), 0));
}

Tensor CodeTable::unit(const Tensor& x) const { return options_.normalize ? l2_normalize(x) : x; }

Tensor CodeTable::queries(const Tensor& query) const {
  return options_.temperature == 1.0 ? unit(query) : scale(unit(query), 1.0 / options_.temperature);
}

Tensor CodeTable::output_rows(int level) {
  const Tensor table = (write_ ? *write_ : *read_).all();
  const bool whole = first(level) == 0 && end(level) == offset_.back();
  return unit(whole ? table : slice_rows(table, first(level), end(level)));
}

Tensor CodeTable::output_bias(int level) {
  if (!bias_) return {};
  const Tensor bias = (*bias_)();
  return first(level) == 0 && end(level) == offset_.back() ? bias : slice_rows(bias, first(level), end(level));
}

Tensor CodeTable::node_vectors(int depth) {
  const auto at = static_cast<std::size_t>(depth);
  return unit(add((write_ ? *write_ : *read_)(node_class_[at]), output_nodes_.at(depth)->all()));
}

Tensor CodeTable::taught_vectors(int depth) {
  const Tensor all = node_vectors(depth);
  const auto& rows = taught_rows_[static_cast<std::size_t>(depth)];
  return static_cast<std::int64_t>(rows.size()) == all.rows() ? all : gather_rows(all, rows);
}

Tensor CodeTable::loss(int level, const Tensor& query, std::span<const std::int32_t> items) {
  // With every code a child of the root, the first level's legal codes are all codes.
  const auto all_legal = [&] {
    return level == 0 && !output_nodes_.contains(1) && static_cast<int>(taught_rows_[1].size()) == classes_[0];
  };
  if (options_.legal && !all_legal()) return legal_loss(level, query, items);
  std::vector<std::int32_t> targets(items.size());
  for (std::size_t i = 0; i < items.size(); ++i) targets[i] = token(items[i], level) - first(level);
  return linear_cross_entropy(queries(query), output_rows(level), output_bias(level), targets,
                              options_.label_smoothing);
}

Tensor CodeTable::legal_loss(int level, const Tensor& query, std::span<const std::int32_t> items) {
  const Trie& trie = catalog_.trie();
  if (output_nodes_.contains(level + 1)) {
    std::vector<RangeChoice> choices(items.size());
    for (std::size_t i = 0; i < items.size(); ++i) {
      const Trie::Children children = trie.children(node(items[i], level));
      choices[i].begin = taught_number(children.first, level + 1);
      choices[i].end = taught_number(children.first + static_cast<std::int32_t>(children.code.size()), level + 1);
      choices[i].target = taught_number(node(items[i], level + 1), level + 1);
    }
    return range_cross_entropy(queries(query), taught_vectors(level + 1), choices);
  }
  // A level has few codes: all logits, and those that no taught item continues with pushed out of the softmax.
  const Tensor logits = this->logits(level, queries(query));
  Tensor mask = Tensor::full(logits.shape(), -1e30, logits.dtype());
  std::vector<std::int32_t> targets(items.size());
  dispatch_float("generative_decoder", mask.dtype(), [&](auto type) {
    using T = decltype(type);
    for (std::size_t i = 0; i < items.size(); ++i) {
      T* row = mask.data<T>() + static_cast<std::int64_t>(i) * mask.columns();
      const Trie::Children children = trie.children(node(items[i], level));
      for (std::size_t c = 0; c < children.code.size(); ++c)
        if (taught(children.first + static_cast<std::int32_t>(c)))
          row[class_of(level, children.code[c]) - first(level)] = T(0);
      targets[i] = token(items[i], level) - first(level);
    }
  });
  return cross_entropy(add(logits, mask), targets);
}

Tensor CodeTable::logits(int level, const Tensor& query) {
  const Tensor scores = matmul(query, output_rows(level), false, true);
  const Tensor bias = output_bias(level);
  return bias ? add(scores, bias) : scores;
}

LevelScores CodeTable::scores(int level, const Tensor& query) {
  LevelScores scores;
  scores.legal_ = options_.legal;
  const Tensor q = queries(query);
  if (output_nodes_.contains(level + 1)) {
    scores.queries_ = q.to(DType::f32);
    scores.nodes_ = node_vectors(level + 1).to(DType::f32);
    scores.first_node_ = first_node_[static_cast<std::size_t>(level) + 1];
    return scores;
  }
  scores.logits_ = logits(level, q).to(DType::f32);
  if (!options_.legal) scores.normalizer_ = log_sum_exp(scores.logits_);
  scores.first_ = class_of(level, 0) - first(level);
  scores.absent_ = class_of(level, -1) - first(level);
  return scores;
}

}  // namespace tessera
