#include <gtest/gtest.h>

#include <cmath>

#include "framework/nn/pair_testing.h"
#include "tensor/core/testing.h"

namespace tessera {
namespace {

using testing::batch_of;
using testing::histories_of_lengths;
using testing::largest_difference;
using testing::Pair;
using testing::random_tokens;
using testing::row_of;

Registry& plugins() { return testing::registry(TESSERA_BINARY_DIR "/lib/tessera/plugins"); }

const std::string kSmall =
    "plugin = \"flat_transformer\"\nwidth = 16\nlayers = 2\nheads = 2\nffn = 24\nmax_items = 9\ndeviation = 0.3\n";

struct Variant {
  std::string name, model, head;
};
const std::string kDot = "plugin = \"dot_product\"";
const std::string kContinue = "plugin = \"generative_decoder\"\nform = \"continue\"";
const Variant kCausal[] = {
    {"items, learned positions", kSmall, kDot},
    {"items, rope, RMS norm", kSmall + "positions = \"rope\"\nnorm = \"rms\"\nbias = false\nactivation = \"silu\"",
     kDot},
    {"items as token sums, relative",
     kSmall + "item_input = \"tokens\"\npositions = \"relative\"\nbuckets = 8\nmax_distance = 20\nscale_input = true",
     kDot},
    {"items without positions",
     kSmall + "positions = \"none\"\nhead_width = 6\nfinal_norm = false\nactivation = \"relu\"", kDot},
    {"tokens, learned positions", kSmall + "input = \"tokens\"", kContinue},
    {"tokens, rope", kSmall + "input = \"tokens\"\npositions = \"rope\"\nscale_input = true", kContinue},
    {"tokens, relative", kSmall + "input = \"tokens\"\npositions = \"relative\"\nbuckets = 8\nmax_distance = 20",
     kContinue},
};

}  // namespace

TEST(FlatTransformer, RaggedRowsEqualRowsAlone) {
  for (const Variant& v : kCausal) {
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, v.head);
    const Histories all = histories_of_lengths({4, 1, 9, 0, 6}, 30);
    const Memory together = pair.model->encode(all);
    ASSERT_EQ(together.summary.rows(), 5) << v.name;
    for (std::size_t b = 0; b < 5; ++b) {
      const Memory alone = pair.model->encode(row_of(all, b));
      EXPECT_LT(largest_difference(together.states.row_range(together.offset[b], together.offset[b + 1]), alone.states),
                1e-5)
          << v.name;
      EXPECT_LT(
          largest_difference(together.summary.row_range(static_cast<std::int64_t>(b), static_cast<std::int64_t>(b) + 1),
                             alone.summary),
          1e-5)
          << v.name;
    }
    for (const float x : together.summary.row_range(3, 4).values<float>()) EXPECT_EQ(x, 0.0f);
  }
}

TEST(FlatTransformer, TheSummaryAloneIsTheSummaryOfAll) {
  for (const Variant& v : kCausal) {
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, v.head);
    const Histories all = histories_of_lengths({4, 1, 9, 0, 6}, 30);
    EXPECT_LT(largest_difference(pair.model->summarize(all).summary, pair.model->encode(all).summary), 1e-5) << v.name;
  }
}

TEST(FlatTransformer, AStateSeesItsPastAlone) {
  for (const Variant& v : kCausal) {
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, v.head);
    Histories one = histories_of_lengths({6}, 30);
    const Memory before = pair.model->encode(one);
    one.item[4] = (one.item[4] + 1) % 30;
    const Memory after = pair.model->encode(one);
    const std::int64_t rows = before.states.rows() / 6 * 4;
    EXPECT_EQ(largest_difference(before.states.row_range(0, rows), after.states.row_range(0, rows)), 0.0) << v.name;
    EXPECT_GT(largest_difference(before.summary, after.summary), 1e-4) << v.name;
  }
}

