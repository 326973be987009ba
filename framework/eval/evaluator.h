#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "framework/config/config.h"
#include "framework/data/batches.h"
#include "framework/eval/metrics.h"
#include "framework/roles/head.h"

namespace tessera {

// [evaluate] of the configuration.
struct EvaluateOptions {
  std::vector<std::int64_t> cutoffs{5, 10, 20};
  std::string seen = "both";
  int batch_size = 256;

  template <class V>
  void describe(V& v) {
    v("cutoffs", cutoffs, "K of Recall@K, NDCG@K, HR@K, MRR@K, Coverage@K", 1, 10000);
    v("seen", seen,
      "rank over all items (include), over items that are not in the user's own history (exclude), or report both",
      {"both", "include", "exclude"});
    v("batch_size", batch_size, "users ranked at once", 1, 65536);
  }
};

// Results of one protocol. Prefix of names: "" over all items, "unseen/" with the user's own items excluded.
struct Evaluation {
  std::string protocol;  // a sentence: split, candidates, ties
  std::vector<std::string> names;
  std::map<std::string, double> mean;
  std::map<std::string, std::vector<double>> per_user;
  std::vector<std::int32_t> user;  // (B) internal numbers, the order of per_user
  double seconds = 0;
};

// The top lists behind an evaluation, for export.
using ListSink = std::function<void(const Questions& questions, const Ranking& ranking, bool seen_excluded)>;

// Full ranking of the whole catalogue for every user with something in the part. Histories are everything before the
// part, the newest max_items of them where max_items > 0. GAUC and AUC are added where the interactions carry labels
// and the head asks for them.
TESSERA_API Evaluation evaluate(Model& model, Head& head, const Dataset& data, Part part,
                                const EvaluateOptions& options, std::int64_t max_items, const ListSink& lists = {});

// The same with any ranker: popularity and other references.
using Ranker = std::function<Ranking(const Histories& histories, const RankRequest& request)>;
TESSERA_API Evaluation evaluate(const Ranker& ranker, const Dataset& data, Part part, const EvaluateOptions& options,
                                std::int64_t max_items, const ListSink& lists = {});

// The items with the most training interactions, the same for everybody; ties to the smaller item number.
TESSERA_API Ranker popularity_ranker(const Dataset& data);

}  // namespace tessera
