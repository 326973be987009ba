#include "plugins/image/describe.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numbers>
#include <numeric>
#include <opencv2/imgproc.hpp>

namespace tessera::image {
namespace {

constexpr int kCells = 6, kAngles = 9;  // gradients: kCells x kCells cells
constexpr int kGrid = 3;                // colours: kGrid x kGrid fields
constexpr int kHues = 8, kSatLevels = 3, kLights = 3;
constexpr int kPatterns = 59;  // uniform local binary patterns of 8 neighbours, and all others
constexpr std::int64_t kGradients = kCells * kCells * kAngles, kMoments = kGrid * kGrid * 6,
                       kColours = kHues * kSatLevels * kLights + kGrid * kGrid * kHues, kTexture = 5 * kPatterns;

// Scales to length 1 and takes roots, so that Euclidean distance is Hellinger's.
void to_roots(float* counts, int n) {
  const float sum = std::accumulate(counts, counts + n, 0.0f);
  for (int i = 0; i < n; ++i) counts[i] = sum > 0.0f ? std::sqrt(counts[i] / sum) : 0.0f;
}

// Each pixel votes with its strongest channel's gradient for the two nearest angles, in its cell.
void count_angles(const cv::Mat& rgb, std::array<float, kGradients>& cells) {
  cv::Mat dx, dy;
  cv::Sobel(rgb, dx, CV_32F, 1, 0);
  cv::Sobel(rgb, dy, CV_32F, 0, 1);
  for (int y = 0; y < rgb.rows; ++y)
    for (int x = 0; x < rgb.cols; ++x) {
      const auto &gx = dx.at<cv::Vec3f>(y, x), &gy = dy.at<cv::Vec3f>(y, x);
      int best = 0;
      float square = -1.0f;
      for (int c = 0; c < 3; ++c)
        if (const float s = gx[c] * gx[c] + gy[c] * gy[c]; s > square) square = s, best = c;
      float angle = std::atan2(gy[best], gx[best]);
      if (angle < 0.0f) angle += std::numbers::pi_v<float>;
      const float place = angle * kAngles / std::numbers::pi_v<float>;
      const int low = static_cast<int>(place) % kAngles;
      const float share = place - std::floor(place), weight = std::sqrt(square);
      float* cell = cells.data() + ((y * kCells / rgb.rows) * kCells + x * kCells / rgb.cols) * kAngles;
      cell[low] += weight * (1.0f - share);
      cell[(low + 1) % kAngles] += weight * share;
    }
}

// Each cell relative to the strength of each 2 x 2 block that holds it, cut at 0.2; the mean of these.
void gradients(const cv::Mat& rgb, float* out) {
  std::array<float, kGradients> cells{};
  count_angles(rgb, cells);
  const auto cell = [&](int y, int x) { return cells.data() + (y * kCells + x) * kAngles; };
  std::fill_n(out, kGradients, 0.0f);
  for (int y = 0; y + 1 < kCells; ++y)
    for (int x = 0; x + 1 < kCells; ++x) {
      const float* corners[] = {cell(y, x), cell(y, x + 1), cell(y + 1, x), cell(y + 1, x + 1)};
      float square = 1e-4f;
      for (const float* corner : corners) square = std::inner_product(corner, corner + kAngles, corner, square);
      for (const float* corner : corners) {
        const auto at = static_cast<int>(corner - cells.data()) / kAngles;
        const int around = (at / kCells % (kCells - 1) == 0 ? 1 : 2) * (at % kCells % (kCells - 1) == 0 ? 1 : 2);
        for (int a = 0; a < kAngles; ++a)
          out[at * kAngles + a] += std::min(0.2f, corner[a] / std::sqrt(square)) / static_cast<float>(around);
      }
    }
}

// Mean and deviation of lightness and the two colour axes in each field.
void moments(const cv::Mat& lab, float* out) {
  for (int y = 0; y < kGrid; ++y)
    for (int x = 0; x < kGrid; ++x) {
      const cv::Mat field = lab(cv::Range(lab.rows * y / kGrid, lab.rows * (y + 1) / kGrid),
                                cv::Range(lab.cols * x / kGrid, lab.cols * (x + 1) / kGrid));
      cv::Scalar mean, deviation;
      cv::meanStdDev(field, mean, deviation);
      for (int c = 0; c < 3; ++c) {
        *out++ = static_cast<float>(mean[c] / 100.0);
        *out++ = static_cast<float>(deviation[c] / 100.0);
      }
    }
}

// One histogram over hue, saturation and lightness; hues of each field, weighted by how much colour there is.
void colours(const cv::Mat& hsv, float* out) {
  std::fill_n(out, kColours, 0.0f);
  float* hues = out + kHues * kSatLevels * kLights;
  for (int y = 0; y < hsv.rows; ++y)
    for (int x = 0; x < hsv.cols; ++x) {
      const auto& pixel = hsv.at<cv::Vec3f>(y, x);
      const int h = std::min(static_cast<int>(pixel[0] * (kHues / 360.0f)), kHues - 1),
                s = std::min(static_cast<int>(pixel[1] * kSatLevels), kSatLevels - 1),
                v = std::min(static_cast<int>(pixel[2] * kLights), kLights - 1);
      out[(h * kSatLevels + s) * kLights + v] += 1.0f;
      const int field = y * kGrid / hsv.rows * kGrid + x * kGrid / hsv.cols;
      hues[field * kHues + h] += pixel[1] * pixel[2];
    }
  to_roots(out, kHues * kSatLevels * kLights);
  for (int field = 0; field < kGrid * kGrid; ++field) to_roots(hues + field * kHues, kHues);
}

// Patterns with at most two changes around the circle have bins of their own.
const std::array<std::uint8_t, 256>& pattern_bins() {
  static const auto bins = [] {
    std::array<std::uint8_t, 256> made{};
    std::uint8_t next = 0;
    for (unsigned p = 0; p < 256; ++p) {
      const auto code = static_cast<std::uint8_t>(p);
      const bool uniform = std::popcount(static_cast<std::uint8_t>(code ^ std::rotl(code, 1))) <= 2;
      made[p] = uniform ? next++ : static_cast<std::uint8_t>(kPatterns - 1);
    }
    return made;
  }();
  return bins;
}

// Local binary patterns in grid x grid fields.
void patterns(const cv::Mat& grey, int grid, float* out) {
  static constexpr int kAround[8][2] = {{-1, -1}, {-1, 0}, {-1, 1}, {0, 1}, {1, 1}, {1, 0}, {1, -1}, {0, -1}};
  const auto& bins = pattern_bins();
  std::fill_n(out, grid * grid * kPatterns, 0.0f);
  for (int y = 1; y + 1 < grey.rows; ++y)
    for (int x = 1; x + 1 < grey.cols; ++x) {
      const int middle = grey.at<std::uint8_t>(y, x);
      unsigned code = 0;
      for (const auto& step : kAround)
        code = code << 1 | (grey.at<std::uint8_t>(y + step[0], x + step[1]) > middle + 2 ? 1u : 0u);
      out[(y * grid / grey.rows * grid + x * grid / grey.cols) * kPatterns + bins[code]] += 1.0f;
    }
  for (int field = 0; field < grid * grid; ++field) to_roots(out + field * kPatterns, kPatterns);
}

}  // namespace

const std::vector<std::int64_t>& description_groups() {
  static const std::vector<std::int64_t> groups{kGradients, kMoments, kColours, kTexture};
  return groups;
}

std::int64_t description_width() { return kGradients + kMoments + kColours + kTexture; }

void use_one_thread() { cv::setNumThreads(1); }

void describe(const Picture& picture, int side, float* out) {
  const cv::Mat whole(picture.height, picture.width, CV_8UC3, const_cast<std::uint8_t*>(picture.rgb.data()));
  cv::Mat rgb, real, lab, hsv, grey, half;
  const bool shrinks = picture.width >= side && picture.height >= side;
  cv::resize(whole, rgb, {side, side}, 0, 0, shrinks ? cv::INTER_AREA : cv::INTER_LINEAR);
  rgb.convertTo(real, CV_32F, 1.0 / 255.0);
  cv::cvtColor(real, lab, cv::COLOR_RGB2Lab);
  cv::cvtColor(real, hsv, cv::COLOR_RGB2HSV);
  cv::cvtColor(rgb, grey, cv::COLOR_RGB2GRAY);
  cv::resize(grey, half, {side / 2, side / 2}, 0, 0, cv::INTER_AREA);
  gradients(real, out);
  moments(lab, out += kGradients);
  colours(hsv, out += kMoments);
  patterns(grey, 2, out += kColours);
  patterns(half, 1, out += 4 * kPatterns);
}

}  // namespace tessera::image
