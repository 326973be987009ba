// Memories that grow, and rows of them that are stored.
#include <algorithm>

#include "plugins/hmat/events.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"

namespace tessera {

void Hmat::append(Memory& memory, const Histories& news) {
  Cache& old = cache_of(memory, "append()");
  check(news.rows() == old.events.rows(), "hmat: append() got ", news.rows(), " rows for a memory of ",
        old.events.rows());
  std::vector<std::int32_t> place;
  const Events fresh = newest(news, place);
  Events both;
  std::vector<std::int64_t> time_before;
  std::vector<std::int32_t> order,
      last;  // rows of [old states | new states]: history by history, and each one's newest
  const std::int64_t old_items = old.events.offset.back();
  bool overflows = fresh.offset.back() < news.size();
  for (std::size_t b = 0; b + 1 < fresh.offset.size(); ++b) {
    const std::int64_t begin = old.events.offset[b], end = old.events.offset[b + 1], items = fresh.offset[b + 1];
    time_before.push_back(end > begin ? old.events.time[static_cast<std::size_t>(end) - 1] : Events::kNoTime);
    both.add(old.events, begin, end);
    both.add(fresh, fresh.offset[b], items);
    both.end_row();
    overflows = overflows || (options_.max_items > 0 && both.offset[b + 1] - both.offset[b] > options_.max_items);
    for (std::int64_t i = begin; i < end; ++i) order.push_back(static_cast<std::int32_t>(i));
    for (std::int64_t i = fresh.offset[b]; i < items; ++i) order.push_back(static_cast<std::int32_t>(old_items + i));
    const bool grows = items > fresh.offset[b];
    last.push_back(static_cast<std::int32_t>(grows ? old.events.rows() + items - 1 : static_cast<std::int64_t>(b)));
  }
  // Where the oldest items fall out, every state that saw them changes: those histories are read again.
  if (overflows) {
    Histories whole;
    whole.user.assign(static_cast<std::size_t>(both.rows()), -1);
    whole.item = both.item;
    whole.offset = both.offset;
    whole.action = both.action;
    whole.time = both.time;
    memory = read(whole, static_cast<bool>(memory.states));
    return;
  }
  const Tensor states = stack_->append(inputs(codes_of(fresh.item)), fresh.offset, sides_of(fresh, time_before),
                                       old.past, old.events.offset);
  memory.summary = gather_rows(concat_rows({memory.summary, states}), last);
  if (memory.states) memory.states = gather_rows(concat_rows({memory.states, states}), order);
  old.events = std::move(both);
  memory.offset = old.events.offset;
  memory.item_row.clear();
}

std::vector<Tensor> Hmat::export_row(const Memory& memory, std::int64_t row) {
  const Cache& cache = cache_of(memory, "export_row()");
  check(row >= 0 && row < cache.events.rows(), "hmat: export_row() of row ", row, " of a memory of ",
        cache.events.rows());
  const std::int64_t begin = cache.events.offset[static_cast<std::size_t>(row)],
                     end = cache.events.offset[static_cast<std::size_t>(row) + 1];
  std::vector<Tensor> layers;
  for (const Tensor& past : cache.past)
    layers.push_back(past.row_range(begin * stack_->far_rows(), end * stack_->far_rows()));
  Tensor log({end - begin, 3}, DType::i64);
  for (std::int64_t i = begin; i < end; ++i) {
    const auto at = static_cast<std::size_t>(i);
    std::int64_t* to = log.data<std::int64_t>() + (i - begin) * 3;
    to[0] = cache.events.item[at];
    to[1] = cache.events.action[at];
    to[2] = cache.events.time[at];
  }
  return {concat_columns(layers), memory.summary.row_range(row, row + 1).clone(), log};
}

Memory Hmat::import_rows(std::span<const std::vector<Tensor>> rows) {
  auto cache = std::make_shared<Cache>();
  const std::int64_t width = stack_->memory_width(), columns = width * options_.layers;
  std::vector<Tensor> pasts, summaries;
  for (std::size_t b = 0; b < rows.size(); ++b) {
    check(rows[b].size() == 3, "hmat: stored row ", b, " has ", rows[b].size(), " tensors, expected 3");
    const Tensor &past = rows[b][0], &summary = rows[b][1], &log = rows[b][2];
    const std::int64_t items = log.shape().rank() == 2 ? log.dim(0) : 0;
    check(log.dtype() == DType::i64 && log.shape() == Shape({items, 3}), "hmat: stored row ", b, " has events ",
          name_of(log.dtype()), " ", log.shape().text(), ", expected i64 (items, 3)");
    check(past.shape() == Shape({items * stack_->far_rows(), columns}), "hmat: stored row ", b, " has anchors ",
          past.shape().text(), ", expected ", Shape({items * stack_->far_rows(), columns}).text());
    check(summary.shape() == Shape({1, options_.width}) && summary.dtype() == past.dtype(), "hmat: stored row ", b,
          " has a state ", name_of(summary.dtype()), " ", summary.shape().text(), ", expected ", name_of(past.dtype()),
          " ", Shape({1, options_.width}).text());
    for (std::int64_t i = 0; i < items; ++i) {
      const std::int64_t* from = log.data<std::int64_t>() + i * 3;
      check(from[0] >= 0 && from[0] < catalog_->items(), "hmat: stored row ", b, " has item ", from[0],
            ", the catalogue has ", catalog_->items());
      cache->events.item.push_back(static_cast<std::int32_t>(from[0]));
      cache->events.action.push_back(static_cast<std::int8_t>(from[1]));
      cache->events.time.push_back(from[2]);
    }
    cache->events.end_row();
    pasts.push_back(past);
    summaries.push_back(summary);
  }
  Memory memory;
  memory.offset = cache->events.offset;
  if (rows.empty()) {
    pasts.emplace_back(Shape{0, columns});
    summaries.emplace_back(Shape{0, options_.width});
  }
  const Tensor all = concat_rows(pasts);
  for (int l = 0; l < options_.layers; ++l) cache->past.push_back(slice_columns(all, l * width, (l + 1) * width));
  memory.summary = concat_rows(summaries);
  memory.cache = cache;
  return memory;
}

}  // namespace tessera
