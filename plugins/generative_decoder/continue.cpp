#include "plugins/generative_decoder/form.h"
#include "tensor/ops/dropout/dropout.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"

namespace tessera {
namespace {

// The causal model over flattened tokens is the decoder: the state of an item's last token asks for the first code of
// the next item, whose own tokens stand right behind it and ask for the codes after.
class Continue final : public DecoderForm {
 public:
  Continue(CodeTable& table, const GenerativeOptions& options) : table_(table), options_(options) {}

  Tensor loss(Model& model, const TrainBatch& batch) override {
    const Memory memory = model.encode(batch.histories);
    const Targets targets = every_target(memory, batch);
    const Tensor states = dropout(memory.states, options_.state_dropout);
    std::vector<std::int32_t> rows = targets.row;
    Tensor total;
    for (int l = 0; l < table_.levels(); ++l) {
      const Tensor part = table_.loss(l, gather_rows(states, rows), targets.item);
      total = total ? add(total, part) : part;
      for (auto& row : rows) ++row;
    }
    return total;
  }

  std::unique_ptr<Decoding> decode(Model& model, const Memory& memory) override;
  CodeTable& table() { return table_; }

 private:
  CodeTable& table_;
  GenerativeOptions options_;
};

class ContinueDecoding final : public Decoding {
 public:
  ContinueDecoding(CodeTable& table, Model& model, const Memory& memory)
      : table_(table), model_(model), memory_(memory) {}

  LevelScores advance(const Step& step) override {
    if (step.level == 0) return table_.scores(0, gather_rows(memory_.summary, step.row));
    Candidates candidates;
    candidates.row = step.row;
    candidates.code = step.code;
    candidates.first_level = step.level - 1;
    if (step.level > 1) candidates.parent = step.parent;
    extension_ = model_.extend(memory_, candidates, step.level > 1 ? extension_.get() : nullptr);
    return table_.scores(step.level, extension_->states);
  }

 private:
  CodeTable& table_;
  Model& model_;
  const Memory& memory_;
  std::unique_ptr<Extension> extension_;
};

std::unique_ptr<Decoding> Continue::decode(Model& model, const Memory& memory) {
  return std::make_unique<ContinueDecoding>(table_, model, memory);
}

}  // namespace

std::unique_ptr<DecoderForm> make_continue(CodeTable& table, const GenerativeOptions& options, const ModelSpec&) {
  return std::make_unique<Continue>(table, options);
}

}  // namespace tessera
