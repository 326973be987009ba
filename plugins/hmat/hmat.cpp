#include "plugins/hmat/hmat.h"

#include <algorithm>
#include <bit>

#include "framework/nn/independent_rows.h"
#include "plugins/hmat/events.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"
#include "tensor/ops/dropout/dropout.h"
#include "tensor/ops/embedding/embedding.h"

namespace tessera {
namespace {

struct HmatExtension final : Extension {};

bool training() { return TrainingScope::current() != nullptr || Tape::current() != nullptr; }

// Bucket of a gap in seconds: a logarithmic scale, the last bucket from about a decade on.
std::int32_t gap_bucket(std::int64_t seconds, int buckets) {
  const auto bits = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(std::max<std::int64_t>(0, seconds))));
  constexpr int kBits = 28;
  return std::min(buckets - 1, bits * buckets / (kBits + 1));
}

}  // namespace

// The newest items of each history; place: of each given item among them, or -1.
Hmat::Events Hmat::newest(const Histories& histories, std::vector<std::int32_t>& place) const {
  // A training row may hold one item more than a history: its last target.
  const std::int64_t limit = options_.max_items == 0 ? 0 : options_.max_items + (training() ? 1 : 0);
  Events events;
  for (std::int64_t b = 0; b < histories.rows(); ++b) {
    const std::int64_t begin = histories.offset[static_cast<std::size_t>(b)],
                       end = histories.offset[static_cast<std::size_t>(b) + 1];
    const std::int64_t from = limit > 0 ? std::max(begin, end - limit) : begin;
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      const bool kept = static_cast<std::int64_t>(i) >= from;
      place.push_back(kept ? static_cast<std::int32_t>(events.item.size()) : -1);
      if (!kept) continue;
      events.item.push_back(histories.item[i]);
      events.action.push_back(histories.action.empty() ? Events::kNoAction : histories.action[i]);
      events.time.push_back(histories.time.empty() ? Events::kNoTime : histories.time[i]);
    }
    events.end_row();
  }
  return events;
}

// Actions, and gaps to the item before (time_before: of the item before each row's first, or empty).
SideFeatures Hmat::sides_of(const Events& events, std::span<const std::int64_t> time_before) const {
  SideFeatures sides;
  sides.rows.reserve(events.item.size() * SideFeatures::kColumns);
  bool any = false;
  for (std::size_t b = 0; b + 1 < events.offset.size(); ++b) {
    std::int64_t before = time_before.empty() ? Events::kNoTime : time_before[b];
    for (auto i = static_cast<std::size_t>(events.offset[b]); i < static_cast<std::size_t>(events.offset[b + 1]); ++i) {
      const int action = events.action[i];
      if (options_.actions > 0 && (action < Events::kNoAction || action >= options_.actions))
        throw Error(str("hmat: an item has the action ", action, ", expected 0 to ", options_.actions - 1,
                        " or -1 (unknown); set actions in [model] to the number of action types, or to 0"));
      sides.rows.push_back(options_.actions > 0 ? action : -1);
      const bool gap = options_.time_buckets > 0 && before != Events::kNoTime && events.time[i] != Events::kNoTime;
      sides.rows.push_back(gap ? options_.actions + gap_bucket(events.time[i] - before, options_.time_buckets) : -1);
      before = events.time[i];
      any = any || sides.rows.back() >= 0 || sides.rows[sides.rows.size() - 2] >= 0;
    }
  }
  if (!any) sides.rows.clear();
  return sides;
}

std::vector<std::int32_t> Hmat::codes_of(std::span<const std::int32_t> items) const {
  std::vector<std::int32_t> codes;
  codes.reserve(items.size() * static_cast<std::size_t>(catalog_->levels()));
  for (const std::int32_t item : items) {
    const auto own = catalog_->codes_of(item);
    codes.insert(codes.end(), own.begin(), own.end());
  }
  return codes;
}

// The table's row of an identifier; -1 where no item has these codes.
std::int32_t Hmat::identifier_row(const std::int32_t* codes) const {
  const auto levels = static_cast<std::size_t>(catalog_->levels());
  const std::int32_t* all = catalog_->codes().data();
  const auto found =
      std::lower_bound(by_codes_.begin(), by_codes_.end(), codes, [&](std::int32_t item, const std::int32_t* wanted) {
        const std::int32_t* own = all + static_cast<std::size_t>(item) * levels;
        return std::lexicographical_compare(own, own + levels, wanted, wanted + levels);
      });
  if (found == by_codes_.end() || !std::equal(codes, codes + levels, all + static_cast<std::size_t>(*found) * levels))
    return -1;
  return catalog_->tokens() + catalog_->levels() + 1 +
         static_cast<std::int32_t>((found - by_codes_.begin()) % options_.identifiers);
}

