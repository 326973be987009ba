#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "framework/plugin/loader.h"
#include "framework/plugin/registry.h"
#include "framework/roles/head.h"
#include "framework/roles/model.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"
#include "tensor/ops/adamw/adamw.h"

// For tests of models and heads: a small catalogue, histories, and a pair built through the registry.
namespace tessera::testing {

// I items with unique identifiers of L levels, K codes each, drawn at random; with one level they count up.
inline ItemTokens random_tokens(std::int64_t items, int levels, int codes, std::uint64_t seed = 1) {
  ItemTokens tokens;
  for (int l = 0; l < levels; ++l) tokens.levels.push_back({str("text/", l), codes, ""});
  std::set<std::vector<std::int32_t>> seen;
  Random random(seed, stream_of("tokens"));
  for (std::int64_t i = 0; i < items; ++i) {
    std::vector<std::int32_t> row(static_cast<std::size_t>(levels), static_cast<std::int32_t>(i));
    if (levels > 1) do
        for (auto& code : row) code = static_cast<std::int32_t>(random.below(codes));
      while (!seen.insert(row).second);
    tokens.codes.insert(tokens.codes.end(), row.begin(), row.end());
  }
  return tokens;
}

inline Histories histories_of_lengths(const std::vector<int>& lengths, std::int64_t items, std::uint64_t seed = 2) {
  Histories histories;
  Random random(seed, stream_of("histories"));
  for (std::size_t b = 0; b < lengths.size(); ++b) {
    histories.user.push_back(static_cast<std::int32_t>(b));
    for (int i = 0; i < lengths[b]; ++i) histories.item.push_back(static_cast<std::int32_t>(random.below(items)));
    histories.offset.push_back(static_cast<std::int64_t>(histories.item.size()));
  }
  return histories;
}

// Random labels for them.
inline Histories with_actions(Histories histories, std::uint64_t seed = 4) {
  Random random(seed, stream_of("actions"));
  for (std::int64_t i = 0; i < histories.size(); ++i)
    histories.action.push_back(static_cast<std::int8_t>(random.below(2)));
  return histories;
}

inline Histories row_of(const Histories& all, std::size_t b) {
  Histories one;
  one.user = {all.user[b]};
  one.item.assign(all.item.begin() + all.offset[b], all.item.begin() + all.offset[b + 1]);
  if (!all.action.empty())
    one.action.assign(all.action.begin() + all.offset[b], all.action.begin() + all.offset[b + 1]);
  one.offset.push_back(static_cast<std::int64_t>(one.item.size()));
  return one;
}

// What the batcher would make of whole histories for a form: the last item of each row is a target. Labels, where the
// histories hold actions, are those.
inline TrainBatch batch_of(const Histories& whole, BatchForm form) {
  TrainBatch batch;
  for (std::int64_t b = 0; b < whole.rows(); ++b) {
    const std::int64_t begin = whole.offset[static_cast<std::size_t>(b)],
                       end = whole.offset[static_cast<std::size_t>(b) + 1];
    batch.histories.user.push_back(whole.user[static_cast<std::size_t>(b)]);
    const bool each = form == BatchForm::each_item;
    const bool keeps_last = form == BatchForm::every_position_last_included || each;
    const auto label = [&](std::int64_t i) {
      if (!whole.action.empty()) batch.label.push_back(static_cast<float>(whole.action[static_cast<std::size_t>(i)]));
    };
    for (std::int64_t i = begin; i < end - (keeps_last ? 0 : 1); ++i) {
      batch.histories.item.push_back(whole.item[static_cast<std::size_t>(i)]);
      if (!whole.action.empty()) batch.histories.action.push_back(whole.action[static_cast<std::size_t>(i)]);
      if (each) {
        batch.target.push_back(whole.item[static_cast<std::size_t>(i)]);
        label(i);
        continue;
      }
      if (form != BatchForm::one_target)
        batch.target.push_back(i + 1 < end ? whole.item[static_cast<std::size_t>(i) + 1] : -1);
    }
    if (form == BatchForm::one_target) {
      batch.target.push_back(whole.item[static_cast<std::size_t>(end) - 1]);
      label(end - 1);
    }
    batch.histories.offset.push_back(batch.histories.size());
  }
  return batch;
}

// The plugins of this build.
inline Registry& registry(const std::string& folder) {
  static Registry all;
  static Loader loader(all, {folder});
  return all;
}

// A model and a head over a catalogue, built and initialised as the pipeline does it.
struct Pair {
  Dataset data;
  std::unique_ptr<Catalog> catalog;
  std::shared_ptr<Model> model;
  std::shared_ptr<Head> head;

