#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "framework/catalog/catalog.h"
#include "framework/data/dataset.h"
#include "framework/data/histories.h"
#include "framework/nn/module.h"
#include "framework/roles/item_vectors.h"

namespace tessera {

// What models and heads are built from. Everything outlives them.
struct BuildContext {
  const Dataset& data;
  const Catalog& catalog;
  std::uint64_t seed = 1;
};

struct ModelSpec {
  int width = 0;                    // D of states, summary or propagated vectors
  bool reads_histories = true;      // false: reads the training graph (vbpr, lightgcn, ...): propagate()
  bool causal = false;              // a state sees its past alone: every position can be a target
  bool token_states = false;        // one state a token (L an item); else one an item or an anchor
  bool extends = false;             // offers extend()
  bool appends = false;             // offers append()
  bool stores = false;              // offers export_row() and import_rows()
  bool attends_target = false;      // states of targets come from extend(), in training too: it records (din)
  bool wants_item_vectors = false;  // needs the head's item tower
  bool own_loss = false;            // auxiliary_loss() is all it needs: a head may add nothing (loss = "none")
  std::int64_t max_items = 0;       // longest history it reads (the newest are kept); 0: any
  std::int64_t subset = 0;  // not causal: it reads sets and trains on so many of a user's other items, of before
                            // and after the target alike, drawn anew each epoch; 0: on what came before
  bool subset_keeps_target = false;  // the target may be among them
  int negatives = 0;                 // a target, in TrainBatch::negative; the head may ask for more
  int tower_width = 0;               // of the vectors it wants from the head's tower; 0: width
};

// What a model remembers of B users. States and summary are public; the cache is the model's own (keys and values).
// The state of an item (item_row) knows the item and all that came before it with its actions, but not the item's own
// action: it can answer for the item (a click head trains on it) as well as for the next one.
struct Memory {
  struct TESSERA_API Cache {
    virtual ~Cache();
  };
  Tensor states;                        // (M, D), jagged over users
  std::vector<std::int64_t> offset{0};  // (B + 1)
  std::vector<std::int32_t>
      item_row;                  // (N): the state that has seen exactly the history up to item i; empty: row i itself
  Tensor summary;                // (B, D): the state to predict the next item from; zeros for an empty history
  std::shared_ptr<Cache> cache;  // made outside of training where the spec extends or appends
};

// Continuations of histories that do not see each other: beams of codes, or items to score. Each call adds t tokens to
// each.
struct Candidates {
  std::vector<std::int32_t> row;  // (C) which history of the memory
  std::vector<std::int32_t>
      parent;  // (C) which candidate of the previous extension it continues; empty at the first call
  std::vector<std::int32_t> code;  // (C, t) codes of levels first_level .. first_level + t - 1
  int first_level = 0;
  int tokens = 1;  // t
};

// The result of extend(): states of the newest tokens, and privately what the next call needs.
class TESSERA_API Extension {
 public:
  virtual ~Extension();
  Tensor states;  // (C * t, D); without token_states whole items are read (t = all levels): (C, D)
};

// History -> memory, or the training graph -> vectors of users and items. encode(), propagate(), propagate_batch() and
// auxiliary_loss() record on the tape; the others are for inference. Not thread-safe.
class TESSERA_API Model : public Module {
 public:
  static constexpr const char* kRole = "model";
  ~Model() override;
  virtual ModelSpec spec() const = 0;  // from options alone, before build()
  // Makes the parameters. tower: the head's item vectors, or null. Throws ConfigError that names the neighbour and what
  // it lacks.
  virtual void build(const BuildContext& context, ItemVectorSource* tower) = 0;
  virtual Memory encode(const Histories& histories);
  // The same for inference where the summary and the cache are enough: states may be left out. Not recorded.
  virtual Memory summarize(const Histories& histories);
  virtual std::unique_ptr<Extension> extend(const Memory& memory, const Candidates& candidates,
                                            const Extension* previous);
  virtual void append(Memory& memory, const Histories& news);  // row b continues row b; equals encode(old + news)
  // What is needed of one row to continue it later, elsewhere, for the user memory; and rows put together again, so
  // that extend() and append() answer as before, to the bit.
  virtual std::vector<Tensor> export_row(const Memory& memory, std::int64_t row);
  virtual Memory import_rows(std::span<const std::vector<Tensor>> rows);
  virtual std::pair<Tensor, Tensor> propagate(ItemVectorSource* tower);  // users (U, D), items (I, D)
  // Vectors of some users and items, those of a training batch, in their order and with repetitions: (n, D), (m, D).
  // The default takes rows of propagate(); models that need less for them offer their own.
  virtual std::pair<Tensor, Tensor> propagate_batch(ItemVectorSource* tower, std::span<const std::int32_t> users,
                                                    std::span<const std::int32_t> items);
  // Called before the first batch of an epoch that this process trains: for what is drawn once an epoch, as a pure
  // function of (seed, epoch), so that a resumed run draws the same.
  virtual void begin_epoch(std::int64_t epoch, std::uint64_t seed);
  // Added to the head's; empty: none. Called after Head::loss() of the same batch, on the same tape: what propagate()
  // or propagate_batch() made in the step may be kept and used here. The tower is the one that build() was given.
  virtual Tensor auxiliary_loss(const TrainBatch& batch);
};

}  // namespace tessera
