#include "plugins/tcn/tower.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "framework/roles/frozen_weights.h"
#include "tensor/core/random.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/linear/linear.h"
#include "tensor/ops/matmul/matmul.h"
#include "tensor/ops/token_cross/token_cross.h"

namespace tessera {
namespace {

// The identity on every layer, plus noise.
Initializer near_identities(double deviation) {
  return [deviation](Tensor& x, std::uint64_t seed, std::uint64_t stream) {
    fill_normal(x, 0.0, deviation, seed, stream);
    const std::int64_t size = x.columns(), layers = x.numel() / (size * size);
    for (std::int64_t l = 0; l < layers; ++l)
      for (std::int64_t t = 0; t < size; ++t) x.data<float>()[(l * size + t) * size + t] += 1.0f;
  };
}

std::vector<std::int32_t> columns_of(const std::vector<std::int32_t>& tokens, std::size_t levels,
                                     const std::vector<std::size_t>& kept) {
  if (kept.size() == levels) return tokens;
  std::vector<std::int32_t> out;
  out.reserve(tokens.size() / levels * kept.size());
  for (std::size_t row = 0; row < tokens.size(); row += levels)
    for (const std::size_t level : kept) out.push_back(tokens[row + level]);
  return out;
}

}  // namespace

TcnTower::TcnTower(const Catalog& catalog, int width, const TowerOptions& options)
    : options_(options), width_(width), levels_(catalog.levels()) {
  std::vector<std::int32_t> items(static_cast<std::size_t>(catalog.items()));
  std::iota(items.begin(), items.end(), 0);
  tokens_ = catalog.tokens_of(items);
  plain_ = options.variant == "mean" && options.token_dropout == 0.0 && levels_ == 1 &&
           catalog.tokens() == catalog.items() && tokens_ == items;
  table_ = std::make_unique<Embedding>(
      catalog.tokens(), width,
      options.init == "centroids" ? from_token_vectors(catalog, width, options.deviation) : normal(options.deviation));
  add_module("tokens", *table_);
  if (options.variant == "mean") return;
  Group every{"", {}, nullptr, nullptr, nullptr};
  std::vector<Group> each;
  for (int l = 0; l < levels_; ++l) {
    const std::string& modality = catalog.level(l).modality;
    auto found = std::find_if(each.begin(), each.end(), [&](const Group& group) { return group.name == modality; });
    if (found == each.end()) found = each.insert(each.end(), Group{modality, {}, nullptr, nullptr, nullptr});
    found->levels.push_back(static_cast<std::size_t>(l));
    every.levels.push_back(static_cast<std::size_t>(l));
  }
  if (options.towers != "agnostic") networks_.push_back(network("specific", std::move(each)));
  if (options.towers != "specific") networks_.push_back(network("agnostic", {std::move(every)}));
  if (options.variant == "fm") offset_ = &add_parameter("bias", {width_}, constant(0.0), false);
}

TcnTower::~TcnTower() = default;

TcnTower::Network TcnTower::network(const std::string& name, std::vector<Group> groups) {
  Network out{std::move(groups), nullptr, nullptr, nullptr};
  const bool cross = options_.variant == "cross";
  const Initializer xavier = xavier_uniform(width_, width_);
  for (Group& group : out.groups) {
    const std::string part = name + "." + (group.name.empty() ? "all" : group.name) + ".";
    const auto count = static_cast<std::int64_t>(group.levels.size());
    if (cross) group.mix = &add_parameter(part + "mix", {options_.layers, count, count}, near_identities(0.01), false);
    else {
      group.first = &add_parameter(part + "sum", {width_, width_}, xavier);
      if (count > 1) group.second = &add_parameter(part + "pairs", {width_, width_}, xavier);
    }
  }
  if (!cross) return out;
  out.first = &add_parameter(name + ".first", {width_, width_}, xavier);
  if (options_.layers > 1) out.weight = &add_parameter(name + ".weight", {options_.layers - 1, width_, width_}, xavier);
  out.bias = &add_parameter(name + ".bias", {options_.layers, width_}, constant(0.0), false);
  return out;
}

// Are all_ those of this tape, or of weights that stay as they are?
bool TcnTower::kept() const {
  const std::int64_t node = table_->all().node();
  if (node >= 0) return all_ && node == all_node_;
  const std::uint64_t scope = FrozenWeights::current();
  return all_ && scope != 0 && scope == all_scope_ && all_node_ < 0;
}

Tensor TcnTower::all() {
  if (plain_) return table_->all();
  if (!kept()) {
    all_ = combine(tokens_);
    all_node_ = table_->all().node();
    all_scope_ = FrozenWeights::current();
  }
  return all_;
}

Tensor TcnTower::vectors(std::span<const std::int32_t> items) {
  if (plain_) return (*table_)(items);
  if (expect_all_ || kept()) return gather_rows(all(), items);
  std::vector<std::int32_t> different(items.begin(), items.end());
  std::sort(different.begin(), different.end());
  different.erase(std::unique(different.begin(), different.end()), different.end());
  if (!different.empty() && different.front() < 0) different.erase(different.begin());
  const auto levels = static_cast<std::size_t>(levels_);
  if (2 * different.size() * levels > tokens_.size()) return gather_rows(all(), items);
  std::vector<std::int32_t> tokens, place(items.size(), -1);
  for (const std::int32_t item : different)
    tokens.insert(tokens.end(), tokens_.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(item) * levels),
                  tokens_.begin() + static_cast<std::ptrdiff_t>((static_cast<std::size_t>(item) + 1) * levels));
  for (std::size_t i = 0; i < items.size(); ++i)
    if (items[i] >= 0)
      place[i] =
          static_cast<std::int32_t>(std::lower_bound(different.begin(), different.end(), items[i]) - different.begin());
  return gather_rows(combine(std::move(tokens)), place);
}

