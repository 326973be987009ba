#include "plugins/image/decode.h"

#include <png.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "framework/data/text.h"
#include "tensor/core/error.h"

namespace tessera::image {
namespace {

constexpr std::uintmax_t kLargestFile = 256u << 20;

std::vector<std::uint8_t> read_bytes(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);  // a pipe would block, a folder would read as nothing
  check(std::filesystem::is_regular_file(status), "is no regular file");
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  check(!error, "cannot be read: ", error.message());
  check(size > 0, "is empty");
  check(size <= kLargestFile, "has ", size >> 20, " MiB, above the limit of ", kLargestFile >> 20);
  std::vector<std::uint8_t> bytes(size);
  std::ifstream file(path, std::ios::binary);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  check(static_cast<std::uintmax_t>(file.gcount()) == size, "cannot be read: ", std::strerror(errno));
  return bytes;
}

struct PngImage {
  png_image image{};
  ~PngImage() { png_image_free(&image); }
};

Picture decode_png(const std::vector<std::uint8_t>& bytes, const DecodeLimits& limits) {
  PngImage png;
  png_image& image = png.image;
  image.version = PNG_IMAGE_VERSION;
  check(png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()) != 0, "damaged PNG: ", image.message);
  check_size(image.width, image.height, limits);
  image.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;  // as every viewer takes it where no gamma is told
  image.format = PNG_FORMAT_RGB;
  Picture out{static_cast<int>(image.width), static_cast<int>(image.height), {}};
  out.rgb.resize(PNG_IMAGE_SIZE(image));
  const png_color white{255, 255, 255};
  check(png_image_finish_read(&image, &white, out.rgb.data(), 0, nullptr) != 0, "damaged PNG: ", image.message);
  return out;
}

bool begins_with(const std::vector<std::uint8_t>& bytes, std::string_view magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

}  // namespace

void check_size(std::int64_t width, std::int64_t height, const DecodeLimits& limits) {
  check(width > 0 && height > 0, "has ", width, " x ", height, " pixels");
  check(width <= limits.pixels / height, "has ", width, " x ", height, " pixels, above the limit of ",
        limits.pixels / 1'000'000, " million (option max_megapixels)");
}

Picture read_picture(const std::string& path, const DecodeLimits& limits) {
  const std::vector<std::uint8_t> bytes = read_bytes(path);
  if (begins_with(bytes, "\xff\xd8\xff")) return decode_jpeg(bytes, limits);
  if (begins_with(bytes, "\x89PNG\r\n\x1a\n")) return decode_png(bytes, limits);
  const std::string_view start(reinterpret_cast<const char*>(bytes.data()), std::min<std::size_t>(bytes.size(), 12));
  throw Error(str("is neither JPEG nor PNG: begins with ", in_quotes(start)));
}

}  // namespace tessera::image
