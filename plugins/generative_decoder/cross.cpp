#include <numeric>

#include "framework/nn/embedding.h"
#include "framework/nn/sinusoids.h"
#include "framework/nn/transformer.h"
#include "plugins/generative_decoder/form.h"
#include "tensor/ops/dropout/dropout.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"
#include "tensor/ops/matmul/matmul.h"

namespace tessera {

TransformerOptions block_options(const GenerativeOptions& o, int width) {
  TransformerOptions block;
  block.width = width;
  block.heads = o.heads;
  block.head_width = o.head_width;
  block.ffn = o.ffn > 0 ? o.ffn : 4 * width;
  block.activation = parse_activation(o.activation);
  block.norm = parse_norm(o.norm);
  block.bias = o.bias;
  block.dropout = o.dropout;
  block.deviation = o.deviation;
  return block;
}

namespace {

TransformerOptions stack_options(const GenerativeOptions& o, int width) {
  TransformerOptions stack = block_options(o, width);
  stack.layers = o.layers;
  stack.cross = true;
  stack.rope_base = o.positions == "rope" ? 10000.0 : 0.0;
  stack.buckets = o.positions == "relative" ? o.buckets : 0;
  return stack;
}

// A decoder of its own: a causal Transformer over [start, code 0, .., code L-2] that also attends to the memory's
// states.
class Cross final : public DecoderForm {
 public:
  Cross(CodeTable& table, const GenerativeOptions& options, const ModelSpec& model)
      : table_(table), options_(options), decoder_(stack_options(options, model.width)) {
    if (options.positions == "learned") {
      positions_ = std::make_unique<Embedding>(table.levels(), model.width, normal(options.deviation));
      add_module("positions", *positions_);
    }
    if (options.from_summary) {
      const std::int64_t width = model.width;
      summary_map_ = &add_parameter("summary.map", {width, width}, near_identity(0.0));
      gain_ = &add_parameter("summary.gain", {width}, constant(0.0), false);
    }
    if (options.positions == "sinusoidal") sinusoids_ = sinusoids(table.levels(), model.width);
    add_module("decoder", decoder_);
  }

  Tensor loss(Model& model, const TrainBatch& batch) override {
    const Memory memory = model.encode(batch.histories);
    const auto rows = static_cast<std::int64_t>(batch.target.size());
    const int levels = table_.levels();
    // Row by row the inputs of all levels: (B, L*D) is (B*L, D).
    std::vector<Tensor> inputs{input(0, table_.start(rows))};
    for (int l = 1; l < levels; ++l) inputs.push_back(input(l, table_.read_items(l - 1, batch.target)));
    const Tensor x =
        dropout(concat_columns(inputs).reshape({rows * levels, memory.states.columns()}), options_.dropout);
    std::vector<std::int64_t> offset(static_cast<std::size_t>(rows) + 1);
    for (std::size_t b = 0; b < offset.size(); ++b) offset[b] = static_cast<std::int64_t>(b) * levels;
    const Tensor states = decoder_(x, offset, dropout(memory.states, options_.state_dropout), memory.offset);
    const Tensor summary = mapped(memory.summary);
    std::vector<std::int32_t> at(batch.target.size());
    Tensor total;
    for (int l = 0; l < levels; ++l) {
      for (std::size_t b = 0; b < at.size(); ++b) at[b] = static_cast<std::int32_t>(offset[b] + l);
      const Tensor part = table_.loss(l, query(gather_rows(states, at), summary), batch.target);
      total = total ? add(total, part) : part;
    }
    return total;
  }

  // What the decoder reads at a level: the vector of the code before it, or of the start, at its position.
  Tensor input(int level, const Tensor& vectors) {
    if (sinusoids_)
      return add(vectors, sinusoids_.row_range(level, level + 1).reshape({vectors.columns()}).to(vectors.dtype()));
    if (!positions_) return vectors;
    return add(vectors, (*positions_)(std::vector<std::int32_t>(static_cast<std::size_t>(vectors.rows()), level)));
  }

  // from_summary: queries begin at the model's summary of the user, the decoder's part at zero.
  Tensor mapped(const Tensor& summary) { return summary_map_ ? matmul(summary, (*summary_map_)()) : Tensor(); }
  Tensor query(const Tensor& states, const Tensor& summary) {
    return summary_map_ ? add(multiply(states, (*gain_)()), summary) : states;
  }

  std::unique_ptr<Decoding> decode(Model&, const Memory& memory) override;
  CodeTable& table() { return table_; }
  Transformer& decoder() { return decoder_; }

 private:
  CodeTable& table_;
  GenerativeOptions options_;
  Transformer decoder_;
  std::unique_ptr<Embedding> positions_;
  Tensor sinusoids_;  // (L, D), or empty
  Parameter *summary_map_ = nullptr, *gain_ = nullptr;
};

class CrossDecoding final : public Decoding {
 public:
  CrossDecoding(Cross& form, const Memory& memory) : form_(form), summary_(form.mapped(memory.summary)) {
    form.decoder().remember(memory.states, memory.offset, cache_);
  }

  LevelScores advance(const Step& step) override {
    CodeTable& table = form_.table();
    const Tensor vectors = step.level == 0 ? table.start(static_cast<std::int64_t>(step.row.size()))
                                           : table.read(step.level - 1, step.code);
    TransformerBranches next;
    next.weighs = weighs_;
    const Tensor states = form_.decoder().extend(form_.input(step.level, vectors), step.row, step.parent, cache_,
                                                 step.level > 0 ? &branches_ : nullptr, next);
    branches_ = std::move(next);
    return table.scores(step.level, form_.query(states, summary_ ? gather_rows(summary_, step.row) : Tensor()));
  }
  // From the summary items speak without the decoder's attention too: it would not be what carried the answer.
  bool keep_attention() override { return weighs_ = !summary_; }
  std::span<const double> attention(std::int32_t prefix) const override {
    return branches_.memory_weight[static_cast<std::size_t>(prefix)];
  }

 private:
  Cross& form_;
  Tensor summary_;  // (B, D), or empty
  bool weighs_ = false;
  TransformerCache cache_;
  TransformerBranches branches_;
};

std::unique_ptr<Decoding> Cross::decode(Model&, const Memory& memory) {
  return std::make_unique<CrossDecoding>(*this, memory);
}

}  // namespace

std::unique_ptr<DecoderForm> make_cross(CodeTable& table, const GenerativeOptions& options, const ModelSpec& model) {
  return std::make_unique<Cross>(table, options, model);
}

}  // namespace tessera
