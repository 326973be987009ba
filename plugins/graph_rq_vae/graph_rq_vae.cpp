#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "framework/data/batches.h"
#include "framework/nn/contrastive.h"
#include "framework/nn/hashed_codes.h"
#include "framework/nn/interaction_graph.h"
#include "framework/nn/joined_features.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/tokenizer.h"
#include "framework/train/optimizer.h"
#include "plugins/graph_rq_vae/neighbours.h"
#include "plugins/graph_rq_vae/options.h"
#include "plugins/graph_rq_vae/similar_items.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/agree.h"
#include "tensor/core/random.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"
#include "tensor/ops/losses/losses.h"
#include "tensor/ops/norm/norm.h"
#include "tensor/ops/reduce/reduce.h"

// MMGRec's tokenizer (README.md): items get vectors from who took them and from what they are, by a graph network; the
// vectors are quantised.
namespace tessera {
namespace {

class GraphRqVae final : public Tokenizer {
 public:
  explicit GraphRqVae(GraphRqVaeOptions options) : options_(std::move(options)), similar_(options_.similar) {}

  std::vector<std::string> modalities() const override { return options_.modalities; }

  void fit(const Dataset& data, FitContext& context) override {
    features_.fit(data, options_.modalities, {options_.normalize, options_.components, 0.0}, {});
    const JoinedFeatures::Rows all = features_.join(data.features);
    graph_ = make_graph_network(options_, data, all.x);
    graph_->initialize(context.seed, "graph_rq_vae/");
    known_ = all.present;
    const auto counts = train_counts(data);
    for (std::size_t i = 0; i < known_.size(); ++i) known_[i] = known_[i] != 0 || counts[i] > 0;
    train_graph(data, context);
    fit_similar(all, counts);
    if (!options_.random_codes) train_codes(all.x, context);
    if (options_.joint_epochs > 0) {
      train_both(data, all.x, context);
      fit_similar(all, counts);
    }
    keep_vectors(counts_of_users(data));
    codes_ = codes_of(items_, all.x);
    drop_unknown(known_, codes_);
  }

  ItemTokens tokens(const Dataset&) const override {
    ItemTokens tokens;
    for (int l = 0; l < options_.levels; ++l) tokens.levels.push_back({str("graph/", l), options_.codes, ""});
    tokens.codes = codes_;
    tokens.item_vectors = items_;
    tokens.user_vectors = users_;
    return tokens;
  }

  // From features alone: an item without neighbours in the graph.
  std::vector<std::int32_t> encode(const std::map<std::string, ItemFeatures>& features) const override {
    const JoinedFeatures::Rows joined = features_.join(features);
    auto codes = codes_of(untaken(joined.x), joined.x);
    drop_unknown(joined.present, codes);
    return codes;
  }

  // From features and users: a node that the graph's users have, without becoming one of theirs.
  std::vector<std::int32_t> encode_taken(const std::map<std::string, ItemFeatures>& features,
                                         const ItemUsers& users) const override {
    JoinedFeatures::Rows joined = features_.join(features);
    const NoTape quiet;
    check(static_cast<std::int64_t>(users.offset.size()) == joined.x.rows() + 1, "graph_rq_vae: users of ",
          static_cast<std::int64_t>(users.offset.size()) - 1, " items for ", joined.x.rows(), " rows of features");
    check_offset("graph_rq_vae", users.offset, static_cast<std::int64_t>(users.user.size()), "user");
    for (const std::int32_t user : users.user)
      check(user >= 0 && user < user_state_.rows(), "graph_rq_vae: user ", user, " took a new item, expected 0 .. ",
            user_state_.rows() - 1, ", the users of the data that the tokenizer was fitted on");
    for (std::size_t i = 0; i < joined.present.size(); ++i)
      joined.present[i] = joined.present[i] != 0 || users.offset[i + 1] > users.offset[i];
    std::vector<std::int64_t> counts(joined.present.size());
    for (std::size_t i = 0; i < counts.size(); ++i) counts[i] = users.offset[i + 1] - users.offset[i];
    const Tensor means = segment_mean(gather_rows(user_state_, users.user), users.offset);
    Tensor vectors = graph_->encode(joined.x, means, counts);
    place_untaken(joined, counts, vectors);
    auto codes = codes_of(vectors, joined.x);
    drop_unknown(joined.present, codes);
    return codes;
  }

