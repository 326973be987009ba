#include "tensor/ops/topk/topk.h"

#include <algorithm>
#include <limits>

#include "tensor/core/agree.h"
#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/core/simd.h"
#include "tensor/gemm/gemm.h"

namespace tessera {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();

struct Candidate {
  float score;
  std::int32_t index;
};

bool better(const Candidate& a, const Candidate& b) {
  return a.score > b.score || (a.score == b.score && a.index < b.index);
}

// The k best so far of one row: a heap with the worst on top. What is offered comes by rising index, so a tie never
// wins.
class Best {
 public:
  explicit Best(int k) : k_(static_cast<std::size_t>(k)) { heap_.reserve(k_); }

  void offer(const float* score, std::int64_t n, std::int64_t first_index) {
    constexpr std::int64_t kLanes = simd::kLanes<float>, kBlock = 8 * kLanes;
    std::int64_t i = 0;
    for (; i + kBlock <= n; i += kBlock) {  // most blocks hold nothing new once the heap is full
      simd::Vec<float> top = simd::broadcast(bar_);
      for (std::int64_t j = 0; j < kBlock; j += kLanes) top = simd::max<float>(simd::load(score + i + j), top);
      if (simd::top<float>(top) > bar_) offer_each(score + i, kBlock, first_index + i);
    }
    offer_each(score + i, n - i, first_index + i);
  }
  void merge(const Best& other) {
    for (const Candidate& candidate : other.heap_)
      if (heap_.size() < k_ || better(candidate, heap_.front())) insert(candidate);
  }
  void write(std::int32_t* index, float* score) {
    std::sort(heap_.begin(), heap_.end(), better);
    for (std::size_t i = 0; i < k_; ++i) {
      index[i] = i < heap_.size() ? heap_[i].index : -1;
      score[i] = i < heap_.size() ? heap_[i].score : kNone;
    }
  }

 private:
  void offer_each(const float* score, std::int64_t n, std::int64_t first_index) {
    for (std::int64_t i = 0; i < n; ++i)
      if (score[i] > bar_) insert({score[i], static_cast<std::int32_t>(first_index + i)});
  }
  void insert(Candidate candidate) {
    if (heap_.size() == k_) {
      std::pop_heap(heap_.begin(), heap_.end(), better);
      heap_.back() = candidate;
    } else {
      heap_.push_back(candidate);
    }
    std::push_heap(heap_.begin(), heap_.end(), better);
    if (heap_.size() == k_) bar_ = heap_.front().score;
  }

  std::size_t k_;
  std::vector<Candidate> heap_;
  float bar_ = kNone;  // what a newcomer must exceed; NaN and -infinity never do
};

void check_k(const char* name, int k) { check(k >= 1, name, ": k is ", k, ", expected 1 or more"); }

void check_matrix(const char* name, const char* what, const Tensor& x) {
  check_present(name, what, x);
  require_cpu_kernel(name, x.device());
  check(x.shape().rank() == 2 && x.dtype() == DType::f32, name, ": ", what, " is ", name_of(x.dtype()), " ",
        x.shape().text(), ", expected f32 of rank 2");
  check(x.dim(0) <= std::numeric_limits<std::int32_t>::max() && x.dim(1) <= std::numeric_limits<std::int32_t>::max(),
        name, ": ", what, " ", x.shape().text(), " has more than 2^31 - 1 rows or columns");
}

TopK make_result(std::int64_t rows, int k) {
  const auto size = static_cast<std::size_t>(rows) * static_cast<std::size_t>(k);
  return {std::vector<std::int32_t>(size), std::vector<float>(size)};
}

// One ranking: what all its tiles read.
struct Ranking {
  const float *queries, *items, *bias;  // bias may be null
  std::int64_t rows, count, width;
  std::span<const std::uint8_t> allowed;
  // Row lists in rising order, so that each block of items takes its part and goes on.
  std::vector<std::int32_t> excluded;
  std::vector<std::int64_t> excluded_offset;
};

constexpr std::int64_t kRows = 128, kItems = 512;  // one block of scores: 256 KB, a quarter of a second-level cache

// Adds the bias and takes out what may not be given, in one row's scores of items first .. first + n.
void adjust(const Ranking& r, std::int64_t row, std::int64_t first, std::int64_t n, float* score) {
  if (r.bias != nullptr)
    for (std::int64_t i = 0; i < n; ++i) score[i] += r.bias[first + i];
  if (!r.allowed.empty()) {
    const std::uint8_t* may = r.allowed.data() + first;
    for (std::int64_t i = 0; i < n; ++i) score[i] = may[i] ? score[i] : kNone;
  }
  if (r.excluded.empty()) return;
  const auto begin = r.excluded.begin() + r.excluded_offset[static_cast<std::size_t>(row)];
  const auto end = r.excluded.begin() + r.excluded_offset[static_cast<std::size_t>(row) + 1];
  for (auto it = std::lower_bound(begin, end, static_cast<std::int32_t>(first)); it != end && *it < first + n; ++it)
    score[*it - first] = kNone;
}

// Ranks items first .. last for the rows from row to row + best.size().
void rank_block(const Ranking& r, std::int64_t row, std::int64_t first, std::int64_t last, std::span<Best> best) {
  const auto rows = static_cast<std::int64_t>(best.size());
  alignas(64) thread_local float score[kRows * kItems];
  for (std::int64_t at = first; at < last; at += kItems) {
    const std::int64_t n = std::min(kItems, last - at);
    gemm_tile({false, true, rows, n, r.width}, 1.0f, r.queries + row * r.width, r.width, r.items + at * r.width,
              r.width, 0.0f, score, kItems);
    for (std::int64_t i = 0; i < rows; ++i) {
      adjust(r, row + i, at, n, score + i * kItems);
      best[static_cast<std::size_t>(i)].offer(score + i * kItems, n, at);
    }
  }
}

void take_excluded(Ranking& r, std::span<const std::int64_t> offset, std::span<const std::int32_t> excluded) {
  const char* name = "topk_inner_product";
  if (offset.empty() && excluded.empty()) return;
  check(static_cast<std::int64_t>(offset.size()) == r.rows + 1, name, ": excluded_offset has ", offset.size(),
        " numbers for ", r.rows, " queries, expected ", r.rows + 1);
  check_offset(name, offset, static_cast<std::int64_t>(excluded.size()), "excluded");
  for (std::size_t i = 0; i < excluded.size(); ++i)
    check(excluded[i] >= 0 && excluded[i] < r.count, name, ": excluded[", i, "] is ", excluded[i], ", expected 0 .. ",
          r.count - 1);
  r.excluded.assign(excluded.begin(), excluded.end());
  r.excluded_offset.assign(offset.begin(), offset.end());
  parallel_rows(r.rows, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row)
      std::sort(r.excluded.begin() + offset[static_cast<std::size_t>(row)],
                r.excluded.begin() + offset[static_cast<std::size_t>(row) + 1]);
  });
}

}  // namespace

