#include "plugins/flat_transformer/flat_transformer.h"

#include <algorithm>
#include <cmath>

#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"
#include "tensor/ops/dropout/dropout.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"
#include "tensor/ops/reduce/reduce.h"

namespace tessera {
namespace {

struct FlatCache final : Memory::Cache {
  TransformerCache rows;
  std::vector<std::int32_t> items, actions;  // what was read, jagged:
  std::vector<std::int64_t> offset{0};
};

struct FlatExtension final : Extension {
  TransformerBranches branches;
};

bool training() { return TrainingScope::current() != nullptr || Tape::current() != nullptr; }

FlatCache& cache_of(const Memory& memory, const char* call) {
  auto* cache = dynamic_cast<FlatCache*>(memory.cache.get());
  check(cache != nullptr, "flat_transformer: ", call, " needs a memory that encode() made outside of training");
  return *cache;
}

// Positions of items' rows: r rows an item, the first item of row b being number start[b].
std::vector<std::int32_t> positions_of(std::span<const std::int64_t> offset, std::span<const std::int64_t> start,
                                       int r) {
  std::vector<std::int32_t> position;
  position.reserve(static_cast<std::size_t>(offset.back() * r));
  for (std::size_t b = 0; b + 1 < offset.size(); ++b) {
    const std::int64_t first = start.empty() ? 0 : start[b] * r, rows = (offset[b + 1] - offset[b]) * r;
    for (std::int64_t i = 0; i < rows; ++i) position.push_back(static_cast<std::int32_t>(first + i));
  }
  return position;
}

std::vector<std::int64_t> times(std::span<const std::int64_t> offset, int factor) {
  std::vector<std::int64_t> scaled(offset.begin(), offset.end());
  for (auto& at : scaled) at *= factor;
  return scaled;
}

// The newest `limit` items of each row (all, where limit is 0), and for each given item its place among them or -1.
struct Kept {
  std::vector<std::int32_t> items, actions, place;
  std::vector<std::int64_t> offset{0};
};

std::int32_t action_of(const Histories& histories, std::int64_t i) {
  return histories.action.empty() ? -1 : histories.action[static_cast<std::size_t>(i)];
}

Kept newest(const Histories& histories, std::int64_t limit) {
  Kept kept;
  kept.place.reserve(histories.item.size());
  for (std::int64_t b = 0; b < histories.rows(); ++b) {
    const std::int64_t begin = histories.offset[static_cast<std::size_t>(b)],
                       end = histories.offset[static_cast<std::size_t>(b) + 1];
    const std::int64_t from = limit > 0 ? std::max(begin, end - limit) : begin;
    for (std::int64_t i = begin; i < end; ++i) {
      kept.place.push_back(i < from ? -1 : static_cast<std::int32_t>(kept.items.size()));
      if (i < from) continue;
      kept.items.push_back(histories.item[static_cast<std::size_t>(i)]);
      kept.actions.push_back(action_of(histories, i));
    }
    kept.offset.push_back(static_cast<std::int64_t>(kept.items.size()));
  }
  return kept;
}

}  // namespace

Tensor FlatTransformer::vectors_of(std::span<const std::int32_t> items) {
  if (tower_) return tower_->vectors(items);
  const int levels = catalog_->levels();
  const double factor = options_.scale_input ? std::sqrt(static_cast<double>(options_.width)) : 1.0;
  const std::vector<std::int32_t> tokens = catalog_->tokens_of(items);
  return reads_tokens() ? (*tokens_)(tokens) : tokens_->sum(tokens, levels, factor);
}

Tensor FlatTransformer::item_inputs(std::span<const std::int32_t> items, std::span<const std::int32_t> actions,
                                    std::span<const std::int64_t> offset, std::span<const std::int64_t> start) {
  const double factor = options_.scale_input ? std::sqrt(static_cast<double>(options_.width)) : 1.0;
  Tensor x = vectors_of(items);
  if (factor != 1.0 && (tower_ || reads_tokens())) x = scale(x, factor);
  if (actions_) {  // behind each item's rows one of its action
    std::vector<std::int32_t> order, kind(actions.begin(), actions.end());
    const auto rows = static_cast<std::int32_t>(item_rows()), count = static_cast<std::int32_t>(items.size());
    for (std::int32_t i = 0; i < count; ++i) {
      for (std::int32_t j = 0; j < rows; ++j) order.push_back(i * rows + j);
      order.push_back(count * rows + i);
    }
    for (auto& k : kind) k = k < 0 ? options_.actions : k;
    const Tensor done = (*actions_)(kind);
    x = gather_rows(concat_rows({x, factor == 1.0 ? done : scale(done, factor)}), order);
  }
  return place(x, positions_ ? positions_of(offset, start, rows_per_item()) : std::vector<std::int32_t>());
}

void FlatTransformer::check_actions(std::span<const std::int8_t> actions) const {
  if (options_.actions == 0) return;
  for (const std::int8_t action : actions)
    check(action < options_.actions, "flat_transformer: a history holds the action ", static_cast<int>(action),
          ", but actions = ", options_.actions, " knows 0 .. ", options_.actions - 1, "; raise it");
}

Tensor FlatTransformer::place(Tensor x, const std::vector<std::int32_t>& position) {
  if (positions_) x = add(x, (*positions_)(position));
  return dropout(x, options_.embedding_dropout);
}

// The state to predict the next item from: that of the last item, or the mean where states see both sides.
Tensor FlatTransformer::summary_of(const Memory& memory) const {
  if (!options_.causal) return segment_mean(memory.states, memory.offset);
  std::vector<std::int32_t> last;
  const std::int64_t back = rows_per_item() - item_rows() + 1;
  for (std::size_t b = 0; b + 1 < memory.offset.size(); ++b)
    last.push_back(memory.offset[b + 1] > memory.offset[b] ? static_cast<std::int32_t>(memory.offset[b + 1] - back)
                                                           : -1);
  return gather_rows(memory.states, last);
}

Memory FlatTransformer::read(const Histories& histories, bool all_states) {
  // A training row may hold one item more than a history: its last target.
  const std::int64_t limit = options_.max_items == 0 ? 0 : options_.max_items + (training() ? 1 : 0);
  check_actions(histories.action);
  Kept kept = newest(histories, limit);
  const int rows = rows_per_item();
  Memory memory;
  memory.offset = times(kept.offset, rows);
  std::shared_ptr<FlatCache> cache;
  if (options_.causal && !training()) {
    cache = std::make_shared<FlatCache>();
    cache->items = kept.items;
    cache->actions = kept.actions;
    cache->offset = kept.offset;
  }
  const Tensor x = item_inputs(kept.items, kept.actions, kept.offset, {});
  TransformerCache* rows_read = cache ? &cache->rows : nullptr;
  if (all_states) {
    memory.states = (*transformer_)(x, memory.offset, rows_read);
    memory.summary = summary_of(memory);
  } else {
    memory.summary = transformer_->last_states(x, memory.offset, rows_read);
  }
  memory.cache = cache;
  if (rows > 1 || kept.items.size() != histories.item.size()) {
    memory.item_row = std::move(kept.place);
    for (auto& row : memory.item_row) row = row < 0 ? -1 : row * rows + item_rows() - 1;
  }
  return memory;
}

std::unique_ptr<Extension> FlatTransformer::extend(const Memory& memory, const Candidates& candidates,
                                                   const Extension* previous) {
  FlatCache& cache = cache_of(memory, "extend()");
  check(!tower_, "flat_transformer: extend() reads tokens; set input = \"tokens\" or item_input = \"tokens\"");
  if (!spec().token_states) {
    check(previous == nullptr, "flat_transformer: extend() reads whole items here and cannot go on from an extension");
    return extend_by_items(memory, candidates);
  }
  const auto* before = previous ? &dynamic_cast<const FlatExtension&>(*previous).branches : nullptr;
  const int fresh = candidates.tokens;
  check(candidates.code.size() == candidates.row.size() * static_cast<std::size_t>(fresh),
        "flat_transformer: ", candidates.code.size(), " codes for ", candidates.row.size(), " candidates of ", fresh,
        " tokens");
  std::vector<std::int32_t> tokens(candidates.code.size()), position(positions_ ? candidates.code.size() : 0);
  for (std::size_t c = 0; c < candidates.row.size(); ++c) {
    const auto row = static_cast<std::size_t>(candidates.row[c]);
    const std::int64_t first = memory.offset[row + 1] - memory.offset[row] + (before ? before->rows : 0);
    for (int j = 0; j < fresh; ++j) {
      const std::size_t at = c * static_cast<std::size_t>(fresh) + static_cast<std::size_t>(j);
      const std::int32_t code = candidates.code[at];
      tokens[at] = code < 0 ? -1 : catalog_->token_offset(candidates.first_level + j) + code;
      if (positions_) position[at] = static_cast<std::int32_t>(first + j);
    }
  }
  Tensor x = (*tokens_)(tokens);
  if (options_.scale_input) x = scale(x, std::sqrt(static_cast<double>(options_.width)));
  auto extension = std::make_unique<FlatExtension>();
  extension->states = transformer_->extend(place(x, position), candidates.row, candidates.parent, cache.rows, before,
                                           extension->branches);
  return extension;
}

// Candidates are whole items, one state each: that of its last token.
std::unique_ptr<Extension> FlatTransformer::extend_by_items(const Memory& memory, const Candidates& candidates) {
  const int levels = catalog_->levels(), rows = item_rows();
  const std::size_t count = candidates.row.size();
  check(candidates.first_level == 0 && candidates.tokens == levels &&
            candidates.code.size() == count * static_cast<std::size_t>(levels),
        "flat_transformer: extend() reads whole items of ", levels, " codes here, got ", candidates.code.size(),
        " codes for ", count, " candidates");
  std::vector<std::int32_t> tokens(candidates.code.size()), position, last;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::int32_t code = candidates.code[i];
    tokens[i] = code < 0 ? -1 : catalog_->token_offset(static_cast<int>(i % static_cast<std::size_t>(levels))) + code;
  }
  for (std::size_t c = 0; c < count; ++c) {
    const auto row = static_cast<std::size_t>(candidates.row[c]);
    const std::int64_t first = memory.offset[row + 1] - memory.offset[row];
    for (int j = 0; j < rows && positions_; ++j) position.push_back(static_cast<std::int32_t>(first + j));
    last.push_back(static_cast<std::int32_t>((static_cast<std::int64_t>(c) + 1) * rows - 1));
  }
  const double factor = options_.scale_input ? std::sqrt(static_cast<double>(options_.width)) : 1.0;
  Tensor x = reads_tokens() ? (*tokens_)(tokens) : tokens_->sum(tokens, levels, factor);
  if (factor != 1.0 && reads_tokens()) x = scale(x, factor);
  auto extension = std::make_unique<FlatExtension>();
  const Tensor states = transformer_->extend(place(x, position), candidates.row, {}, cache_of(memory, "extend()").rows,
                                             nullptr, extension->branches);
  extension->states = rows == 1 ? states : gather_rows(states, last);
  return extension;
}