  Tensor last_level_distances(const Dataset& data) const override {
    if (options_.random_codes) return {};
    const NoTape quiet;
    const Tensor x = quantiser_input(items_, features_.join(data.features).x);
    Tensor distances({x.rows(), options_.codes});
    for (std::int64_t begin = 0; begin < x.rows(); begin += kBlock) {
      const std::int64_t end = std::min(x.rows(), begin + kBlock);
      distances.row_range(begin, end)
          .copy_from(network_->quantizer().last_level_distances(network_->encode(x.row_range(begin, end))));
    }
    return distances;
  }

  std::vector<HealthFigure> health(const Dataset& data) const override {
    if (!items_ || data.features.empty() || options_.random_codes) return {};
    const NoTape quiet;
    return neighbour_figures(network_->quantizer().decode(codes_, options_.levels), known_, data);
  }

  void visit(StateVisitor& state) override {
    features_.visit(state);
    if (!options_.random_codes) vectors_.visit(state, "vectors/");
    if (state.loading()) {
      Dataset none;  // of the graph network its weights are needed, and what new items read of users
      graph_ = make_graph_network(options_, none, Tensor::zeros({0, features_.width()}));
      if (!options_.random_codes) network_ = make_network();
    }
    check(graph_ != nullptr, "graph_rq_vae: not fitted yet, there is nothing to save");
    state.tensor("users", user_state_);
    if (options_.similar > 0) similar_.visit(state);
    const auto visit_all = [&](Module& module, const std::string& prefix) {
      for (auto& [name, parameter] : module.parameters()) {
        if (name == "users" || name == "items") continue;  // of the catalogue's own: nothing new reads them
        const Shape shape = parameter->value.shape();
        state.tensor(prefix + name, parameter->value);
        check(parameter->value.shape() == shape, "graph_rq_vae: tensor '", prefix + name, "' is ",
              parameter->value.shape().text(), ", expected ", shape.text(), " from the options");
      }
    };
    visit_all(*graph_, "graph/");
    if (network_) visit_all(*network_, "quantizer/");
  }

 private:
  static constexpr std::int64_t kBlock = 4096;

  std::unique_ptr<QuantizedAutoencoder> make_network() const {
    const std::int64_t width = options_.content_only    ? features_.width()
                               : options_.content > 0.0 ? vectors_.output() + features_.width()
                                                        : vectors_.output();
    return std::make_unique<QuantizedAutoencoder>(network_options(options_, width));
  }

  // What is quantised of item vectors (n, W) and joined features (n, Df).
  Tensor quantiser_input(const Tensor& vectors, const Tensor& features) const {
    if (options_.content_only) return features;
    const Tensor x = vectors_.apply(vectors);
    return options_.content > 0.0 ? concat_columns({x, scale(features, options_.content)}) : x;
  }

  std::vector<std::int32_t> codes_of(const Tensor& vectors, const Tensor& features) const {
    return options_.random_codes ? hashed_codes(vectors, options_.levels, options_.codes, 1, "graph")
                                 : encode_rows(*network_, quantiser_input(vectors, features));
  }

  void drop_unknown(const std::vector<std::uint8_t>& known, std::vector<std::int32_t>& codes) const {
    for (std::size_t i = 0; i < known.size(); ++i)
      if (known[i] == 0)
        std::fill_n(codes.begin() + static_cast<std::ptrdiff_t>(i) * options_.levels, options_.levels, -1);
  }

  // Vectors of items that nobody took, (n, Df) -> (n, W).
  Tensor untaken(const Tensor& features) const {
    return options_.similar > 0 ? similar_.vectors(features) : graph_->encode(features);
  }

  // Rows of `vectors` of items that nobody took, where similar items tell them.
  void place_untaken(const JoinedFeatures::Rows& all, const std::vector<std::int64_t>& counts, Tensor& vectors) const {
    const auto rows = rows_where([&](std::size_t i) { return counts[i] == 0 && all.present[i] != 0; }, counts.size());
    if (options_.similar == 0 || rows.empty()) return;
    const Tensor placed = similar_.vectors(gather_rows(all.x, rows));
    for (std::size_t i = 0; i < rows.size(); ++i)
      vectors.row_range(rows[i], rows[i] + 1)
          .copy_from(placed.row_range(static_cast<std::int64_t>(i), static_cast<std::int64_t>(i) + 1));
  }

  // After the graph has learnt: the taken items are what others are placed among, the catalogue's untaken ones first.
  void fit_similar(const JoinedFeatures::Rows& all, const std::vector<std::int64_t>& counts) {
    if (options_.similar == 0) return;
    const auto taken = rows_where([&](std::size_t i) { return counts[i] > 0 && all.present[i] != 0; }, counts.size());
    check(!taken.empty(), "graph_rq_vae: similar = ", options_.similar,
          " places new items among those with features and training interactions, and there are none; set similar = 0");
    similar_.fit(gather_rows(all.x, taken), gather_rows(items_, taken));
    place_untaken(all, counts, items_);
  }

