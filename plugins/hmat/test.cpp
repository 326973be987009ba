#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "framework/nn/pair_testing.h"
#include "tensor/core/testing.h"
#include "tensor/gemm/gemm.h"

namespace tessera {
namespace {

using testing::batch_of;
using testing::histories_of_lengths;
using testing::largest_difference;
using testing::Pair;
using testing::random_tokens;

Registry& plugins() { return testing::registry(TESSERA_BINARY_DIR "/lib/tessera/plugins"); }

const std::string kSmall =
    "plugin = \"hmat\"\nwidth = 16\nlayers = 3\nheads = 2\nffn = 24\nmax_items = 9\ndeviation = 0.3\ndropout = 0.0\n";
const std::string kDot = "plugin = \"dot_product\"";

struct Variant {
  std::string name, model;
};
const Variant kVariants[] = {
    {"base", kSmall},
    {"both ways, layer norm", kSmall + "mask = \"both_ways\"\nnorm = \"layer\"\nactivation = \"silu\""},
    {"local anchors, one ladder", kSmall + "mask = \"local_anchors\"\npositions = \"one_ladder\"\nbias = false"},
    {"item anchors", kSmall + "mask = \"item_anchors\"\nitem_base = 100.0"},
    {"full, flat", kSmall + "mask = \"full\"\npositions = \"flat\""},
    {"identifiers, no positions", kSmall + "identifiers = 11\npositions = \"none\"\nhead_width = 6"},
    {"full", kSmall + "mask = \"full\""},
};

// Actions 0 and 1, and times with gaps of seconds to months.
Histories with_events(Histories histories, std::uint64_t seed = 5) {
  Random random(seed, stream_of("events"));
  for (std::int64_t b = 0; b < histories.rows(); ++b) {
    std::int64_t time = 1'000'000'000;
    for (std::int64_t i = histories.offset[static_cast<std::size_t>(b)];
         i < histories.offset[static_cast<std::size_t>(b) + 1]; ++i) {
      histories.action.push_back(static_cast<std::int8_t>(random.below(2)));
      histories.time.push_back(time += std::int64_t{1} << random.below(24));
    }
  }
  return histories;
}

// Items begin .. end - 1 of each row.
Histories part_of(const Histories& all, const std::vector<int>& begin, const std::vector<int>& end) {
  Histories part;
  for (std::size_t b = 0; b < begin.size(); ++b) {
    part.user.push_back(all.user[b]);
    const std::int64_t from = all.offset[b] + begin[b], to = all.offset[b] + end[b];
    part.item.insert(part.item.end(), all.item.begin() + from, all.item.begin() + to);
    if (!all.action.empty()) part.action.insert(part.action.end(), all.action.begin() + from, all.action.begin() + to);
    if (!all.time.empty()) part.time.insert(part.time.end(), all.time.begin() + from, all.time.begin() + to);
    part.offset.push_back(part.size());
  }
  return part;
}

Candidates candidates_of(const Pair& pair, const std::vector<std::int32_t>& row,
                         const std::vector<std::int32_t>& item) {
  Candidates candidates;
  candidates.row = row;
  candidates.tokens = pair.catalog->levels();
  for (const std::int32_t i : item) {
    const auto codes = pair.catalog->codes_of(i);
    candidates.code.insert(candidates.code.end(), codes.begin(), codes.end());
  }
  return candidates;
}

bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.bytes() == b.bytes() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

}  // namespace

TEST(Hmat, RaggedRowsEqualRowsAlone) {
  for (const Variant& v : kVariants) {
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, kDot);
    const Histories all = with_events(histories_of_lengths({4, 1, 9, 0, 6}, 30));
    const Memory together = pair.model->encode(all);
    ASSERT_EQ(together.summary.rows(), 5) << v.name;
    ASSERT_EQ(together.states.rows(), all.size()) << v.name;
    EXPECT_LT(largest_difference(pair.model->summarize(all).summary, together.summary), 1e-5) << v.name;
    const int lengths[] = {4, 1, 9, 0, 6};
    for (std::size_t b = 0; b < 5; ++b) {
      std::vector<int> begin(5, 0), end(5, 0);
      end[b] = lengths[b];
      const Memory alone = pair.model->encode(part_of(all, begin, end));
      EXPECT_LT(largest_difference(together.states.row_range(together.offset[b], together.offset[b + 1]), alone.states),
                1e-5)
          << v.name;
    }
    for (const float x : together.summary.row_range(3, 4).values<float>()) EXPECT_EQ(x, 0.0f);
  }
}

