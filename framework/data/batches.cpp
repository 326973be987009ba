#include "framework/data/batches.h"

#include <algorithm>
#include <mutex>
#include <numeric>
#include <optional>

#include "framework/config/config.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"

namespace tessera {
namespace {

constexpr std::int64_t kPoolBatches = 20;

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// Draws items that a user has not: the items of each user's training part, rising, and all items that occur there.
class UnseenItems {
 public:
  explicit UnseenItems(const Dataset& data) {
    const Interactions& all = data.interactions;
    std::vector<std::uint8_t> occurs(at(data.item_count()), 0);
    offset_.reserve(all.offset.size());
    for (std::int64_t user = 0; user < all.users(); ++user) {
      const auto begin = static_cast<std::ptrdiff_t>(own_.size());
      for (std::int64_t i = all.begin(user); i < all.end(user); ++i)
        if (all.part[at(i)] == Part::train) own_.push_back(all.item[at(i)]);
      std::sort(own_.begin() + begin, own_.end());
      own_.erase(std::unique(own_.begin() + begin, own_.end()), own_.end());
      offset_.push_back(static_cast<std::int64_t>(own_.size()));
    }
    for (const std::int32_t item : own_) occurs[at(item)] = 1;
    for (std::size_t item = 0; item < occurs.size(); ++item)
      if (occurs[item] != 0) items_.push_back(static_cast<std::int32_t>(item));
  }

  std::int32_t draw(std::int64_t user, Random& random) const {
    const auto begin = own_.begin() + offset_[at(user)], end = own_.begin() + offset_[at(user) + 1];
    const auto count = static_cast<std::int64_t>(items_.size());
    while (true) {
      const std::int32_t item = items_[at(random.below(count))];
      if (end - begin == count || !std::binary_search(begin, end, item)) return item;
    }
  }

 private:
  std::vector<std::int64_t> offset_{0};  // (U + 1)
  std::vector<std::int32_t> own_, items_;
};

// A user's range of interactions, in the list `rows` of those that train.
struct TrainRows {
  std::vector<std::int64_t> offset{0};  // (U + 1)
  std::vector<std::int64_t> rows;       // numbers of interactions
  std::int64_t length(std::int64_t user) const { return offset[at(user + 1)] - offset[at(user)]; }
};

TrainRows train_rows(const Interactions& all) {
  TrainRows train;
  train.offset.reserve(all.offset.size());
  for (std::int64_t user = 0; user < all.users(); ++user) {
    for (std::int64_t i = all.begin(user); i < all.end(user); ++i)
      if (all.part[at(i)] == Part::train) train.rows.push_back(i);
    train.offset.push_back(static_cast<std::int64_t>(train.rows.size()));
  }
  return train;
}

void append(Histories& histories, const Interactions& all, std::int64_t row) {
  histories.item.push_back(all.item[at(row)]);
  if (!all.time.empty()) histories.time.push_back(all.time[at(row)]);
  if (!all.label.empty()) histories.action.push_back(all.label[at(row)]);
}

void close_row(Histories& histories, std::int64_t user) {
  histories.user.push_back(static_cast<std::int32_t>(user));
  histories.offset.push_back(histories.size());
}

void check_parts(const Dataset& data, const char* call) {
  const Interactions& all = data.interactions;
  if (all.part.size() != all.item.size())
    throw DataError(str(call, ": '", data.name, "' has ", all.part.size(), " parts for ", all.item.size(),
                        " interactions; call split() first"));
}

}  // namespace

std::vector<Window> windows(std::int64_t n, std::int64_t max_items) {
  if (n <= 0) return {};
  if (max_items <= 0 || n <= max_items) return {{0, n, 0}};
  std::vector<Window> out{{0, max_items, 0}};
  while (out.back().end < n) {
    const std::int64_t done = out.back().end, begin = std::min(done - max_items / 2, n - max_items);
    out.push_back({begin, begin + max_items, done});
  }
  return out;
}

void check_clicks(const Dataset& data) {
  const Interactions& all = data.interactions;
  if (all.label.size() != all.item.size())
    throw DataError(str("'", data.name,
                        "' has no labels, but the head learns from clicks; use a source with labels, or ",
                        "make them of ratings with data.positive_above"));
  std::string found;
  std::int64_t wrong = 0;
  for (std::int64_t user = 0; user < all.users(); ++user)
    for (std::int64_t i = all.begin(user); i < all.end(user); ++i) {
      const int label = all.label[at(i)];
      if (label == 0 || label == 1 || ++wrong > 10) continue;
      found += str("\n  interaction ", i + 1, " (user ", data.user_ids[at(user)], ", item ",
                   data.items.ids[at(all.item[at(i)])], "): the label is ", label);
    }
  if (wrong == 0) return;
  if (wrong > 10) found += str("\n  ... and ", wrong - 10, " more");
  throw DataError(str("'", data.name, "': a click head reads labels 0 and 1, ", wrong,
                      wrong == 1 ? " interaction has another:" : " interactions have others:", found));
}

struct Batches::Impl {
  const Interactions& all;
  const BatchOptions options;
  const std::uint64_t seed;
  const TrainRows train;
  std::vector<std::int64_t> sample_user;  // (S)
  std::vector<std::int64_t>
      sample_end;  // (S) one past the last item of the history, in train.rows; the target stands there
  std::vector<std::int64_t> sample_begin, sample_first;  // (S) each_item: where the window and its targets begin
  std::int64_t targets = 0;
  std::optional<UnseenItems> unseen;  // where negatives are asked for

