#include <algorithm>
#include <cmath>
#include <filesystem>
#include <span>

#include "framework/data/rejects.h"
#include "framework/nn/feature_transform.h"
#include "framework/nn/linalg.h"
#include "plugins/image/describe.h"
#include "plugins/image/encoder.h"
#include "plugins/image/files.h"
#include "plugins/image/image.h"
#include "tensor/core/parallel.h"

namespace tessera::image {
namespace {

constexpr std::int64_t kBlock = 64;    // images between two looks at FitContext::stop
constexpr std::int64_t kChunk = 1024;  // descriptions that stand in memory at once
constexpr std::size_t kShown = 10;

// Descriptions (n, D) of images, and what is wrong with those that could not be decoded; their rows are zero.
struct Descriptions {
  Tensor values;
  std::vector<std::string> problems;
};

struct Broken {
  std::size_t item;
  std::string problem;
};

class ImageFeaturizer : public Featurizer {
 public:
  explicit ImageFeaturizer(const Options& options) : options_(options) {
    use_one_thread();
    if (!options.model.empty())
      encoder_ = std::make_unique<Encoder>(EncoderOptions{options.model, options.model_side, options.scaling});
  }

  std::string modality() const override { return options_.modality; }

  void fit(const Dataset& data, FitContext& context) override {
    const FileRule rule = rule_for(data);
    folder_ = rule.folder;
    paths_ = find_files(data.items, rule);
    const std::vector<std::size_t> all = with_file(paths_);
    if (all.empty())
      throw DataError(str("image: none of the ", data.item_count(), " items of '", data.name, "' has an image; ",
                          looked_for(data.items, rule)));
    std::vector<std::size_t> sample = all;
    if (static_cast<std::int64_t>(all.size()) > options_.fit_items) {
      sample.resize(static_cast<std::size_t>(options_.fit_items));
      for (std::size_t i = 0; i < sample.size(); ++i) sample[i] = all[i * all.size() / sample.size()];
    }
    const Descriptions seen = read(paths_, sample, &context, "image: learning");
    learn(seen, paths_[sample.front()]);
    std::vector<Broken> broken;
    features_ = collect(paths_, sample.size() == all.size() ? &seen : nullptr, broken, &context);
    report(data.items, all.size(), broken, context);
  }

  ItemFeatures features(const Dataset& data) const override {
    std::vector<std::string> paths = find_files(data.items, rule_for(data));
    if (features_.values && paths == paths_) return features_;
    std::vector<Broken> broken;
    ItemFeatures out = collect(paths, nullptr, broken, nullptr);
    refuse(paths, broken, nullptr);
    return out;
  }

  ItemFeatures encode(const Items& items) const override {
    const auto paths = find_files(items, {folder_, options_.field});
    std::vector<Broken> broken;
    ItemFeatures out = collect(paths, nullptr, broken, nullptr);
    refuse(paths, broken, nullptr);
    return out;
  }

  void visit(StateVisitor& state) override {
    state.text("folder", folder_);
    state.tensor("scale", scale_);
    transform_.visit(state, "transform.");
    check(transform_.input() == width(), "image: was fitted on descriptions of ", transform_.input(),
          " numbers, this build or model makes ", width());
  }

 private:
  std::int64_t width() const { return encoder_ ? encoder_->width() : description_width(); }

  FileRule rule_for(const Dataset& data) const {
    FileRule rule{options_.path, options_.field};
    if (const auto found = data.files.find(options_.modality); rule.folder.empty() && found != data.files.end())
      rule.folder = found->second;
    std::error_code ignored;
    if (!rule.folder.empty() && !std::filesystem::is_directory(rule.folder, ignored))
      throw DataError(str("image: ", rule.folder, " is no folder; expected one with an image for each item, ID.jpg, ",
                          "ID.jpeg or ID.png"));
    if (rule.folder.empty() && !data.items.fields.contains(rule.field))
      throw DataError(str("image: no images for the modality '", options_.modality, "'; write  ", options_.modality,
                          " = \"folder\"  under [data.files], give `path`, or items with a raw field '", rule.field,
                          "' that holds the path of an image"));
    return rule;
  }

  static std::vector<std::size_t> with_file(const std::vector<std::string>& paths) {
    std::vector<std::size_t> items;
    for (std::size_t i = 0; i < paths.size(); ++i)
      if (!paths[i].empty()) items.push_back(i);
    return items;
  }

  void read_one(const std::string& path, float* out, std::string& problem) const {
    try {
      const int enough = encoder_ ? options_.model_side : options_.side;
      const Picture picture = read_picture(path, {options_.max_megapixels * 1'000'000, enough});
      if (encoder_) encoder_->encode(picture, out);
      else describe(picture, options_.side, out);
    } catch (const Error& error) {
      problem = error.what();
      std::fill_n(out, width(), 0.0f);
    }
  }

  Descriptions read(const std::vector<std::string>& paths, std::span<const std::size_t> items, FitContext* context,
                    const char* what) const {
    const auto n = static_cast<std::int64_t>(items.size());
    Descriptions out{Tensor({n, width()}), std::vector<std::string>(items.size())};
    for (std::int64_t first = 0; first < n; first += kBlock) {
      if (context != nullptr && context->stop()) throw Stopped("image: stopped while images were read");
      const std::int64_t last = std::min(n, first + kBlock);
      const std::int64_t grain = encoder_ ? kBlock : 4;  // an encoder works in one thread
      parallel_rows(last - first, grain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = first + begin; i < first + end; ++i) {
          const auto at = static_cast<std::size_t>(i);
          read_one(paths[items[at]], out.values.data<float>() + i * width(), out.problems[at]);
        }
      });
      if (context != nullptr) context->progress(static_cast<double>(last) / static_cast<double>(n), what);
    }
    return out;
  }

