#include "tensor/core/error.h"

namespace tessera {
Error::~Error() = default;
}  // namespace tessera
