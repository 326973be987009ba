#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "framework/config/config.h"
#include "framework/nn/embedding.h"
#include "framework/nn/linear.h"
#include "framework/roles/model.h"
#include "plugins/click/item_rates.h"

namespace tessera {

struct ClickOptions {
  std::vector<std::int64_t> hidden{64};
  std::string activation = "relu";
  double dropout = 0.0, deviation = 0.02;
  int user_buckets = 0, user_width = 8, length_width = 0;
  bool item_bias = false;
  double item_rate = 0.0;

  template <class V>
  void describe(V& v) {
    v("hidden", hidden, "hidden widths of the network from a state to the logit; []: linear", 1, 65536);
    v("activation", activation, "between its layers", {"relu", "gelu", "silu"});
    v("dropout", dropout, "drop probability before each of its layers", 0.0, 0.95);
    v("user_buckets", user_buckets,
      "rows of a table of user vectors, users by hash; 0: users are known by their history alone", 0, 100000000);
    v("user_width", user_width, "width of a user vector", 1, 1024);
    v("length_width", length_width, "width of a vector of the history's length (buckets of powers of two); 0: none", 0,
      1024);
    v("item_bias", item_bias, "a learnt number an item, added to its logit");
    v("item_rate", item_rate,
      "adds to the logit a learnt multiple of how often the item was clicked in training before the moment asked "
      "about, smoothed by so many "
      "interactions of "
      "the average item; 0: not",
      0.0, 1e6);
    v("deviation", deviation, "standard deviation of the first tables", 0.0, 10.0);
  }
};

// What a logit is made of: the state of an item in its history, and who, what and how long.
struct ClickRows {
  Tensor state;                      // (n, D)
  std::vector<std::int32_t> user;    // (n) -1: unknown
  std::vector<std::int32_t> item;    // (n)
  std::vector<std::int32_t> length;  // (n) items before it in view
  std::vector<std::int64_t> time;    // (n) moments asked about, or empty: now
};

// The network of the head.
class ClickScorer final : public Module {
 public:
  ClickScorer(const ClickOptions& options, int width, const Dataset& data);
  ~ClickScorer() override;
  Tensor logits(const ClickRows& rows);  // (n)

 private:
  ClickOptions options_;
  std::unique_ptr<Embedding> users_, lengths_, bias_;
  std::unique_ptr<ItemRates> rates_;
  Parameter* rate_weight_ = nullptr;  // (1), or null
  std::vector<std::unique_ptr<Linear>> layers_;
  Activation activation_;
};

}  // namespace tessera
