#pragma once

#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>
// jpeglib.h wants <cstdio> above it.
#include <jpeglib.h>
#include <png.h>

#include "framework/plugin/testing.h"
#include "framework/roles/featurizer.h"

// Small pictures that the tests of this plugin write.
namespace tessera::image_testing {

struct Pixels {
  int width = 0, height = 0;
  std::vector<std::uint8_t> rgb;
};

inline std::shared_ptr<Featurizer> featurizer(const std::string& options = "") {
  return make_component<Featurizer>(TESSERA_BINARY_DIR "/lib/tessera/plugins", "plugin = 'image'\n" + options);
}

inline Pixels stripes(int width, int height, bool upright, int seed) {
  Pixels out{width, height, {}};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      const bool on = (upright ? x : y) / (4 + seed % 3) % 2 == 0;
      for (int c = 0; c < 3; ++c)
        out.rgb.push_back(static_cast<std::uint8_t>((on ? 200 : 40) + (seed * (7 + c) + x * y) % 40));
    }
  return out;
}

inline void write_png(const std::string& path, const Pixels& pixels) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(pixels.width);
  image.height = static_cast<png_uint_32>(pixels.height);
  image.format = PNG_FORMAT_RGB;
  check(png_image_write_to_file(&image, path.c_str(), 0, pixels.rgb.data(), 0, nullptr) != 0, image.message);
}

// Any depth and colour type of the format; `row` gives the bytes of each row.
inline void write_png_as(const std::string& path, int width, int height, int depth, int type, bool interlaced,
                         const std::vector<std::uint8_t>& row) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  check(file != nullptr, path);
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_init_io(png, file);
  png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), depth, type,
               interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  const png_color palette[2] = {{255, 0, 0}, {0, 0, 255}};
  if (type == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, palette, 2);
  png_write_info(png, info);
  const int passes = interlaced ? png_set_interlace_handling(png) : 1;
  for (int pass = 0; pass < passes; ++pass)
    for (int y = 0; y < height; ++y) png_write_row(png, row.data());
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  std::fclose(file);
}

// Components of a pixel by colour space: JCS_GRAYSCALE 1, JCS_RGB 3, JCS_CMYK 4. Every pixel is `pixel`, with a little
// noise on the first component.
inline void write_jpeg(const std::string& path, int width, int height, J_COLOR_SPACE space,
                       const std::vector<std::uint8_t>& pixel, bool progressive = false) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  check(file != nullptr, path);
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  jpeg_stdio_dest(&info, file);
  info.image_width = static_cast<JDIMENSION>(width);
  info.image_height = static_cast<JDIMENSION>(height);
  info.input_components = static_cast<int>(pixel.size());
  info.in_color_space = space;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 95, TRUE);
  if (progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  std::vector<std::uint8_t> row;
  for (int x = 0; x < width; ++x)
    for (std::size_t c = 0; c < pixel.size(); ++c)
      row.push_back(static_cast<std::uint8_t>(pixel[c] + (c == 0 ? x * 5 % 8 : 0)));
  for (int y = 0; y < height; ++y) {
    JSAMPROW rows = row.data();
    jpeg_write_scanlines(&info, &rows, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::fclose(file);
}

}  // namespace tessera::image_testing
