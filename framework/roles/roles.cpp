// The first virtual function of each role lives here, so that its vtable and type information exist once.
#include <atomic>
#include <numeric>

#include "framework/roles/data_source.h"
#include "framework/roles/featurizer.h"
#include "framework/roles/frozen_weights.h"
#include "framework/roles/head.h"
#include "framework/roles/model.h"
#include "framework/roles/tokenizer.h"
#include "tensor/ops/embedding/embedding.h"

namespace tessera {
namespace {

[[noreturn]] void not_offered(const char* role, const char* call) {
  throw Error(str(role, ": ", call, " is not offered by this ", role,
                  "; its spec says so and the pipeline should have refused the pair"));
}

// What stands before each item of row b: the first 0, 1, .. n - 1 of its n items.
Histories prefixes(const Histories& from, std::int64_t b) {
  const auto begin = static_cast<std::size_t>(from.offset[static_cast<std::size_t>(b)]);
  const auto end = static_cast<std::size_t>(from.offset[static_cast<std::size_t>(b) + 1]);
  Histories out;
  const auto take = [&](const auto& column, auto& to, std::size_t last) {
    if (!column.empty()) to.insert(to.end(), column.begin() + begin, column.begin() + last);
  };
  for (std::size_t last = begin; last < end; ++last) {
    take(from.item, out.item, last);
    take(from.time, out.time, last);
    take(from.action, out.action, last);
    out.user.push_back(from.user[static_cast<std::size_t>(b)]);
    out.offset.push_back(out.size());
  }
  return out;
}

thread_local std::uint64_t frozen_weights = 0;

}  // namespace

FrozenWeights::FrozenWeights() : outer_(frozen_weights) {
  static std::atomic<std::uint64_t> scopes{0};
  if (frozen_weights == 0) frozen_weights = ++scopes;
}
FrozenWeights::~FrozenWeights() { frozen_weights = outer_; }
std::uint64_t FrozenWeights::current() { return frozen_weights; }

Stopped::~Stopped() = default;
StateVisitor::~StateVisitor() = default;
DataSource::~DataSource() = default;
Featurizer::~Featurizer() = default;
ItemVectorSource::~ItemVectorSource() = default;

Tokenizer::~Tokenizer() = default;
std::vector<std::int32_t> Tokenizer::encode_taken(const std::map<std::string, ItemFeatures>& features,
                                                  const ItemUsers&) const {
  return encode(features);
}
Tensor Tokenizer::reconstruct(std::span<const std::int32_t>, int, const std::string&) const { return {}; }
Tensor Tokenizer::reconstruction_target(const Dataset&, const std::string&) const { return {}; }
Tensor Tokenizer::last_level_distances(const Dataset&) const { return {}; }
std::vector<HealthFigure> Tokenizer::health(const Dataset&) const { return {}; }

Memory::Cache::~Cache() = default;
Extension::~Extension() = default;
Model::~Model() = default;
Memory Model::encode(const Histories&) { not_offered("model", "encode"); }
Memory Model::summarize(const Histories& histories) { return encode(histories); }
std::unique_ptr<Extension> Model::extend(const Memory&, const Candidates&, const Extension*) {
  not_offered("model", "extend");
}
void Model::append(Memory&, const Histories&) { not_offered("model", "append"); }
std::vector<Tensor> Model::export_row(const Memory&, std::int64_t) { not_offered("model", "export_row"); }
Memory Model::import_rows(std::span<const std::vector<Tensor>>) { not_offered("model", "import_rows"); }
std::pair<Tensor, Tensor> Model::propagate(ItemVectorSource*) { not_offered("model", "propagate"); }
std::pair<Tensor, Tensor> Model::propagate_batch(ItemVectorSource* tower, std::span<const std::int32_t> users,
                                                 std::span<const std::int32_t> items) {
  const auto [all_users, all_items] = propagate(tower);
  return {gather_rows(all_users, users), gather_rows(all_items, items)};
}
void Model::begin_epoch(std::int64_t, std::uint64_t) {}
Tensor Model::auxiliary_loss(const TrainBatch&) { return {}; }

Head::~Head() = default;
ItemVectorSource* Head::item_tower() { return nullptr; }
Ranking Head::rank_memory(Model&, const Memory&, const RankRequest&) { not_offered("head", "rank_memory"); }
std::vector<float> Head::score_memory(Model&, const Memory&, std::span<const std::int64_t>,
                                      std::span<const std::int32_t>) {
  not_offered("head", "score_memory");
}
Explanation Head::explain(Model&, const Histories&, const RankRequest&, std::span<const std::int64_t>,
                          std::span<const std::int32_t>) {
  not_offered("head", "explain");
}

std::vector<float> Head::score_each(Model& model, const Histories& histories) {
  std::vector<float> scores;
  scores.reserve(histories.item.size());
  for (std::int64_t b = 0; b < histories.rows(); ++b) {
    const Histories cut = prefixes(histories, b);
    std::vector<std::int64_t> offset(static_cast<std::size_t>(cut.rows()) + 1);
    std::iota(offset.begin(), offset.end(), 0);
    const auto begin = static_cast<std::size_t>(histories.offset[static_cast<std::size_t>(b)]);
    const std::span<const std::int32_t> items(histories.item.data() + begin, static_cast<std::size_t>(cut.rows()));
    const auto row = score(model, cut, offset, items);
    scores.insert(scores.end(), row.begin(), row.end());
  }
  return scores;
}

}  // namespace tessera
