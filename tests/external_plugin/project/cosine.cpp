#include "cosine.h"

#include <numeric>

#include "tensor/ops/cross_entropy/cross_entropy.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/norm/norm.h"
#include "tensor/ops/topk/topk.h"

namespace digits {
namespace {

using namespace tessera;

class Cosine final : public Head, private ItemVectorSource {
 public:
  explicit Cosine(const CosineOptions& options) : options_(options) {}

  HeadSpec spec(const ModelSpec& model) const override {
    HeadSpec spec;
    spec.form = model.causal ? BatchForm::every_position : BatchForm::one_target;
    spec.has_item_tower = true;
    return spec;
  }

  void build(const BuildContext& context, const ModelSpec& model) override {
    if (!model.reads_histories) throw ConfigError("digits: this head needs a model that reads histories");
    catalog_ = &context.catalog;
    causal_ = model.causal;
    table_ = &add_parameter("tokens", {catalog_->tokens(), model.width}, normal(options_.init), false);
  }

  ItemVectorSource* item_tower() override { return this; }

  Tensor loss(Model& model, const TrainBatch& batch) override {
    const Memory memory = model.encode(batch.histories);
    Tensor states = memory.summary;
    if (causal_) states = memory.item_row.empty() ? memory.states : gather_rows(memory.states, memory.item_row);
    return linear_cross_entropy(query(states), l2_normalize(all()), {}, batch.target);
  }

  Ranking rank(Model& model, const Histories& histories, const RankRequest& request) override {
    const TopK best = topk_inner_product(query(model.encode(histories).summary), l2_normalize(all()), request.k,
                                         request.excluded_offset, request.excluded, request.allowed);
    return {request.k, best.index, best.score};
  }

  std::vector<float> score(Model& model, const Histories& histories, std::span<const std::int64_t> offset,
                           std::span<const std::int32_t> items) override {
    const Tensor q = query(model.encode(histories).summary), v = l2_normalize(vectors(items));
    const float *a = q.data<float>(), *b = v.data<float>();
    const std::int64_t width = q.columns();
    std::vector<float> scores(items.size());
    for (std::int64_t row = 0; row < histories.rows(); ++row)
      for (std::int64_t i = offset[static_cast<std::size_t>(row)]; i < offset[static_cast<std::size_t>(row) + 1]; ++i)
        scores[static_cast<std::size_t>(i)] =
            std::inner_product(a + row * width, a + (row + 1) * width, b + i * width, 0.0f);
    return scores;
  }

 private:
  int width() const override { return static_cast<int>(table_->value.columns()); }
  Tensor vectors(std::span<const std::int32_t> items) override {
    return embedding_sum((*table_)(), catalog_->tokens_of(items), catalog_->levels());
  }
  Tensor all() override {
    std::vector<std::int32_t> items(static_cast<std::size_t>(catalog_->items()));
    std::iota(items.begin(), items.end(), 0);
    return vectors(items);
  }
  Tensor query(const Tensor& states) const { return scale(l2_normalize(states), 1.0 / options_.temperature); }

  CosineOptions options_;
  const Catalog* catalog_ = nullptr;
  Parameter* table_ = nullptr;
  bool causal_ = false;
};

}  // namespace

std::unique_ptr<Head> make_cosine(const CosineOptions& options, const Section&) {
  return std::make_unique<Cosine>(options);
}

}  // namespace digits
