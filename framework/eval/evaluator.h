#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "framework/config/config.h"
#include "framework/data/batches.h"
#include "framework/eval/clicks.h"
#include "framework/eval/metrics.h"
#include "framework/roles/head.h"

namespace tessera {

// [evaluate] of the configuration.
struct EvaluateOptions {
  std::vector<std::int64_t> cutoffs{5, 10, 20};
  std::string seen = "both", own_items = "known", ranking = "auto", click_history = "rolling";
  std::vector<std::int64_t> item_counts{};
  double new_share = 0.0;
  int batch_size = 256, calibration_bins = 10;
  std::int64_t cold_user = 10, cold_item = 10;
  bool cold_slices = true;  // no option: the trainer leaves them out where its metric is none of them

  template <class V>
  void describe(V& v) {
    v("cutoffs", cutoffs, "K of Recall@K, NDCG@K, HR@K, MRR@K, Coverage@K", 1, 10000);
    v("seen", seen,
      "rank over all items (include), over items that are not in the user's own history (exclude), or report both",
      {"both", "include", "exclude"});
    v("own_items", own_items,
      "what exclude takes out: all of the history that the model reads, at test with validation items (known), or all "
      "training items and nothing else (training: MMRec's rule)",
      {"known", "training"});
    v("item_counts", item_counts,
      "metrics by training interactions of the target, too: [0, 5, 10] gives items_0, items_1_5, items_6_10 and "
      "items_over_10; []: none",
      0, 1000000000);
    v("new_share", new_share,
      "share of a list's places, from the top down to any K, that goes to items without training interactions at least "
      "(new_items.h); 0: scores alone decide",
      0.0, 1.0);
    v("ranking", ranking,
      "rank the whole catalogue for every user: yes, no, or auto: where the head does not learn from labels",
      {"auto", "yes", "no"});
    v("click_history", click_history,
      "heads with labels: an interaction is scored given everything of its user before it (rolling), or what was "
      "before "
      "the part (part)",
      {"rolling", "part"});
    v("calibration_bins", calibration_bins, "bins of equal width of the reliability table and ECE", 1, 1000);
    v("cold_user", cold_user, "users with fewer training interactions are reported apart", 0, 1000000);
    v("cold_item", cold_item, "items with fewer training interactions are reported apart", 0, 1000000);
    v("batch_size", batch_size, "users ranked at once", 1, 65536);
  }
};

// Results of one protocol. Prefix of names: "" over all items, "unseen/" with the user's own items excluded. Then, for
// targets of one kind: "items_1_5/" by training interactions, "cold/" strict cold items (Dataset::cold_items) ranked
// among all items, "cold_alone/" the same ranked among cold items alone; per_user is NaN where a user has no such
// target.
struct Evaluation {
  std::string protocol;  // a sentence: split, candidates, ties
  std::vector<std::string> names;
  std::map<std::string, double> mean;
  std::map<std::string, std::vector<double>> per_user;
  std::vector<std::int32_t> user;  // (B) internal numbers, the order of per_user
  Impressions impressions;         // heads with labels: what was scored, and how
  std::vector<ReliabilityBin> reliability;
  double seconds = 0;
};

// The top lists behind an evaluation, for export.
using ListSink = std::function<void(const Questions& questions, const Ranking& ranking, bool seen_excluded)>;

// Full ranking of the whole catalogue for every user with something in the part. Histories are everything before the
// part, the newest max_items of them where max_items > 0. Heads that learn from labels are measured by AUC, GAUC,
// LogLoss, ECE and their slices of cold users and items instead ("cold_user/AUC"), and by ranking where options ask.
TESSERA_API Evaluation evaluate(Model& model, Head& head, const Dataset& data, Part part,
                                const EvaluateOptions& options, std::int64_t max_items, const ListSink& lists = {});

// The same with any ranker: popularity and other references.
using Ranker = std::function<Ranking(const Histories& histories, const RankRequest& request)>;
TESSERA_API Evaluation evaluate(const Ranker& ranker, const Dataset& data, Part part, const EvaluateOptions& options,
                                std::int64_t max_items, const ListSink& lists = {});

// Click metrics of scores that are there already: sanity lines, files. scored_how: for the protocol.
TESSERA_API Evaluation evaluate_scores(Impressions impressions, const Dataset& data, Part part,
                                       const EvaluateOptions& options, const std::string& scored_how);

// The items with the most training interactions, the same for everybody; ties to the smaller item number.
TESSERA_API Ranker popularity_ranker(const Dataset& data);

}  // namespace tessera