TEST(FlatTransformer, BidirectionalStatesSeeBothSides) {
  Pair pair(plugins(), random_tokens(30, 3, 4), kSmall + "causal = false\npositions = \"relative\"", kDot);
  EXPECT_EQ(pair.form(), BatchForm::one_target);
  EXPECT_FALSE(pair.model->spec().extends || pair.model->spec().appends);
  Histories one = histories_of_lengths({6}, 30);
  const Memory before = pair.model->encode(one);
  one.item[5] = (one.item[5] + 1) % 30;
  EXPECT_GT(largest_difference(before.states.row_range(0, 1), pair.model->encode(one).states.row_range(0, 1)), 1e-5);
}

TEST(FlatTransformer, LongHistoriesKeepTheNewest) {
  for (const Variant& v : kCausal) {
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, v.head);
    const Histories longer = histories_of_lengths({14}, 30);
    Histories newest;
    newest.user = {0};
    newest.item.assign(longer.item.begin() + 5, longer.item.end());
    newest.offset = {0, 9};
    const Memory a = pair.model->encode(longer), b = pair.model->encode(newest);
    EXPECT_EQ(largest_difference(a.states, b.states), 0.0) << v.name;
    ASSERT_EQ(a.item_row.size(), 14u);
    EXPECT_EQ(a.item_row[4], -1);
    EXPECT_EQ(a.item_row[13], static_cast<std::int32_t>(a.states.rows()) - 1);
  }
}

TEST(FlatTransformer, AppendingEqualsEncodingAll) {
  for (const Variant& v : kCausal) {
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, v.head);
    const Histories all = histories_of_lengths({5, 1, 9, 7}, 30);
    const int old_lengths[] = {3, 0, 9, 6};
    Histories old, news;
    for (std::size_t b = 0; b < 4; ++b) {
      for (Histories* part : {&old, &news}) part->user.push_back(all.user[b]);
      for (std::int64_t i = all.offset[b]; i < all.offset[b + 1]; ++i)
        (i - all.offset[b] < old_lengths[b] ? old : news).item.push_back(all.item[static_cast<std::size_t>(i)]);
      for (Histories* part : {&old, &news}) part->offset.push_back(part->size());
    }
    const Memory whole = pair.model->encode(all);
    Memory grown = pair.model->encode(old);
    pair.model->append(grown, news);
    EXPECT_EQ(grown.offset, whole.offset) << v.name;
    EXPECT_EQ(grown.item_row, whole.item_row) << v.name;
    EXPECT_LT(largest_difference(grown.states, whole.states), 1e-5) << v.name;
    EXPECT_LT(largest_difference(grown.summary, whole.summary), 1e-5) << v.name;
    // Two more for everybody: the third row overflows and forgets its oldest.
    const Histories more = histories_of_lengths({2, 2, 2, 2}, 30, 9);
    Histories both;
    for (std::size_t b = 0; b < 4; ++b) {
      both.user.push_back(-1);
      both.item.insert(both.item.end(), all.item.begin() + all.offset[b], all.item.begin() + all.offset[b + 1]);
      both.item.insert(both.item.end(), more.item.begin() + more.offset[b], more.item.begin() + more.offset[b + 1]);
      both.offset.push_back(both.size());
    }
    pair.model->append(grown, more);
    EXPECT_LT(largest_difference(grown.summary, pair.model->encode(both).summary), 1e-5) << v.name;
  }
}