Tensor Hmat::inputs(std::span<const std::int32_t> codes) {
  const int levels = catalog_->levels(), missing = catalog_->tokens(), anchor = missing + levels;
  const bool named = options_.identifiers > 0;
  std::vector<std::int32_t> rows;
  const std::size_t items = codes.size() / static_cast<std::size_t>(levels);
  rows.reserve(items * static_cast<std::size_t>(levels + 1) * (named ? 2 : 1));
  for (std::size_t i = 0; i < items; ++i) {
    const std::int32_t* own = codes.data() + i * static_cast<std::size_t>(levels);
    for (int l = 0; l < levels; ++l) {
      check(own[l] < catalog_->level(l).codes, "hmat: code ", own[l], " at level ", l, ", which has ",
            catalog_->level(l).codes, " codes");
      rows.push_back(own[l] < 0 ? missing + l : catalog_->token_offset(l) + own[l]);
      if (named) rows.push_back(-1);
    }
    rows.push_back(anchor);
    if (named) rows.push_back(identifier_row(own));
  }
  return dropout(named ? table_->sum(rows, 2) : (*table_)(rows), options_.embedding_dropout);
}

Memory Hmat::read(const Histories& histories, bool all_states) {
  std::vector<std::int32_t> place;
  Memory memory = read(newest(histories, place), all_states);
  if (memory.offset.back() != histories.size()) memory.item_row = std::move(place);
  return memory;
}

Memory Hmat::read(Events events, bool all_states) {
  Memory memory;
  memory.offset = events.offset;
  const Tensor x = inputs(codes_of(events.item));
  const SideFeatures sides = sides_of(events, {});
  std::shared_ptr<Cache> cache;
  if (!training()) {
    cache = std::make_shared<Cache>();
    cache->events = std::move(events);
  }
  if (all_states || !cache) {
    memory.states = (*stack_)(x, memory.offset, sides, cache ? &cache->past : nullptr);
    std::vector<std::int32_t> last;
    for (std::size_t b = 0; b + 1 < memory.offset.size(); ++b)
      last.push_back(memory.offset[b + 1] > memory.offset[b] ? static_cast<std::int32_t>(memory.offset[b + 1] - 1)
                                                             : -1);
    memory.summary = gather_rows(memory.states, last);
  } else {
    memory.summary = stack_->last_states(x, memory.offset, sides, cache->past);
  }
  memory.cache = cache;
  return memory;
}

Hmat::Cache& Hmat::cache_of(const Memory& memory, const char* call) {
  auto* cache = dynamic_cast<Cache*>(memory.cache.get());
  check(cache != nullptr, "hmat: ", call, " needs a memory that was made outside of training");
  return *cache;
}

std::unique_ptr<Extension> Hmat::extend(const Memory& memory, const Candidates& candidates, const Extension* previous) {
  const Cache& cache = cache_of(memory, "extend()");
  check(!previous && candidates.first_level == 0 && candidates.tokens == catalog_->levels(),
        "hmat: extend() reads whole items, all ", catalog_->levels(), " codes at once; found codes of levels ",
        candidates.first_level, " to ", candidates.first_level + candidates.tokens - 1);
  check(candidates.code.size() == candidates.row.size() * static_cast<std::size_t>(candidates.tokens),
        "hmat: ", candidates.code.size(), " codes for ", candidates.row.size(), " candidates of ", candidates.tokens,
        " tokens");
  const auto levels = static_cast<std::size_t>(candidates.tokens);
  auto extension = std::make_unique<HmatExtension>();
  extension->states =
      independent_rows(static_cast<std::int64_t>(candidates.row.size()), [&](std::span<const std::int32_t> chosen) {
        std::vector<std::int32_t> row, code;
        for (const std::int32_t c : chosen) {
          const auto first =
              candidates.code.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(c) * levels);
          row.push_back(candidates.row[static_cast<std::size_t>(c)]);
          code.insert(code.end(), first, first + candidates.tokens);
        }
        return row.empty() ? Tensor({0, options_.width})
                           : stack_->extend(inputs(code), cache.past, cache.events.offset, row);
      });
  return extension;
}

}  // namespace tessera
