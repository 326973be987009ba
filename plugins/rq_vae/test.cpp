#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "framework/plugin/loader.h"
#include "framework/roles/testing.h"
#include "framework/roles/tokenizer.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"

namespace tessera {
namespace {

std::shared_ptr<Tokenizer> make(const std::string& options) {
  static Registry registry;
  static Loader loader(registry, {TESSERA_BINARY_DIR "/lib/tessera/plugins"});
  return registry.create<Tokenizer>(Section::parse("tokenizer", "plugin = 'rq_vae'\n" + options));
}

const std::string kSmall =
    "widths = [16, 6]\ncodes = 12\nlevels = 2\nepochs = 60\nwarmup_epochs = 15\nbatch_size = 64\nlearning_rate = "
    "3e-3\n";

ItemFeatures features(const std::string& modality, std::int64_t items, std::int64_t width, std::uint64_t seed) {
  ItemFeatures out{modality, Tensor({items, width}), std::vector<std::uint8_t>(static_cast<std::size_t>(items), 1)};
  Tensor centres({15, width});
  fill_normal(out.values, 0.0, 0.3, seed, 1);
  fill_normal(centres, 0.0, 1.0, seed, 2);
  for (std::int64_t i = 0; i < items; ++i)
    for (std::int64_t j = 0; j < width; ++j)
      out.values.data<float>()[i * width + j] += centres.data<float>()[i * 7 % 15 * width + j];
  return out;
}

Dataset dataset(std::int64_t items = 200) {
  Dataset data;
  for (std::int64_t i = 0; i < items; ++i) data.items.ids.push_back(std::to_string(i));
  data.features["text"] = features("text", items, 20, 1);
  data.features["image"] = features("image", items, 9, 2);
  return data;
}

void forget(Dataset& data, const std::string& modality, std::int64_t item) {
  ItemFeatures& values = data.features[modality];
  values.present[static_cast<std::size_t>(item)] = 0;
  std::fill_n(values.values.data<float>() + item * values.width(), values.width(), 0.0f);
}

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

double share_of_variance(const Tensor& target, const Tensor& rebuilt) {
  double error = 0.0, variance = 0.0;
  for (std::int64_t i = 0; i < target.numel(); ++i) {
    error += std::pow(target.data<float>()[i] - rebuilt.data<float>()[i], 2);
    variance += std::pow(target.data<float>()[i], 2);
  }
  return error / variance;
}

}  // namespace

TEST(RqVae, OneModalityOrAll) {
  const Dataset data = dataset();
  FitContext context;
  const auto text = make(kSmall + "modalities = ['text']"), both = make(kSmall);
  text->fit(data, context);
  both->fit(data, context);
  const ItemTokens tokens = text->tokens(data);
  EXPECT_EQ(tokens.levels[1].name, "text/1");
  EXPECT_EQ(tokens.levels[1].modality, "text");
  EXPECT_EQ(tokens.levels[1].codes, 12);
  EXPECT_EQ(tokens.items(), 200);
  EXPECT_EQ(both->tokens(data).levels[0].name, "shared/0");
  EXPECT_EQ(text->modalities(), std::vector<std::string>{"text"});
  for (const auto& [modality, tokenizer, width] :
       {std::tuple("text", text, 20), std::tuple("text", both, 20), std::tuple("image", both, 9)}) {
    const auto codes = tokenizer->tokens(data).codes;
    const Tensor target = tokenizer->reconstruction_target(data, modality);
    ASSERT_EQ(target.columns(), width);
    const double one = share_of_variance(target, tokenizer->reconstruct(codes, 1, modality));
    const double two = share_of_variance(target, tokenizer->reconstruct(codes, 2, modality));
    EXPECT_LT(two, 0.6) << modality;
    EXPECT_LT(two, one) << modality;
  }
  EXPECT_FALSE(static_cast<bool>(text->reconstruct(tokens.codes, 1, "image")));
}

TEST(RqVae, NewItemsAreEncodedOneAtATimeToo) {
  const Dataset data = dataset();
  FitContext context;
  for (const std::string& more : {std::string(), std::string("widths = []\n")}) {
    const auto tokenizer =
        make((more.empty() ? kSmall : "codes = 12\nlevels = 2\n" + more) + "normalize = 'pca'\ncomponents = 8");
    tokenizer->fit(data, context);
    const auto all = tokenizer->tokens(data).codes;
    for (const std::int64_t item : {0, 17, 199}) {
      std::map<std::string, ItemFeatures> one;
      for (const auto& [name, values] : data.features)
        one[name] = {name, values.values.row_range(item, item + 1).clone(), {1}};
      EXPECT_EQ(tokenizer->encode(one), std::vector<std::int32_t>(all.begin() + 2 * item, all.begin() + 2 * item + 2))
          << item;
    }
    const Tensor distances = tokenizer->last_level_distances(data);
    ASSERT_EQ(distances.shape(), Shape({200, 12}));
    for (std::int64_t i = 0; i < 200; ++i) {
      const float* d = distances.data<float>() + i * 12;
      EXPECT_EQ(std::min_element(d, d + 12) - d, all[static_cast<std::size_t>(2 * i + 1)]);
    }
  }
}

TEST(RqVae, AnItemWithoutFeaturesHasNoCodes) {
  Dataset data = dataset();
  forget(data, "text", 5);
  forget(data, "image", 5);
  forget(data, "text", 6);
  FitContext context;
  const auto tokenizer = make(kSmall);
  tokenizer->fit(data, context);
  const auto codes = tokenizer->tokens(data).codes;
  EXPECT_EQ(codes[10], -1);
  EXPECT_EQ(codes[11], -1);
  EXPECT_GE(codes[12], 0);
}

TEST(RqVae, IsSavedAndLoaded) {
  const Dataset data = dataset();
  FitContext context;
  for (const char* normalize : {"none", "standardize", "pca"}) {
    const std::string options = kSmall + "normalize = '" + normalize + "'";
    const auto fitted = make(options), loaded = make(options);
    fitted->fit(data, context);
    MemoryState state;
    fitted->visit(state);
    state.load(true);
    loaded->visit(state);
    EXPECT_EQ(loaded->tokens(data).codes, fitted->tokens(data).codes) << normalize;
  }
}

TEST(RqVae, SameCodesForAnyNumberOfThreadsAndOtherOnesForAnotherSeed) {
  const Dataset data = dataset();
  std::vector<std::int32_t> first;
  for (const int count : {1, 2, 3}) {
    set_threads(count);
    FitContext context;
    const auto tokenizer = make(kSmall + "codebook = 'gradient'\ngradient = 'rotation'\nsinkhorn = 0.01");
    tokenizer->fit(data, context);
    if (count == 1) first = tokenizer->tokens(data).codes;
    EXPECT_EQ(tokenizer->tokens(data).codes, first) << count;
  }
  set_threads(1);
  FitContext context;
  context.seed = 9;
  const auto tokenizer = make(kSmall);
  tokenizer->fit(data, context);
  EXPECT_NE(tokenizer->tokens(data).codes, first);
}

TEST(RqVae, MayLearnFromTrainedItemsAlone) {
  Dataset data = dataset();
  data.user_ids = {"u"};
  for (int i = 0; i < 100; ++i) data.interactions.item.push_back(i);
  data.interactions.offset = {0, 100};
  data.interactions.part.assign(100, tessera::Part::train);
  FitContext context;
  const auto trained = make(kSmall + "items = 'trained'");
  trained->fit(data, context);
  Dataset changed = data;  // what the other items look like must not matter
  changed.features["text"].values = data.features["text"].values.clone();
  std::fill_n(changed.features["text"].values.data<float>() + 150 * 20, 20, 50.0f);
  const auto again = make(kSmall + "items = 'trained'");
  again->fit(changed, context);
  EXPECT_EQ(again->tokens(data).codes, trained->tokens(data).codes);
}

TEST(RqVae, ErrorsSayWhat) {
  const Dataset data = dataset(8);
  FitContext context;
  EXPECT_EQ(error_of([&] { make(kSmall)->fit(data, context); }),
            "rq_vae: 8 items with features for 12 codes a level; use fewer codes");
  EXPECT_EQ(error_of([&] { make(kSmall + "modalities = ['sound']")->fit(data, context); }),
            "rq_vae: no features of modality 'sound'; there are: image, text; add a featurizer for it or change "
            "tokenizer.modalities");
  EXPECT_EQ(error_of([&] { make(kSmall)->fit(Dataset(), context); }),
            "rq_vae: the items have no features; add a featurizer");
  EXPECT_EQ(error_of([&] { make(kSmall)->tokens(data); }), "rq_vae: not fitted yet");
  const std::string text = error_of([] { make(kSmall + "whiten = 0.5"); });
  EXPECT_NE(text.find("only used with normalize = 'pca'"), std::string::npos) << text;
  const auto tokenizer = make(kSmall);
  tokenizer->fit(dataset(), context);
  EXPECT_EQ(error_of([&] {
              std::map<std::string, ItemFeatures> wrong{{"image", features("image", 3, 9, 1)},
                                                        {"text", features("text", 3, 5, 1)}};
              tokenizer->encode(wrong);
            }),
            "rq_vae: modality 'text' has width 5, but it was fitted on width 20");
}

}  // namespace tessera
