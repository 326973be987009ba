#include "framework/eval/evaluator.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>

#include "framework/eval/new_items.h"
#include "framework/eval/slices.h"
#include "framework/roles/frozen_weights.h"

namespace tessera {
namespace {

// The user's own items, as the exclusion lists of a request.
void exclude_own(const Histories& histories, const Dataset& data, bool training_alone, RankRequest& request) {
  if (!training_alone) {
    request.excluded_offset = histories.offset;
    request.excluded = histories.item;
    return;
  }
  const Interactions& all = data.interactions;
  request.excluded_offset = {0};
  for (const std::int32_t user : histories.user) {
    for (std::int64_t i = all.begin(user); i < all.end(user); ++i)
      if (all.part[static_cast<std::size_t>(i)] == Part::train)
        request.excluded.push_back(all.item[static_cast<std::size_t>(i)]);
    request.excluded_offset.push_back(static_cast<std::int64_t>(request.excluded.size()));
  }
}

const char* part_name(Part part) { return part == Part::valid ? "validation" : "test"; }

void append_rows(Ranking& all, const Ranking& block) {
  all.k = block.k;
  all.item.insert(all.item.end(), block.item.begin(), block.item.end());
  all.score.insert(all.score.end(), block.score.begin(), block.score.end());
}

// All that is known of a user up to and with the part, in time order: numbers of interactions.
std::vector<std::int64_t> known_rows(const Interactions& all, std::int64_t user, Part part) {
  std::vector<std::int64_t> known;
  for (std::int64_t i = all.begin(user); i < all.end(user); ++i) {
    const Part of = all.part[static_cast<std::size_t>(i)];
    if (of == Part::train || of == part || (of == Part::valid && part == Part::test)) known.push_back(i);
  }
  return known;
}

void add_history(Histories& to, const Interactions& all, std::int64_t user, std::span<const std::int64_t> rows) {
  for (const std::int64_t row : rows) {
    const auto i = static_cast<std::size_t>(row);
    to.item.push_back(all.item[i]);
    if (!all.time.empty()) to.time.push_back(all.time[i]);
    if (!all.label.empty()) to.action.push_back(all.label[i]);
  }
  to.user.push_back(static_cast<std::int32_t>(user));
  to.offset.push_back(to.size());
}

// Causal models answer for all items of a sequence at once; others get one history an impression.
void score_rolling(Model& model, Head& head, const Dataset& data, Part part, const EvaluateOptions& options,
                   std::int64_t max_items, Impressions& impressions) {
  const Interactions& all = data.interactions;
  const bool at_once = model.spec().causal;
  Histories asked;
  std::vector<std::uint8_t> counts;  // at_once: which items of the sequences are impressions
  std::vector<std::int32_t> item;    // else: the one candidate of each history
  const auto flush = [&](bool all_of_it) {
    if (asked.rows() == 0 || (!all_of_it && asked.rows() < options.batch_size)) return;
    if (at_once) {
      const auto scores = head.score_each(model, asked);
      for (std::size_t i = 0; i < scores.size(); ++i)
        if (counts[i] != 0) impressions.score.push_back(scores[i]);
    } else {
      std::vector<std::int64_t> offset(item.size() + 1);
      std::iota(offset.begin(), offset.end(), 0);
      const auto scores = head.score(model, asked, offset, item);
      impressions.score.insert(impressions.score.end(), scores.begin(), scores.end());
    }
    asked = {};
    counts.clear();
    item.clear();
  };
  for (const std::int32_t user : impressions.user) {
    const auto known = known_rows(all, user, part);
    const std::span<const std::int64_t> rows(known);
    const auto is_asked = [&](std::size_t k) { return all.part[static_cast<std::size_t>(known[k])] == part; };
    const auto from = [&](std::size_t k) {  // the newest max_items before number k
      const auto limit = static_cast<std::size_t>(max_items);
      return max_items > 0 && k > limit ? k - limit : 0;
    };
    std::size_t first = 0;
    while (!is_asked(first)) ++first;
    if (at_once) {
      add_history(asked, all, user, rows.subspan(from(first)));
      for (std::size_t k = from(first); k < known.size(); ++k) counts.push_back(is_asked(k) ? 1 : 0);
      flush(false);
      continue;
    }
    for (std::size_t k = first; k < known.size(); ++k) {
      if (!is_asked(k)) continue;
      add_history(asked, all, user, rows.subspan(from(k), k - from(k)));
      item.push_back(all.item[static_cast<std::size_t>(known[k])]);
      flush(false);
    }
  }
  flush(true);
}

void score_impressions(Model& model, Head& head, const Dataset& data, Part part, const EvaluateOptions& options,
                       std::int64_t max_items, Impressions& impressions) {
  if (options.click_history == "rolling")
    return score_rolling(model, head, data, part, options, max_items, impressions);
  const Questions asked = questions(data, part, max_items);
  for (std::int64_t begin = 0; begin < asked.histories.rows(); begin += options.batch_size) {
    const Questions block =
        slice(asked, begin, std::min<std::int64_t>(begin + options.batch_size, asked.histories.rows()));
    const auto scores = head.score(model, block.histories, block.target_offset, block.target);
    impressions.score.insert(impressions.score.end(), scores.begin(), scores.end());
  }
}

// Metrics of some impressions under a prefix; what is undefined (one class alone, nothing) is left out.
void add_click_metrics(const Impressions& impressions, const std::string& prefix,
                       const std::vector<std::uint8_t>& counts, int bins, Evaluation& out) {
  std::vector<float> score, label;
  for (std::size_t i = 0; i < impressions.item.size(); ++i)
    if (counts.empty() || counts[i] != 0) {
      score.push_back(impressions.score[i]);
      label.push_back(impressions.label[i]);
    }
  const auto put = [&](const std::string& name, double value) {
    if (std::isnan(value)) return;
    out.names.push_back(prefix + name);
    out.mean[prefix + name] = value;
  };
  ClickUsers users = click_users(impressions, counts);
  put("AUC", auc(score, label));
  put("GAUC", mean_known(users.gauc));
  put("UAUC", mean_known(users.uauc));
  put("LogLoss", log_loss(score, label));
  put("ECE", calibration_error(reliability(score, label, bins)));
  put("impressions", static_cast<double>(score.size()));
  out.per_user[prefix + "GAUC"] = std::move(users.gauc);
  out.per_user[prefix + "UAUC"] = std::move(users.uauc);
  out.per_user[prefix + "LogLoss"] = std::move(users.log_loss);
}

struct Lists {
  Ranker ranker;
  const Dataset& data;
  const EvaluateOptions& options;