void FlatTransformer::append(Memory& memory, const Histories& news) {
  FlatCache& old = cache_of(memory, "append()");
  check(news.rows() + 1 == static_cast<std::int64_t>(old.offset.size()), "flat_transformer: append() got ", news.rows(),
        " rows for a memory of ", old.offset.size() - 1);
  check_actions(news.action);
  Histories both;
  std::vector<std::int32_t> fresh;  // actions of the news
  for (std::int64_t i = 0; i < news.size(); ++i) fresh.push_back(action_of(news, i));
  std::vector<std::int64_t> start;
  std::vector<std::int32_t> order;  // rows of [old states | new states], user by user
  const int rows = rows_per_item();
  bool overflows = false;
  for (std::size_t b = 0; b + 1 < old.offset.size(); ++b) {
    start.push_back(old.offset[b + 1] - old.offset[b]);
    both.item.insert(both.item.end(), old.items.begin() + old.offset[b], old.items.begin() + old.offset[b + 1]);
    both.item.insert(both.item.end(), news.item.begin() + news.offset[b], news.item.begin() + news.offset[b + 1]);
    both.action.insert(both.action.end(), old.actions.begin() + old.offset[b], old.actions.begin() + old.offset[b + 1]);
    both.action.insert(both.action.end(), fresh.begin() + news.offset[b], fresh.begin() + news.offset[b + 1]);
    both.offset.push_back(static_cast<std::int64_t>(both.item.size()));
    overflows = overflows || (options_.max_items > 0 && both.offset[b + 1] - both.offset[b] > options_.max_items);
    for (std::int64_t i = old.offset[b] * rows; i < old.offset[b + 1] * rows; ++i)
      order.push_back(static_cast<std::int32_t>(i));
    for (std::int64_t i = news.offset[b] * rows; i < news.offset[b + 1] * rows; ++i)
      order.push_back(static_cast<std::int32_t>(old.offset.back() * rows + i));
  }
  both.user.assign(start.size(), -1);
  // Where the oldest items fall out, every state that saw them changes.
  if (overflows) {
    memory = encode(both);
    return;
  }
  check(static_cast<bool>(memory.states),
        "flat_transformer: append() needs the memory of encode(); summarize() leaves the states out");
  const Tensor x = item_inputs(news.item, fresh, news.offset, start);
  const Tensor states = transformer_->append(x, times(news.offset, rows), old.rows);
  memory.states = gather_rows(concat_rows({memory.states, states}), order);
  old.items = both.item;
  old.actions.assign(both.action.begin(), both.action.end());
  old.offset = both.offset;
  memory.offset = times(both.offset, rows);
  memory.item_row.clear();
  if (rows > 1)
    for (std::size_t i = 0; i < both.item.size(); ++i)
      memory.item_row.push_back(static_cast<std::int32_t>(i * rows) + item_rows() - 1);
  memory.summary = summary_of(memory);
}