TEST(Hmat, AStateSeesItsPastAlone) {
  for (const Variant& v : kVariants) {
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, kDot);
    Histories one = histories_of_lengths({6}, 30);
    const Memory before = pair.model->encode(one);
    one.item[4] = (one.item[4] + 1) % 30;
    const Memory after = pair.model->encode(one);
    EXPECT_EQ(largest_difference(before.states.row_range(0, 4), after.states.row_range(0, 4)), 0.0) << v.name;
    EXPECT_GT(largest_difference(before.states.row_range(4, 5), after.states.row_range(4, 5)), 1e-4) << v.name;
    EXPECT_GT(largest_difference(before.summary, after.summary), 1e-4) << v.name;
  }
}

// The state of an item answers for the item: its own action is told to later items alone.
TEST(Hmat, AStateDoesNotKnowItsOwnAction) {
  for (const Variant& v : kVariants) {
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, kDot);
    Histories one = with_events(histories_of_lengths({6}, 30));
    const Memory before = pair.model->encode(one);
    one.action[3] = static_cast<std::int8_t>(1 - one.action[3]);
    const Memory after = pair.model->encode(one);
    EXPECT_EQ(largest_difference(before.states.row_range(0, 4), after.states.row_range(0, 4)), 0.0) << v.name;
    EXPECT_GT(largest_difference(before.states.row_range(4, 5), after.states.row_range(4, 5)), 1e-5) << v.name;
    one = with_events(histories_of_lengths({6}, 30));
    one.time[0] -= 100'000'000;  // the gap before item 1
    const Memory later = pair.model->encode(one);
    EXPECT_EQ(largest_difference(before.states.row_range(0, 2), later.states.row_range(0, 2)), 0.0) << v.name;
    EXPECT_GT(largest_difference(before.states.row_range(2, 3), later.states.row_range(2, 3)), 1e-5) << v.name;
  }
}

TEST(Hmat, LongHistoriesKeepTheNewest) {
  for (const Variant& v : kVariants) {
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, kDot);
    const Histories longer = with_events(histories_of_lengths({14}, 30));
    const Memory a = pair.model->encode(longer), b = pair.model->encode(part_of(longer, {5}, {14}));
    EXPECT_EQ(largest_difference(a.states, b.states), 0.0) << v.name;
    ASSERT_EQ(a.item_row.size(), 14u);
    EXPECT_EQ(a.item_row[4], -1);
    EXPECT_EQ(a.item_row[13], 8);
  }
}

TEST(Hmat, AppendingEqualsEncodingAll) {
  for (const Variant& v : kVariants) {
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, kDot);
    const Histories all = with_events(histories_of_lengths({7, 3, 11, 9}, 30));
    const std::vector<int> none(4, 0), old = {3, 0, 9, 6}, more = {5, 1, 9, 7}, whole = {7, 3, 11, 9};
    for (const bool states : {true, false}) {
      Memory grown =
          states ? pair.model->encode(part_of(all, none, old)) : pair.model->summarize(part_of(all, none, old));
      pair.model->append(grown, part_of(all, old, more));
      const Memory expected = pair.model->encode(part_of(all, none, more));
      EXPECT_EQ(grown.offset, expected.offset) << v.name;
      EXPECT_LT(largest_difference(grown.summary, expected.summary), 1e-5) << v.name;
      if (states) {
        EXPECT_LT(largest_difference(grown.states, expected.states), 1e-5) << v.name;
      }
      // The third row overflows and forgets its oldest.
      pair.model->append(grown, part_of(all, more, whole));
      const Memory last = pair.model->encode(all);
      EXPECT_EQ(grown.offset, last.offset) << v.name;
      EXPECT_LT(largest_difference(grown.summary, last.summary), 1e-5) << v.name;
      const Candidates next = candidates_of(pair, {0, 1, 2, 3}, {5, 6, 7, 8});
      EXPECT_LT(largest_difference(pair.model->extend(grown, next, nullptr)->states,
                                   pair.model->extend(last, next, nullptr)->states),
                1e-5)
          << v.name;
    }
  }
}

