#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "framework/config/config.h"
#include "framework/nn/item_tower.h"
#include "framework/nn/negatives.h"
#include "framework/nn/targets.h"
#include "framework/roles/head.h"

namespace tessera {

// Options of every head that scores by an inner product, whatever makes its item vectors.
struct DotProductOptions {
  std::string loss = "softmax", negative_sampling = "auto";
  int negatives = 1;
  double popularity_power = 0.75, label_smoothing = 0.0, temperature = 1.0;
  bool normalize = false, projection = false, repeat = false;

  template <class V>
  void describe(V& v) {
    v("loss", loss, "softmax over all items; sampled_softmax; bce; bpr; none: the model's own loss alone",
      {"softmax", "sampled_softmax", "bce", "bpr", "none"});
    v("negatives", negatives, "bce, bpr: negatives a target; sampled_softmax: negatives a batch", 1, 1000000);
    v("negative_sampling", negative_sampling,
      "negatives of all items alike; by popularity ^ popularity_power; unseen (bce, bpr): alike among trained items "
      "that the user has not; auto: unseen for bce and bpr with models that read the graph, else uniform",
      {"auto", "uniform", "popularity", "unseen"});
    v("popularity_power", popularity_power, "power of the training count", 0.0, 2.0);
    v("label_smoothing", label_smoothing, "softmax losses: share of the target spread over all", 0.0, 0.9);
    v("normalize", normalize, "cosine instead of inner product");
    v("projection", projection,
      "a learnt linear map between a state and its scores (begins near the identity): with tied vectors, what the "
      "model has just read need not be what it answers");
    v("repeat", repeat,
      "softmax over histories: a learnt number is added to the scores of items that the user already has (people "
      "who never buy twice, or always)");
    v("temperature", temperature, "scores are divided by it", 0.001, 1000.0);
  }
};

// A head whose score is the inner product (or cosine) of the user's state with the item's vector: losses, negatives,
// ranking and scoring around an item tower that the plugin makes. With models of histories the tower's vectors are
// scored; models of the graph read them and give their own. Not thread-safe.
class TESSERA_API DotProductHead final : public Head {
 public:
  // The tower of the given width; throws ConfigError where it cannot be.
  using MakeTower = std::function<std::unique_ptr<ItemTower>(const BuildContext& context, int width)>;
  // name: of the plugin, for its errors. deviation: of the first projection's noise. Throws ConfigError where options
  // do not fit each other.
  DotProductHead(std::string name, const DotProductOptions& options, const Section& section, double deviation,
                 MakeTower make_tower);
  ~DotProductHead() override;

  HeadSpec spec(const ModelSpec& model) const override;
  void build(const BuildContext& context, const ModelSpec& model) override;
  ItemVectorSource* item_tower() override { return tower_.get(); }
  Tensor loss(Model& model, const TrainBatch& batch) override;
  Ranking rank(Model& model, const Histories& histories, const RankRequest& request) override;
  std::vector<float> score(Model& model, const Histories& histories, std::span<const std::int64_t> offset,
                           std::span<const std::int32_t> items) override;
  Ranking rank_memory(Model& model, const Memory& memory, const RankRequest& request) override;
  std::vector<float> score_memory(Model& model, const Memory& memory, std::span<const std::int64_t> offset,
                                  std::span<const std::int32_t> items) override;

 private:
  struct Pairs {
    Tensor users, items;  // (B, D), (I, D), as they are scored
  };
  // What a loss over some items compares: states as they are scored, and the vectors of targets and of negatives.
  struct Sampled {
    Targets targets;
    std::vector<std::int32_t> negative;
    Tensor h, positive, against;  // (N, D), (N, D), (negatives, D)
  };
  Tensor side(const Tensor& x) const;
  Tensor queries(const Tensor& states);
  Pairs vectors(Model& model, const Histories& histories);
  Pairs vectors(const Memory& memory);
  const Pairs& graph_vectors(Model& model);
  const Tensor& tower_vectors();
  Tensor states(Model& model, const TrainBatch& batch, Targets& targets) const;
  Tensor softmax(Model& model, const TrainBatch& batch);
  bool is_pairwise() const { return options_.loss == "bce" || options_.loss == "bpr"; }
  bool draws_unseen(const ModelSpec& model) const;
  static Ranking best(const Pairs& pairs, const RankRequest& request);
  static std::vector<float> products(const Pairs& pairs, std::span<const std::int64_t> offset,
                                     std::span<const std::int32_t> items);
  std::vector<std::int32_t> draw(const Targets& targets, const TrainBatch& batch) const;
  Sampled sampled(Model& model, const TrainBatch& batch);
  Tensor sampled_softmax(const Sampled& s) const;
  Tensor pairwise(const Sampled& s) const;

  std::string name_;
  DotProductOptions options_;
  Section section_;
  double deviation_;
  MakeTower make_tower_;
  std::unique_ptr<ItemTower> tower_;
  std::unique_ptr<Negatives> negatives_;
  Parameter* projection_ = nullptr;  // (D, D), or null
  Parameter* repeat_ = nullptr;      // (1), or null
  bool reads_histories_ = true, every_position_ = true, unseen_ = false;
  std::uint64_t seed_ = 1, kept_in_ = 0;
  Pairs kept_;  // the whole graph's, or the tower's as items, under the scope kept_in_ of FrozenWeights
};

}  // namespace tessera
