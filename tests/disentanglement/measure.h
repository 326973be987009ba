#pragma once

#include <map>
#include <string>
#include <vector>

#include "framework/data/rejects.h"
#include "framework/nn/ridge.h"
#include "framework/plugin/testing.h"
#include "framework/roles/data_source.h"
#include "framework/roles/featurizer.h"
#include "framework/roles/tokenizer.h"

namespace tessera::disentanglement {

inline const std::string kPlugins = TESSERA_BINARY_DIR "/lib/tessera/plugins";
inline const std::vector<std::string> kModalities{"image", "text"};

// A world with vectors of two modalities: what they share is the category, each has a kind of its own.
struct World {
  Dataset data;
  int categories = 0, kinds = 0;

  World(const TemporaryFolder& folder, int items, int category_count, int kind_count, const std::string& more)
      : categories(category_count), kinds(kind_count) {
    Rejects rejects;
    FitContext context;
    const auto source = make_component<DataSource>(
        kPlugins, str("plugin = 'synthetic'\nusers = 1\nmax_length = 10\nitems = ", items,
                      "\ncategories = ", categories, "\nkinds = ", kinds, "\nvectors = '", folder.path(), "'\n", more));
    data = source->load(rejects, context);
    for (const std::string& name : kModalities) {
      const auto npy = make_component<Featurizer>(kPlugins, "plugin = 'npy'\nmodality = '" + name + "'");
      npy->fit(data, context);
      data.features[name] = npy->features(data);
    }
  }

  std::vector<std::int32_t> factor(const std::string& field) const {
    std::vector<std::int32_t> out;
    for (const std::string& value : data.items.fields.at(field)) out.push_back(std::stoi(value));
    return out;
  }
};

// Accuracy of linear probes on one-hot codes, of items that have both modalities.
struct Accuracy {
  double category = 0.0;                // from the shared codes
  std::map<std::string, double> own;    // a modality's kind from its codes
  std::map<std::string, double> other;  // the other modality's kind from them
  std::map<std::string, double> leak;   // the category from them
  double kind_chance = 0.0, category_chance = 0.0;
  std::vector<HealthFigure> figures;  // of the tokenizer
};

inline Accuracy measure(const World& world, const std::string& options, std::uint64_t seed = 1) {
  const auto tokenizer = make_component<Tokenizer>(kPlugins, "plugin = 'dst'\n" + options);
  FitContext context;
  context.seed = seed;
  tokenizer->fit(world.data, context);
  const ItemTokens tokens = tokenizer->tokens(world.data);
  const auto width = tokens.levels.size();
  std::vector<std::size_t> complete;
  for (std::size_t i = 0; i < static_cast<std::size_t>(tokens.items()); ++i)
    if (world.data.features.at("text").present[i] && world.data.features.at("image").present[i]) complete.push_back(i);
  const auto probe = [&](const std::string& modality, const std::string& field, int classes) {
    std::vector<int> sizes;
    std::vector<std::int32_t> codes, label;
    for (const auto& level : tokens.levels)
      if (level.modality == modality) sizes.push_back(level.codes);
    const auto factor = world.factor(field);
    for (const std::size_t i : complete) {
      for (std::size_t l = 0; l < width; ++l)
        if (tokens.levels[l].modality == modality) codes.push_back(tokens.codes[i * width + l]);
      label.push_back(factor[i]);
    }
    return probe_accuracy(one_hot(codes, sizes), label, classes);
  };
  Accuracy out;
  out.category = probe("", "category_number", world.categories);
  for (const std::string& name : kModalities) {
    out.own[name] = probe(name, "kind_" + name, world.kinds);
    out.other[name] = probe(name, name == "text" ? "kind_image" : "kind_text", world.kinds);
    out.leak[name] = probe(name, "category_number", world.categories);
  }
  out.kind_chance = probe_chance(world.factor("kind_text"), world.kinds);
  out.category_chance = probe_chance(world.factor("category_number"), world.categories);
  out.figures = tokenizer->health(world.data);
  return out;
}

}  // namespace tessera::disentanglement