TEST(Hmat, ExtendingEqualsEncodingTheLongerHistory) {
  for (const Variant& v : kVariants) {
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, kDot);
    const Histories all = with_events(histories_of_lengths({4, 0, 8}, 30));
    const Memory memory = pair.model->summarize(all);
    std::vector<std::int32_t> row, item;
    for (std::int32_t c = 0; c < 21; ++c) {
      row.push_back(c % 3);
      item.push_back((7 * c + 3) % 30);
    }
    const auto extension = pair.model->extend(memory, candidates_of(pair, row, item), nullptr);
    ASSERT_EQ(extension->states.rows(), 21) << v.name;
    for (std::size_t c = 0; c < 21; ++c) {
      const auto b = static_cast<std::size_t>(row[c]);
      std::vector<int> begin(3, 0), end(3, 0);
      end[b] = static_cast<int>(all.offset[b + 1] - all.offset[b]);
      Histories longer = part_of(all, begin, end);
      longer.item.push_back(item[c]);
      longer.action.push_back(0);
      longer.time.push_back(2'000'000'000);
      for (std::size_t r = b + 1; r < 4; ++r) ++longer.offset[r];
      const Memory whole = pair.model->encode(longer);
      EXPECT_LT(largest_difference(
                    extension->states.row_range(static_cast<std::int64_t>(c), static_cast<std::int64_t>(c) + 1),
                    whole.states.row_range(whole.states.rows() - 1, whole.states.rows())),
                1e-5)
          << v.name;
    }
  }
}

TEST(Hmat, ACandidateDoesNotKnowTheOthers) {
  const std::string kept = gemm_backend_name();
  for (const Variant& v : kVariants) {
    set_gemm_backend(has_onednn() && &v - kVariants < 3 ? "onednn" : "eigen");
    std::string model = v.model;
    model.replace(model.find("max_items = 9"), 13, "max_items = 40");
    model.replace(model.find("width = 16"), 10, "width = 64");
    Pair pair(plugins(), random_tokens(200, 3, 8), model, kDot);
    const Memory memory = pair.model->encode(with_events(histories_of_lengths({40, 13, 0}, 200)));
    std::vector<std::int32_t> row, item;
    for (std::int32_t c = 0; c < 150; ++c) {
      row.push_back(c % 3);
      item.push_back((7 * c + 3) % 200);
    }
    const Tensor together = pair.model->extend(memory, candidates_of(pair, row, item), nullptr)->states;
    Random random(9, 9);
    for (const std::int64_t count : {1, 2, 3, 10, 40, 149, 600}) {
      std::vector<std::int32_t> some, some_row, some_item;
      for (std::int64_t i = 0; i < count; ++i) {
        some.push_back(static_cast<std::int32_t>(random.below(150)));
        some_row.push_back(row[static_cast<std::size_t>(some.back())]);
        some_item.push_back(item[static_cast<std::size_t>(some.back())]);
      }
      const Tensor apart = pair.model->extend(memory, candidates_of(pair, some_row, some_item), nullptr)->states;
      for (std::int64_t i = 0; i < count; ++i)
        ASSERT_TRUE(same_bytes(apart.row_range(i, i + 1), together.row_range(some[static_cast<std::size_t>(i)],
                                                                             some[static_cast<std::size_t>(i)] + 1)))
            << v.name << ": candidate " << i << " of " << count;
    }
  }
  set_gemm_backend(kept);
}

// What is stored of a user answers as the memory it came from, to the bit, and goes on growing.
TEST(Hmat, StoredRowsAnswerAsBefore) {
  for (const Variant& v : kVariants) {
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, kDot);
    const Histories all = with_events(histories_of_lengths({9, 5, 3, 11}, 30));
    const std::vector<int> none(4, 0), old = {6, 0, 3, 8}, whole = {9, 5, 3, 11};
    Memory memory = pair.model->encode(part_of(all, none, old));
    std::vector<std::vector<Tensor>> stored;
    for (const std::int64_t b : {3, 1, 0, 2}) stored.push_back(pair.model->export_row(memory, b));
    Memory other = pair.model->import_rows(stored);
    const Candidates here = candidates_of(pair, {3, 1, 0, 2}, {1, 2, 3, 4}),
                     there = candidates_of(pair, {0, 1, 2, 3}, {1, 2, 3, 4});
    EXPECT_TRUE(same_bytes(pair.model->extend(memory, here, nullptr)->states,
                           pair.model->extend(other, there, nullptr)->states))
        << v.name;
    const Histories news = part_of(all, old, whole);
    Histories moved;  // the same news in the order 3, 1, 0, 2
    for (const std::size_t b : {std::size_t{3}, std::size_t{1}, std::size_t{0}, std::size_t{2}}) {
      moved.user.push_back(-1);
      for (auto i = static_cast<std::size_t>(news.offset[b]); i < static_cast<std::size_t>(news.offset[b + 1]); ++i) {
        moved.item.push_back(news.item[i]);
        moved.action.push_back(news.action[i]);
        moved.time.push_back(news.time[i]);
      }
      moved.offset.push_back(moved.size());
    }
    pair.model->append(memory, news);
    pair.model->append(other, moved);
    for (const std::int64_t b : {0, 1, 2, 3}) {
      const std::int64_t place = std::vector<std::int64_t>{2, 1, 3, 0}[static_cast<std::size_t>(b)];
      EXPECT_LT(largest_difference(memory.summary.row_range(b, b + 1), other.summary.row_range(place, place + 1)), 1e-5)
          << v.name;
    }
  }
}

