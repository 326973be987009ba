#include "framework/nn/linear.h"
#include "framework/nn/norm.h"
#include "framework/nn/transformer.h"
#include "plugins/generative_decoder/form.h"
#include "tensor/ops/anchor_attention/anchor_attention.h"
#include "tensor/ops/dropout/dropout.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"

namespace tessera {
namespace {

// Row r of every block of B rows.
Tensor row_of_blocks(const Tensor& x, std::int64_t block, std::int64_t r) {
  const std::int64_t width = x.columns();
  return slice_columns(x.reshape({x.rows() / block, block * width}), r * width, (r + 1) * width);
}

// A decoder whose blocks stand one behind each state h of a causal memory: row l is h + the vectors of codes 0 .. l-1.
// A row sees its block up to itself, and of everything before no more than the states, one an item: memory-anchor
// attention with the states as anchors, self-attention and cross-attention in one softmax. All positions of a history
// train at once.
class Anchors final : public DecoderForm {
 public:
  Anchors(CodeTable& table, const GenerativeOptions& options, const ModelSpec& model)
      : table_(table), options_(options), norm_(model.width, parse_norm(options.norm), options.bias) {
    const TransformerOptions block = block_options(options, model.width);
    for (int l = 0; l < options.layers; ++l) {
      blocks_.push_back(std::make_unique<TransformerBlock>(block));
      memory_.push_back(
          std::make_unique<Linear>(model.width, 2 * block.inner(), options.bias, normal(options.deviation)));
      add_module("blocks." + std::to_string(l), *blocks_.back());
      add_module("memory." + std::to_string(l), *memory_.back());
    }
    add_module("norm", norm_);
  }

  Tensor loss(Model& model, const TrainBatch& batch) override {
    const Memory memory = model.encode(batch.histories);
    const Targets targets = every_target(memory, batch);
    std::vector<std::int32_t> items(static_cast<std::size_t>(memory.states.rows()), 0);  // a state without a target
                                                                                         // decodes any item, unread
    for (std::size_t i = 0; i < targets.row.size(); ++i)
      items[static_cast<std::size_t>(targets.row[i])] = targets.item[i];
    const int levels = table_.levels();
    const Tensor states = dropout(memory.states, options_.state_dropout);
    std::vector<Tensor> inputs{states};
    for (int l = 1; l < levels; ++l)
      inputs.push_back(add(inputs.back(), dropout(table_.read_items(l - 1, items), options_.dropout)));
    const Tensor x = concat_columns(inputs).reshape({states.rows() * levels, states.columns()});
    const Tensor out = run(x, [&](std::size_t layer, const Tensor& qkv) {
      return anchor_attention(qkv, memory.offset, (*memory_[layer])(states), attention(levels));
    });
    Tensor total;
    for (int l = 0; l < levels; ++l) {
      const Tensor query = gather_rows(row_of_blocks(out, levels, l), targets.row);
      const Tensor part = table_.loss(l, query, targets.item);
      total = total ? add(total, part) : part;
    }
    return total;
  }

  std::unique_ptr<Decoding> decode(Model& model, const Memory& memory) override;

  CodeTable& table() { return table_; }
  AnchorOptions attention(int rows) const {
    AnchorOptions options;
    options.heads = options_.heads;
    options.block = rows;
    return options;
  }
  // Keys and values of the states, layer by layer; a state stands in the last slot of its block, as in training.
  std::vector<Tensor> remember(const Memory& memory) {
    std::vector<Tensor> past;
    for (const auto& layer : memory_)
      past.push_back(remembered_rows({}, memory.offset, {}, (*layer)(memory.states), attention(table_.levels())));
    return past;
  }
  template <class Attend>
  Tensor run(const Tensor& x, Attend attend) {
    Tensor y = x;
    for (std::size_t l = 0; l < blocks_.size(); ++l)
      y = blocks_[l]->feed_forward(blocks_[l]->after_attention(y, attend(l, blocks_[l]->qkv(y))));
    return norm_(y);
  }

 private:
  CodeTable& table_;
  GenerativeOptions options_;
  std::vector<std::unique_ptr<TransformerBlock>> blocks_;
  std::vector<std::unique_ptr<Linear>> memory_;
  Norm norm_;
};

// Blocks grow by a code a level and are read anew: they are short, and what they look back at is kept.
class AnchorsDecoding final : public Decoding {
 public:
  AnchorsDecoding(Anchors& form, const Memory& memory)
      : form_(form), offset_(memory.offset), summary_(memory.summary), past_(form.remember(memory)) {}

  LevelScores advance(const Step& step) override {
    const auto count = step.row.size();
    std::vector<std::int32_t> codes;  // (C, level)
    const auto before = static_cast<std::size_t>(step.level > 0 ? step.level - 1 : 0);
    for (std::size_t c = 0; c < count && step.level > 0; ++c) {
      const auto parent = codes_.begin() + static_cast<std::ptrdiff_t>(
                                               (before > 0 ? static_cast<std::size_t>(step.parent[c]) : 0) * before);
      codes.insert(codes.end(), parent, parent + static_cast<std::ptrdiff_t>(before));
      codes.push_back(step.code[c]);
    }
    codes_ = std::move(codes);
    const int rows = step.level + 1;
    std::vector<Tensor> inputs{gather_rows(summary_, step.row)};
    for (int l = 0; l < step.level; ++l) {
      std::vector<std::int32_t> column(count);
      for (std::size_t c = 0; c < count; ++c)
        column[c] = codes_[c * static_cast<std::size_t>(step.level) + static_cast<std::size_t>(l)];
      inputs.push_back(add(inputs.back(), form_.table().read(l, column)));
    }
    std::vector<std::int64_t> seen(count);
    for (std::size_t c = 0; c < count; ++c) {
      const auto b = static_cast<std::size_t>(step.row[c]);
      seen[c] = std::max<std::int64_t>(0, offset_[b + 1] - offset_[b] - 1);  // the newest state leads the block itself
    }
    const Tensor x = concat_columns(inputs).reshape({static_cast<std::int64_t>(count) * rows, summary_.columns()});
    const Tensor out = form_.run(x, [&](std::size_t layer, const Tensor& qkv) {
      return anchor_attention_past(qkv, past_[layer], offset_, step.row, seen, form_.attention(rows));
    });
    return form_.table().scores(step.level, row_of_blocks(out, rows, rows - 1));
  }

 private:
  Anchors& form_;
  std::vector<std::int64_t> offset_;
  Tensor summary_;
  std::vector<Tensor> past_;
  std::vector<std::int32_t> codes_;  // of the newest step
};

std::unique_ptr<Decoding> Anchors::decode(Model&, const Memory& memory) {
  return std::make_unique<AnchorsDecoding>(*this, memory);
}

}  // namespace

std::unique_ptr<DecoderForm> make_anchors(CodeTable& table, const GenerativeOptions& options, const ModelSpec& model) {
  return std::make_unique<Anchors>(table, options, model);
}

}  // namespace tessera
