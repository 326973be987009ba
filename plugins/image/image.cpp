// Images -> vectors without a model file, or by an ONNX encoder.
#include "plugins/image/image.h"

#include "framework/plugin/plugin.h"

namespace tessera {
namespace {

std::unique_ptr<Featurizer> make(const image::Options& options, const Section& section) {
  try {
    return image::make_featurizer(options);
  } catch (const Error& error) {  // it knows no line of the file
    section.fail(options.model.empty() ? "plugin" : "model", error.what());
  }
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1", "images to vectors", [](tessera::Registry& registry) {
  registry.add<tessera::Featurizer, tessera::image::Options>(
      "image", "gradients, colours and texture of images, principal components; or an ONNX encoder", tessera::make);
});
