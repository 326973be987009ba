#include <optional>

#include "framework/nn/linear.h"
#include "framework/nn/norm.h"
#include "plugins/generative_decoder/form.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"
#include "tensor/ops/dropout/dropout.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"

namespace tessera {
namespace {

// What a level asks for: q = A h + P (sum of the codes before it), then q += network(norm(q)) where there is one.
class Level : public Module {
 public:
  Level(int width, bool first, const GenerativeOptions& o)
      : activation_dropout_(o.dropout), state_(width, width, true, near_identity(o.deviation)) {
    add_module("state", state_);
    if (!first) add_module("before", before_.emplace(width, width, false, normal(o.deviation)));
    if (o.ffn == 0) return;
    add_module("norm", norm_.emplace(width, NormKind::layer));
    add_module("ffn", ffn_.emplace(width, o.ffn, parse_activation(o.activation), true, normal(o.deviation)));
  }
  Tensor state_part(const Tensor& h) { return state_(h); }
  Tensor query(const Tensor& state_part, const Tensor& before) {
    const Tensor q = before_ ? add(state_part, (*before_)(before)) : state_part;
    return ffn_ ? add(q, (*ffn_)((*norm_)(q), activation_dropout_)) : q;
  }

 private:
  double activation_dropout_;
  Linear state_;
  std::optional<Linear> before_;
  std::optional<Norm> norm_;
  std::optional<FeedForward> ffn_;
};

class Light final : public DecoderForm {
 public:
  Light(CodeTable& table, const GenerativeOptions& options, const ModelSpec& model)
      : table_(table), options_(options), every_position_(model.causal) {
    for (int l = 0; l < table.levels(); ++l) {
      levels_.push_back(std::make_unique<Level>(model.width, l == 0, options));
      add_module("levels." + std::to_string(l), *levels_.back());
    }
  }

  Tensor loss(Model& model, const TrainBatch& batch) override {
    const Memory memory = model.encode(batch.histories);
    Targets targets;
    if (every_position_) targets = every_target(memory, batch);
    const std::vector<std::int32_t>& items = every_position_ ? targets.item : batch.target;
    Tensor h = every_position_ ? gather_rows(memory.states, targets.row) : memory.summary;
    h = dropout(h, options_.state_dropout);
    Tensor before, total;
    for (int l = 0; l < table_.levels(); ++l) {
      const Tensor query =
          levels_[static_cast<std::size_t>(l)]->query(levels_[static_cast<std::size_t>(l)]->state_part(h), before);
      const Tensor part = table_.loss(l, query, items);
      total = total ? add(total, part) : part;
      if (l + 1 == table_.levels()) break;
      const Tensor code = table_.read_items(l, items);
      before = before ? add(before, code) : code;
    }
    return total;
  }

  std::unique_ptr<Decoding> decode(Model&, const Memory& memory) override;

 private:
  friend class LightDecoding;
  CodeTable& table_;
  GenerativeOptions options_;
  bool every_position_;
  std::vector<std::unique_ptr<Level>> levels_;
};

class LightDecoding final : public Decoding {
 public:
  LightDecoding(Light& form, const Memory& memory) : form_(form), summary_(memory.summary) {}

  LevelScores advance(const Step& step) override {
    Level& level = *form_.levels_[static_cast<std::size_t>(step.level)];
    if (step.level == 1) {
      before_ = form_.table_.read(0, step.code);
    } else if (step.level > 1) {
      before_ = add(gather_rows(before_, step.parent), form_.table_.read(step.level - 1, step.code));
    }
    return form_.table_.scores(step.level, level.query(gather_rows(level.state_part(summary_), step.row), before_));
  }

 private:
  Light& form_;
  Tensor summary_, before_;  // (B, D), (C, D)
};

std::unique_ptr<Decoding> Light::decode(Model&, const Memory& memory) {
  return std::make_unique<LightDecoding>(*this, memory);
}

}  // namespace

std::unique_ptr<DecoderForm> make_light(CodeTable& table, const GenerativeOptions& options, const ModelSpec& model) {
  return std::make_unique<Light>(table, options, model);
}

}  // namespace tessera
