#include <algorithm>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "framework/plugin/loader.h"
#include "framework/plugin/registry.h"
#include "framework/roles/frozen_weights.h"
#include "framework/roles/head.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/gemm/gemm.h"
#include "tensor/ops/topk/topk.h"
#include "tools/bench/bench.h"

namespace tessera::bench {
namespace {

constexpr int kLevels = 3, kCodes = 128, kWidth = 64, kTop = 10;

Tensor normal_rows(std::int64_t rows, const std::string& name) {
  Tensor x({rows, kWidth});
  fill_normal(x, 0.0, 1.0, 1, stream_of(name));
  return x;
}

// Identifiers as MMGRec makes them, of codes that are drawn at random: three of 128 and a rank.
ItemTokens random_identifiers(std::int64_t items, std::int64_t users, std::uint64_t seed) {
  ItemTokens tokens;
  for (int l = 0; l < kLevels; ++l) tokens.levels.push_back({str("graph/", l), kCodes, ""});
  Random random(seed, stream_of("codes"));
  tokens.codes.resize(static_cast<std::size_t>(items * kLevels));
  for (auto& code : tokens.codes) code = static_cast<std::int32_t>(random.below(kCodes));
  tokens.item_vectors = normal_rows(items, "items");
  tokens.user_vectors = normal_rows(users, "users");
  return tokens;
}

// The ten best items of a batch of users, both ways: generated (pipelines/mmgrec.toml's encoder and decoder, untrained,
// under the trie; the history is encoded too), and by the inner products of vectors of users and of all items.
class Answers {
 public:
  Answers(std::int64_t items, std::int64_t batch, std::int64_t history, const std::vector<std::int64_t>& beams,
          std::uint64_t seed)
      : loader_(registry_) {
    ItemTokens tokens = random_identifiers(items, batch, seed);
    items_ = tokens.item_vectors;
    users_ = tokens.user_vectors;
    data_.items.ids.resize(static_cast<std::size_t>(items));
    std::vector<std::int64_t> popularity(static_cast<std::size_t>(items));
    std::iota(popularity.begin(), popularity.end(), 0);
    catalog_ = std::make_unique<Catalog>(std::move(tokens), CollisionPolicy::popularity, popularity);
    const std::string sizes = "layers = 2\nheads = 4\nhead_width = 16\nffn = 64\ndeviation = 0.1\n";
    model_ = registry_.create<tessera::Model>(
        Section::parse("model", str("plugin = \"relation_transformer\"\nwidth = ", kWidth, "\n", sizes)));
    const BuildContext context{data_, *catalog_, seed};
    model_->build(context, nullptr);
    model_->initialize(seed, "model.");
    for (const std::int64_t beam : beams) {
      auto& head = heads_[beam] = registry_.create<Head>(
          Section::parse("head", str("plugin = \"generative_decoder\"\nform = \"cross\"\nactivation = \"relu\"\n"
                                     "positions = \"sinusoidal\"\nbeam = ",
                                     beam, "\n", sizes)));
      head->build(context, model_->spec());
      head->initialize(seed, "head.");
    }
    Random random(seed, stream_of("histories"));
    for (std::int64_t b = 0; b < batch; ++b) {
      histories_.user.push_back(static_cast<std::int32_t>(b));
      for (std::int64_t i = 0; i < history; ++i)
        histories_.item.push_back(static_cast<std::int32_t>(random.below(items)));
      histories_.offset.push_back(histories_.size());
    }
  }

  std::int64_t generate(std::int64_t beam) {
    RankRequest request;
    request.k = kTop;
    const Ranking ranking = heads_.at(beam)->rank(*model_, histories_, request);
    return std::count_if(ranking.item.begin(), ranking.item.end(), [](std::int32_t item) { return item >= 0; });
  }
  void retrieve() const { topk_inner_product(users_, items_, kTop, {}, {}, {}); }
  const Catalog& catalog() const { return *catalog_; }

 private:
  Registry registry_;
  Loader loader_;
  Dataset data_;
  Tensor items_, users_;
  std::unique_ptr<Catalog> catalog_;
  std::shared_ptr<tessera::Model> model_;
  std::map<std::int64_t, std::shared_ptr<Head>> heads_;
  Histories histories_;
};

void run(Arguments& a) {
  set_threads(static_cast<int>(a.number("threads", 2)));
  set_gemm_backend(a.text("gemm", "auto"));
  const std::int64_t repeat = a.number("repeat", 5), warmup = a.number("warmup", 1);
  const std::int64_t items = a.number("items", 10000), batch = a.number("batch", 64), history = a.number("history", 32);
  const auto beams = a.numbers("beams", "10,50");
  const auto seed = static_cast<std::uint64_t>(a.number("seed", 0));
  a.finish();
  check(items >= 2 && batch >= 1 && history >= 1, "generation: --items ", items, " --batch ", batch, " --history ",
        history, ", expected 2 items and one of the others, or more");
  Answers work(items, batch, history, beams, seed);
  const FrozenWeights frozen;
  Report report("generation");
  report.number("threads", threads());
  report.text("gemm", gemm_backend_name());
  report.number("items", static_cast<double>(items));
  report.number("batch", static_cast<double>(batch));
  report.number("trie_nodes", static_cast<double>(work.catalog().trie().nodes()));
  const auto measured = [&](const std::string& name, const std::function<void()>& answer) {
    timed(answer, 0, warmup);
    const double cpu = cpu_seconds();
    const auto seconds = timed(answer, repeat, 0);
    report.seconds(name, seconds);
    report.number(name + " cpu_seconds", (cpu_seconds() - cpu) / static_cast<double>(repeat));
    report.number(name + " users_per_second", static_cast<double>(batch) / least(seconds));
  };
  for (const std::int64_t beam : beams) {
    const std::string name = str("beam ", beam);
    std::int64_t filled = 0;
    measured(name, [&] { filled = work.generate(beam); });
    report.number(name + " filled", static_cast<double>(filled));
  }
  measured("inner products", [&] { work.retrieve(); });
  report.memory();
  report.print();
}

const Workload workload("generation",
                        "ten best items as the catalogue grows: generated under the trie, and by inner products", run);

}  // namespace
}  // namespace tessera::bench
