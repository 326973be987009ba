#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tessera::image {

// Red, green, blue of each pixel, row by row from the top left.
struct Picture {
  int width = 0, height = 0;
  std::vector<std::uint8_t> rgb;  // (height, width, 3)
};

struct DecodeLimits {
  std::int64_t pixels = 64'000'000;  // of the picture as its header tells it, before anything is allocated
  int enough = 96;                   // a JPEG may come smaller, as long as both sides keep twice this
};

// A JPEG (grey, colour, CMYK; baseline or progressive) or PNG (any depth, palette, alpha over white) of a file. What
// the file holds counts, not its ending. Throws Error for any file that is not a whole picture: no regular file, empty,
// of another kind, cut off, damaged, above the limits; the text has no path in it. Thread-safe.
Picture read_picture(const std::string& path, const DecodeLimits& limits);

// Of the bytes of a JPEG; jpeg.cpp.
Picture decode_jpeg(const std::vector<std::uint8_t>& bytes, const DecodeLimits& limits);

void check_size(std::int64_t width, std::int64_t height, const DecodeLimits& limits);  // throws Error

}  // namespace tessera::image
