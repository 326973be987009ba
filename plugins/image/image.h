#pragma once

#include <memory>
#include <string>

#include "framework/roles/featurizer.h"

namespace tessera::image {

struct Options {
  std::string modality = "image", path, field = "image";
  std::int64_t components = 128, max_megapixels = 64, fit_items = 20'000;
  int side = 96;
  double whiten = 0.0;
  std::string broken = "absent", model, scaling = "imagenet";
  int model_side = 224;
  template <class V>
  void describe(V& v) {
    v("modality", modality, "name of the modality that it makes, and of the folder in [data.files]");
    v("path", path, "folder of the images, ID.jpg, ID.jpeg or ID.png; empty: the one that [data.files] names");
    v("field", field, "raw field that holds the path of an item's image, within the folder where it is relative");
    v("components", components, "numbers of a vector: principal components kept", 1, 4096);
    v("whiten", whiten, "how far components are brought to the same deviation: 0 not at all, 1 wholly", 0.0, 1.0);
    v("side", side, "images are scaled to this width and height for the descriptors", 48, 512);
    v("fit_items", fit_items, "images that the components are learnt from, evenly spread", 16, 1'000'000);
    v("max_megapixels", max_megapixels, "images of more million pixels count as broken", 1, 1000);
    v("broken", broken, "what an image that cannot be decoded does: counts as absent, or stops the run",
      {"absent", "stop"});
    v("model", model, "an ONNX image encoder in place of the descriptors; needs a build with TESSERA_OPENCV_DNN");
    v("model_side", model_side, "width and height that the model reads", 8, 1024);
    v("scaling", scaling, "how the model wants its pixels", {"imagenet", "clip", "half", "none"});
  }
};

// Throws Error where this build cannot read images or run a model.
std::unique_ptr<Featurizer> make_featurizer(const Options& options);

}  // namespace tessera::image
