#include <algorithm>

#include "framework/config/config.h"
#include "framework/plugin/plugin.h"
#include "plugins/generative_decoder/dense.h"
#include "plugins/generative_decoder/explain.h"
#include "plugins/generative_decoder/form.h"
#include "plugins/generative_decoder/search.h"
#include "tensor/autograd/tape.h"

namespace tessera {
namespace {

constexpr std::int64_t kAutomaticBeam = 50;

// What a model must offer for a form; empty where it does, else what it lacks and what to do.
std::string misfit(const std::string& form, const ModelSpec& model) {
  if (!model.reads_histories)
    return "it reads the interaction graph and has no states of a history; take the head dot_product";
  if (form != "continue" && form != "anchors") return "";
  if (!model.causal)
    return "it is bidirectional, and only a causal model can go on; set causal = true in [model], or form = \"cross\"";
  if (form == "anchors")
    return model.token_states ? "it has one state a token, not one an item; take form = \"continue\" or \"cross\"" : "";
  if (!model.token_states)
    return "it has one state an item, not one a token; set input = \"tokens\" where [model] has that option "
           "(flat_transformer), or form = \"light\"";
  if (!model.extends) return "it does not offer extend(); take form = \"light\" or \"cross\"";
  return "";
}

BatchForm batch_form(const std::string& form, const ModelSpec& model) {
  if (form == "continue") return BatchForm::every_position_last_included;
  return (form == "light" || form == "anchors") && model.causal ? BatchForm::every_position : BatchForm::one_target;
}

class GenerativeDecoder final : public Head {
 public:
  GenerativeDecoder(const GenerativeOptions& options, const Section& section);
  HeadSpec spec(const ModelSpec& model) const override;
  void build(const BuildContext& context, const ModelSpec& model) override;
  ItemVectorSource* item_tower() override { return options_.form == "continue" ? nullptr : table_.get(); }
  Tensor loss(Model& model, const TrainBatch& batch) override { return form_->loss(model, batch); }
  Ranking rank(Model& model, const Histories& histories, const RankRequest& request) override;
  std::vector<float> score(Model& model, const Histories& histories, std::span<const std::int64_t> offset,
                           std::span<const std::int32_t> items) override;
  Ranking rank_memory(Model& model, const Memory& memory, const RankRequest& request) override;
  std::vector<float> score_memory(Model& model, const Memory& memory, std::span<const std::int64_t> offset,
                                  std::span<const std::int32_t> items) override;
  Explanation explain(Model& model, const Histories& histories, const RankRequest& request,
                      std::span<const std::int64_t> offset, std::span<const std::int32_t> items) override;

 private:
  Memory read(Model& model, const Histories& histories) const {
    return reads_states() ? model.encode(histories) : model.summarize(histories);
  }
  // Prefixes that a search for k items keeps at a level; 0: all.
  std::int64_t width(int k) const {
    if (options_.search == "exact") return 0;
    return std::max<std::int64_t>(k, options_.beam > 0 ? options_.beam : kAutomaticBeam);
  }
  bool reads_states() const { return options_.form == "cross" || options_.form == "anchors"; }
  std::vector<std::int64_t> level_codes() const {
    std::vector<std::int64_t> codes;
    for (int l = 0; l < catalog_->levels(); ++l) codes.push_back(catalog_->level(l).codes);
    return codes;
  }

