// libjpeg leaves a failed call by longjmp, so everything with a destructor lives in the frame that calls run().
#include <algorithm>
#include <csetjmp>
#include <cstdio>
// Order matters: jpeglib.h wants the two above.
#include <jpeglib.h>

#include <jerror.h>

#include "plugins/image/decode.h"
#include "tensor/core/error.h"

namespace tessera::image {
namespace {

constexpr int kMostScans = 200;  // of a progressive file; each costs a pass over the whole picture

struct Reader {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  std::jmp_buf jump{};
  char message[JMSG_LENGTH_MAX] = {};
  std::vector<std::uint8_t> row;
  Picture picture;

  Reader() = default;
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { jpeg_destroy_decompress(&info); }
};

Reader& reader_of(j_common_ptr info) { return *static_cast<Reader*>(info->client_data); }

[[noreturn]] void leave(j_common_ptr info) {
  Reader& reader = reader_of(info);
  info->err->format_message(info, reader.message);
  std::longjmp(reader.jump, 1);
}

// A cut or damaged file is only a warning to libjpeg, which fills the rest with grey. Other warnings do no harm.
void judge_message(j_common_ptr info, int level) {
  if (level >= 0) return;
  switch (info->err->msg_code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_MUST_RESYNC:
    case JWRN_NOT_SEQUENTIAL: leave(info);
    default: break;
  }
}

void count_scans(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMostScans) return;
  std::snprintf(reader_of(info).message, sizeof Reader::message, "more than %d scans", kMostScans);
  std::longjmp(reader_of(info).jump, 1);
}

// Adobe writes CMYK upside down.
void cmyk_to_rgb(const std::uint8_t* cmyk, bool inverted, JDIMENSION width, std::uint8_t* rgb) {
  for (JDIMENSION x = 0; x < width; ++x, cmyk += 4, rgb += 3)
    for (int c = 0; c < 3; ++c) {
      const int ink = inverted ? cmyk[c] : 255 - cmyk[c], black = inverted ? cmyk[3] : 255 - cmyk[3];
      rgb[c] = static_cast<std::uint8_t>((ink * black + 127) / 255);
    }
}

void read_rows(Reader& reader) {
  jpeg_decompress_struct& info = reader.info;
  Picture& picture = reader.picture;
  picture.width = static_cast<int>(info.output_width);
  picture.height = static_cast<int>(info.output_height);
  picture.rgb.resize(std::size_t{3} * info.output_width * info.output_height);
  const bool cmyk = info.out_color_space == JCS_CMYK;
  if (cmyk) reader.row.resize(std::size_t{4} * info.output_width);
  while (info.output_scanline < info.output_height) {
    std::uint8_t* to = picture.rgb.data() + std::size_t{3} * info.output_width * info.output_scanline;
    JSAMPROW row = cmyk ? reader.row.data() : to;
    jpeg_read_scanlines(&info, &row, 1);
    if (cmyk) cmyk_to_rgb(row, info.saw_Adobe_marker != 0, info.output_width, to);
  }
}

// False: reader.message says why.
bool run(Reader& reader, const std::vector<std::uint8_t>& bytes, const DecodeLimits& limits) {
  jpeg_decompress_struct& info = reader.info;
  info.err = jpeg_std_error(&reader.errors);
  info.client_data = &reader;
  reader.errors.error_exit = leave;
  reader.errors.emit_message = judge_message;
  reader.errors.output_message = [](j_common_ptr) {};
  if (setjmp(reader.jump) != 0) return false;
  jpeg_create_decompress(&info);  // keeps err and client_data
  reader.progress.progress_monitor = count_scans;
  info.progress = &reader.progress;
  jpeg_mem_src(&info, bytes.data(), bytes.size());
  jpeg_read_header(&info, TRUE);
  check_size(info.image_width, info.image_height, limits);
  const bool cmyk = info.jpeg_color_space == JCS_CMYK || info.jpeg_color_space == JCS_YCCK;
  info.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  info.dct_method = JDCT_ISLOW;
  const auto least = static_cast<int>(std::min(info.image_width, info.image_height));
  while (info.scale_denom < 8 && least / static_cast<int>(2 * info.scale_denom) >= 2 * limits.enough)
    info.scale_denom *= 2;
  jpeg_start_decompress(&info);
  read_rows(reader);
  jpeg_finish_decompress(&info);
  return true;
}

}  // namespace

Picture decode_jpeg(const std::vector<std::uint8_t>& bytes, const DecodeLimits& limits) {
  Reader reader;
  if (!run(reader, bytes, limits)) throw Error(str("damaged JPEG: ", reader.message));
  return std::move(reader.picture);
}

}  // namespace tessera::image