Tensor TcnTower::combine(std::vector<std::int32_t> tokens) {
  TrainingScope* scope = TrainingScope::current();
  if (scope && options_.token_dropout > 0.0) {
    Random random(scope->seed(), scope->next_stream());
    for (auto& token : tokens)
      if (random.uniform() < options_.token_dropout) token = -1;
  }
  const auto levels = static_cast<std::size_t>(levels_), count = tokens.size() / levels;
  std::vector<double> share(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(i * levels);
    const auto present = std::count_if(begin, begin + levels_, [](std::int32_t token) { return token >= 0; });
    const auto n = static_cast<double>(std::max<std::ptrdiff_t>(1, present));
    share[i] = 1.0 / (options_.variant == "mean" ? n : std::sqrt(n));
  }
  const Tensor factor = Tensor::from(share, {static_cast<std::int64_t>(count)}).to(table_->all().dtype());
  if (options_.variant == "mean") return scale_rows(table_->sum(tokens, levels_), factor);
  Tensor out;
  for (const Network& network : networks_) {
    const Tensor own = options_.variant == "fm" ? pairs(network, tokens, factor) : cross(network, tokens);
    out = out ? add(out, own) : own;
  }
  return options_.variant == "fm" ? out : scale_rows(out, factor);
}

Tensor TcnTower::cross(const Network& network, const std::vector<std::int32_t>& tokens) {
  const Tensor table = table_->all(), product = matmul(table, (*network.first)());
  Tensor out;
  for (const Group& group : network.groups) {
    const Tensor own = token_cross(
        {table, product, (*group.mix)(), (*network.bias)(), network.weight ? (*network.weight)() : Tensor()},
        columns_of(tokens, static_cast<std::size_t>(levels_), group.levels));
    out = out ? add(out, own) : own;
  }
  return out;
}

// s W_1 p + W_2 q + b with p the sum of the tokens and q that of the products of all pairs of them.
Tensor TcnTower::pairs(const Network& network, const std::vector<std::int32_t>& tokens, const Tensor& share) {
  const Tensor table = table_->all(), squares = square(table);
  Tensor out;
  for (const Group& group : network.groups) {
    const auto own = columns_of(tokens, static_cast<std::size_t>(levels_), group.levels);
    const int count = static_cast<int>(group.levels.size());
    const Tensor sum = embedding_sum(table, own, count);
    const bool first = !out && &network == &networks_.front();
    Tensor y = linear(scale_rows(sum, share), (*group.first)(), first ? (*offset_)() : Tensor());
    if (group.second) {
      const Tensor q = scale(subtract(square(sum), embedding_sum(squares, own, count)), 0.5);
      y = add(y, matmul(q, (*group.second)()));
    }
    out = out ? add(out, y) : y;
  }
  return out;
}

}  // namespace tessera
