#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "framework/catalog/catalog.h"
#include "framework/plugin/loader.h"
#include "framework/roles/testing.h"
#include "framework/roles/tokenizer.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/core/testing.h"

namespace tessera {
namespace {

std::shared_ptr<Tokenizer> make(const std::string& options) {
  static Registry registry;
  static Loader loader(registry, {TESSERA_BINARY_DIR "/lib/tessera/plugins"});
  return registry.create<Tokenizer>(Section::parse("tokenizer", "plugin = 'pq'\n" + options));
}

const std::string kSmall = "subspaces = 4\ncodes = 12\nfirst_rounds = 10\nfinal_rounds = 5\n",
                  kOpq = kSmall + "turns = 5\n";

ItemFeatures features(const std::string& modality, std::int64_t items, std::int64_t width, std::uint64_t seed) {
  ItemFeatures out{modality, Tensor({items, width}), std::vector<std::uint8_t>(static_cast<std::size_t>(items), 1)};
  fill_normal(out.values, 1.0, 0.5, seed, 1);
  for (std::int64_t i = 0; i < items; ++i)
    for (std::int64_t j = 0; j < width; ++j)
      out.values.data<float>()[i * width + j] += static_cast<float>(i * 7 % 15 == j % 15 ? 2.0 : 0.0);
  return out;
}

Dataset dataset(std::int64_t items = 200) {
  Dataset data;
  for (std::int64_t i = 0; i < items; ++i) data.items.ids.push_back("i" + std::to_string(i));
  data.features["text"] = features("text", items, 20, 1);
  data.features["image"] = features("image", items, 12, 2);
  return data;
}

void forget(Dataset& data, const std::string& modality, std::int64_t item) {
  ItemFeatures& values = data.features[modality];
  values.present[static_cast<std::size_t>(item)] = 0;
  std::fill_n(values.values.data<float>() + item * values.width(), values.width(), 0.0f);
}

std::vector<std::int32_t> codes_of(const ItemTokens& tokens, std::size_t item) {
  const auto levels = static_cast<std::ptrdiff_t>(tokens.levels.size()),
             at = static_cast<std::ptrdiff_t>(item) * levels;
  return {tokens.codes.begin() + at, tokens.codes.begin() + at + levels};
}

std::shared_ptr<Tokenizer> fitted(const Dataset& data, const std::string& options) {
  FitContext context;
  const auto tokenizer = make(options);
  tokenizer->fit(data, context);
  return tokenizer;
}

}  // namespace

TEST(Pq, EachModalityHasLevelsOfItsOwn) {
  const Dataset data = dataset();
  const ItemTokens tokens = fitted(data, kOpq)->tokens(data);
  ASSERT_EQ(tokens.level_count(), 8);
  EXPECT_EQ(tokens.levels[0].name, "image/0");
  EXPECT_EQ(tokens.levels[7].name, "text/3");
  EXPECT_EQ(tokens.levels[7].modality, "text");
  EXPECT_EQ(tokens.levels[7].codes, 12);
  const ItemTokens text = fitted(data, kOpq + "modalities = ['text']")->tokens(data);
  ASSERT_EQ(text.level_count(), 4);
  for (std::size_t i = 0; i < 200; ++i)
    EXPECT_TRUE(std::equal(text.codes.begin() + static_cast<std::ptrdiff_t>(i * 4),
                           text.codes.begin() + static_cast<std::ptrdiff_t>(i * 4 + 4),
                           codes_of(tokens, i).begin() + 4));
}

TEST(Pq, RebuildsEachModalityLevelByLevel) {
  const Dataset data = dataset();
  for (const char* rotation : {"none", "parametric", "opq"}) {
    const auto tokenizer = fitted(data, kSmall + "rotation = '" + rotation + "'");
    const auto codes = tokenizer->tokens(data).codes;
    for (const char* modality : {"text", "image"}) {
      const Tensor target = tokenizer->reconstruction_target(data, modality);
      double last = INFINITY;
      for (int levels = 0; levels <= 8; ++levels) {
        const Tensor y = tokenizer->reconstruct(codes, levels, modality);
        double error = 0.0;
        for (std::int64_t i = 0; i < y.numel(); ++i)
          error += std::pow(y.data<float>()[i] - target.data<float>()[i], 2) / static_cast<double>(y.numel());
        EXPECT_LE(error, last + 1e-6);
        last = error;
      }
      EXPECT_LT(last, 0.6);  // of a variance of 1
    }
    EXPECT_FALSE(static_cast<bool>(tokenizer->reconstruct(codes, 8, "sound")));
  }
}

TEST(Pq, NewItemsAreEncodedOneAtATimeToo) {
  const Dataset data = dataset();
  for (const char* more : {"", "normalize = 'pca'\ncomponents = 8\n", "random_codes = true\n", "normalize = 'l2'\n"}) {
    const auto tokenizer = fitted(data, kOpq + more);
    const ItemTokens all = tokenizer->tokens(data);
    for (const std::size_t item : {0, 17, 199}) {
      std::map<std::string, ItemFeatures> one;
      const auto row = static_cast<std::int64_t>(item);
      for (const auto& [name, values] : data.features)
        one[name] = {name, values.values.row_range(row, row + 1).clone(), {1}};
      EXPECT_EQ(tokenizer->encode(one), codes_of(all, item)) << more;
    }
  }
}

TEST(Pq, TheTokensOfAnItemAddUpToItsFeatures) {
  const Dataset data = dataset();
  const auto tokenizer = fitted(data, kOpq + "item_token = true\n");
  const ItemTokens tokens = tokenizer->tokens(data);
  ASSERT_EQ(tokens.levels.back().name, "item");
  EXPECT_EQ(tokens.levels.back().codes, 200);
  const Catalog catalog(tokens, CollisionPolicy::none, {});
  EXPECT_TRUE(catalog.unique());
  const Tensor vectors = catalog.token_vectors();
  ASSERT_EQ(vectors.shape(), Shape({8 * 12 + 200, 32}));
  const Tensor text = tokenizer->reconstruct(tokens.codes, 9, "text"),
               none = tokenizer->reconstruct(tokens.codes, 0, "text");
  const std::vector<std::int32_t> items{0, 5, 199};
  const auto rows = catalog.tokens_of(items);
  for (std::size_t n = 0; n < items.size(); ++n)
    for (std::int64_t j = 0; j < 20; ++j) {
      double sum = none.data<float>()[items[n] * 20 + j];
      for (std::size_t l = 0; l < 9; ++l) sum += vectors.data<float>()[rows[n * 9 + l] * 32 + 12 + j];
      EXPECT_NEAR(sum, text.data<float>()[items[n] * 20 + j], 1e-5);
    }
  // New items have no token of their own.
  EXPECT_EQ(tokenizer->encode(data.features)[8], -1);
  EXPECT_FALSE(static_cast<bool>(fitted(data, kSmall + "random_codes = true")->tokens(data).token_vectors));
}

TEST(Pq, TheCatalogueKeepsTokenVectorsUnderAPolicy) {
  const Dataset data = dataset();
  const ItemTokens tokens = fitted(data, kOpq)->tokens(data);
  const Catalog catalog(tokens, CollisionPolicy::counter, {});
  ASSERT_EQ(catalog.token_vectors().rows(), catalog.tokens());
  EXPECT_EQ(catalog.token_vectors().data<float>()[96 * 32], 0.0f);
  EXPECT_EQ(catalog.token_vectors().data<float>()[5], tokens.token_vectors.data<float>()[5]);
}

TEST(Pq, MissingModalitiesHaveNoCodesOrThoseOfTheMean) {
  Dataset data = dataset();
  forget(data, "text", 5);
  forget(data, "text", 9);
  forget(data, "image", 7);
  const ItemTokens none = fitted(data, kOpq)->tokens(data);
  EXPECT_EQ(codes_of(none, 5)[4], -1);
  EXPECT_GE(codes_of(none, 5)[0], 0);
  EXPECT_EQ(codes_of(none, 7)[0], -1);
  const ItemTokens mean = fitted(data, kOpq + "missing = 'mean'\n")->tokens(data);
  const auto a = codes_of(mean, 5), b = codes_of(mean, 9);
  for (std::size_t l = 4; l < 8; ++l) {
    EXPECT_GE(a[l], 0);
    EXPECT_EQ(a[l], b[l]);
  }
  forget(data, "image", 5);
  EXPECT_EQ(message_of([&] { fitted(data, kOpq); }),
            "pq: item 'i5' has none of the modalities 'image', 'text' (1 of 200 items): it would have no tokens; give "
            "it one, or set missing = \"mean\" or item_token = true");
  EXPECT_GE(codes_of(fitted(data, kOpq + "missing = 'mean'\n")->tokens(data), 5)[0], 0);
  EXPECT_EQ(codes_of(fitted(data, kOpq + "item_token = true\n")->tokens(data), 5)[8], 5);
}

TEST(Pq, RandomCodesAreEvenAndKnowNothingOfNearness) {
  Dataset data = dataset();
  data.features["text"].values.row_range(3, 4).copy_from(data.features["text"].values.row_range(2, 3));
  const ItemTokens tokens = fitted(data, kSmall + "random_codes = true\nmodalities = ['text']")->tokens(data);
  EXPECT_EQ(codes_of(tokens, 2), codes_of(tokens, 3));
  std::set<std::int32_t> used;
  for (std::size_t i = 0; i < 200; ++i) used.insert(codes_of(tokens, i)[0]);
  EXPECT_EQ(used.size(), 12u);
  const ItemTokens real = fitted(data, kSmall + "modalities = ['text']")->tokens(data);
  EXPECT_NE(tokens.codes, real.codes);
}

TEST(Pq, HealthTellsDistortionsAndWhatTheRotationSaves) {
  const Dataset data = dataset();
  const auto figures = fitted(data, kOpq + "modalities = ['text']")->health(data);
  ASSERT_EQ(figures.size(), 6u);
  double sum = 0.0;
  for (std::size_t m = 0; m < 4; ++m) sum += figures[m].value;
  EXPECT_EQ(figures[0].name, "text: distortion of part 0, share of the variance");
  EXPECT_NEAR(figures[4].value, sum, 1e-9);
  EXPECT_GT(figures[4].value, 0.0);
  EXPECT_LT(figures[4].value, 1.0);
  EXPECT_GE(figures[5].value, 0.0);
  EXPECT_EQ(fitted(data, kSmall + "rotation = 'none'\nmodalities = ['text']")->health(data).size(), 5u);
  EXPECT_TRUE(fitted(data, kSmall + "random_codes = true")->health(data).empty());
}

TEST(Pq, IsSavedAndLoaded) {
  const Dataset data = dataset();
  for (const char* more :
       {"", "rotation = 'none'\n", "random_codes = true\nitem_token = true\n", "normalize = 'pca'\n"}) {
    const std::string options = kSmall + more;
    const auto tokenizer = fitted(data, options), loaded = make(options);
    MemoryState state;
    tokenizer->visit(state);
    state.load(true);
    loaded->visit(state);
    EXPECT_EQ(loaded->tokens(data).codes, tokenizer->tokens(data).codes) << more;
    EXPECT_EQ(loaded->health(data).size(), tokenizer->health(data).size()) << more;
    if (options.find("random") != std::string::npos) continue;
    MemoryState other;
    EXPECT_EQ(message_of([&] {
                state.load(true);
                make("subspaces = 2\ncodes = 12\n" + std::string(more))->visit(state);
              }),
              "pq: the saved codebooks are 4 x 12, but the options say 2 x 12");
  }
}

TEST(Pq, SameCodesForAnyNumberOfThreadsAndOtherOnesForAnotherSeed) {
  const Dataset data = dataset();
  std::vector<std::int32_t> first;
  for (const int count : {1, 2, 3}) {
    set_threads(count);
    const auto codes = fitted(data, kOpq)->tokens(data).codes;
    if (count == 1) first = codes;
    EXPECT_EQ(codes, first) << count;
  }
  set_threads(1);
  FitContext context;
  context.seed = 9;
  const auto tokenizer = make(kOpq);
  tokenizer->fit(data, context);
  EXPECT_NE(tokenizer->tokens(data).codes, first);
}

TEST(Pq, MayLearnFromTrainedItemsAlone) {
  Dataset data = dataset();
  data.user_ids = {"u"};
  for (int i = 0; i < 100; ++i) data.interactions.item.push_back(i);
  data.interactions.offset = {0, 100};
  data.interactions.part.assign(100, Part::train);
  Dataset changed = data;  // what the other items look like must not matter
  changed.features["text"].values = data.features["text"].values.clone();
  std::fill_n(changed.features["text"].values.data<float>() + 150 * 20, 20, 50.0f);
  const std::string options = kOpq + "items = 'trained'";
  EXPECT_EQ(fitted(changed, options)->tokens(data).codes, fitted(data, options)->tokens(data).codes);
}

TEST(Pq, ConstantAndRepeatedColumnsAreTold) {
  Dataset data = dataset();
  float* text = data.features["text"].values.data<float>();
  for (int i = 0; i < 200; ++i) {
    text[i * 20 + 3] = text[i * 20 + 11] = 0.5f;
    text[i * 20 + 7] = text[i * 20 + 2];
  }
  std::vector<std::string> said;
  FitContext context;
  context.say = [&](const std::string& line) { said.push_back(line); };
  make(kOpq + "modalities = ['text']")->fit(data, context);
  ASSERT_EQ(said.size(), 2u);
  EXPECT_EQ(said[0], "pq: modality 'text': column 3 is constant (2 of 20 columns are): it tells no items apart");
  EXPECT_EQ(said[1],
            "pq: modality 'text': column 7 equals column 2 (1 of 20 columns repeat an earlier one): it counts twice");
  for (int i = 0; i < 200; ++i)
    for (int j = 5; j < 10; ++j) text[i * 20 + j] = 1.0f;
  EXPECT_EQ(message_of([&] { fitted(data, kSmall + "rotation = 'none'"); }),
            "pq: part 1 of modality 'text' is constant, there is nothing to quantise; use a rotation, normalize = "
            "\"pca\" or fewer subspaces");
  fitted(data, kOpq);
}

TEST(Pq, ErrorsSayWhat) {
  const Dataset data = dataset(), few = dataset(8);
  EXPECT_EQ(
      message_of([&] { fitted(data, "subspaces = 3\ncodes = 12\nmodalities = ['text']"); }),
      "pq: modality 'text' has width 20, which subspaces = 3 does not divide; values that do: 1, 2, 4, 5, 10, 20");
  EXPECT_EQ(
      message_of([&] { fitted(few, kOpq); }),
      "pq: 8 items with modality 'image' to learn from for 12 codes, expected at least one item a code; use fewer "
      "codes");
  EXPECT_EQ(message_of([&] { fitted(data, kOpq + "modalities = ['sound']"); }),
            "pq: no features of modality 'sound'; there are: image, text; add a featurizer for it or change "
            "tokenizer.modalities");
  EXPECT_EQ(message_of([&] { fitted(Dataset(), kOpq); }), "pq: the items have no features; add a featurizer");
  EXPECT_EQ(message_of([&] { make(kOpq)->tokens(data); }), "pq: not fitted yet");
  EXPECT_EQ(message_of([&] { fitted(data, kOpq)->tokens(few); }),
            "pq: fitted on 200 items, but the dataset has 8; fit it on this catalogue");
  EXPECT_NE(message_of([] { make(kSmall + "whiten = 0.5"); }).find("only used with normalize = 'pca'"),
            std::string::npos);
  EXPECT_NE(message_of([] { make(kSmall + "rotation = 'none'\nturns = 3"); }).find("only used with rotation = 'opq'"),
            std::string::npos);
  EXPECT_NE(message_of([] { make("subspaces = 65"); }).find("subspaces"), std::string::npos);
}

}  // namespace tessera
