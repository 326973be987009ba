// Vectors that were made elsewhere: row r of a .npy file belongs to item r of the catalogue.
#include <cmath>

#include "framework/data/npy.h"
#include "framework/data/rejects.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/featurizer.h"

namespace tessera {
namespace {

struct Options {
  std::string modality = "text", path;
  bool zero_is_absent = true;
  template <class V>
  void describe(V& v) {
    v("modality", modality, "name of the modality, and of the file in [data.files]");
    v("path", path, "the .npy file, rows = items; empty: the one that [data.files] or the data source names");
    v("zero_is_absent", zero_is_absent, "a row of zeros means that the item lacks this modality");
  }
};

class NpyFeaturizer : public Featurizer {
 public:
  explicit NpyFeaturizer(Options options) : options_(std::move(options)) {}
  std::string modality() const override { return options_.modality; }

  void fit(const Dataset& data, FitContext& context) override {
    const std::string path = path_in(data);
    Rejects own;
    Rejects& rejects = context.rejects != nullptr ? *context.rejects : own;
    features_ = read(path, data, rejects);
    rejects.finish();
    width_ = features_.width();
    context.say(str(path, ": ", data.item_count(), " vectors of ", width_, " numbers (", options_.modality, ")"));
  }

  // Read again where the featurizer came from a checkpoint.
  ItemFeatures features(const Dataset& data) const override {
    if (features_.values && features_.values.dim(0) == data.item_count()) return features_;
    Rejects rejects(true);  // fit() has told about them
    ItemFeatures out = read(path_in(data), data, rejects);
    if (width_ != 0 && out.width() != width_)
      throw DataError(str(path_in(data), ": holds vectors of ", out.width(), " numbers, but was fitted on ", width_));
    return out;
  }

  ItemFeatures encode(const Items&) const override {
    throw Error(str("npy: cannot encode items that have no row in the file of '", options_.modality,
                    "'; write their vectors into a file of their own, or use a featurizer that reads raw fields"));
  }

  void visit(StateVisitor& state) override {
    std::string width = std::to_string(width_);
    state.text("width", width);
    if (state.loading()) width_ = std::stoll(width);
  }

 private:
  std::string path_in(const Dataset& data) const {
    if (!options_.path.empty()) return options_.path;
    if (const auto found = data.files.find(options_.modality); found != data.files.end()) return found->second;
    throw DataError(str("npy: no file for the modality '", options_.modality, "'; write  ", options_.modality,
                        " = \"vectors.npy\"  under [data.files], or give `path`"));
  }

  ItemFeatures read(const std::string& path, const Dataset& data, Rejects& rejects) const {
    ItemFeatures out;
    out.modality = options_.modality;
    out.values = read_npy(path);
    if (out.values.dtype() != DType::f32)
      throw DataError(str(path, ": holds whole numbers (", name_of(out.values.dtype()), "), expected f16, f32 or f64"));
    if (out.values.shape().rank() != 2 || out.values.dim(0) != data.item_count())
      throw DataError(str(path, ": has the shape ", out.values.shape().text(), ", expected (", data.item_count(),
                          ", D): one row for each item of the catalogue, in its order"));
    const std::int64_t width = out.width();
    out.present.assign(static_cast<std::size_t>(data.item_count()), 1);
    for (std::int64_t item = 0; item < data.item_count(); ++item) {
      float* row = out.values.data<float>() + item * width;
      bool zeros = options_.zero_is_absent;
      for (std::int64_t d = 0; d < width; ++d) {
        zeros = zeros && row[d] == 0.0f;
        if (std::isfinite(row[d])) continue;
        rejects.add(path, item, str("column ", d, " is ", row[d], ", expected a finite number"));
        std::fill_n(row, width, 0.0f);
        zeros = true;
        break;
      }
      if (zeros) out.present[static_cast<std::size_t>(item)] = 0;
    }
    return out;
  }

  Options options_;
  ItemFeatures features_;
  std::int64_t width_ = 0;
};

std::unique_ptr<Featurizer> make(const Options& options, const Section&) {
  return std::make_unique<NpyFeaturizer>(options);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1", "vectors from .npy files", [](tessera::Registry& registry) {
  registry.add<tessera::Featurizer, tessera::Options>("npy", "vectors from a .npy file, one row an item",
                                                      tessera::make);
});