std::vector<Tensor> FlatTransformer::export_row(const Memory& memory, std::int64_t row) {
  FlatCache& cache = cache_of(memory, "export_row()");
  check(static_cast<bool>(memory.states),
        "flat_transformer: export_row() needs the memory of encode(); summarize() leaves the states out");
  transformer_->cut_keys(cache.rows);
  const auto b = static_cast<std::size_t>(row);
  const std::int64_t begin = memory.offset[b], end = memory.offset[b + 1];
  std::vector<Tensor> parts{Tensor::from(std::vector<std::int32_t>(cache.items.begin() + cache.offset[b],
                                                                   cache.items.begin() + cache.offset[b + 1]),
                                         {cache.offset[b + 1] - cache.offset[b]}),
                            memory.states.row_range(begin, end)};
  for (std::size_t l = 0; l < cache.rows.key.size(); ++l) {
    parts.push_back(cache.rows.key[l].row_range(begin, end));
    parts.push_back(cache.rows.value[l].row_range(begin, end));
  }
  if (actions_)
    parts.push_back(Tensor::from(
        std::vector<std::int32_t>(cache.actions.begin() + cache.offset[b], cache.actions.begin() + cache.offset[b + 1]),
        {cache.offset[b + 1] - cache.offset[b]}));
  return parts;
}

