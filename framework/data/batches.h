#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "framework/data/dataset.h"
#include "framework/data/histories.h"
#include "tensor/core/export.h"

namespace tessera {

struct BatchOptions {
  BatchForm form = BatchForm::every_position;
  std::int64_t batch_size = 256;  // users (every_position) or samples (one_target) a batch
  std::int64_t max_items = 50;    // newest items kept of a history, the target not counted; 0: all
  bool subsequences = false;      // one_target: every position of a user is a sample each epoch, not only the last;
                                  // every_position: each epoch every user's sequence begins at a random place (and ends
                                  // max_items targets later), so a long one is seen whole in time
  bool empty_histories =
      false;           // one_target: a user's first item is a sample too, with nothing before it (graph models)
  bool bucket = true;  // histories of like length share a batch (sorted within shuffled pools of 20 batches, then the
                       // batches are shuffled): even work a step
  bool with_labels = false;    // fill TrainBatch::label from the interactions' labels; throws where they are not 0 or 1
  bool with_histories = true;  // one_target: false leaves the rows of the histories empty but for their users, for
                               // models that read the graph: a batch then costs as much as its targets
  std::int64_t subset = 0;  // one_target: histories are sets: so many of the user's other training items, of before and
                            // after the target alike, drawn anew each epoch; 0: what came before
  bool subset_keeps_target = false;  // the target may be among them
  int negatives = 0;  // n of TrainBatch::negative: alike among the items with a training interaction, drawn again while
                      // the user has the item in training; any of them for a user who has them all
};

// How a sequence of n items is read in pieces of at most max_items (0: any), so that each item is a target exactly
// once: items begin .. end - 1 are read, first .. end - 1 are the targets. Pieces overlap, so that every target but the
// first max_items of the sequence has at least max_items / 2 items before it in its piece.
struct Window {
  std::int64_t begin = 0, end = 0, first = 0;
};
TESSERA_API std::vector<Window> windows(std::int64_t n, std::int64_t max_items);

// Throws DataError with the first records, where labels are missing or others than 0 and 1: what click heads read.
TESSERA_API void check_clicks(const Dataset& data);

// The training batches of a dataset, epoch by epoch: batch (epoch, index) is a pure function of (seed, epoch, index),
// negatives too, so a run resumes anywhere. Reads interactions whose part is train. Users with fewer than two training
// items give no every_position row. each_item: longer users are read in windows() of max_items + 1, so that a target
// stands behind up to max_items others; items of a window that were targets before carry target -1. The dataset must
// outlive it and keep its interactions. Const and thread-safe; the order of one epoch is kept, so going through epochs
// one after the other is cheap.
class TESSERA_API Batches {
 public:
  // Throws DataError where the data has no parts, no labels of 0 and 1 (with_labels), or nothing to train on.
  Batches(const Dataset& data, BatchOptions options, std::uint64_t seed);
  ~Batches();
  Batches(Batches&&) noexcept;
  std::int64_t per_epoch() const;          // batches an epoch (the same for each epoch)
  std::int64_t targets_per_epoch() const;  // without `subsequences` of every_position, which drops some each epoch
  TrainBatch batch(std::int64_t epoch, std::int64_t index) const;  // step = epoch * per_epoch() + index

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

// What is known of users before a part: for `valid` their training items, for `test` training and validation items.
// Only users with something in the part; max_items newest items are kept, 0: all. target: jagged, the part's items of
// each row.
struct Questions {
  Histories histories;
  std::vector<std::int64_t> target_offset{0};  // (B + 1)
  std::vector<std::int32_t> target;
};
TESSERA_API Questions questions(const Dataset& data, Part part, std::int64_t max_items = 0);
// Rows begin .. end of them.
TESSERA_API Questions slice(const Questions& questions, std::int64_t begin, std::int64_t end);

// One row for each list of items, user -1.
TESSERA_API Histories histories_of(const std::vector<std::vector<std::int32_t>>& items);

}  // namespace tessera
