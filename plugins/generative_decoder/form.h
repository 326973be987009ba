#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "framework/nn/targets.h"
#include "framework/nn/transformer.h"
#include "framework/roles/head.h"
#include "plugins/generative_decoder/code_table.h"
#include "plugins/generative_decoder/options.h"

namespace tessera {

// One level of a search: C prefixes, in order of their rows. parent (C): the prefix of the step before that each
// continues, code (C): its newest code, of level - 1. At level 0 each row stands once, and parent and code are empty.
struct Step {
  int level = 0;
  std::vector<std::int32_t> row, parent, code;
};

// A search under way over the rows of one memory. A step of level 0 begins anew, with other rows perhaps.
class Decoding {
 public:
  virtual ~Decoding() = default;
  virtual LevelScores advance(const Step& step) = 0;  // scores of step.level; steps come level by level
  // From the next step on, attention() answers. False: this form has no decoder beside a memory, and it never does.
  virtual bool keep_attention() { return false; }
  // Where a prefix of the newest step looks: a share for each state of its row, together one; empty without states.
  virtual std::span<const double> attention(std::int32_t) const { return {}; }
};

// How identifiers are generated from a memory: one of the four forms.
class DecoderForm : public Module {
 public:
  virtual Tensor loss(Model& model, const TrainBatch& batch) = 0;
  virtual std::unique_ptr<Decoding> decode(Model& model, const Memory& memory) = 0;
};

// Of one block of a decoder of its own (cross, anchors).
TransformerOptions block_options(const GenerativeOptions& options, int width);

std::unique_ptr<DecoderForm> make_light(CodeTable& table, const GenerativeOptions& options, const ModelSpec& model);
std::unique_ptr<DecoderForm> make_continue(CodeTable& table, const GenerativeOptions& options, const ModelSpec& model);
std::unique_ptr<DecoderForm> make_cross(CodeTable& table, const GenerativeOptions& options, const ModelSpec& model);
std::unique_ptr<DecoderForm> make_anchors(CodeTable& table, const GenerativeOptions& options, const ModelSpec& model);

}  // namespace tessera