  template <class Condition>
  static std::vector<std::int32_t> rows_where(Condition&& condition, std::size_t count) {
    std::vector<std::int32_t> rows;
    for (std::size_t i = 0; i < count; ++i)
      if (condition(i)) rows.push_back(static_cast<std::int32_t>(i));
    return rows;
  }

  std::vector<std::int32_t> known_rows() const {
    return rows_where([&](std::size_t i) { return known_[i] != 0; }, known_.size());
  }

  Batches batches(const Dataset& data, std::uint64_t seed) const {
    BatchOptions batch;
    batch.form = BatchForm::one_target;
    batch.batch_size = options_.graph_batch;
    batch.subsequences = batch.empty_histories = true;
    batch.with_histories = false;
    batch.negatives = by_softmax() ? 0 : options_.negatives;
    return Batches(data, batch, seed);
  }

  bool by_softmax() const { return options_.graph_loss == "softmax"; }

  Tensor ranking_loss(const TrainBatch& batch) {
    const Tensor loss = by_softmax() ? softmax_loss(batch) : bpr_loss(batch);
    const Tensor penalty = graph_->penalty(static_cast<std::int64_t>(batch.target.size()));
    return penalty ? add(loss, penalty) : loss;
  }

  // Each interaction's item against all that the batch's interactions are about, once each.
  Tensor softmax_loss(const TrainBatch& batch) {
    const Distinct item = distinct(batch.target, known_.size());
    const auto [users, items] = graph_->vectors_of(batch.histories.user, item.rows);
    return info_nce_one_way(l2_normalize(users), l2_normalize(items), options_.graph_temperature, item.place);
  }

  // BPR over a batch's positives and negatives (MMGRec 1.3).
  Tensor bpr_loss(const TrainBatch& batch) {
    std::vector<std::int32_t> items(batch.target), repeat;
    items.insert(items.end(), batch.negative.begin(), batch.negative.end());
    const auto [users, vectors] = graph_->vectors_of(batch.histories.user, items);
    const auto rows = static_cast<std::int64_t>(batch.target.size());
    for (std::int32_t b = 0; b < rows; ++b)
      repeat.insert(repeat.end(), static_cast<std::size_t>(options_.negatives), b);
    const Tensor positive = row_dot(users, slice_rows(vectors, 0, rows));
    const Tensor against = row_dot(gather_rows(users, repeat), slice_rows(vectors, rows, vectors.rows()));
    return bpr(gather_rows(positive.reshape({rows, 1}), repeat).reshape({against.numel()}), against);
  }

  // Epochs of steps over the graph; loss(batch) is recorded, after(step) follows the update.
  template <class Loss, class After>
  void run(const Dataset& data, Optimizer& optimizer, int epochs, const std::string& what, FitContext& context,
           Loss&& loss, After&& after) {
    const Batches all = batches(data, context.seed);
    const std::int64_t total = all.per_epoch() * epochs;
    double last_norm = 0.0;
    for (std::int64_t step = 0; step < total; ++step) {
      const std::int64_t epoch = step / all.per_epoch();
      const TrainBatch batch = all.batch(options_.fixed_negatives ? 0 : epoch, step % all.per_epoch());
      double value = 0.0;
      {
        const TrainingScope training(context.seed ^ stream_of(what), static_cast<std::uint64_t>(step));
        Tape tape;
        const Tensor recorded = loss(batch);
        value = recorded.item();
        if (std::isfinite(value)) tape.backward(recorded);
      }
      const double norm = std::isfinite(value) ? optimizer.step(options_.graph_learning_rate, 1) : last_norm;
      check(std::isfinite(value) && std::isfinite(norm), "graph_rq_vae: the loss is ", value, " at step ", step + 1,
            " (epoch ", epoch + 1, ", batch ", step % all.per_epoch() + 1, ") of ", what, ", gradient norm ", norm,
            "; lower tokenizer.graph_learning_rate");
      last_norm = norm;
      after();
      context.progress(static_cast<double>(step + 1) / static_cast<double>(total), str(what, ", loss ", value));
      if (context.stop()) throw Stopped("graph_rq_vae: stopped");
    }
  }

  TrainOptions optimizer_options() const {
    TrainOptions options;
    options.weight_decay = options_.graph_weight_decay;
    return options;
  }

