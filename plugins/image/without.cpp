#include "plugins/image/image.h"

namespace tessera::image {

std::unique_ptr<Featurizer> make_featurizer(const Options&) {
  throw Error("image: this build cannot read images; install " TESSERA_IMAGE_LACKS " and build again");
}

}  // namespace tessera::image
