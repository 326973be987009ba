#include <algorithm>
#include <set>

#include "framework/data/json.h"
#include "framework/plugin/loader.h"
#include "framework/plugin/registry.h"
#include "framework/roles/head.h"
#include "tensor/core/allocator.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/gemm/gemm.h"
#include "tools/bench/bench.h"

namespace tessera::bench {
namespace {

constexpr int kLevels = 4, kCodes = 256;

// Distinct 4 x 256 tuples: the field letter_sid of a JSON lines file of items, or random ones.
ItemTokens tuples(const std::string& path, std::uint64_t seed) {
  std::set<std::vector<std::int32_t>> rows;
  if (path != "random") {
    Rejects rejects;
    JsonLines lines(path, rejects);
    for (JsonValue object; lines.next(object);) {
      const JsonValue* codes = object.find("letter_sid");
      check(codes && codes->list.size() == kLevels, "beam: ", path, ":", lines.number(),
            ": expected four numbers in letter_sid");
      std::vector<std::int32_t> row;
      for (const JsonValue& code : codes->list) row.push_back(static_cast<std::int32_t>(code.number));
      rows.insert(row);
    }
  }
  Random random(seed, stream_of("codes"));
  while (path == "random" && rows.size() < 12101) {
    std::vector<std::int32_t> row(kLevels);
    for (auto& code : row) code = static_cast<std::int32_t>(random.below(kCodes));
    rows.insert(row);
  }
  ItemTokens tokens;
  for (int l = 0; l < kLevels; ++l) tokens.levels.push_back({str("code/", l), kCodes, ""});
  for (const auto& row : rows) tokens.codes.insert(tokens.codes.end(), row.begin(), row.end());
  return tokens;
}

// Trie-constrained beam search with flat_transformer and generative_decoder as plugins: a request is a history of 20
// items (80 tokens), encoded and continued by the tokens of one item; the answer is as many items as the beam is wide.
class BeamSearch {
 public:
  BeamSearch(Arguments& a, const std::vector<std::int64_t>& beams)
      : items_(a.text("items", "../shared/data/beauty/items.jsonl")),
        history_(a.number("history", 20)),
        seed_(static_cast<std::uint64_t>(a.number("seed", 0))),
        form_(a.text("form", "continue")),
        vocabulary_(a.text("vocabulary", "shared")),
        loader_(registry_) {
    const std::string sizes = str("width = ", a.number("dim", 128), "\nlayers = ", a.number("layers", 4),
                                  "\nheads = ", a.number("heads", 4), "\nffn = ", a.number("ffn", 512), "\n");
    a.finish();
    ItemTokens tokens = tuples(items_, seed_);
    data_.items.ids.resize(static_cast<std::size_t>(tokens.items()));
    catalog_ = std::make_unique<Catalog>(std::move(tokens), CollisionPolicy::none,
                                         std::vector<std::int64_t>(data_.items.ids.size(), 1));
    const std::string model = str("plugin = \"flat_transformer\"\ninput = \"tokens\"\nmax_items = ", history_,
                                  "\ndeviation = 0.1\n", sizes, form_ == "cross" ? "causal = false\n" : "");
    const std::string head =
        str("plugin = \"generative_decoder\"\ndeviation = 0.1\nform = \"", form_, "\"\nvocabulary = \"", vocabulary_,
            "\"\n", form_ == "cross" ? sizes.substr(sizes.find("layers")) : "");
    model_ = registry_.create<tessera::Model>(Section::parse("model", model));
    const BuildContext context{data_, *catalog_, seed_};
    for (const std::int64_t beam : beams) {
      auto& made = heads_[beam] = registry_.create<Head>(Section::parse("head", head + str("beam = ", beam, "\n")));
      made->build(context, model_->spec());
      made->initialize(seed_, "head.");
    }
    model_->build(context, heads_.begin()->second->item_tower());
    model_->initialize(seed_, "model.");
  }

  Histories histories(std::int64_t batch) const {
    Histories histories;
    Random random(seed_, stream_of("histories"));
    for (std::int64_t b = 0; b < batch; ++b) {
      histories.user.push_back(-1);
      for (std::int64_t i = 0; i < history_; ++i)
        histories.item.push_back(static_cast<std::int32_t>(random.below(catalog_->items())));
      histories.offset.push_back(histories.size());
    }
    return histories;
  }
  Ranking search(const Histories& histories, std::int64_t beam) {
    RankRequest request;
    request.k = static_cast<int>(beam);
    return heads_.at(beam)->rank(*model_, histories, request);
  }
  std::int64_t items() const { return catalog_->items(); }
  std::int64_t nodes() const { return catalog_->trie().nodes(); }

 private:
  std::string items_;
  std::int64_t history_;
  std::uint64_t seed_;
  std::string form_, vocabulary_;
  Registry registry_;
  Loader loader_;
  Dataset data_;
  std::unique_ptr<Catalog> catalog_;
  std::shared_ptr<tessera::Model> model_;
  std::map<std::int64_t, std::shared_ptr<Head>> heads_;
};

void run(Arguments& a) {
  set_threads(static_cast<int>(a.number("threads", 2)));
  set_gemm_backend(a.text("gemm", "auto"));
  const std::int64_t repeat = a.number("repeat", 10), warmup = a.number("warmup", 2);
  const auto batches = a.numbers("batches", "1,64"), beams = a.numbers("beams", "20,50");
  BeamSearch work(a, beams);
  Report report("beam");
  report.number("threads", threads());
  report.text("gemm", gemm_backend_name());
  report.number("distinct_codes", static_cast<double>(work.items()));
  report.number("trie_nodes", static_cast<double>(work.nodes()));
  for (const std::int64_t batch : batches) {
    const Histories histories = work.histories(batch);
    for (const std::int64_t beam : beams) {
      const std::string name = str("batch ", batch, " beam ", beam);
      timed([&] { work.search(histories, beam); }, 0, warmup);
      const auto before = allocator_stats().system_allocations;
      const std::int64_t times = repeat * (batch == 1 ? 5 : 1);
      const double cpu = cpu_seconds();
      const auto seconds = timed([&] { work.search(histories, beam); }, times, 0);
      report.number(name + " cpu_seconds", (cpu_seconds() - cpu) / static_cast<double>(times));
      const Ranking ranking = work.search(histories, beam);
      report.seconds(name, seconds);
      report.number(name + " users_per_second", static_cast<double>(batch) / least(seconds));
      report.number(name + " filled", static_cast<double>(std::count_if(ranking.item.begin(), ranking.item.end(),
                                                                        [](auto i) { return i >= 0; })));
      report.number(name + " system_allocations", static_cast<double>(allocator_stats().system_allocations - before));
    }
  }
  report.memory();
  report.print();
}

const Workload workload("beam", "trie-constrained beam search through the plugins, batched over users and beams", run);

}  // namespace
}  // namespace tessera::bench