  Pair(Registry& registry, ItemTokens tokens, const std::string& model_options, const std::string& head_options,
       CollisionPolicy policy = CollisionPolicy::none, const std::set<std::int32_t>& untaken = {}) {
    const std::int64_t items = tokens.items();
    data.name = "test";
    for (std::int64_t i = 0; i < items; ++i) data.items.ids.push_back(str("i", i));
    data.user_ids = {"u0"};  // who has all other items in training
    for (std::int32_t i = 0; i < items; ++i)
      if (!untaken.contains(i)) data.interactions.item.push_back(i);
    data.interactions.part.assign(data.interactions.item.size(), Part::train);
    data.interactions.offset = {0, data.interactions.size()};
    catalog = std::make_unique<Catalog>(std::move(tokens), policy,
                                        std::vector<std::int64_t>(static_cast<std::size_t>(items), 1));
    model = registry.create<Model>(Section::parse("model", model_options));
    head = registry.create<Head>(Section::parse("head", head_options));
    const BuildContext context{data, *catalog, 1};
    head->build(context, model->spec());
    model->build(context, head->item_tower());
    model->initialize(1, "model.");
    head->initialize(1, "head.");
  }

  std::vector<std::pair<std::string, Parameter*>> parameters() {
    auto all = model->parameters();
    for (auto& [name, parameter] : head->parameters()) all.emplace_back("head." + name, parameter);
    return all;
  }
  BatchForm form() { return head->spec(model->spec()).form; }

  double loss_of(const TrainBatch& batch) { return head->loss(*model, batch).item(); }

  // Steps of AdamW on one batch; returns the last loss.
  double train(const TrainBatch& batch, int steps, double learning_rate) {
    std::map<Parameter*, AdamWTensor> state;
    double loss = 0.0;
    for (int step = 1; step <= steps; ++step) {
      const TrainingScope scope(3, static_cast<std::uint64_t>(step));
      Tape tape;
      const Tensor value = head->loss(*model, batch);
      loss = value.item();
      tape.backward(value);
      std::vector<AdamWTensor> all;
      for (auto& [name, parameter] : parameters()) {
        if (!parameter->gradient) continue;
        AdamWTensor& one = state[parameter];
        if (!one.first)
          one.first = Tensor::zeros(parameter->value.shape()), one.second = Tensor::zeros(parameter->value.shape());
        one.value = parameter->value;
        one.gradient = parameter->gradient;
        all.push_back(one);
      }
      AdamWStep options;
      options.learning_rate = learning_rate;
      options.step = step;
      adamw(all, options);
      for (auto& [name, parameter] : parameters()) parameter->gradient = Tensor();
    }
    return loss;
  }
};

inline double largest_difference(const Tensor& a, const Tensor& b) {
  const Tensor x = a.to(DType::f64), y = b.to(DType::f64);
  check(x.numel() == y.numel(), "compared: ", x.shape().text(), " with ", y.shape().text());
  double most = 0.0;
  for (std::int64_t i = 0; i < x.numel(); ++i)
    most = std::max(most, std::abs(x.values<double>()[static_cast<std::size_t>(i)] -
                                   y.values<double>()[static_cast<std::size_t>(i)]));
  return most;
}

}  // namespace tessera::testing