  void train_graph(const Dataset& data, FitContext& context) {
    Optimizer optimizer(graph_->parameters(), optimizer_options());
    run(
        data, optimizer, options_.graph_epochs, "graph", context,
        [&](const TrainBatch& batch) { return ranking_loss(batch); }, [] {});
    evaluate_graph();
  }

  void evaluate_graph() {
    const NoTape quiet;
    const auto [users, items] = graph_->vectors();
    users_ = users.detach().clone();
    items_ = items.detach().clone();
  }

  void train_codes(const Tensor& features, FitContext& context) {
    const auto rows = known_rows();
    check(static_cast<std::int64_t>(rows.size()) >= options_.codes, "graph_rq_vae: ", rows.size(),
          " items with features or interactions for ", options_.codes, " codes a level; use fewer codes");
    vectors_.fit(gather_rows(items_, rows), {options_.vectors, 0, options_.whiten});
    network_ = make_network();
    AutoencoderTrainer(*network_, training_options(options_), context.seed)
        .fit(gather_rows(quantiser_input(items_, features), rows), context);
  }

  // Both losses on one tape: the codes pull at the vectors too. The transform of the vectors stays as it is.
  void train_both(const Dataset& data, const Tensor& features, FitContext& context) {
    Optimizer::Named named = graph_->parameters();
    for (auto& [name, parameter] : network_->parameters()) named.emplace_back("quantizer/" + name, parameter);
    Optimizer optimizer(named, optimizer_options());
    ResidualQuantizer::Output quantized;
    run(
        data, optimizer, options_.joint_epochs, "graph and codes", context,
        [&](const TrainBatch& batch) {
          const auto [users, items] = graph_->vectors_of({}, batch.target);
          const Tensor x = vectors_.recorded(items);
          const Tensor joined = options_.content > 0.0
                                    ? concat_columns({x, scale(gather_rows(features, batch.target), options_.content)})
                                    : x;
          return add(ranking_loss(batch), network_->loss(joined, quantized));
        },
        [&] {
          if (network_->options().quantizer.moving_average) network_->quantizer().update_averages(quantized);
        });
    evaluate_graph();
  }

  // Training items of each user.
  static std::vector<std::int64_t> counts_of_users(const Dataset& data) {
    const Interactions& all = data.interactions;
    std::vector<std::int64_t> counts(static_cast<std::size_t>(data.users()), 0);
    for (std::int64_t u = 0; u < all.users(); ++u)
      for (std::int64_t i = all.begin(u); i < all.end(u); ++i)
        counts[static_cast<std::size_t>(u)] += all.part[static_cast<std::size_t>(i)] == Part::train ? 1 : 0;
    return counts;
  }

  // What is handed on and what new items read. A user without training items has a vector that nothing has taught: the
  // mean of the others stands in its place.
  void keep_vectors(const std::vector<std::int64_t>& taken) {
    user_state_ = graph_->user_state();
    std::vector<double> mean(static_cast<std::size_t>(users_.columns()), 0.0);
    double known = 0.0;
    for (std::size_t u = 0; u < taken.size(); ++u) {
      if (taken[u] == 0) continue;
      const float* row = users_.data<float>() + static_cast<std::int64_t>(u) * users_.columns();
      for (double& sum : mean) sum += *row++;
      known += 1.0;
    }
    for (std::size_t u = 0; u < taken.size(); ++u) {
      if (taken[u] != 0) continue;
      float* row = users_.data<float>() + static_cast<std::int64_t>(u) * users_.columns();
      for (const double sum : mean) *row++ = static_cast<float>(sum / known);
    }
  }

  GraphRqVaeOptions options_;
  JoinedFeatures features_{"graph_rq_vae"};
  FeatureTransform vectors_;
  SimilarItems similar_;
  std::unique_ptr<GraphNetwork> graph_;
  std::unique_ptr<QuantizedAutoencoder> network_;
  std::vector<std::uint8_t> known_;  // (I) has features or interactions
  std::vector<std::int32_t> codes_;  // (I, L)
  Tensor users_, items_;             // (U, W), (I, W)
  Tensor user_state_;                // (U, S): what new items read of users
};

std::unique_ptr<Tokenizer> make(const GraphRqVaeOptions& options, const Section& section) {
  check_options(options, section);
  return std::make_unique<GraphRqVae>(options);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1", "quantised vectors of a graph network over interactions and features",
               [](tessera::Registry& registry) {
                 registry.add<tessera::Tokenizer, tessera::GraphRqVaeOptions>(
                     "graph_rq_vae", "GraphSAGE over interactions and features, then RQ-VAE (MMGRec)", tessera::make);
               });