  // The samples of one epoch: batch b holds order[batches[b] * batch_size ...].
  struct Epoch {
    std::int64_t number = -1;
    std::vector<std::int64_t> order, batches;
  };
  mutable std::mutex mutex;
  mutable std::shared_ptr<const Epoch> kept;

  Impl(const Dataset& data, BatchOptions o, std::uint64_t s)
      : all(data.interactions), options(o), seed(s), train(train_rows(data.interactions)) {
    for (std::int64_t user = 0; user < all.users(); ++user) add_samples(user);
    if (options.negatives > 0) unseen.emplace(data);
  }

  bool each_item() const { return options.form == BatchForm::each_item; }
  bool every_position() const { return options.form != BatchForm::one_target; }
  std::int64_t kept_items(std::int64_t n) const { return options.max_items > 0 ? std::min(n, options.max_items) : n; }
  std::int64_t samples() const { return static_cast<std::int64_t>(sample_user.size()); }
  std::int64_t batch_count() const { return (samples() + options.batch_size - 1) / options.batch_size; }

  void add_windows(std::int64_t user) {
    const std::int64_t origin = train.offset[at(user)], most = options.max_items > 0 ? options.max_items + 1 : 0;
    for (const Window& window : windows(train.length(user), most)) {
      sample_user.push_back(user);
      sample_begin.push_back(origin + window.begin);
      sample_first.push_back(origin + window.first);
      sample_end.push_back(origin + window.end);
    }
    targets += train.length(user);
  }

  void add_samples(std::int64_t user) {
    if (each_item()) return add_windows(user);
    const bool any_first = !every_position() && options.empty_histories;
    const std::int64_t n = train.length(user), first = any_first || options.subset > 0 ? 0 : 1;
    if (n <= (any_first || options.subset_keeps_target ? 0 : 1)) return;
    const bool all_positions = !every_position() && options.subsequences;
    for (std::int64_t target = all_positions ? first : n - 1; target < n; ++target) {
      sample_user.push_back(user);
      sample_end.push_back(train.offset[at(user)] + target);
      targets += every_position() ? kept_items(n - 1) : 1;
    }
  }

  // History of a sample, as a range of train.rows; the item after each of them is its target.
  std::pair<std::int64_t, std::int64_t> history(std::int64_t sample, std::int64_t epoch) const {
    if (each_item()) return {sample_begin[at(sample)], sample_end[at(sample)]};
    const std::int64_t user = sample_user[at(sample)], begin = train.offset[at(user)], end = sample_end[at(sample)];
    if (options.subset > 0) return {end, end + std::min(options.subset, train.length(user) - 1)};  // its length alone
    if (!every_position() || !options.subsequences) return {end - kept_items(end - begin), end};
    const auto word = philox(seed, stream_of("batches/crop") + static_cast<std::uint64_t>(epoch),
                             static_cast<std::uint64_t>(user))[0];
    const std::int64_t start = begin + static_cast<std::int64_t>(word * static_cast<std::uint64_t>(end - begin) >> 32);
    return {start, start + kept_items(end - start)};
  }

  std::shared_ptr<const Epoch> epoch(std::int64_t number) const {
    const std::lock_guard lock(mutex);
    if (!kept || kept->number != number) kept = make_epoch(number);
    return kept;
  }