  // Each group of numbers gets the same total variance, then principal components.
  void learn(const Descriptions& seen, const std::string& example) {
    std::vector<std::int64_t> good;
    for (std::size_t i = 0; i < seen.problems.size(); ++i)
      if (seen.problems[i].empty()) good.push_back(static_cast<std::int64_t>(i));
    if (good.empty())
      throw DataError(str("image: none of ", seen.problems.size(), " images can be decoded; the first: ", example, ": ",
                          seen.problems.front()));
    Tensor x({static_cast<std::int64_t>(good.size()), width()});
    for (std::size_t i = 0; i < good.size(); ++i)
      std::copy_n(seen.values.data<float>() + good[i] * width(), width(),
                  x.data<float>() + static_cast<std::int64_t>(i) * width());
    const Tensor covariance = moments(x).covariance;
    const double* square = covariance.data<double>();
    scale_ = Tensor({width()});
    std::int64_t column = 0;
    for (const std::int64_t size : encoder_ ? std::vector{width()} : description_groups()) {
      double variance = 0.0;
      for (std::int64_t j = column; j < column + size; ++j) variance += square[j * width() + j];
      const double factor = variance > 0.0 ? 1.0 / std::sqrt(variance) : 0.0;
      std::fill_n(scale_.data<float>() + column, size, static_cast<float>(factor));
      column += size;
    }
    transform_.fit(scaled(x), {"pca", options_.components, options_.whiten});
  }

  Tensor scaled(const Tensor& x) const {
    Tensor y = x.clone();
    for (std::int64_t i = 0; i < y.rows(); ++i)
      for (std::int64_t j = 0; j < width(); ++j) y.data<float>()[i * width() + j] *= scale_.data<float>()[j];
    return y;
  }

  // `ready`: the descriptions of all items with a file, in their order, where they have been read before.
  ItemFeatures collect(const std::vector<std::string>& paths, const Descriptions* ready, std::vector<Broken>& broken,
                       FitContext* context) const {
    check(static_cast<bool>(scale_), "image: the featurizer was not fitted");
    const std::vector<std::size_t> items = with_file(paths);
    const std::int64_t wide = transform_.output();
    ItemFeatures out{options_.modality, Tensor::zeros({static_cast<std::int64_t>(paths.size()), wide}), {}};
    out.present.assign(paths.size(), 0);
    const auto n = static_cast<std::int64_t>(items.size());
    for (std::int64_t first = 0; first < n; first += kChunk) {
      const std::int64_t last = std::min(n, first + kChunk);
      const auto count = static_cast<std::size_t>(last - first), from = static_cast<std::size_t>(first);
      const Descriptions part = ready == nullptr
                                    ? read(paths, std::span(items).subspan(from, count), context, "image: reading")
                                    : Descriptions{ready->values.row_range(first, last),
                                                   {ready->problems.begin() + first, ready->problems.begin() + last}};
      const Tensor vectors = transform_.apply(scaled(part.values));
      for (std::size_t i = 0; i < count; ++i) {
        const std::size_t item = items[from + i];
        if (!part.problems[i].empty()) {
          broken.push_back({item, part.problems[i]});
          continue;
        }
        out.present[item] = 1;
        std::copy_n(vectors.data<float>() + static_cast<std::int64_t>(i) * wide, wide,
                    out.values.data<float>() + static_cast<std::int64_t>(item) * wide);
      }
    }
    return out;
  }

  // With broken = "stop": as other bad records, with --skip-bad where the caller allows it.
  void refuse(const std::vector<std::string>& paths, const std::vector<Broken>& broken, Rejects* given) const {
    if (options_.broken != "stop") return;
    Rejects own;
    Rejects& rejects = given != nullptr ? *given : own;
    for (const Broken& image : broken)
      rejects.add(paths[image.item], static_cast<std::int64_t>(image.item), image.problem);
    rejects.finish();
  }

  void report(const Items& items, std::size_t files, const std::vector<Broken>& broken, FitContext& context) const {
    const std::size_t without = items.ids.size() - files;
    context.say(str("image: ", items.ids.size(), " items, ", files - broken.size(), " with an image, ", without,
                    " without a file, ", broken.size(), " with a broken one; ", transform_.output(), " numbers each"));
    if (without > 0) {
      std::string line = "image: no file, so absent: items ";
      std::size_t shown = 0;
      for (std::size_t i = 0; i < paths_.size() && shown < kShown; ++i)
        if (paths_[i].empty()) line += str(shown++ > 0 ? ", " : "", items.ids[i]);
      context.say(without > shown ? str(line, " and ", without - shown, " more") : line);
    }
    for (std::size_t i = 0; i < std::min(kShown, broken.size()); ++i)
      context.say(str("image: broken, so absent: item ", items.ids[broken[i].item], ": ", paths_[broken[i].item], " ",
                      broken[i].problem));
    if (broken.size() > kShown) context.say(str("image: and ", broken.size() - kShown, " more broken ones"));
    refuse(paths_, broken, context.rejects);
  }

  Options options_;
  std::unique_ptr<Encoder> encoder_;
  std::string folder_;  // for encode()
  Tensor scale_;        // (D) of the descriptions
  FeatureTransform transform_;
  std::vector<std::string> paths_;  // of features_
  ItemFeatures features_;
};

}  // namespace

std::unique_ptr<Featurizer> make_featurizer(const Options& options) {
  return std::make_unique<ImageFeaturizer>(options);
}

}  // namespace tessera::image
