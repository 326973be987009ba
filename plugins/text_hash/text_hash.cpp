// Raw text -> vectors without a model file: hashed n-grams of words and characters, TF-IDF, randomised SVD.
#include <algorithm>
#include <cmath>

#include "framework/plugin/plugin.h"
#include "framework/roles/featurizer.h"
#include "plugins/text_hash/ngrams.h"
#include "plugins/text_hash/truncated_svd.h"
#include "tensor/core/parallel.h"

namespace tessera {
namespace {

using namespace text_hash;

struct Options : NgramOptions {
  std::string modality = "text";
  std::vector<std::string> fields;
  std::int64_t width = 256, features = 20000, iterations = 4;
  template <class V>
  void describe(V& v) {
    v("modality", modality, "name of the modality that it makes");
    v("fields", fields,
      "raw fields to read, 'title' among them; empty: title and those of category, categories, brand, description, "
      "features, genres, tags, keywords that the items have");
    v("width", width, "numbers of a vector", 1, 4096);
    v("words", words, "longest word n-gram", 1, 5);
    v("shortest", shortest, "shortest character n-gram", 1, 10);
    v("longest", longest, "longest character n-gram; 0: none", 0, 10);
    v("buckets", buckets, "n-grams are hashed into so many", 256, 1 << 28);
    v("features", features, "buckets kept: those in most items", 16, 1'000'000);
    v("iterations", iterations, "rounds of subspace iteration", 1, 20);
  }
};

class TextHash : public Featurizer {
 public:
  explicit TextHash(Options options) : options_(std::move(options)) {}
  std::string modality() const override { return options_.modality; }

  void fit(const Dataset& data, FitContext& context) override {
    choose_fields(data.items);
    const auto counts = count(data.items);
    choose_features(counts);
    SparseRows rows = weigh(counts);
    if (rows.column.empty())
      throw DataError(
          str("text_hash: the items of '", data.name, "' hold no text that two of them share; check `fields`"));
    basis_ = right_singular_vectors(rows, options_.width, static_cast<int>(options_.iterations), context.seed,
                                    [&](double done) {
                                      if (context.stop()) throw Stopped("text_hash: stopped while it was fitted");
                                      context.progress(done, "text_hash");
                                    });
    mean_ = mean_of(times(rows, basis_), rows);
    context.say(str("text_hash: ", data.item_count(), " items, ", features_.numel(), " features, ", rows.column.size(),
                    " numbers, width ", options_.width));
  }

  ItemFeatures features(const Dataset& data) const override { return encode(data.items); }

  ItemFeatures encode(const Items& items) const override {
    check(static_cast<bool>(basis_), "text_hash: not fitted yet");
    const SparseRows rows = weigh(count(items));
    ItemFeatures out;
    out.modality = options_.modality;
    out.values = times(rows, basis_);
    out.present.resize(items.ids.size());
    for (std::int64_t i = 0; i < items.size(); ++i) {
      float* x = out.values.data<float>() + i * options_.width;
      const bool present = rows.offset[static_cast<std::size_t>(i) + 1] > rows.offset[static_cast<std::size_t>(i)];
      out.present[static_cast<std::size_t>(i)] = present;
      if (!present) continue;
      double square = 0.0;
      for (std::int64_t d = 0; d < options_.width; ++d) {
        x[d] -= mean_.data<float>()[d];
        square += static_cast<double>(x[d]) * x[d];
      }
      const auto scale = static_cast<float>(square > 0.0 ? 1.0 / std::sqrt(square) : 0.0);
      for (std::int64_t d = 0; d < options_.width; ++d) x[d] *= scale;
    }
    return out;
  }

  void visit(StateVisitor& state) override {
    std::string fields;
    for (const auto& field : fields_) fields += field + "\n";
    state.text("fields", fields);
    state.tensor("features", features_);
    state.tensor("idf", idf_);
    state.tensor("basis", basis_);
    state.tensor("mean", mean_);
    if (!state.loading()) return;
    fields_.clear();
    for (std::size_t begin = 0, end; (end = fields.find('\n', begin)) != std::string::npos; begin = end + 1)
      fields_.push_back(fields.substr(begin, end - begin));
  }

 private:
  using Counts = std::vector<std::vector<Count>>;

  void choose_fields(const Items& items) {
    std::string known;
    if (!items.titles.empty()) known = "title";
    for (const auto& [name, column] : items.fields) known += (known.empty() ? "" : ", ") + name;
    const auto has = [&](const std::string& name) {
      return name == "title" ? !items.titles.empty() : items.fields.count(name) > 0;
    };
    fields_ = options_.fields;
    if (fields_.empty())
      for (const char* name :
           {"title", "category", "categories", "brand", "description", "features", "genres", "tags", "keywords"})
        if (has(name)) fields_.push_back(name);
    for (const auto& name : fields_)
      if (!has(name))
        throw DataError(
            str("text_hash: the items have no field '", name, "' (they have: ", known.empty() ? "none" : known, ")"));
    if (fields_.empty())
      throw DataError(str("text_hash: the items have none of the usual text fields (they have: ",
                          known.empty() ? "none" : known, "); name them in `fields`"));
  }