  // Lists of all rows. allowed: items to rank, or empty: all.
  Ranking rank(const Questions& asked, bool excluded, const std::vector<std::uint8_t>& allowed) const {
    Ranking all;
    const auto deepest = *std::max_element(options.cutoffs.begin(), options.cutoffs.end());
    for (std::int64_t begin = 0; begin < asked.histories.rows(); begin += options.batch_size) {
      const Questions block =
          slice(asked, begin, std::min<std::int64_t>(begin + options.batch_size, asked.histories.rows()));
      RankRequest request;
      request.k = static_cast<int>(std::min<std::int64_t>(deepest, data.item_count()));
      request.allowed = allowed;
      if (excluded) exclude_own(block.histories, data, options.own_items == "training", request);
      append_rows(all, ranker(block.histories, request));
    }
    return all;
  }

  // Strict cold items among all items, and among themselves.
  void add_cold(const Ranking& ranking, const Questions& asked, bool excluded, const std::string& prefix,
                Evaluation& out) const {
    const ItemSlice cold{"cold", data.cold_items};
    std::vector<std::int64_t> rows;
    const Questions few = narrow(asked, cold, rows);
    if (rows.empty()) return;
    add_slice_metrics(ranking, asked, cold, options.cutoffs, prefix, out);
    const Ranking some = rank(few, excluded, data.cold_items);
    Ranking alone;  // a row of `asked` each
    alone.k = some.k;
    alone.item.assign(static_cast<std::size_t>(asked.histories.rows() * some.k), -1);
    for (std::size_t i = 0; i < rows.size(); ++i)
      std::copy_n(some.item.begin() + static_cast<std::int64_t>(i) * some.k, some.k,
                  alone.item.begin() + rows[i] * some.k);
    add_slice_metrics(alone, asked, {"cold_alone", data.cold_items}, options.cutoffs, prefix, out);
  }
};

// "; items_0: 12 targets of 9 users"
std::string slice_text(const Questions& asked, const ItemSlice& slice) {
  std::vector<std::int64_t> rows;
  const Questions few = narrow(asked, slice, rows);
  return str("; ", slice.name, ": ", few.target.size(), " targets of ", rows.size(), " users");
}

Evaluation evaluate_lists(const Ranker& ranker, const Dataset& data, Part part, const EvaluateOptions& options,
                          const Questions& asked, const ListSink& lists) {
  Evaluation out;
  out.protocol = str("full ranking of ", data.item_count(), " items for ", asked.histories.rows(), " users with ",
                     part_name(part), " items; ties to the smaller item number");
  if (options.seen != "include" && options.own_items == "training")
    out.protocol += "; own items are training items alone";
  if (options.new_share > 0.0)
    out.protocol += str("; a share of ", options.new_share, " of the places for items without training interactions");
  out.user = asked.histories.user;
  check(!options.cutoffs.empty(), "evaluate: no cutoffs");
  const auto slices = count_slices(data, options.item_counts);
  const bool with_cold = options.cold_slices && !data.cold_items.empty();
  for (const auto& slice : slices) out.protocol += slice_text(asked, slice);
  if (with_cold) out.protocol += slice_text(asked, {"cold", data.cold_items});
  const Lists all_lists{options.new_share > 0.0 ? with_new_items(ranker, new_items(data), options.new_share) : ranker,
                        data, options};
  for (const bool excluded : {false, true}) {
    if ((excluded && options.seen == "include") || (!excluded && options.seen == "exclude")) continue;
    const Ranking all = all_lists.rank(asked, excluded, {});
    if (lists) lists(asked, all, excluded);
    auto metrics = ranking_metrics(all, asked.target_offset, asked.target, options.cutoffs, data.item_count());
    const std::string prefix = excluded ? "unseen/" : "";
    for (const auto& name : metrics.names) {
      out.names.push_back(prefix + name);
      out.mean[prefix + name] = metrics.mean[name];
      if (auto it = metrics.per_user.find(name); it != metrics.per_user.end())
        out.per_user[prefix + name] = std::move(it->second);
    }
    for (const auto& slice : slices) add_slice_metrics(all, asked, slice, options.cutoffs, prefix, out);
    if (with_cold) all_lists.add_cold(all, asked, excluded, prefix, out);
  }
  return out;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Evaluation evaluate_scores(Impressions impressions, const Dataset& data, Part part, const EvaluateOptions& options,
                           const std::string& scored_how) {
  Evaluation out;
  out.user = impressions.user;
  out.reliability = reliability(impressions.score, impressions.label, options.calibration_bins);
  const auto item_counts = train_counts(data);
  std::vector<std::uint8_t> cold_user, cold_item;
  for (std::int64_t row = 0; row < impressions.rows(); ++row) {
    const std::int32_t user = impressions.user[static_cast<std::size_t>(row)];
    std::int64_t trained = 0;
    for (auto i = data.interactions.begin(user); i < data.interactions.end(user); ++i)
      trained += data.interactions.part[static_cast<std::size_t>(i)] == Part::train;
    for (auto i = impressions.offset[static_cast<std::size_t>(row)];
         i < impressions.offset[static_cast<std::size_t>(row) + 1]; ++i) {
      const auto item = static_cast<std::size_t>(impressions.item[static_cast<std::size_t>(i)]);
      cold_user.push_back(trained < options.cold_user);
      cold_item.push_back(item_counts[item] < options.cold_item);
    }
  }
  add_click_metrics(impressions, "", {}, options.calibration_bins, out);
  add_click_metrics(impressions, "cold_user/", cold_user, options.calibration_bins, out);
  add_click_metrics(impressions, "cold_item/", cold_item, options.calibration_bins, out);
  const auto both = std::count_if(out.per_user["UAUC"].begin(), out.per_user["UAUC"].end(),
                                  [](double value) { return !std::isnan(value); });
  out.protocol = str(impressions.size(), " labelled ", part_name(part), " interactions of ", impressions.rows(),
                     " users, each scored ", scored_how, "; GAUC over ", both, " users with both labels; ECE over ",
                     options.calibration_bins, " bins of equal width; cold: fewer than ", options.cold_user,
                     " training interactions of the user, ", options.cold_item, " of the item");
  out.impressions = std::move(impressions);
  return out;
}

Evaluation evaluate(Model& model, Head& head, const Dataset& data, Part part, const EvaluateOptions& options,
                    std::int64_t max_items, const ListSink& lists) {
  const auto start = std::chrono::steady_clock::now();
  const FrozenWeights frozen;
  const bool clicks = head.spec(model.spec()).needs_labels;
  if (!clicks && options.ranking == "no")
    throw ConfigError("evaluate.ranking is 'no', but the head does not learn from labels: nothing is left to measure");
  Evaluation out;
  if (clicks) {
    Impressions impressions = impressions_of(data, part);
    score_impressions(model, head, data, part, options, max_items, impressions);
    out = evaluate_scores(std::move(impressions), data, part, options,
                          options.click_history == "part"
                              ? "given what was before the part"
                              : "given everything of its user before it in time (rolling histories)");
  }
  if (options.ranking == "yes" || (options.ranking == "auto" && !clicks) || (lists && options.ranking != "no")) {
    const Ranker ranker = [&](const Histories& histories, const RankRequest& request) {
      return head.rank(model, histories, request);
    };
    Evaluation ranked = evaluate_lists(ranker, data, part, options, questions(data, part, max_items), lists);
    if (!clicks) {
      out = std::move(ranked);
    } else {
      out.protocol += "; " + ranked.protocol;
      out.names.insert(out.names.end(), ranked.names.begin(), ranked.names.end());
      out.mean.merge(ranked.mean);
      out.per_user.merge(ranked.per_user);
    }
  }
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