Memory FlatTransformer::import_rows(std::span<const std::vector<Tensor>> rows) {
  const auto layers = static_cast<std::size_t>(options_.layers);
  const int per_item = rows_per_item(), inner = transformer_->options().inner();
  auto cache = std::make_shared<FlatCache>();
  std::vector<std::vector<Tensor>> parts(1 + 2 * layers);
  for (const auto& row : rows) {
    const std::size_t expected_parts = 2 + 2 * layers + (actions_ ? 1 : 0);
    check(row.size() == expected_parts, "flat_transformer: a stored row has ", row.size(), " parts, expected ",
          expected_parts);
    const auto items = row[0].values<std::int32_t>();
    for (const std::int32_t item : items)
      check(item >= 0 && item < catalog_->items(), "flat_transformer: a stored row names item ", item, " of ",
            catalog_->items());
    const std::int64_t states = static_cast<std::int64_t>(items.size()) * per_item;
    for (std::size_t p = 1; p < 2 + 2 * layers; ++p) {
      const Shape expected{states, p == 1 ? options_.width : inner};
      check(row[p].shape() == expected, "flat_transformer: part ", p, " of a stored row is ", row[p].shape().text(),
            ", expected ", expected.text());
      parts[p - 1].push_back(row[p]);
    }
    if (actions_) {
      const auto actions = row.back().values<std::int32_t>();
      check(actions.size() == items.size(), "flat_transformer: a stored row has ", actions.size(), " actions for ",
            items.size(), " items");
      cache->actions.insert(cache->actions.end(), actions.begin(), actions.end());
    } else {
      cache->actions.insert(cache->actions.end(), items.size(), -1);
    }
    cache->items.insert(cache->items.end(), items.begin(), items.end());
    cache->offset.push_back(static_cast<std::int64_t>(cache->items.size()));
  }
  Memory memory;
  memory.offset = times(cache->offset, per_item);
  cache->rows.offset = memory.offset;
  memory.states = concat_rows(parts[0]);
  for (std::size_t l = 0; l < layers; ++l) {
    cache->rows.key.push_back(concat_rows(parts[1 + 2 * l]));
    cache->rows.value.push_back(concat_rows(parts[2 + 2 * l]));
  }
  if (per_item > 1)
    for (std::size_t i = 0; i < cache->items.size(); ++i)
      memory.item_row.push_back(static_cast<std::int32_t>(i) * per_item + item_rows() - 1);
  memory.summary = summary_of(memory);
  memory.cache = std::move(cache);
  return memory;
}

}  // namespace tessera
