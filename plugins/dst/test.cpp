#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <sstream>

#include "framework/nn/ridge.h"
#include "framework/plugin/testing.h"
#include "framework/roles/testing.h"
#include "framework/roles/tokenizer.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/ops/matmul/matmul.h"

namespace tessera {
namespace {

// Later lines win over earlier ones with the same key.
std::shared_ptr<Tokenizer> make(const std::string& lines) {
  std::map<std::string, std::string> values;
  std::istringstream in(lines);
  for (std::string line; std::getline(in, line);)
    if (const auto equals = line.find(" = "); equals != std::string::npos)
      values[line.substr(0, equals)] = line.substr(equals);
  std::string options;
  for (const auto& [key, value] : values) options += key + value + "\n";
  return make_component<Tokenizer>(TESSERA_BINARY_DIR "/lib/tessera/plugins", "plugin = 'dst'\n" + options);
}

const std::string kSmall =
    "widths = [24]\nwidth = 8\nshared_levels = 2\nshared_codes = 8\nmodality_codes = 6\nepochs = 12\nwarmup_epochs = "
    "4\nbatch_size = 64\nlearning_rate = 3e-3\nmi_hidden = 16\nmi_steps = 1\n";

constexpr int kCategories = 6, kKinds = 4;
const std::vector<std::string> kModalities{"audio", "image", "text", "user"};

int category(std::int64_t item) { return static_cast<int>(item % kCategories); }
int kind(std::int64_t item, std::size_t modality) {
  return static_cast<int>(philox(77, modality, static_cast<std::uint64_t>(item))[0] % kKinds);
}

// Vectors with a factor that all modalities share and one of each modality's own, both in all columns.
ItemFeatures planted(std::size_t modality, std::int64_t items, std::int64_t width) {
  const std::string& name = kModalities[modality];
  Tensor shared({kCategories, width}), own({kKinds, width});
  ItemFeatures out{name, Tensor({items, width}), std::vector<std::uint8_t>(static_cast<std::size_t>(items), 1)};
  fill_normal(shared, 0.0, 1.0, 1, stream_of(name));
  fill_normal(own, 0.0, 1.0, 2, stream_of(name));
  fill_normal(out.values, 0.0, 0.3, 3, stream_of(name));
  for (std::int64_t i = 0; i < items; ++i)
    for (std::int64_t j = 0; j < width; ++j)
      out.values.data<float>()[i * width + j] +=
          shared.data<float>()[category(i) * width + j] + own.data<float>()[kind(i, modality) * width + j];
  return out;
}

Dataset dataset(std::int64_t items = 240, std::size_t modalities = 2) {
  Dataset data;
  for (std::int64_t i = 0; i < items; ++i) data.items.ids.push_back(std::to_string(i));
  for (std::size_t m = 0; m < modalities; ++m)
    data.features[kModalities[m]] = planted(m, items, 20 + 3 * static_cast<std::int64_t>(m));
  return data;
}

void forget(Dataset& data, const std::string& modality, std::int64_t item) {
  ItemFeatures& values = data.features[modality];
  values.present[static_cast<std::size_t>(item)] = 0;
  std::fill_n(values.values.data<float>() + item * values.width(), values.width(), 0.0f);
}

std::shared_ptr<Tokenizer> fitted(const Dataset& data, const std::string& options, std::uint64_t seed = 1) {
  const auto tokenizer = make(options);
  FitContext context;
  context.seed = seed;
  tokenizer->fit(data, context);
  return tokenizer;
}

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::string error_of_fit(const Dataset& data, const std::string& options) {
  return error_of([&] { fitted(data, options); });
}

double figure(const std::vector<HealthFigure>& figures, const std::string& name) {
  for (const auto& found : figures)
    if (found.name == name) return found.value;
  ADD_FAILURE() << "no figure '" << name << "'";
  return 0.0;
}

}  // namespace

TEST(Dst, LevelsOfTwoToFourModalities) {
  for (const std::size_t count : {2u, 3u, 4u})
    for (const char* align : {"infonce", "gram"}) {
      const Dataset data = dataset(120, count);
      const auto tokenizer = fitted(data, kSmall + "epochs = 2\nmodality_levels = 2\nalign = '" + align + "'");
      const ItemTokens tokens = tokenizer->tokens(data);
      ASSERT_EQ(tokens.level_count(), 2 + 2 * static_cast<int>(count));
      EXPECT_EQ(tokens.levels[1].name, "shared/1");
      EXPECT_EQ(tokens.levels[1].modality, "");
      EXPECT_EQ(tokens.levels[1].codes, 8);
      EXPECT_EQ(tokens.levels[5].name, "image/1");
      EXPECT_EQ(tokens.levels[5].modality, "image");
      EXPECT_EQ(tokens.levels[5].codes, 6);
      EXPECT_EQ(tokens.items(), 120);
      for (std::size_t i = 0; i < tokens.codes.size(); ++i) {
        EXPECT_GE(tokens.codes[i], 0);
        EXPECT_LT(tokens.codes[i], tokens.levels[i % tokens.levels.size()].codes);
      }
    }
}

TEST(Dst, RebuildsEachModalityFromItsCodes) {
  const Dataset data = dataset();
  for (const char* residual : {"private", "plain"}) {
    const auto tokenizer = fitted(data, kSmall + "epochs = 60\nresidual = '" + residual + "'");
    const auto codes = tokenizer->tokens(data).codes;
    for (const std::size_t m : {0u, 1u}) {
      const std::string& name = kModalities[m];
      const Tensor target = tokenizer->reconstruction_target(data, name);
      const auto error = [&](int levels) {
        const Tensor rebuilt = tokenizer->reconstruct(codes, levels, name);
        EXPECT_EQ(rebuilt.shape(), target.shape());
        double sum = 0.0;
        for (std::int64_t i = 0; i < target.numel(); ++i)
          sum += std::pow(target.data<float>()[i] - rebuilt.data<float>()[i], 2);
        return sum / static_cast<double>(target.numel());  // the target's variance is 1
      };
      EXPECT_LT(error(2), 0.75) << residual << name;
      EXPECT_LT(error(4), 0.5) << residual << name;
      EXPECT_LT(error(4), error(2) - (residual == std::string("private") ? 0.1 : 0.0)) << residual << name;
      EXPECT_EQ(error(4), error(3 + static_cast<int>(m))) << "the other modality's codes say nothing here";
    }
    EXPECT_FALSE(static_cast<bool>(tokenizer->reconstruct(codes, 4, "text")));
  }
}

TEST(Dst, AbsentModalitiesHaveNoCodes) {
  Dataset data = dataset();
  forget(data, "audio", 5);
  forget(data, "image", 6);
  forget(data, "audio", 7);
  forget(data, "image", 7);
  const auto tokenizer = fitted(data, kSmall);
  const auto codes = tokenizer->tokens(data).codes;
  const auto code = [&](std::size_t item, std::size_t level) { return codes[item * 4 + level]; };
  EXPECT_GE(code(5, 0), 0);
  EXPECT_EQ(code(5, 2), -1);
  EXPECT_GE(code(5, 3), 0);
  EXPECT_GE(code(6, 2), 0);
  EXPECT_EQ(code(6, 3), -1);
  for (std::size_t level = 0; level < 4; ++level) EXPECT_EQ(code(7, level), -1);
  EXPECT_EQ(tokenizer->reconstruct(codes, 4, "image").rows(), 240);
  EXPECT_FALSE(tokenizer->health(data).empty());
  // What stands in the rows of absent items must not matter.
  Dataset other = data;
  other.features["audio"].values = data.features["audio"].values.clone();
  std::fill_n(other.features["audio"].values.data<float>() + 5 * 20, 20, 9.0f);
  EXPECT_EQ(fitted(other, kSmall)->tokens(other).codes, codes);
}

TEST(Dst, NewItemsAreEncodedWithoutRefitting) {
  Dataset data = dataset();
  forget(data, "image", 17);
  const auto tokenizer = fitted(data, kSmall);
  const auto all = tokenizer->tokens(data).codes;
  for (const std::int64_t item : {0, 17, 239}) {
    std::map<std::string, ItemFeatures> one;
    for (const auto& [name, values] : data.features)
      one[name] = {
          name, values.values.row_range(item, item + 1).clone(), {values.present[static_cast<std::size_t>(item)]}};
    EXPECT_EQ(tokenizer->encode(one), std::vector<std::int32_t>(all.begin() + 4 * item, all.begin() + 4 * item + 4));
  }
  const Tensor distances = tokenizer->last_level_distances(data);
  ASSERT_EQ(distances.shape(), Shape({240, 6}));
  for (std::int64_t i = 0; i < 240; ++i) {
    const float* d = distances.data<float>() + i * 6;
    if (i == 17) continue;
    EXPECT_EQ(std::min_element(d, d + 6) - d, all[static_cast<std::size_t>(4 * i + 3)]) << i;
  }
}

TEST(Dst, IsSavedAndLoaded) {
  const Dataset data = dataset();
  for (const std::string more : {"", "residual = 'plain'\n", "normalize = 'pca'\ncomponents = 12\nwidths = []\n"}) {
    const std::string options = kSmall + more;
    const auto first = fitted(data, options), loaded = make(options);
    MemoryState state, again;
    first->visit(state);
    state.load(true);
    loaded->visit(state);
    loaded->visit(again);
    EXPECT_EQ(loaded->tokens(data).codes, first->tokens(data).codes) << more;
    ASSERT_EQ(again.tensors.size(), state.tensors.size());
    for (const auto& [name, value] : state.tensors)
      EXPECT_EQ(std::memcmp(value.raw(), again.tensors[name].raw(), value.bytes()), 0) << name;
  }
}

TEST(Dst, SameBitsForAnyNumberOfThreadsAndOthersForAnotherSeed) {
  Dataset data = dataset();
  forget(data, "image", 3);
  const std::string options = kSmall + "mi_between = true\nmi_form = 'sampled'\nrevive_after = 5\n";
  MemoryState first;
  for (const int count : {1, 2, 3}) {
    set_threads(count);
    MemoryState state;
    fitted(data, options)->visit(state);
    if (count == 1) first = state;
    for (const auto& [name, value] : first.tensors)
      EXPECT_EQ(std::memcmp(value.raw(), state.tensors[name].raw(), value.bytes()), 0) << name << " " << count;
  }
  set_threads(1);
  MemoryState other;
  fitted(data, options, 9)->visit(other);
  EXPECT_NE(std::memcmp(first.tensors["shared.codebooks"].raw(), other.tensors["shared.codebooks"].raw(),
                        first.tensors["shared.codebooks"].bytes()),
            0);
}

TEST(Dst, MayLearnFromTrainedItemsAlone) {
  Dataset data = dataset();
  data.user_ids = {"u"};
  for (int i = 0; i < 100; ++i) data.interactions.item.push_back(i);
  data.interactions.offset = {0, 100};
  data.interactions.part.assign(100, tessera::Part::train);
  const std::string options = kSmall + "items = 'trained'";
  Dataset changed = data;
  changed.features["image"].values = data.features["image"].values.clone();
  std::fill_n(changed.features["image"].values.data<float>() + 150 * 23, 23, 50.0f);
  EXPECT_EQ(fitted(changed, options)->tokens(data).codes, fitted(data, options)->tokens(data).codes);
}

TEST(Dst, StopsAndTellsHowFarItIs) {
  const Dataset data = dataset();
  FitContext context;
  std::vector<double> done;
  context.progress = [&](double share, const std::string&) { done.push_back(share); };
  make(kSmall)->fit(data, context);
  ASSERT_EQ(done.size(), 16u);
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
  EXPECT_EQ(done.back(), 1.0);
  context.stop = [&] { return done.size() >= 20; };
  EXPECT_THROW(make(kSmall)->fit(data, context), Stopped);
  EXPECT_EQ(done.size(), 20u);
}

TEST(Dst, ErrorsSayWhat) {
  const Dataset data = dataset();
  EXPECT_EQ(error_of_fit(data, kSmall + "modalities = ['audio', 'smell']"),
            "dst: no features of modality 'smell'; there are: audio, image; add a featurizer for it or change "
            "tokenizer.modalities");
  EXPECT_EQ(error_of_fit(dataset(240, 1), kSmall),
            "dst: 1 modality (audio), expected 2 to 4; add a [[featurizer]] for another, or take rq_vae, which codes a "
            "single one");
  EXPECT_EQ(error_of_fit(Dataset(), kSmall),
            "dst: 0 modalities (none), expected 2 to 4; add a [[featurizer]] for another, or take rq_vae, which codes "
            "a single one");
  EXPECT_EQ(error_of_fit(dataset(7), kSmall), "dst: 7 items with features for 8 shared codes; use fewer shared_codes");
  EXPECT_EQ(error_of_fit(dataset(5), kSmall),
            "dst: 5 items with the modality 'audio' for 6 codes; use fewer modality_codes");
  Dataset flat = dataset();
  flat.features["image"].values = Tensor::full({240, 4}, 2.0);
  EXPECT_EQ(error_of_fit(flat, kSmall),
            "dst: all 240 vectors of modality 'image' are the same, there is nothing to code; leave it out of "
            "tokenizer.modalities");
  Dataset apart = dataset();
  for (std::int64_t i = 0; i < 240; ++i) forget(apart, i % 2 ? "audio" : "image", i);
  EXPECT_EQ(error_of_fit(apart, kSmall), "dst: 0 items have two modalities, too few to align; set align = \"none\"");
  EXPECT_EQ(error_of_fit(apart, kSmall + "align = 'none'"), "no error");
  EXPECT_EQ(error_of([&] { make(kSmall)->tokens(data); }), "dst: not fitted yet");
  for (const auto& wrong :
       {std::pair("modalities = ['audio']", "one modality, expected 2 to 4; rq_vae codes a single one"),
        std::pair("modalities = ['a', 'b', 'c', 'd', 'e']", "5 modalities, expected 2 to 4"),
        std::pair("modalities = ['a', 'a']", "a modality is named twice"),
        std::pair("whiten = 0.5", "only used with normalize = 'pca'"),
        std::pair("balance = 0.5", "balance is 0.5, expected 0 or 1 or more")}) {
    const std::string found = error_of([&] { make(wrong.first); });
    EXPECT_NE(found.find(wrong.second), std::string::npos) << found;
  }
  Dataset huge = dataset();
  huge.features["audio"].values = data.features.at("audio").values.clone();
  for (float& value : huge.features["audio"].values.values<float>()) value *= 1e25f;
  const std::string found = error_of_fit(huge, kSmall + "normalize = 'none'");
  EXPECT_EQ(found.rfind("dst: the loss is ", 0), 0u) << found;
  EXPECT_NE(found.find(" in epoch 1, step 1 (reconstruction "), std::string::npos) << found;
  EXPECT_NE(found.find("norm of the gradient "), std::string::npos) << found;
}

TEST(Dst, HealthTellsHowFarThePartsAreApart) {
  const Dataset data = dataset();
  const auto tokenizer = fitted(data, kSmall + "epochs = 60\n");
  const auto figures = tokenizer->health(data);
  EXPECT_EQ(figures.size(), 12u);
  for (const std::string name : {"audio", "image"}) {
    const double shared = figure(figures, name + ": R2 from shared codes alone");
    const double all = figure(figures, name + ": R2 from shared and own codes");
    EXPECT_GT(shared, 0.25) << name;
    EXPECT_GT(all, shared + 0.1) << name;
    EXPECT_LT(figure(figures, name + ": probe R2 of the private part from the shared part"), 0.6) << name;
    EXPECT_GE(figure(figures, name + ": mutual information of the two, nats"), 0.0) << name;
  }
  Dataset bare = data;
  bare.features.erase("image");  // a run that is resumed has codes alone
  EXPECT_TRUE(tokenizer->health(bare).empty());
}

TEST(Dst, ColumnsThatDoNotVaryAreNoTrouble) {
  Dataset data = dataset();
  data.features["image"].values = data.features["image"].values.clone();
  for (std::int64_t i = 0; i < 240; ++i) data.features["image"].values.data<float>()[i * 23 + 4] = 3.0f;
  EXPECT_EQ(error_of_fit(data, kSmall), "no error");
}

}  // namespace tessera