TEST(FlatTransformer, StoredRowsAnswerAsBefore) {
  for (const Variant& v : kCausal) {
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, v.head);
    EXPECT_TRUE(pair.model->spec().stores);
    Memory memory = pair.model->encode(histories_of_lengths({5, 0, 9, 12}, 30));
    std::vector<std::vector<Tensor>> rows;
    for (std::int64_t b = 0; b < 4; ++b) rows.push_back(pair.model->export_row(memory, b));
    Memory stored = pair.model->import_rows(rows);
    EXPECT_EQ(stored.offset, memory.offset) << v.name;
    EXPECT_EQ(largest_difference(stored.summary, memory.summary), 0.0) << v.name;
    RankRequest request;
    EXPECT_TRUE(pair.head->spec(pair.model->spec()).answers_memories);
    const Histories all = histories_of_lengths({5, 0, 9, 12}, 30);
    const Ranking before = pair.head->rank_memory(*pair.model, memory, request),
                  after = pair.head->rank_memory(*pair.model, stored, request);
    EXPECT_EQ(before.item, after.item) << v.name;
    EXPECT_EQ(before.score, after.score) << v.name;
    const Ranking whole = pair.head->rank(*pair.model, all, request);
    EXPECT_EQ(whole.item, after.item) << v.name;
    for (std::size_t i = 0; i < whole.score.size(); ++i) EXPECT_NEAR(whole.score[i], after.score[i], 1e-4) << v.name;
    const std::vector<std::int64_t> offset{0, 2, 2, 3, 3};
    const std::vector<std::int32_t> items{3, 4, 5};
    const auto scores = pair.head->score(*pair.model, all, offset, items),
               from_memory = pair.head->score_memory(*pair.model, stored, offset, items);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(scores[i], from_memory[i], 1e-4) << v.name;
    const Histories news = histories_of_lengths({2, 3, 0, 0}, 30, 9);
    pair.model->append(memory, news);
    pair.model->append(stored, news);
    EXPECT_EQ(stored.offset, memory.offset) << v.name;
    EXPECT_EQ(largest_difference(stored.summary, memory.summary), 0.0) << v.name;
    EXPECT_EQ(largest_difference(stored.states, memory.states), 0.0) << v.name;
    rows[2].pop_back();
    EXPECT_THROW(pair.model->import_rows(rows), Error);
  }
}

TEST(FlatTransformer, ExtendingEqualsEncodingTheLongerHistory) {
  for (const Variant& v : kCausal) {
    if (v.head != kContinue) continue;
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, v.head);
    const Histories all = histories_of_lengths({4, 0, 9}, 30);
    const Memory memory = pair.model->encode(all);
    // Every row goes on with two items; the first level at once, then the two others together, in swapped order.
    const std::int32_t next[] = {7, 11};
    Candidates first;
    for (std::int32_t b = 0; b < 3; ++b)
      for (const std::int32_t item : next) {
        first.row.push_back(b);
        first.code.push_back(pair.catalog->codes_of(item)[0]);
      }
    const auto one = pair.model->extend(memory, first, nullptr);
    Candidates rest;
    rest.first_level = 1;
    rest.tokens = 2;
    for (std::int32_t b = 0; b < 3; ++b)
      for (const int which : {1, 0}) {
        rest.row.push_back(b);
        rest.parent.push_back(2 * b + which);
        for (int l = 1; l < 3; ++l)
          rest.code.push_back(pair.catalog->codes_of(next[which])[static_cast<std::size_t>(l)]);
      }
    const auto two = pair.model->extend(memory, rest, one.get());
    ASSERT_EQ(two->states.rows(), 12) << v.name;
    for (std::size_t b = 0; b < 3; ++b)
      for (const int which : {0, 1}) {
        Histories longer = row_of(all, b);
        longer.item.push_back(next[which]);
        longer.offset = {0, static_cast<std::int64_t>(longer.item.size())};
        const TrainingScope reads_one_more(
            1, 1);  // as in training: the target's own tokens may stand behind a full history
        const Memory full = pair.model->encode(longer);
        const std::int64_t rows = full.states.rows(), c = static_cast<std::int64_t>(2 * b);
        EXPECT_LT(largest_difference(one->states.row_range(c + which, c + which + 1),
                                     full.states.row_range(rows - 3, rows - 2)),
                  1e-5)
            << v.name;
        const std::int64_t at = 2 * (c + 1 - which);
        EXPECT_LT(largest_difference(two->states.row_range(at, at + 2), full.states.row_range(rows - 2, rows)), 1e-5)
            << v.name;
      }
  }
}

