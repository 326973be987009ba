#include "framework/eval/evaluator.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <numeric>

namespace tessera {
namespace {

// The user's own items, as the exclusion lists of a request.
void exclude_history(const Histories& histories, RankRequest& request) {
  request.excluded_offset = histories.offset;
  request.excluded = histories.item;
}

const char* part_name(Part part) { return part == Part::valid ? "validation" : "test"; }

void append_rows(Ranking& all, const Ranking& block) {
  all.k = block.k;
  all.item.insert(all.item.end(), block.item.begin(), block.item.end());
  all.score.insert(all.score.end(), block.score.begin(), block.score.end());
}

// AUC over all held-out interactions and GAUC over users, where labels tell clicks from non-clicks.
void add_click_metrics(Model& model, Head& head, const Dataset& data, Part part, const Questions& asked, int batch,
                       Evaluation& out) {
  std::vector<float> scores, labels;
  for (std::int64_t begin = 0; begin < asked.histories.rows(); begin += batch) {
    const Questions block = slice(asked, begin, std::min<std::int64_t>(begin + batch, asked.histories.rows()));
    const auto part_scores = head.score(model, block.histories, block.target_offset, block.target);
    scores.insert(scores.end(), part_scores.begin(), part_scores.end());
  }
  const auto& inter = data.interactions;
  for (const auto user : asked.histories.user)
    for (auto i = inter.begin(user); i < inter.end(user); ++i)
      if (inter.part[static_cast<std::size_t>(i)] == part)
        labels.push_back(inter.label[static_cast<std::size_t>(i)] > 0 ? 1.0f : 0.0f);
  out.names.insert(out.names.end(), {"AUC", "GAUC"});
  out.mean["AUC"] = auc(scores, labels);
  out.mean["GAUC"] = gauc(scores, labels, asked.target_offset);
}

Evaluation evaluate_lists(const Ranker& ranker, const Dataset& data, Part part, const EvaluateOptions& options,
                          const Questions& asked, const ListSink& lists) {
  Evaluation out;
  out.protocol = str("full ranking of ", data.item_count(), " items for ", asked.histories.rows(), " users with ",
                     part_name(part), " items; ties to the smaller item number");
  out.user = asked.histories.user;
  check(!options.cutoffs.empty(), "evaluate: no cutoffs");
  const auto deepest = *std::max_element(options.cutoffs.begin(), options.cutoffs.end());
  for (const bool excluded : {false, true}) {
    if ((excluded && options.seen == "include") || (!excluded && options.seen == "exclude")) continue;
    Ranking all;
    for (std::int64_t begin = 0; begin < asked.histories.rows(); begin += options.batch_size) {
      const Questions block =
          slice(asked, begin, std::min<std::int64_t>(begin + options.batch_size, asked.histories.rows()));
      RankRequest request;
      request.k = static_cast<int>(std::min<std::int64_t>(deepest, data.item_count()));
      if (excluded) exclude_history(block.histories, request);
      append_rows(all, ranker(block.histories, request));
    }
    if (lists) lists(asked, all, excluded);
    auto metrics = ranking_metrics(all, asked.target_offset, asked.target, options.cutoffs, data.item_count());
    const std::string prefix = excluded ? "unseen/" : "";
    for (const auto& name : metrics.names) {
      out.names.push_back(prefix + name);
      out.mean[prefix + name] = metrics.mean[name];
      if (auto it = metrics.per_user.find(name); it != metrics.per_user.end())
        out.per_user[prefix + name] = std::move(it->second);
    }
  }
  return out;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Evaluation evaluate(Model& model, Head& head, const Dataset& data, Part part, const EvaluateOptions& options,
                    std::int64_t max_items, const ListSink& lists) {
  const auto start = std::chrono::steady_clock::now();
  const Questions asked = questions(data, part, max_items);
  const Ranker ranker = [&](const Histories& histories, const RankRequest& request) {
    return head.rank(model, histories, request);
  };
  Evaluation out = evaluate_lists(ranker, data, part, options, asked, lists);
  if (head.spec(model.spec()).needs_labels && !data.interactions.label.empty())
    add_click_metrics(model, head, data, part, asked, options.batch_size, out);
  out.seconds = seconds_since(start);
  return out;
}

Evaluation evaluate(const Ranker& ranker, const Dataset& data, Part part, const EvaluateOptions& options,
                    std::int64_t max_items, const ListSink& lists) {
  const auto start = std::chrono::steady_clock::now();
  Evaluation out = evaluate_lists(ranker, data, part, options, questions(data, part, max_items), lists);
  out.seconds = seconds_since(start);
  return out;
}

Ranker popularity_ranker(const Dataset& data) {
  const auto counts = train_counts(data);
  std::vector<std::int32_t> order(counts.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return counts[static_cast<std::size_t>(a)] > counts[static_cast<std::size_t>(b)];
  });
  return [order, counts](const Histories& histories, const RankRequest& request) {
    Ranking out;
    out.k = request.k;
    for (std::int64_t b = 0; b < histories.rows(); ++b) {
      std::vector<std::int32_t> banned;
      if (!request.excluded_offset.empty())
        banned.assign(request.excluded.begin() + request.excluded_offset[static_cast<std::size_t>(b)],
                      request.excluded.begin() + request.excluded_offset[static_cast<std::size_t>(b) + 1]);
      int found = 0;
      for (auto it = order.begin(); it != order.end() && found < request.k; ++it) {
        if (!request.allowed.empty() && request.allowed[static_cast<std::size_t>(*it)] == 0) continue;
        if (std::find(banned.begin(), banned.end(), *it) != banned.end()) continue;
        out.item.push_back(*it);
        out.score.push_back(static_cast<float>(counts[static_cast<std::size_t>(*it)]));
        ++found;
      }
      out.item.insert(out.item.end(), static_cast<std::size_t>(request.k - found), -1);
      out.score.insert(out.score.end(), static_cast<std::size_t>(request.k - found),
                       -std::numeric_limits<float>::infinity());
    }
    return out;
  };
}

}  // namespace tessera
