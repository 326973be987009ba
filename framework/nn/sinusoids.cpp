#include "framework/nn/sinusoids.h"

#include <cmath>

namespace tessera {

Tensor sinusoids(std::int64_t rows, int width) {
  Tensor out({rows, width});
  for (std::int64_t i = 0; i < rows; ++i)
    for (int d = 0; d < width; ++d) {
      const double angle = static_cast<double>(i) / std::pow(10000.0, (d - d % 2) / static_cast<double>(width));
      out.data<float>()[i * width + d] = static_cast<float>(d % 2 == 0 ? std::sin(angle) : std::cos(angle));
    }
  return out;
}

}  // namespace tessera
