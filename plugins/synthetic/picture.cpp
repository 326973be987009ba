#include "plugins/synthetic/picture.h"

#include <png.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <memory>

namespace tessera::synthetic {
namespace {

using Colour = std::array<double, 3>;

// Hue in turns; full saturation.
Colour of_hue(double hue) {
  Colour colour{};
  for (std::size_t i = 0; i < 3; ++i) {
    const double distance = std::abs(std::remainder(hue - static_cast<double>(i) / 3.0, 1.0));
    colour[i] = std::clamp(2.0 - 6.0 * distance, 0.0, 1.0);
  }
  return colour;
}

bool inside_shape(int shape, double x, double y, double radius) {
  const double distance = std::hypot(x, y);
  switch (shape % 8) {
    case 0: return distance < radius;
    case 1: return std::max(std::abs(x), std::abs(y)) < radius;
    case 2: return y < radius && std::abs(x) < 0.6 * (y + radius);
    case 3: return distance < radius && distance > 0.55 * radius;
    case 4: return std::min(std::abs(x), std::abs(y)) < 0.3 * radius && std::max(std::abs(x), std::abs(y)) < radius;
    case 5: return std::abs(x) + std::abs(y) < radius;
    case 6: return std::abs(y) < 0.4 * radius && std::abs(x) < 1.2 * radius;
    default: return distance < radius && y > -0.2 * radius;
  }
}

double ground(int style, int x, int y, Random& random) {
  switch (style) {
    case 0: return (x / 4 + y / 4) % 2 == 0 ? 0.9 : 0.6;
    case 1: return 0.15 + 0.1 * random.uniform();
    case 2: return 0.4 + 0.3 * random.uniform();
    case 3: return 0.95;
    case 4: return x % 6 < 3 ? 0.95 : 0.5;
    default: return y % 6 < 3 ? 0.85 : 0.7;
  }
}

void write_png(const std::string& path, int size, const std::vector<png_byte>& pixels) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = image.height = static_cast<png_uint_32>(size);
  image.format = PNG_FORMAT_RGB;
  const int written = png_image_write_to_file(&image, path.c_str(), 0, pixels.data(), 0, nullptr);
  const std::string reason = image.message;
  png_image_free(&image);
  check(written != 0, "synthetic: ", path, " could not be written: ", reason);
}

}  // namespace

void write_picture(const World& world, std::int32_t item, int size, const std::string& path) {
  const Leaf leaf = world.leaf(world.category(item));
  const int style = world.style(item);
  Random random(static_cast<std::uint64_t>(world.options().seed),
                stream_of("synthetic/picture") + static_cast<std::uint64_t>(item));
  const Colour colour = of_hue(leaf.top / 12.0 + 0.02 * style + 0.02 * random.uniform());
  const double radius = (0.25 + 0.1 * random.uniform()) * size / (1.0 + 0.1 * (leaf.variant % 3));
  const double middle_x = size * (0.45 + 0.1 * random.uniform()), middle_y = size * (0.45 + 0.1 * random.uniform());
  std::vector<png_byte> pixels;
  pixels.reserve(static_cast<std::size_t>(3 * size * size));
  for (int y = 0; y < size; ++y)
    for (int x = 0; x < size; ++x) {
      const double level = ground(style, x, y, random);
      const bool on = inside_shape(leaf.middle + 3 * leaf.variant, x - middle_x, y - middle_y, radius);
      for (const double channel : colour)
        pixels.push_back(static_cast<png_byte>(std::lround(255.0 * (on ? 0.2 + 0.8 * channel : level))));
    }
  write_png(path, size, pixels);
}

}  // namespace tessera::synthetic
