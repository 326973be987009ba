#include <gtest/gtest.h>

#include <cmath>

#include "plugins/hmat/hmat_testing.h"
#include "tensor/core/testing.h"

namespace tessera {

using namespace testing;

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
      Tensor& value = parameter->value;
      const auto moved = [&](double step) {
        for (std::size_t i = 0; i < direction.values<double>().size(); ++i)
          value.values<double>()[i] = kept.values<double>()[i] + step * direction.values<double>()[i];
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
  EXPECT_NE(built(kSmall, "plugin = \"generative_decoder\"\nform = \"continue\"")
                .find("has one state an item, not one a token; set input = \"tokens\" where [model] has that option"),
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
