#ifndef TESSERA_IMAGE_LACKS
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <fstream>
#include <iterator>

#include "framework/data/rejects.h"
#include "plugins/image/decode.h"
#include "plugins/image/testing.h"

namespace tessera {
namespace {

using namespace image_testing;

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::array<int, 3> middle(const image::Picture& picture) {
  const auto at = static_cast<std::size_t>(3 * (picture.height / 2 * picture.width + picture.width / 2));
  return {picture.rgb[at], picture.rgb[at + 1], picture.rgb[at + 2]};
}

void expect_colour(const std::string& path, std::array<int, 3> colour, int width = 40, int height = 30) {
  const image::Picture picture = image::read_picture(path, {});
  EXPECT_EQ(picture.width, width);
  EXPECT_EQ(picture.height, height);
  for (std::size_t c = 0; c < 3; ++c) EXPECT_NEAR(middle(picture)[c], colour[c], 9) << path << " " << c;
}

std::string problem_of(const std::string& path) {
  return message_of([&] { image::read_picture(path, {1'000'000, 96}); });
}

std::uint32_t crc(const std::string& bytes) {
  std::uint32_t c = ~0u;
  for (const char byte : bytes) {
    c ^= static_cast<unsigned char>(byte);
    for (int k = 0; k < 8; ++k) c = c >> 1 ^ (c % 2 != 0 ? 0xedb88320u : 0u);
  }
  return ~c;
}

std::string big_endian(std::uint32_t x) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(x >> shift & 255u);
  return out;
}

std::string chunk(const std::string& name, const std::string& body) {
  return big_endian(static_cast<std::uint32_t>(body.size())) + name + body + big_endian(crc(name + body));
}

// The start of a PNG that claims to be so large.
std::string png_of_size(std::uint32_t width, std::uint32_t height) {
  return std::string("\x89PNG\r\n\x1a\n") +
         chunk("IHDR", big_endian(width) + big_endian(height) + std::string("\x08\x02\0\0\0", 5)) +
         chunk("IDAT", std::string("\x78\x9c", 2) + std::string(50, '\0')) + chunk("IEND", "");
}

}  // namespace

TEST(ImageFiles, ReadsEveryKindOfJpeg) {
  const TemporaryFolder folder;
  const std::string path = folder.path("a.jpg");
  write_jpeg(path, 40, 30, JCS_RGB, {200, 100, 20});
  expect_colour(path, {203, 100, 20});
  write_jpeg(path, 40, 30, JCS_RGB, {200, 100, 20}, true);
  expect_colour(path, {203, 100, 20});
  write_jpeg(path, 40, 30, JCS_GRAYSCALE, {90});
  expect_colour(path, {93, 93, 93});
  write_jpeg(path, 40, 30, JCS_CMYK, {245, 100, 20, 255});  // Adobe's way round: 255 is no ink
  expect_colour(path, {248, 100, 20});
  write_jpeg(path, 800, 600, JCS_RGB, {200, 100, 20});
  expect_colour(path, {203, 100, 20}, 400, 300);  // half size is enough for 96 x 96
}

TEST(ImageFiles, ReadsEveryKindOfPng) {
  const TemporaryFolder folder;
  const std::string path = folder.path("not_a.jpg");  // what it holds counts
  const auto repeated = [](std::vector<std::uint8_t> pixel, int times) {
    std::vector<std::uint8_t> row;
    for (int i = 0; i < times; ++i) row.insert(row.end(), pixel.begin(), pixel.end());
    return row;
  };
  for (const bool interlaced : {false, true}) {
    write_png_as(path, 40, 30, 8, PNG_COLOR_TYPE_RGB, interlaced, repeated({200, 100, 20}, 40));
    expect_colour(path, {200, 100, 20});
    write_png_as(path, 40, 30, 16, PNG_COLOR_TYPE_RGB, interlaced, repeated({200, 0, 100, 0, 20, 0}, 40));
    expect_colour(path, {200, 100, 20});
    write_png_as(path, 40, 30, 8, PNG_COLOR_TYPE_GRAY, interlaced, repeated({90}, 40));
    expect_colour(path, {90, 90, 90});
    write_png_as(path, 40, 30, 1, PNG_COLOR_TYPE_GRAY, interlaced, repeated({255}, 5));
    expect_colour(path, {255, 255, 255});
    write_png_as(path, 40, 30, 1, PNG_COLOR_TYPE_PALETTE, interlaced, repeated({255}, 5));
    expect_colour(path, {0, 0, 255});
    write_png_as(path, 40, 30, 8, PNG_COLOR_TYPE_RGB_ALPHA, interlaced, repeated({200, 100, 20, 0}, 40));
    expect_colour(path, {255, 255, 255});  // wholly transparent, over white
    write_png_as(path, 40, 30, 16, PNG_COLOR_TYPE_GRAY_ALPHA, interlaced, repeated({90, 0, 255, 255}, 40));
    expect_colour(path, {90, 90, 90});
  }
}