  GenerativeOptions options_;
  Section section_;
  const Catalog* catalog_ = nullptr;
  std::unique_ptr<CodeTable> table_;
  std::unique_ptr<CountedTrie> trie_;
  std::unique_ptr<DecoderForm> form_;
  std::unique_ptr<DenseScores> dense_;  // or none
};

GenerativeDecoder::GenerativeDecoder(const GenerativeOptions& options, const Section& section)
    : options_(options), section_(section) {
  const auto only = [&](const char* key, std::initializer_list<const char*> forms) {
    const bool fits = std::find(forms.begin(), forms.end(), options.form) != forms.end();
    if (section.has(key) && !fits)
      section.fail(key, str(key, " has no meaning with form = \"", options.form, "\"; remove it"));
  };
  for (const char* key : {"positions", "buckets", "from_summary"}) only(key, {"cross"});
  for (const char* key : {"layers", "heads", "head_width", "norm", "bias"}) only(key, {"cross", "anchors"});
  for (const char* key : {"ffn", "activation", "dropout", "token_dropout"}) only(key, {"light", "cross", "anchors"});
  for (const char* key : {"tie", "input_prefixes"}) only(key, {"light", "cross", "anchors"});
  if (options.legal && options.vocabulary == "shared")
    section.fail("legal", "legal = true looks at the codes of one level; it does not go with vocabulary = \"shared\"");
  if (options.legal && options.label_smoothing > 0.0)
    section.fail("label_smoothing",
                 "label_smoothing spreads over codes that legal = true leaves out; remove one of them");
  if (!options.legal && !options.output_prefixes.empty())
    section.fail("output_prefixes", "output_prefixes needs legal = true: only prefixes of items have vectors");
  if (options.search == "exact" && section.has("beam"))
    section.fail("beam", "beam has no meaning with search = \"exact\"; remove one of them");
  if (options.search == "free" && (options.legal || options.vocabulary == "shared"))
    section.fail("search", str("search = \"free\" chooses among all codes of a level; it does not go with ",
                               options.legal ? "legal = true" : "vocabulary = \"shared\"", "; remove one of them"));
  if (options.search == "free" && options.dense > 0.0)
    section.fail("dense",
                 "dense orders items, and search = \"free\" ranks identifiers that belong to none; remove one of them");
  if (options.normalize && section.has("output_bias") && options.output_bias)
    section.fail("output_bias", "output_bias = true does not go with normalize = true; remove one of them");
}

HeadSpec GenerativeDecoder::spec(const ModelSpec& model) const {
  HeadSpec spec;
  spec.form = batch_form(options_.form, model);
  spec.has_item_tower = options_.form != "continue";
  spec.needs_unique_items = true;
  spec.explains = true;
  spec.answers_memories = model.reads_histories && !reads_states() && options_.dense == 0.0;
  return spec;
}

void GenerativeDecoder::build(const BuildContext& context, const ModelSpec& model) {
  const std::string lacks = misfit(options_.form, model);
  if (!lacks.empty())
    section_.fail("form",
                  str("head generative_decoder with form = \"", options_.form, "\" does not fit the model: ", lacks));
  if (!context.catalog.unique())
    section_.fail("", str("head generative_decoder needs unique identifiers, but the catalogue's policy '",
                          name_of(context.catalog.policy()),
                          "' leaves items with the same codes; take counter, popularity or repair"));
  for (const auto& [key, lengths] :
       {std::pair("input_prefixes", &options_.input_prefixes), std::pair("output_prefixes", &options_.output_prefixes)})
    for (const std::int64_t length : *lengths)
      if (length > context.catalog.levels())
        section_.fail(
            key, str(key, " names the length ", length, ", but identifiers have ", context.catalog.levels(), " codes"));
  const Tensor& vectors = context.catalog.item_vectors();
  if (options_.init == "vectors" && (!vectors || vectors.columns() != model.width))
    section_.fail("init", str("init = \"vectors\" begins at the tokenizer's item vectors, of the model's width ",
                              model.width, ", but this tokenizer learnt ",
                              vectors ? str("vectors of width ", vectors.columns()) : std::string("none"),
                              "; take init = \"normal\", or graph_rq_vae with vector_width = ", model.width));
  const Tensor& users = context.catalog.user_vectors();
  if (options_.dense > 0.0 && (!vectors || !users || users.columns() != vectors.columns()))
    section_.fail(
        "dense",
        "dense reads vectors of users and items of one width, which this tokenizer has not learnt; take dense = 0, "
        "or graph_rq_vae");
  catalog_ = &context.catalog;
  if (options_.dense > 0.0) dense_ = std::make_unique<DenseScores>(context.catalog, options_.dense);
  table_ = std::make_unique<CodeTable>(context.catalog, model.width, options_,
                                       options_.legal ? train_counts(context.data) : std::vector<std::int64_t>());
  add_module("table", *table_);
  trie_ = std::make_unique<CountedTrie>(context.catalog.trie(), context.catalog.items());
  form_ = options_.form == "light"      ? make_light(*table_, options_, model)
          : options_.form == "continue" ? make_continue(*table_, options_, model)
          : options_.form == "anchors"  ? make_anchors(*table_, options_, model)
                                        : make_cross(*table_, options_, model);
  add_module(options_.form, *form_);
}

Ranking GenerativeDecoder::rank(Model& model, const Histories& histories, const RankRequest& request) {
  const NoTape no_tape;
  if (!dense_) return rank_memory(model, read(model, histories), request);
  const std::int64_t items = catalog_->items(), kept = width(request.k),
                     found = kept > 0 ? std::min(kept, items) : items;
  RankRequest wide = request;  // all that the search finds
  wide.k = std::max(request.k, static_cast<int>(found));
  return dense_->reordered(rank_memory(model, read(model, histories), wide), histories, request.k);
}

Ranking GenerativeDecoder::rank_memory(Model& model, const Memory& memory, const RankRequest& request) {
  const NoTape no_tape;
  const std::int64_t width = this->width(request.k);
  const Filter filter(*trie_, request);
  const Search search(*table_, *trie_);
  const auto decoding = form_->decode(model, memory);
  const std::int64_t rows = memory.summary.rows(), together = Search::rows_together(trie_->most_prefixes(width));
  Ranking ranking;
  ranking.k = request.k;
  ranking.item.assign(static_cast<std::size_t>(rows * request.k), -1);
  ranking.score.assign(ranking.item.size(), -std::numeric_limits<float>::infinity());
  for (std::int64_t first = 0; first < rows; first += together) {
    const std::int64_t end = std::min(rows, first + together);
    const Search::Found found = options_.search == "free"
                                    ? search.free(*decoding, first, end, request, filter, width, level_codes())
                                    : search.best(*decoding, first, end, request, filter, width);
    for (std::int64_t b = first; b < end; ++b) {
      const std::int64_t begin = found.offset[static_cast<std::size_t>(b - first)],
                         count = found.offset[static_cast<std::size_t>(b - first) + 1] - begin;
      std::copy_n(found.item.begin() + begin, count, ranking.item.begin() + b * request.k);
      std::copy_n(found.score.begin() + begin, count, ranking.score.begin() + b * request.k);
    }
  }
  return ranking;
}

std::vector<float> GenerativeDecoder::score(Model& model, const Histories& histories,
                                            std::span<const std::int64_t> offset, std::span<const std::int32_t> items) {
  const NoTape no_tape;
  std::vector<float> scores = score_memory(model, read(model, histories), offset, items);
  if (dense_) dense_->add_to(scores, histories, offset, items);
  return scores;
}

std::vector<float> GenerativeDecoder::score_memory(Model& model, const Memory& memory,
                                                   std::span<const std::int64_t> offset,
                                                   std::span<const std::int32_t> items) {
  const NoTape no_tape;
  const Search search(*table_, *trie_);
  const auto decoding = form_->decode(model, memory);
  std::int64_t longest = 1;
  for (std::size_t b = 0; b + 1 < offset.size(); ++b) longest = std::max(longest, offset[b + 1] - offset[b]);
  const std::int64_t rows = memory.summary.rows(), together = Search::rows_together(trie_->most_prefixes(longest));
  std::vector<float> scores;
  for (std::int64_t first = 0; first < rows; first += together) {
    const std::vector<float> part = search.score(*decoding, first, std::min(rows, first + together), offset, items);
    scores.insert(scores.end(), part.begin(), part.end());
  }
  return scores;
}

Explanation GenerativeDecoder::explain(Model& model, const Histories& histories, const RankRequest& request,
                                       std::span<const std::int64_t> offset, std::span<const std::int32_t> items) {
  const NoTape no_tape;
  const Search search(*table_, *trie_);
  const auto read = [&](const Histories& some) { return this->read(model, some); };
  return Explainer(model, *form_, search, *trie_, read).explain(histories, request, offset, items);
}

std::unique_ptr<Head> make(const GenerativeOptions& options, const Section& section) {
  return std::make_unique<GenerativeDecoder>(options, section);
}

void register_components(Registry& registry) {
  registry.add<Head, GenerativeOptions>(
      "generative_decoder", "generates the codes of items under the trie: light, continue, cross or anchors", make);
}

}  // namespace

}  // namespace tessera

TESSERA_PLUGIN("0.1.0", "Generates the codes of items, level by level, under the prefix trie",
               tessera::register_components);