TopK topk(const Tensor& x, int k) {
  check_k("topk", k);
  check_matrix("topk", "x", x);
  const std::int64_t rows = x.dim(0), n = x.dim(1);
  TopK result = make_result(rows, k);
  parallel_rows(rows, std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(1, n)),
                [&](std::int64_t begin, std::int64_t end) {
                  for (std::int64_t row = begin; row < end; ++row) {
                    Best best(k);
                    best.offer(x.data<float>() + row * n, n, 0);
                    best.write(result.index.data() + row * k, result.score.data() + row * k);
                  }
                });
  return result;
}

TopK topk_inner_product(const Tensor& queries, const Tensor& items, int k,
                        std::span<const std::int64_t> excluded_offset, std::span<const std::int32_t> excluded,
                        std::span<const std::uint8_t> allowed, const Tensor& item_bias) {
  const char* name = "topk_inner_product";
  check_k(name, k);
  check_matrix(name, "queries", queries);
  check_matrix(name, "items", items);
  check(queries.dim(1) == items.dim(1), name, ": queries ", queries.shape().text(), ", items ", items.shape().text(),
        ": ", queries.dim(1), " is not ", items.dim(1));
  const std::int64_t rows = queries.dim(0), count = items.dim(0);
  check(allowed.empty() || static_cast<std::int64_t>(allowed.size()) == count, name, ": allowed has ", allowed.size(),
        " numbers for ", count, " items");
  if (item_bias) {
    check_agree(name, "items", items, "item_bias", item_bias);
    check(item_bias.numel() == count, name, ": item_bias ", item_bias.shape().text(), " for ", count, " items");
  }
  Ranking r{queries.data<float>(),
            items.data<float>(),
            item_bias ? item_bias.data<float>() : nullptr,
            rows,
            count,
            queries.dim(1),
            allowed,
            {},
            {}};
  take_excluded(r, excluded_offset, excluded);

  // A few queries over many items are cut along the items too, else most threads would have nothing to do.
  const std::int64_t row_blocks = (rows + kRows - 1) / kRows;
  const std::int64_t parts = row_blocks >= 8 ? 1 : std::clamp<std::int64_t>(count / (8 * kItems), 1, 8);
  const std::int64_t part_items = (count / parts + kItems) / kItems * kItems;
  std::vector<std::vector<Best>> best(static_cast<std::size_t>(row_blocks * parts));
  parallel_for(row_blocks * parts, [&](std::int64_t tile) {
    const std::int64_t row = tile / parts * kRows, first = tile % parts * part_items;
    auto& mine = best[static_cast<std::size_t>(tile)];
    mine.assign(static_cast<std::size_t>(std::min(kRows, rows - row)), Best(k));
    rank_block(r, row, std::min(first, count), std::min(first + part_items, count), mine);
  });
  TopK result = make_result(rows, k);
  parallel_for(row_blocks, [&](std::int64_t block) {
    auto& whole = best[static_cast<std::size_t>(block * parts)];
    for (std::size_t i = 0; i < whole.size(); ++i) {
      for (std::int64_t part = 1; part < parts; ++part)
        whole[i].merge(best[static_cast<std::size_t>(block * parts + part)][i]);
      const std::int64_t row = block * kRows + static_cast<std::int64_t>(i);
      whole[i].write(result.index.data() + row * k, result.score.data() + row * k);
    }
  });
  return result;
}

}  // namespace tessera