  std::shared_ptr<const Epoch> make_epoch(std::int64_t number) const {
    auto epoch = std::make_shared<Epoch>();
    epoch->number = number;
    epoch->order.resize(sample_user.size());
    std::iota(epoch->order.begin(), epoch->order.end(), 0);
    epoch->batches.resize(at(batch_count()));
    std::iota(epoch->batches.begin(), epoch->batches.end(), 0);
    Random random(seed, stream_of("batches/order") + static_cast<std::uint64_t>(number));
    random.shuffle(std::span<std::int64_t>(epoch->order));
    if (!options.bucket || !options.with_histories) return epoch;
    std::vector<std::int64_t> length(sample_user.size());
    for (std::int64_t s = 0; s < samples(); ++s) {
      const auto [begin, end] = history(s, number);
      length[at(s)] = end - begin;
    }
    const std::int64_t pool = kPoolBatches * options.batch_size;
    for (std::int64_t begin = 0; begin < samples(); begin += pool)
      std::stable_sort(epoch->order.begin() + begin, epoch->order.begin() + std::min(begin + pool, samples()),
                       [&](std::int64_t a, std::int64_t b) { return length[at(a)] < length[at(b)]; });
    random.shuffle(std::span<std::int64_t>(epoch->batches));
    return epoch;
  }

  void add_target(TrainBatch& batch, std::int64_t row) const {
    batch.target.push_back(all.item[at(row)]);
    if (!all.time.empty()) batch.time.push_back(all.time[at(row)]);
    if (options.with_labels) batch.label.push_back(static_cast<float>(all.label[at(row)]));
  }

  void add_window(TrainBatch& batch, std::int64_t sample) const {
    for (std::int64_t i = sample_begin[at(sample)]; i < sample_end[at(sample)]; ++i) {
      append(batch.histories, all, train.rows[at(i)]);
      add_target(batch, train.rows[at(i)]);
      if (i < sample_first[at(sample)]) batch.target.back() = -1;
    }
    close_row(batch.histories, sample_user[at(sample)]);
  }

  // A set of the user's training items, in their order, and the target.
  void add_subset(TrainBatch& batch, std::int64_t sample, std::int64_t epoch_number) const {
    const std::int64_t user = sample_user[at(sample)], target = sample_end[at(sample)];
    std::vector<std::int64_t> set;
    for (std::int64_t i = train.offset[at(user)]; i < train.offset[at(user + 1)]; ++i)
      if (i != target || options.subset_keeps_target) set.push_back(i);
    if (static_cast<std::int64_t>(set.size()) > options.subset) {
      Random random(seed ^ philox(seed, stream_of("batches/subset"), static_cast<std::uint64_t>(sample))[0],
                    stream_of("batches/subset") + static_cast<std::uint64_t>(epoch_number));
      for (std::int64_t i = 0; i < options.subset; ++i)
        std::swap(set[at(i)], set[at(i + random.below(static_cast<std::int64_t>(set.size()) - i))]);
      set.resize(at(options.subset));
      std::sort(set.begin(), set.end());
    }
    for (const std::int64_t i : set) append(batch.histories, all, train.rows[at(i)]);
    add_target(batch, train.rows[at(target)]);
    close_row(batch.histories, user);
  }

  void add_sample(TrainBatch& batch, std::int64_t sample, std::int64_t epoch_number) const {
    if (each_item()) return add_window(batch, sample);
    if (options.subset > 0) return add_subset(batch, sample, epoch_number);
    const auto [begin, end] = history(sample, epoch_number);
    for (std::int64_t i = options.with_histories ? begin : end; i < end; ++i) {
      append(batch.histories, all, train.rows[at(i)]);
      if (every_position()) add_target(batch, train.rows[at(i + 1)]);
    }
    if (options.form == BatchForm::one_target) add_target(batch, train.rows[at(end)]);
    if (options.form == BatchForm::every_position_last_included) {
      append(batch.histories, all, train.rows[at(end)]);
      batch.target.push_back(-1);
      if (!all.time.empty()) batch.time.push_back(all.time[at(train.rows[at(end)])]);
      if (options.with_labels) batch.label.push_back(0.0f);
    }
    close_row(batch.histories, sample_user[at(sample)]);
  }

