#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "framework/catalog/catalog.h"
#include "framework/checkpoint/safetensors.h"
#include "framework/plugin/loader.h"
#include "framework/roles/head.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"
#include "tensor/ops/adamw/adamw.h"

// Worlds of users, items, interactions and features for models that read the graph, and a model with its head in one.
namespace tessera::testing {

// Pairs of users and items as a Dataset: sorted by user, training first.
inline Dataset dataset_of(std::int64_t users, std::int64_t items, std::vector<std::pair<int, int>> train,
                          std::vector<std::pair<int, int>> held) {
  Dataset data;
  data.name = "world";
  data.split_given = true;
  for (std::int64_t i = 0; i < items; ++i) data.items.ids.push_back(str("i", i));
  std::sort(train.begin(), train.end());
  std::sort(held.begin(), held.end());
  for (int user = 0; user < users; ++user) {
    data.user_ids.push_back(str("u", user));
    for (const auto& [pairs, part] : {std::pair(&train, Part::train), std::pair(&held, Part::test)})
      for (const auto& [u, item] : *pairs)
        if (u == user) {
          data.interactions.item.push_back(item);
          data.interactions.part.push_back(part);
        }
    data.interactions.offset.push_back(data.interactions.size());
  }
  return data;
}

inline void add_features(Dataset& data, const std::string& name, Tensor values, std::vector<std::uint8_t> present) {
  data.features[name] = ItemFeatures{name, std::move(values), std::move(present)};
}

// The world of the golden values.
inline Dataset golden_world(const std::map<std::string, Tensor>& golden) {
  const auto pairs = [&](const char* name) {
    const auto values = golden.at(name).values<std::int32_t>();
    std::vector<std::pair<int, int>> out;
    for (std::size_t i = 0; i < values.size(); i += 2) out.emplace_back(values[i], values[i + 1]);
    return out;
  };
  Dataset data = dataset_of(20, 15, pairs("world/train"), pairs("world/held"));
  for (const std::string name : {"image", "text"}) {
    const auto here = golden.at("world/" + name + "/present").values<std::int32_t>();
    add_features(data, name, golden.at("world/" + name), {here.begin(), here.end()});
  }
  return data;
}

// A larger one, so that work is cut into many tiles. The last user and the last item have no training interaction, some
// items lack a modality, one lacks both.
inline Dataset random_world(int users, int items, std::uint64_t seed = 5) {
  Random random(seed, stream_of("world"));
  std::set<std::pair<int, int>> train;
  for (int user = 0; user + 1 < users; ++user)
    for (int n = 0; n < 6; ++n) train.emplace(user, static_cast<int>(random.below(items - 1)));
  Dataset data = dataset_of(users, items, {train.begin(), train.end()}, {{users - 1, 0}, {0, items - 1}});
  for (const auto& [name, width] : {std::pair("image", 24), std::pair("text", 10)}) {
    Tensor values({items, width});
    fill_normal(values, 0.4, 1.0, seed, stream_of(name));
    std::vector<std::uint8_t> present(static_cast<std::size_t>(items), 1);
    for (int item = width; item < items; item += 31 + width) {
      present[static_cast<std::size_t>(item)] = 0;
      values.row_range(item, item + 1).fill(0.0);
    }
    present[7] = 0;
    values.row_range(7, 8).fill(0.0);
    add_features(data, name, values, present);
  }
  return data;
}

inline ItemTokens id_tokens(const Dataset& data) {
  ItemTokens tokens;
  tokens.levels = {{"id", static_cast<int>(data.item_count()), ""}};
  for (std::int32_t i = 0; i < data.item_count(); ++i) tokens.codes.push_back(i);
  return tokens;
}

// `levels` random codes of 8 for each modality; none where the item lacks it.
inline ItemTokens modality_tokens(const Dataset& data, int levels) {
  ItemTokens tokens;
  Random random(3, stream_of("codes"));
  for (const auto& [name, features] : data.features)
    for (int l = 0; l < levels; ++l) tokens.levels.push_back({str(name, "/", l), 8, name});
  for (std::size_t i = 0; i < static_cast<std::size_t>(data.item_count()); ++i)
    for (const auto& [name, features] : data.features)
      for (int l = 0; l < levels; ++l) {
        const auto code = static_cast<std::int32_t>(random.below(8));
        tokens.codes.push_back(features.present[i] != 0 ? code : -1);
      }
  return tokens;
}

// A model and a head over a world, built as the pipeline does it.
struct System {
  Dataset data;
  std::unique_ptr<Catalog> catalog;
  std::shared_ptr<Model> model;
  std::shared_ptr<Head> head;

  System(Dataset world, const ItemTokens& tokens, const std::string& model_options, const std::string& head_options)
      : data(std::move(world)) {
    static Registry registry;
    static Loader loader(registry, {TESSERA_BINARY_DIR "/lib/tessera/plugins"});
    catalog = std::make_unique<Catalog>(tokens, CollisionPolicy::none, train_counts(data));
    model = registry.create<Model>(Section::parse("model", model_options));
    head = registry.create<Head>(Section::parse("head", head_options));
    const BuildContext context{data, *catalog, 1};
    head->build(context, model->spec());
    model->build(context, head->item_tower());
    model->initialize(1, "model/");
    head->initialize(1, "head/");
  }

  std::vector<std::pair<std::string, Parameter*>> parameters() {
    std::vector<std::pair<std::string, Parameter*>> all;
    for (auto& [name, parameter] : model->parameters()) all.emplace_back("model/" + name, parameter);
    for (auto& [name, parameter] : head->parameters()) all.emplace_back("head/" + name, parameter);
    return all;
  }

  // The loss as the trainer makes it; either part may be empty.
  std::pair<Tensor, Tensor> parts(const TrainBatch& batch) {
    Tensor first = head->loss(*model, batch);
    return {std::move(first), model->auxiliary_loss(batch)};
  }
  static Tensor sum(const std::pair<Tensor, Tensor>& parts);

  // Forward and backward; the loss. Gradients stand in the parameters.
  double gradient(const TrainBatch& batch) {
    for (auto& [name, parameter] : parameters()) parameter->gradient = Tensor();
    Tape tape;
    const Tensor loss = sum(parts(batch));
    tape.backward(loss);
    return loss.item();
  }

  // A step of AdamW; the loss before it.
  double train(const TrainBatch& batch, std::int64_t step, double rate) {
    const TrainingScope scope(3, static_cast<std::uint64_t>(step));
    const double loss = gradient(batch);
    std::vector<AdamWTensor> all;
    for (auto& [name, parameter] : parameters()) {
      if (!parameter->gradient) continue;
      AdamWTensor& one = state_[parameter];
      if (!one.first)
        one.first = Tensor::zeros(parameter->value.shape()), one.second = Tensor::zeros(parameter->value.shape());
      one.value = parameter->value;
      one.gradient = parameter->gradient;
      all.push_back(one);
    }
    AdamWStep options;
    options.learning_rate = rate;
    options.step = step;
    adamw(all, options);
    return loss;
  }

  // Some training pairs with one negative each, drawn as the trainer draws them.
  TrainBatch batch(std::int64_t rows) const;

 private:
  std::map<Parameter*, AdamWTensor> state_;
};

}  // namespace tessera::testing