TEST(ImageFiles, NamesWhatIsWrong) {
  const TemporaryFolder folder;
  EXPECT_EQ(problem_of(folder.write("zero.jpg", "")), "is empty");
  EXPECT_EQ(problem_of(folder.write("text.jpg", "hello, I am no picture")),
            "is neither JPEG nor PNG: begins with 'hello, I am '");
  EXPECT_EQ(problem_of(folder.path()), "is no regular file");
  ASSERT_EQ(mkfifo(folder.path("pipe.png").c_str(), 0600), 0);
  EXPECT_EQ(problem_of(folder.path("pipe.png")), "is no regular file");
  EXPECT_EQ(problem_of(folder.write("huge.png", png_of_size(60'000, 60'000))),
            "has 60000 x 60000 pixels, above the limit of 1 million (option max_megapixels)");
  EXPECT_NE(problem_of(folder.write("absurd.png", png_of_size(0x7fffffff, 0x7fffffff))).find("damaged PNG: "),
            std::string::npos);
  EXPECT_NE(problem_of(folder.write("nothing.png", png_of_size(0, 5))).find("damaged PNG: "), std::string::npos);
  EXPECT_NE(problem_of(folder.write("short.png", png_of_size(50, 50))).find("damaged PNG: "), std::string::npos);
  write_jpeg(folder.path("large.jpg"), 2000, 600, JCS_RGB, {1, 2, 3});
  EXPECT_EQ(problem_of(folder.path("large.jpg")),
            "has 2000 x 600 pixels, above the limit of 1 million (option max_megapixels)");
}

// Wherever a file is cut, it is refused; no cut passes for a whole picture.
TEST(ImageFiles, RefusesFilesThatAreCut) {
  const TemporaryFolder folder;
  write_jpeg(folder.path("a.jpg"), 64, 64, JCS_RGB, {200, 100, 20});
  write_jpeg(folder.path("p.jpg"), 64, 64, JCS_RGB, {200, 100, 20}, true);
  write_png(folder.path("a.png"), stripes(64, 64, true, 1));
  for (const char* name : {"a.jpg", "p.jpg", "a.png"}) {
    const std::string whole = bytes_of(folder.path(name));
    const auto end = whole.size() - (name[2] == 'p' ? 12 : 0);  // libpng asks for no more than the pixels
    for (std::size_t size = 10; size < end; size += 1 + whole.size() / 97) {
      const std::string problem = problem_of(folder.write("cut", whole.substr(0, size)));
      EXPECT_NE(problem.find("damaged "), std::string::npos) << name << " cut at " << size << ": " << problem;
    }
  }
}

// Damaged bytes give a picture or an Error, never anything else.
TEST(ImageFiles, SurvivesDamage) {
  const TemporaryFolder folder;
  write_jpeg(folder.path("a.jpg"), 48, 48, JCS_RGB, {200, 100, 20}, true);
  write_png(folder.path("a.png"), stripes(48, 48, true, 1));
  for (const char* name : {"a.jpg", "a.png"}) {
    const std::string whole = bytes_of(folder.path(name));
    int refused = 0;
    for (std::size_t at = 0; at < whole.size(); at += 1 + whole.size() / 301) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
      refused += problem_of(folder.write("damaged", damaged)) != "nothing was thrown";
    }
    EXPECT_GT(refused, 20) << name;
  }
}

TEST(ImageFiles, BrokenOnesAreAbsentAndTold) {
  const TemporaryFolder folder;
  Dataset data;
  data.name = "mixed";
  data.files["image"] = folder.path();
  for (int i = 0; i < 30; ++i) {
    data.items.ids.push_back(str("i", i));
    if (i < 12) folder.write(str("i", i, ".jpg"), "");
    else write_png(folder.path(str("i", i, ".png")), stripes(50, 50, i % 2 == 0, i));
  }
  const auto plugin = featurizer("components = 4");
  std::vector<std::string> said;
  FitContext context;
  context.say = [&](const std::string& line) { said.push_back(line); };
  plugin->fit(data, context);
  const ItemFeatures features = plugin->features(data);
  for (std::size_t i = 0; i < 30; ++i) {
    EXPECT_EQ(features.present[i], i < 12 ? 0 : 1);
    if (i < 12) {
      EXPECT_EQ(features.values.data<float>()[4 * i], 0.0f);
    }
  }
  ASSERT_EQ(said.size(), 12u);
  EXPECT_EQ(said[0], "image: 30 items, 18 with an image, 0 without a file, 12 with a broken one; 4 numbers each");
  EXPECT_EQ(said[1], "image: broken, so absent: item i0: " + folder.path("i0.jpg") + " is empty");
  EXPECT_EQ(said[11], "image: and 2 more broken ones");

  EXPECT_NE(message_of([&] {
              featurizer("components = 4\nbroken = 'stop'")->fit(data, context);
            }).find("12 bad records\n  " + folder.path("i0.jpg") + ":0: is empty\n"),
            std::string::npos);
  Rejects rejects(true);
  context.rejects = &rejects;
  featurizer("components = 4\nbroken = 'stop'")->fit(data, context);
  EXPECT_EQ(rejects.count(), 12);

  for (int i = 12; i < 30; ++i) folder.write(str("i", i, ".png"), "x");
  EXPECT_EQ(message_of([&] { featurizer()->fit(data, context); }),
            "image: none of 30 images can be decoded; the first: " + folder.path("i0.jpg") + ": is empty");
}

}  // namespace tessera
#endif