TEST(FlatTransformer, TheSameBitsForAnyNumberOfThreads) {
  for (const Variant& v : kCausal) {
    Pair pair(plugins(), random_tokens(200, 3, 8), v.model + "\nembedding_dropout = 0.2\ndropout = 0.2", v.head);
    const TrainBatch batch = batch_of(histories_of_lengths({9, 3, 5, 8, 2, 9, 9, 4}, 200), pair.form());
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
TEST(FlatTransformerGrad, WholeModelInDoublePrecision) {
  const std::string light = "plugin = \"generative_decoder\"\nffn = 12\ndeviation = 0.3";
  const std::string cross =
      "plugin = \"generative_decoder\"\nform = \"cross\"\nffn = 12\nlayers = 1\ndeviation = 0.3\nnorm = "
      "\"rms\"\npositions = \"relative\"";
  std::vector<Variant> all(std::begin(kCausal), std::end(kCausal));
  for (const char* loss : {"sampled_softmax", "bce", "bpr"})
    all.push_back({loss, kSmall, kDot + "\nnormalize = true\nnegatives = 3\nloss = \"" + loss + "\""});
  all.push_back({"light", kSmall, light});
  all.push_back(
      {"light, cosine, one vocabulary, untied", kSmall,
       light + "\nnormalize = true\ntemperature = 0.3\nvocabulary = \"shared\"\ntie = false\nlabel_smoothing = 0.1"});
  all.push_back(
      {"light, legal codes, vectors of prefixes", kSmall,
       light + "\nlegal = true\nnormalize = true\ntemperature = 0.3\ninput_prefixes = [2, 3]\noutput_prefixes = [2]"});
  all.push_back({"cross", kSmall + "causal = false\nitem_input = \"tokens\"", cross});
  all.push_back({"cross over tokens",
                 kSmall + "causal = false\ninput = \"tokens\"\nnorm = \"rms\"\npositions = \"relative\"", cross});
  for (const Variant& v : all) {
    Pair pair(plugins(), random_tokens(12, 3, 3), v.model, v.head);
    const auto parameters = pair.parameters();
    for (auto& [name, parameter] : parameters) parameter->value = parameter->value.to(DType::f64);
    const TrainBatch batch = batch_of(histories_of_lengths({4, 2, 5}, 12), pair.form());
    const auto loss = [&] {
      const TrainingScope scope(3, 4);
      return pair.head->loss(*pair.model, batch);
    };
    {
      Tape tape;
      tape.backward(loss());
    }
    std::uint64_t stream = 0;
    for (const auto& entry : parameters) {
      const std::string& name = entry.first;
      Parameter* const parameter = entry.second;
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

TEST(FlatTransformer, WrongOptionsAndNeighboursAreNamed) {
  const auto built = [](const std::string& model, const std::string& head) {
    return message_of([&] { Pair(plugins(), random_tokens(12, 3, 3), model, head); });
  };
  EXPECT_NE(built(kSmall + "causal = true\npositions = \"rope\"\nhead_width = 5", kDot).find("make it even"),
            std::string::npos);
  EXPECT_NE(
      built("plugin = \"flat_transformer\"\nwidth = 10\nheads = 4", kDot).find("heads = 4 does not divide width = 10"),
      std::string::npos);
  EXPECT_NE(built("plugin = \"flat_transformer\"\nmax_items = 0", kDot).find("does not go with learned positions"),
            std::string::npos);
  EXPECT_NE(built(kSmall, kContinue).find("has one state an item, not one a token"), std::string::npos)
      << built(kSmall, kContinue);
  EXPECT_NE(built(kSmall + "input = \"tokens\"\ncausal = false", kContinue).find("it is bidirectional"),
            std::string::npos);
}

}  // namespace tessera
