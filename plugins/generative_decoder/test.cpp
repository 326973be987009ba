#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "plugins/generative_decoder/forms_testing.h"
#include "tensor/core/parallel.h"
#include "tensor/core/testing.h"

namespace tessera {
namespace {

using testing::batch_of;
using testing::histories_of_lengths;
using testing::Pair;
using testing::random_tokens;
using testing::row_of;

Ranking rank(Pair& pair, const Histories& histories, const RankRequest& request) {
  return pair.head->rank(*pair.model, histories, request);
}

std::vector<float> scores_of_all(Pair& pair, const Histories& histories, std::int32_t items) {
  std::vector<std::int64_t> offset{0};
  std::vector<std::int32_t> all;
  for (std::int64_t b = 0; b < histories.rows(); ++b) {
    for (std::int32_t i = 0; i < items; ++i) all.push_back(i);
    offset.push_back(static_cast<std::int64_t>(all.size()));
  }
  return pair.head->score(*pair.model, histories, offset, all);
}

}  // namespace

TEST(GenerativeDecoder, ABeamAsWideAsTheCatalogueIsTheExactRanking) {
  constexpr std::int32_t kItems = 2000;
  for (const Form& form : kForms) {
    for (const std::string& search : {std::string("search = \"exact\""), str("beam = ", kItems)}) {
      Pair pair(plugins(), random_tokens(kItems, 4, 16), form.model, form.head + "\n" + search);
      const Histories histories = histories_of_lengths({5, 9, 0}, kItems);
      RankRequest request;
      request.k = kItems;
      const Ranking ranking = rank(pair, histories, request);
      const std::vector<float> score = scores_of_all(pair, histories, kItems);
      for (std::size_t b = 0; b < 3; ++b) {
        std::vector<std::int32_t> expected(kItems);
        std::iota(expected.begin(), expected.end(), 0);
        const float* of = score.data() + b * kItems;
        std::stable_sort(expected.begin(), expected.end(),
                         [&](std::int32_t i, std::int32_t j) { return of[i] > of[j]; });
        int moved = 0;
        for (std::size_t j = 0; j < kItems; ++j) {
          const std::int32_t item = ranking.item[b * kItems + j];
          ASSERT_GE(item, 0) << form.name;
          EXPECT_EQ(ranking.score[b * kItems + j], of[item]) << form.name;
          moved += item != expected[j] ? 1 : 0;
        }
        EXPECT_EQ(moved, 0) << form.name << ", row " << b;
      }
    }
  }
}

TEST(GenerativeDecoder, ScoresAreProbabilitiesOfTheIdentifiers) {
  // With every tuple of the grid an item, the probabilities of all items add up to one.
  ItemTokens tokens = random_tokens(1, 3, 4);
  tokens.codes.clear();
  for (int i = 0; i < 64; ++i) tokens.codes.insert(tokens.codes.end(), {i / 16, i / 4 % 4, i % 4});
  for (const Form& form : kForms) {
    if (form.head.find("shared") != std::string::npos) continue;  // there the codes of other levels have a share too
    Pair pair(plugins(), tokens, form.model, form.head);
    const std::vector<float> score = scores_of_all(pair, histories_of_lengths({4}, 64), 64);
    double sum = 0.0;
    for (const float s : score) sum += std::exp(static_cast<double>(s));
    EXPECT_NEAR(sum, 1.0, 1e-5) << form.name;
  }
}

TEST(GenerativeDecoder, LegalCodesLeaveNothingForTuplesThatAreNoItem) {
  for (const Form& form : kForms) {
    if (form.head.find("legal") == std::string::npos) continue;
    Pair pair(plugins(), random_tokens(150, 3, 12), form.model, form.head);
    double sum = 0.0;
    for (const float s : scores_of_all(pair, histories_of_lengths({4}, 150), 150))
      sum += std::exp(static_cast<double>(s));
    EXPECT_NEAR(sum, 1.0, 1e-5) << form.name;
  }
}

TEST(GenerativeDecoder, TheLossIsTheNegativeLogLikelihood) {
  for (const Form& form : kForms) {
    Pair pair(plugins(), random_tokens(50, 3, 6), form.model, form.head);
    const Histories whole = histories_of_lengths({5, 3, 8, 2}, 50);
    const double loss = pair.loss_of(batch_of(whole, pair.form()));
    // Every position that trains, as a history of its own.
    Histories pasts;
    std::vector<std::int32_t> next;
    std::vector<std::int64_t> offset{0};
    for (std::int64_t b = 0; b < whole.rows(); ++b) {
      const std::int64_t begin = whole.offset[static_cast<std::size_t>(b)],
                         end = whole.offset[static_cast<std::size_t>(b) + 1];
      for (std::int64_t i = pair.form() == BatchForm::one_target ? end - 1 : begin + 1; i < end; ++i) {
        pasts.user.push_back(-1);
        pasts.item.insert(pasts.item.end(), whole.item.begin() + begin, whole.item.begin() + i);
        pasts.offset.push_back(pasts.size());
        next.push_back(whole.item[static_cast<std::size_t>(i)]);
        offset.push_back(static_cast<std::int64_t>(next.size()));
      }
    }
    const std::vector<float> score = pair.head->score(*pair.model, pasts, offset, next);
    double sum = 0.0;
    for (const float s : score) sum -= s;
    EXPECT_NEAR(loss, sum / static_cast<double>(score.size()), 1e-4) << form.name;
  }
}

TEST(GenerativeDecoder, ABatchGivesWhatItsRowsGiveAlone) {
  for (const Form& form : kForms) {
    Pair pair(plugins(), random_tokens(300, 3, 10), form.model, form.head + "\nbeam = 12");
    const Histories all = histories_of_lengths({5, 9, 0, 3, 7, 1}, 300);
    RankRequest request;
    request.k = 10;
    const Ranking together = rank(pair, all, request);
    for (std::size_t b = 0; b < 6; ++b) {
      const Ranking alone = rank(pair, row_of(all, b), request);
      for (std::size_t j = 0; j < 10; ++j) {
        EXPECT_EQ(together.item[b * 10 + j], alone.item[j]) << form.name << ", row " << b;
        EXPECT_NEAR(together.score[b * 10 + j], alone.score[j], 1e-4) << form.name;
      }
    }
  }
}

TEST(GenerativeDecoder, TheSameBitsForAnyNumberOfThreads) {
  for (const Form& form : kForms) {
    Pair pair(plugins(), random_tokens(300, 3, 10), form.model, form.head);
    const Histories all = histories_of_lengths({5, 9, 0, 3, 7, 1}, 300);
    RankRequest request;
    request.k = 10;
    EXPECT_TRUE(same_bits([&] { return Tensor::from(rank(pair, all, request).score, {60}); })) << form.name;
    const TrainBatch batch = batch_of(histories_of_lengths({5, 9, 2, 3, 7, 4}, 300), pair.form());
    EXPECT_TRUE(same_bits([&] {
      const TrainingScope scope(3, 4);
      Tape tape;
      tape.backward(pair.head->loss(*pair.model, batch));
      std::vector<float> all_gradients;
      for (auto& [name, parameter] : pair.parameters()) {
        if (parameter->gradient)
          all_gradients.insert(all_gradients.end(), parameter->gradient.values<float>().begin(),
                               parameter->gradient.values<float>().end());
        parameter->gradient = Tensor();
      }
      return Tensor::from(all_gradients, {static_cast<std::int64_t>(all_gradients.size())});
    })) << form.name;
  }
}

// Exclusions and masks close whole branches: a narrow beam must still find what is left.
TEST(GenerativeDecoder, FiltersNeverStarveTheBeam) {
  constexpr std::int32_t kItems = 300;
  for (const Form& form : kForms) {
    Pair pair(plugins(), random_tokens(kItems, 3, 10), form.model, form.head + "\nbeam = 5");
    const Histories all = histories_of_lengths({5, 9}, kItems);
    RankRequest request;
    request.k = 5;
    // Row 0 may not get the 280 items that it would like best, some of them named twice; row 1 only what the mask
    // allows.
    RankRequest every;
    every.k = kItems;
    Pair exact(plugins(), random_tokens(kItems, 3, 10), form.model, form.head + "\nsearch = \"exact\"");
    const Ranking best = exact.head->rank(*exact.model, all, every);
    request.excluded.assign(best.item.begin(), best.item.begin() + 280);
    request.excluded.insert(request.excluded.end(), best.item.begin(), best.item.begin() + 20);
    request.excluded_offset = {0, 300, 300};
    request.allowed.assign(kItems, 0);
    std::set<std::int32_t> open(best.item.begin() + 270, best.item.begin() + kItems);
    for (const std::int32_t item : open) request.allowed[static_cast<std::size_t>(item)] = 1;
    const Ranking ranking = rank(pair, all, request);
    const std::set<std::int32_t> banned(request.excluded.begin(), request.excluded.end());
    for (std::size_t b = 0; b < 2; ++b) {
      std::set<std::int32_t> got;
      for (std::size_t j = 0; j < 5; ++j) {
        const std::int32_t item = ranking.item[b * 5 + j];
        ASSERT_GE(item, 0) << form.name << ", row " << b;
        EXPECT_TRUE(open.contains(item));
        EXPECT_TRUE(b == 1 || !banned.contains(item));
        got.insert(item);
      }
      EXPECT_EQ(got.size(), 5u);
    }
    // Fewer left than k: the rest is -1.
    request.allowed.assign(kItems, 0);
    request.allowed[7] = 1;
    const Ranking one =
        rank(pair, row_of(all, 1), {.k = 3, .excluded_offset = {}, .excluded = {}, .allowed = request.allowed});
    EXPECT_EQ(one.item, (std::vector<std::int32_t>{7, -1, -1})) << form.name;
  }
}

// Free decoding keeps tuples that no item has: where it keeps everything, the items among them are the exact ranking.
TEST(GenerativeDecoder, FreeDecodingFindsTheSameItemsAmongTuplesThatAreNone) {
  const std::int32_t items = 20;
  for (const std::string& form :
       {std::string("form = \"cross\"\nlayers = 1\npositions = \"sinusoidal\""), std::string()}) {
    Pair free(plugins(), random_tokens(items, 3, 4), kModel, kHead + form + "\nsearch = \"free\"\nbeam = 64");
    Pair exact(plugins(), random_tokens(items, 3, 4), kModel, kHead + form + "\nsearch = \"exact\"");
    const Histories histories = histories_of_lengths({4, 1, 7}, items);
    RankRequest request;
    request.k = 64;  // 4^3: all tuples
    const Ranking all = rank(free, histories, request);
    request.k = items;
    const Ranking known = rank(exact, histories, request);
    for (std::size_t b = 0; b < 3; ++b) {
      std::vector<std::int32_t> found;
      double mass = 0.0;
      for (std::size_t i = 64 * b; i < 64 * (b + 1); ++i) {
        mass += std::exp(static_cast<double>(all.score[i]));
        if (all.item[i] >= 0) found.push_back(all.item[i]);
      }
      EXPECT_NEAR(mass, 1.0, 1e-4) << form;
      EXPECT_EQ(found, std::vector<std::int32_t>(known.item.begin() + static_cast<std::ptrdiff_t>(b) * items,
                                                 known.item.begin() + static_cast<std::ptrdiff_t>(b + 1) * items))
          << form;
    }
  }
}

TEST(GenerativeDecoder, AbsentCodesAreAClassOfTheirOwn) {
  ItemTokens tokens = random_tokens(40, 3, 5);
  tokens.codes = {0, 1, 2, 0, 1, -1, 0, -1, 1, 1, 0, 0};
  for (const Form& form : kForms) {
    Pair pair(plugins(), tokens, form.model, form.head);
    double sum = 0.0;
    for (const float s : scores_of_all(pair, histories_of_lengths({3}, 4), 4)) sum += std::exp(static_cast<double>(s));
    EXPECT_LT(sum, 1.0 + 1e-5) << form.name;
    RankRequest request;
    request.k = 4;
    std::vector<std::int32_t> items = rank(pair, histories_of_lengths({3}, 4), request).item;
    std::sort(items.begin(), items.end());
    EXPECT_EQ(items, (std::vector<std::int32_t>{0, 1, 2, 3})) << form.name;
  }
}

TEST(GenerativeDecoder, EveryFormLearnsAToyTask) {
  Histories whole;  // the next item is always the last one plus one
  for (std::int32_t b = 0; b < 24; ++b) {
    whole.user.push_back(b);
    for (std::int32_t i = 0; i < 6; ++i) whole.item.push_back((b + i) % 24);
    whole.offset.push_back(whole.size());
  }
  for (const Form& form : kForms) {
    Pair pair(plugins(), random_tokens(24, 3, 4), form.model, form.head);
    pair.train(batch_of(whole, pair.form()), 120, 0.02);
    RankRequest request;
    request.k = 1;
    Histories asked;
    std::vector<std::int32_t> answer;
    for (std::int32_t b = 0; b < 24; ++b) {
      asked.user.push_back(b);
      for (std::int32_t i = 0; i < 5; ++i) asked.item.push_back((b + i) % 24);
      asked.offset.push_back(asked.size());
      answer.push_back((b + 5) % 24);
    }
    EXPECT_EQ(rank(pair, asked, request).item, answer) << form.name;
  }
}

// init = "vectors": an item's own codes and the vector of its whole tuple add up to its vector, centred and scaled.
TEST(GenerativeDecoder, TablesBeginAtTheTokenizersVectors) {
  constexpr std::int64_t kItems = 40, kWidth = 16;
  ItemTokens tokens = random_tokens(kItems, 3, 4);
  tokens.item_vectors = Tensor({kItems, kWidth});
  fill_normal(tokens.item_vectors, 2.0, 3.0, 1, 1);
  const std::string head = kHead + "init = \"vectors\"\nlegal = true\noutput_prefixes = [2]\n";
  Pair pair(plugins(), tokens, kModel, head + "input_prefixes = [3]");
  const NoTape quiet;
  const Tensor found = pair.head->item_tower()->all();
  std::vector<double> mean(kWidth);
  const auto of = [&](std::size_t i, std::size_t d) { return tokens.item_vectors.values<float>()[i * kWidth + d]; };
  for (std::size_t i = 0; i < kItems; ++i)
    for (std::size_t d = 0; d < kWidth; ++d) mean[d] += of(i, d) / double{kItems};
  double squares = 0.0;
  for (std::size_t i = 0; i < kItems; ++i)
    for (std::size_t d = 0; d < kWidth; ++d) squares += std::pow(of(i, d) - mean[d], 2) / double{kItems * kWidth};
  for (std::size_t i = 0; i < kItems; ++i)
    for (std::size_t d = 0; d < kWidth; ++d)
      ASSERT_NEAR(found.values<float>()[i * kWidth + d], 0.3 * (of(i, d) - mean[d]) / std::sqrt(squares), 1e-5) << i;
  // Written prefixes of two codes begin at the mean of their items: codes and prefix together.
  std::map<std::string, Tensor> p;
  for (auto& [name, parameter] : pair.parameters()) p[name] = parameter->value;
  const Trie& trie = pair.catalog->trie();
  std::map<std::int32_t, std::vector<std::size_t>> below;
  for (std::int32_t i = 0; i < kItems; ++i) {
    const auto codes = pair.catalog->codes_of(i);
    below[trie.child(trie.child(trie.root(), codes[0]), codes[1])].push_back(static_cast<std::size_t>(i));
  }
  const std::int32_t first = below.begin()->first;
  for (const auto& [node, items] : below)
    for (std::size_t d = 0; d < kWidth; ++d) {
      double expected = 0.0;
      for (const std::size_t i : items)
        expected += found.values<float>()[i * kWidth + d] / static_cast<double>(items.size());
      const auto code = static_cast<std::size_t>(4 + pair.catalog->codes_of(static_cast<std::int32_t>(items[0]))[1]);
      const double written = p.at("head.table.codes.table").values<float>()[code * kWidth + d] +
                             p.at("head.table.output_prefixes.2.table")
                                 .values<float>()[static_cast<std::size_t>(node - first) * kWidth + d];
      ASSERT_NEAR(written, expected, 1e-5) << node;
    }
  EXPECT_NE(message_of([&] {
              Pair(plugins(), random_tokens(12, 3, 12), kModel, head);
            }).find("but this tokenizer learnt none; take init = \"normal\""),
            std::string::npos);
}

// legal = true: what only items without training interactions have is not pushed away in training, with vectors of
// prefixes or without; it may be generated as ever.
TEST(GenerativeDecoder, ItemsThatNobodyTookAreNotPushedAway) {
  ItemTokens tokens = random_tokens(12, 2, 4);
  tokens.codes = {0, 0, 0, 1, 0, 2, 1, 0, 1, 1, 1, 2, 2, 0, 2, 1, 2, 2, 3, 0, 3, 1, 3, 2};
  for (const std::string& more : {std::string(), std::string("output_prefixes = [2]\n")}) {
    // Nobody took items 2 (one leaf of code 0) and 9 .. 11 (all of code 3).
    Pair pair(plugins(), tokens, kModel, kHead + "legal = true\ntie = false\n" + more, CollisionPolicy::none,
              {2, 9, 10, 11});
    TrainBatch batch = batch_of(histories_of_lengths({5, 4, 3}, 9), pair.form());
    for (auto& target : batch.target) target = target == 2 ? 1 : target;
    Tape tape;
    tape.backward(pair.head->loss(*pair.model, batch));
    std::map<std::string, Parameter*> p;
    for (auto& [name, parameter] : pair.parameters()) p[name] = parameter;
    const auto moves = [&](const std::string& name, std::int64_t row) {
      const Tensor g = p.at(name)->gradient;
      return std::any_of(g.data<float>() + row * g.columns(), g.data<float>() + (row + 1) * g.columns(),
                         [](float x) { return x != 0.0f; });
    };
    EXPECT_TRUE(moves("head.table.output.table", 0));   // code 0 of the first level
    EXPECT_FALSE(moves("head.table.output.table", 3));  // code 3
    if (!more.empty()) {
      EXPECT_TRUE(moves("head.table.output_prefixes.2.table", 1));
      for (const std::int64_t leaf : {2, 9, 10, 11})
        EXPECT_FALSE(moves("head.table.output_prefixes.2.table", leaf)) << leaf;
    }
    const Histories histories = histories_of_lengths({4}, 9);
    RankRequest request;
    request.k = 12;
    const Ranking ranking = rank(pair, histories, request);
    EXPECT_EQ(std::set<std::int32_t>(ranking.item.begin(), ranking.item.end()).size(), 12u);
  }
}

TEST(GenerativeDecoder, WrongNeighboursAndOptionsAreNamed) {
  const auto built = [](const std::string& model, const std::string& head, int levels = 3) {
    return message_of([&] { Pair(plugins(), random_tokens(12, levels, 12), model, head); });
  };
  EXPECT_NE(built(kModel, kHead + "form = \"continue\"").find("has one state an item, not one a token"),
            std::string::npos);
  EXPECT_NE(built(kModel, kHead + "heads = 4").find("heads has no meaning with form = \"light\""), std::string::npos);
  EXPECT_NE(built(kModel, kHead + "search = \"exact\"\nbeam = 9").find("beam has no meaning"), std::string::npos);
  EXPECT_NE(built(kModel, kHead + "output_prefixes = [2]").find("output_prefixes needs legal = true"),
            std::string::npos);
  EXPECT_NE(built(kModel, kHead + "input_prefixes = [4]").find("names the length 4, but identifiers have 3 codes"),
            std::string::npos);
  EXPECT_NE(built(kModel, kHead + "legal = true\nlabel_smoothing = 0.1").find("remove one of them"), std::string::npos);
  ItemTokens twins = random_tokens(4, 2, 3);
  std::copy_n(twins.codes.begin(), 2, twins.codes.begin() + 2);
  EXPECT_NE(message_of([&] { Pair(plugins(), twins, kModel, kHead); }).find("needs unique identifiers"),
            std::string::npos);
}

}  // namespace tessera