// Items behind another see of it nothing but its anchors: with those put back, nothing else of it matters.
TEST(Hmat, OnlyAnchorsCarryThePast) {
  for (const Variant& v : kVariants) {
    if (v.name.find("full") == 0) continue;
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, kDot);
    Histories one = histories_of_lengths({7}, 30);
    const Memory before = pair.model->encode(one);
    one.item[6] = (one.item[6] + 1) % 30;
    const Memory after = pair.model->encode(one);
    const auto stored = pair.model->export_row(before, 0), changed = pair.model->export_row(after, 0);
    const Candidates next = candidates_of(pair, {0}, {9});
    const Tensor expected = pair.model->extend(before, next, nullptr)->states;
    EXPECT_GT(largest_difference(expected, pair.model->extend(after, next, nullptr)->states), 1e-5) << v.name;
    EXPECT_TRUE(same_bytes(stored[0].row_range(0, 6), changed[0].row_range(0, 6))) << v.name;
    Tensor last = changed[0].row_range(6, 7);
    last.copy_from(stored[0].row_range(6, 7));
    const Memory frozen = pair.model->import_rows(std::vector<std::vector<Tensor>>{changed});
    EXPECT_TRUE(same_bytes(expected, pair.model->extend(frozen, next, nullptr)->states)) << v.name;
  }
}

TEST(Hmat, AbsentCodesHaveAVectorOfTheirOwn) {
  ItemTokens tokens = random_tokens(30, 3, 4);
  tokens.codes[3 * 7 + 1] = -1;
  Pair pair(plugins(), tokens, kSmall + "identifiers = 100", kDot);
  Histories one = histories_of_lengths({3}, 30);
  one.item = {1, 7, 2};
  const Memory memory = pair.model->encode(one);
  const Memory longer = pair.model->encode(part_of(one, {0}, {1}));
  const Tensor state = pair.model->extend(longer, candidates_of(pair, {0}, {7}), nullptr)->states;
  EXPECT_LT(largest_difference(state, memory.states.row_range(1, 2)), 1e-5);
}

TEST(Hmat, ItLearns) {
  for (const std::string& head :
       {kDot, std::string("plugin = \"generative_decoder\"\nffn = 16"),
        std::string("plugin = \"generative_decoder\"\nform = \"cross\"\nffn = 16\nlayers = 1")}) {
    Pair pair(plugins(), random_tokens(12, 2, 4), kSmall, head);
    const TrainBatch batch = batch_of(histories_of_lengths({4, 6, 5}, 12), pair.form());
    const double before = pair.loss_of(batch);
    EXPECT_LT(pair.train(batch, 40, 1e-2), 0.5 * before) << head;
  }
}

TEST(Hmat, TheSameBitsForAnyNumberOfThreads) {
  for (const Variant& v : kVariants) {
    Pair pair(plugins(), random_tokens(200, 3, 8), v.model + "\nembedding_dropout = 0.2", kDot);
    TrainBatch batch = batch_of(histories_of_lengths({9, 3, 5, 8, 2, 9, 9, 4}, 200), pair.form());
    batch.histories = with_events(batch.histories);
    const auto parameters = pair.parameters();
    for (const std::size_t p : {std::size_t{0}, parameters.size() / 2})
      EXPECT_TRUE(same_bits([&] {
        const TrainingScope scope(3, 4);
        Tape tape;
        tape.backward(pair.head->loss(*pair.model, batch));
        const Tensor gradient = parameters[p].second->gradient.clone();
        for (auto& [name, parameter] : parameters) parameter->gradient = Tensor();
        return gradient;
      })) << v.name
          << " " << parameters[p].first;
  }
}