  std::string text_of(const Items& items, std::size_t item) const {
    std::string text;
    for (const auto& name : fields_) {
      const std::vector<std::string>* column = &items.titles;
      if (name != "title") {
        const auto found = items.fields.find(name);
        column = found == items.fields.end() ? nullptr : &found->second;
      }
      if (column != nullptr && item < column->size()) text += (*column)[item] + " . ";
    }
    return text;
  }

  Counts count(const Items& items) const {
    Counts counts(items.ids.size());
    parallel_rows(items.size(), 64, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
        counts[i] = count_ngrams(text_of(items, i), options_);
    });
    return counts;
  }

  // Keeps the buckets of most items, leaving out those of a single one: they say nothing about others.
  void choose_features(const Counts& counts) {
    std::vector<std::int32_t> seen(static_cast<std::size_t>(options_.buckets), 0);
    for (const auto& row : counts)
      for (const Count& c : row) ++seen[static_cast<std::size_t>(c.bucket)];
    std::vector<std::int32_t> kept;
    for (std::size_t b = 0; b < seen.size(); ++b)
      if (seen[b] >= 2) kept.push_back(static_cast<std::int32_t>(b));
    const auto more = [&](std::int32_t a, std::int32_t b) {
      return std::pair(-seen[static_cast<std::size_t>(a)], a) < std::pair(-seen[static_cast<std::size_t>(b)], b);
    };
    if (static_cast<std::int64_t>(kept.size()) > options_.features) {
      std::nth_element(kept.begin(), kept.begin() + options_.features, kept.end(), more);
      kept.resize(static_cast<std::size_t>(options_.features));
      std::sort(kept.begin(), kept.end());
    }
    const auto n = static_cast<std::int64_t>(kept.size());
    features_ = Tensor::from(kept, {n});
    idf_ = Tensor({n});
    for (std::int64_t f = 0; f < n; ++f)
      idf_.data<float>()[f] =
          static_cast<float>(1.0 + std::log((1.0 + static_cast<double>(counts.size())) /
                                            (1.0 + seen[static_cast<std::size_t>(kept[static_cast<std::size_t>(f)])])));
  }

  // (1 + log count) idf; words and characters each of length 1, together of length 1 or less.
  SparseRows weigh(const Counts& counts) const {
    SparseRows rows;
    rows.columns = features_.numel();
    const std::int32_t *begin = features_.data<std::int32_t>(), *end = begin + features_.numel();
    for (const auto& row : counts) {
      double squares[2] = {};
      const std::size_t first = rows.column.size();
      std::vector<bool> characters;
      for (const Count& c : row) {
        const std::int32_t* found = std::lower_bound(begin, end, c.bucket);
        if (found == end || *found != c.bucket) continue;
        const float value = (1.0f + std::log(static_cast<float>(c.count))) * idf_.data<float>()[found - begin];
        rows.column.push_back(static_cast<std::int32_t>(found - begin));
        rows.value.push_back(value);
        characters.push_back(c.characters);
        squares[c.characters] += static_cast<double>(value) * value;
      }
      for (std::size_t i = first; i < rows.column.size(); ++i)
        rows.value[i] /= static_cast<float>(std::sqrt(2.0 * squares[characters[i - first]]));
      rows.offset.push_back(static_cast<std::int64_t>(rows.column.size()));
    }
    return rows;
  }

  // Of the items that have text.
  Tensor mean_of(const Tensor& x, const SparseRows& rows) const {
    const std::int64_t width = x.dim(1);
    std::vector<double> sum(static_cast<std::size_t>(width));
    std::int64_t n = 0;
    for (std::int64_t i = 0; i < x.dim(0); ++i) {
      if (rows.offset[static_cast<std::size_t>(i) + 1] == rows.offset[static_cast<std::size_t>(i)]) continue;
      ++n;
      for (std::int64_t d = 0; d < width; ++d) sum[static_cast<std::size_t>(d)] += x.data<float>()[i * width + d];
    }
    Tensor mean({width});
    for (std::int64_t d = 0; d < width; ++d)
      mean.data<float>()[d] =
          static_cast<float>(sum[static_cast<std::size_t>(d)] / static_cast<double>(std::max<std::int64_t>(n, 1)));
    return mean;
  }

  Options options_;
  std::vector<std::string> fields_;
  Tensor features_;  // (F) i32, ascending buckets
  Tensor idf_;       // (F)
  Tensor basis_;     // (F, D)
  Tensor mean_;      // (D) taken off, so that what all items share does not drown what tells them apart
};

std::unique_ptr<Featurizer> make(const Options& options, const Section& section) {
  if (options.longest != 0 && options.longest < options.shortest)
    section.fail("longest", str("longest is ", options.longest, ", below shortest, ", options.shortest,
                                "; 0 turns character n-grams off"));
  return std::make_unique<TextHash>(options);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1", "text to vectors without a model file", [](tessera::Registry& registry) {
  registry.add<tessera::Featurizer, tessera::Options>(
      "text_hash", "hashed n-grams of words and characters, TF-IDF, randomised SVD", tessera::make);
});