  // Of the targets from `first` on, all of them the sample's.
  void add_negatives(TrainBatch& batch, std::int64_t sample, std::size_t first, Random& random) const {
    for (std::size_t i = first; i < batch.target.size(); ++i)
      for (int n = 0; n < options.negatives; ++n)
        batch.negative.push_back(batch.target[i] < 0 ? -1 : unseen->draw(sample_user[at(sample)], random));
  }
};

Batches::Batches(const Dataset& data, BatchOptions options, std::uint64_t seed) {
  check_parts(data, "batches");
  check(options.batch_size >= 1, "batches: batch_size is ", options.batch_size, ", expected 1 or more");
  check(options.negatives >= 0, "batches: negatives is ", options.negatives, ", expected 0 or more");
  check(options.with_histories || options.form == BatchForm::one_target,
        "batches: histories can be left out of batches of one target alone");
  check(options.subset == 0 || (options.form == BatchForm::one_target && options.with_histories),
        "batches: subsets are histories of one target");
  if (options.with_labels) check_clicks(data);
  if (options.form == BatchForm::each_item && options.subsequences)
    throw ConfigError(
        "train.subsequences has no meaning here: every item of every user is a target each epoch already; "
        "remove it");
  impl_ = std::make_unique<const Impl>(data, options, seed);
  if (impl_->samples() == 0)
    throw DataError(
        str("batches: '", data.name, "' has nothing to train on: no user has ",
            options.form == BatchForm::each_item || (options.form == BatchForm::one_target && options.empty_histories)
                ? "a training interaction"
                : "two training interactions"));
}

Batches::~Batches() = default;
Batches::Batches(Batches&&) noexcept = default;

std::int64_t Batches::per_epoch() const { return impl_->batch_count(); }
std::int64_t Batches::targets_per_epoch() const { return impl_->targets; }

TrainBatch Batches::batch(std::int64_t epoch, std::int64_t index) const {
  check(epoch >= 0 && index >= 0 && index < per_epoch(), "batches: batch ", index, " of epoch ", epoch,
        ", expected 0 .. ", per_epoch() - 1);
  const auto order = impl_->epoch(epoch);
  const std::int64_t begin = order->batches[at(index)] * impl_->options.batch_size;
  TrainBatch batch;
  batch.step = epoch * per_epoch() + index;
  Random random(impl_->seed, stream_of("batches/negatives") + static_cast<std::uint64_t>(batch.step));
  for (std::int64_t i = begin; i < std::min(begin + impl_->options.batch_size, impl_->samples()); ++i) {
    const std::size_t first = batch.target.size();
    impl_->add_sample(batch, order->order[at(i)], epoch);
    impl_->add_negatives(batch, order->order[at(i)], first, random);
  }
  return batch;
}

Questions questions(const Dataset& data, Part part, std::int64_t max_items) {
  check_parts(data, "questions");
  check(part == Part::valid || part == Part::test, "questions: the part is neither valid nor test");
  const Interactions& all = data.interactions;
  Questions asked;
  std::vector<std::int64_t> known;
  for (std::int64_t user = 0; user < all.users(); ++user) {
    known.clear();
    for (std::int64_t i = all.begin(user); i < all.end(user); ++i) {
      const Part of = all.part[at(i)];
      if (of == part) asked.target.push_back(all.item[at(i)]);
      if (of == Part::train || (of == Part::valid && part == Part::test)) known.push_back(i);
    }
    const auto targets = static_cast<std::int64_t>(asked.target.size());
    if (targets == asked.target_offset.back()) continue;
    asked.target_offset.push_back(targets);
    const auto n = static_cast<std::int64_t>(known.size());
    for (std::int64_t k = max_items > 0 ? std::max<std::int64_t>(0, n - max_items) : 0; k < n; ++k)
      append(asked.histories, all, known[at(k)]);
    close_row(asked.histories, user);
  }
  return asked;
}

Questions slice(const Questions& questions, std::int64_t begin, std::int64_t end) {
  const Histories& from = questions.histories;
  check(0 <= begin && begin <= end && end <= from.rows(), "slice: rows ", begin, " .. ", end, " of ", from.rows());
  const auto cut = [](const auto& column, std::int64_t first, std::int64_t last) {
    return column.empty() ? column : std::decay_t<decltype(column)>(column.begin() + first, column.begin() + last);
  };
  const auto cut_offsets = [&](const std::vector<std::int64_t>& offset) {
    std::vector<std::int64_t> out(offset.begin() + begin, offset.begin() + end + 1);
    for (std::int64_t& value : out) value -= offset[at(begin)];
    return out;
  };
  Questions part;
  part.histories.user = cut(from.user, begin, end);
  part.histories.offset = cut_offsets(from.offset);
  const std::int64_t first = from.offset[at(begin)], last = from.offset[at(end)];
  part.histories.item = cut(from.item, first, last);
  part.histories.time = cut(from.time, first, last);
  part.histories.action = cut(from.action, first, last);
  part.target_offset = cut_offsets(questions.target_offset);
  part.target = cut(questions.target, questions.target_offset[at(begin)], questions.target_offset[at(end)]);
  return part;
}

Histories histories_of(const std::vector<std::vector<std::int32_t>>& items) {
  Histories histories;
  for (const auto& row : items) {
    histories.item.insert(histories.item.end(), row.begin(), row.end());
    close_row(histories, -1);
  }
  return histories;
}

}  // namespace tessera