// The whole path, f64: the gradient along a random direction against central differences.
TEST(HmatGrad, WholeModelInDoublePrecision) {
  std::vector<std::pair<Variant, std::string>> all;
  for (const Variant& v : kVariants) all.emplace_back(v, kDot);
  const std::string generative = "plugin = \"generative_decoder\"\nffn = 12\ndeviation = 0.3";
  all.emplace_back(kVariants[0], generative);
  all.emplace_back(kVariants[0], generative + "\nform = \"cross\"\nlayers = 1");
  for (const auto& [v, head] : all) {
    Pair pair(plugins(), random_tokens(12, 3, 3), v.model, head);
    const auto parameters = pair.parameters();
    for (auto& [name, parameter] : parameters) parameter->value = parameter->value.to(DType::f64);
    TrainBatch batch = batch_of(histories_of_lengths({4, 2, 5}, 12), pair.form());
    batch.histories = with_events(batch.histories);
    const auto loss = [&] {
      const TrainingScope scope(3, 4);
      return pair.head->loss(*pair.model, batch);
    };
    {
      Tape tape;
      tape.backward(loss());
    }
    std::uint64_t stream = 0;
    for (auto& [name, parameter] : parameters) {
      ASSERT_TRUE(parameter->gradient) << v.name << ": " << name << " has no gradient";
      Tensor direction(parameter->value.shape(), DType::f64);
      fill_normal(direction, 0.0, 1.0, 5, ++stream);
      const Tensor kept = parameter->value.clone();
      double analytic = 0.0;
      for (std::size_t i = 0; i < direction.values<double>().size(); ++i)
        analytic += direction.values<double>()[i] * parameter->gradient.values<double>()[i];
      const auto moved = [&](double step) {
        for (std::size_t i = 0; i < direction.values<double>().size(); ++i)
          parameter->value.values<double>()[i] = kept.values<double>()[i] + step * direction.values<double>()[i];
        return loss().item();
      };
      const double numeric = (moved(1e-6) - moved(-1e-6)) / 2e-6;
      parameter->value.copy_from(kept);
      EXPECT_NEAR(analytic, numeric, 2e-6 * std::max(1.0, std::abs(numeric))) << v.name << ": " << name;
    }
  }
}

TEST(Hmat, WrongOptionsAndCallsAreNamed) {
  const auto built = [](const std::string& model, const std::string& head) {
    return message_of([&] { Pair(plugins(), random_tokens(12, 3, 3), model, head); });
  };
  const std::string narrow = "plugin = \"hmat\"\nwidth = 12\nheads = 2\n";
  EXPECT_NE(built("plugin = \"hmat\"\nwidth = 10\nheads = 4", kDot).find("heads = 4 does not divide width = 10"),
            std::string::npos);
  EXPECT_NE(built(narrow, kDot)
                .find("positions = \"hierarchical\" turns pairs of items and of slots, but a head has "
                      "width 6; make it a multiple of 4"),
            std::string::npos);
  EXPECT_NE(built(narrow + "positions = \"flat\"\nslot_base = 10.0", kDot)
                .find("slot_base has no meaning with positions = \"flat\""),
            std::string::npos);
  EXPECT_NE(built(kSmall, "plugin = \"generative_decoder\"\nform = \"continue\"").find("has one state an item"),
            std::string::npos);
  Pair pair(plugins(), random_tokens(30, 3, 4), kSmall, kDot);
  Histories one = with_events(histories_of_lengths({3}, 30));
  const Memory memory = pair.model->encode(one);
  Candidates part;
  part.row = {0};
  part.code = {1};
  EXPECT_EQ(message_of([&] { pair.model->extend(memory, part, nullptr); }),
            "hmat: extend() reads whole items, all 3 codes at once; found codes of levels 0 to 0");
  EXPECT_EQ(message_of([&] { pair.model->extend(Memory(), part, nullptr); }),
            "hmat: extend() needs a memory that was made outside of training");
  one.action[1] = 2;
  EXPECT_EQ(message_of([&] { pair.model->encode(one); }),
            "hmat: an item has the action 2, expected 0 to 1 or -1 (unknown); set actions in [model] to the number of "
            "action types, or to 0");
  auto stored = pair.model->export_row(memory, 0);
  stored[0] = Tensor({2, 96});
  EXPECT_EQ(message_of([&] { pair.model->import_rows(std::vector<std::vector<Tensor>>{stored}); }),
            "hmat: stored row 0 has anchors (2, 96), expected (3, 96)");
}

}  // namespace tessera
