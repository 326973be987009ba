#include "tensor/ops/attention/positions.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "tensor/core/simd.h"
#include "tensor/ops/attention/attention.h"

namespace tessera {

int relative_bucket(std::int64_t key_minus_query, bool bidirectional, int buckets, int max_distance) {
  int first = 0;
  std::int64_t distance = -key_minus_query;
  if (bidirectional) {
    buckets /= 2;
    if (distance < 0) first = buckets;
    distance = std::abs(distance);
  } else {
    distance = std::max<std::int64_t>(0, distance);
  }
  const int exact = buckets / 2;
  if (distance < exact) return first + static_cast<int>(distance);
  const double part =
      std::log(static_cast<double>(distance) / exact) / std::log(static_cast<double>(max_distance) / exact);
  return first + std::min(buckets - 1, exact + static_cast<int>(part * (buckets - exact)));
}

namespace cpu {
namespace {

template <class T>
std::shared_ptr<const RotaryTable<T>> make_table(double base, std::int64_t width, std::int64_t positions) {
  auto table = std::make_shared<RotaryTable<T>>();
  table->half = width / 2;
  table->positions = positions;
  table->cosine.resize(static_cast<std::size_t>(positions * table->half));
  table->sine.resize(table->cosine.size());
  for (std::int64_t i = 0; i < table->half; ++i) {
    const double speed = std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(width));
    for (std::int64_t position = 0; position < positions; ++position) {
      const auto at = static_cast<std::size_t>(position * table->half + i);
      table->cosine[at] = static_cast<T>(std::cos(static_cast<double>(position) * speed));
      table->sine[at] = static_cast<T>(std::sin(static_cast<double>(position) * speed));
    }
  }
  return table;
}

}  // namespace

template <class T>
void RotaryTable<T>::turn(const T* from, std::int64_t position, bool back, T factor, T* to) const {
  const T *c = cosine.data() + position * half, *s = sine.data() + position * half;
  const T sign = back ? -factor : factor;
  std::int64_t i = 0;
  for (; i + simd::kLanes<T> <= half; i += simd::kLanes<T>) {
    const auto cosines = simd::load(c + i) * factor, sines = simd::load(s + i) * sign;
    const auto a = simd::load(from + i), b = simd::load(from + half + i);
    simd::store(to + i, a * cosines - b * sines);
    simd::store(to + half + i, b * cosines + a * sines);
  }
  for (; i < half; ++i) {
    const T a = from[i], b = from[i + half];
    to[i] = a * (c[i] * factor) - b * (s[i] * sign);
    to[i + half] = b * (c[i] * factor) + a * (s[i] * sign);
  }
}

template <class T>
std::shared_ptr<const RotaryTable<T>> rotary_table(double base, std::int64_t width, std::int64_t positions) {
  if (base == 0.0) return nullptr;
  // A model uses one base and width, so the last table serves the next call; it grows in powers of two.
  static std::mutex mutex;
  static std::shared_ptr<const RotaryTable<T>> last;
  static double last_base = 0.0;
  std::lock_guard lock(mutex);
  if (!last || last_base != base || last->half != width / 2 || last->positions < positions) {
    std::int64_t size = 64;
    while (size < positions) size *= 2;
    last = make_table<T>(base, width, size);
    last_base = base;
  }
  return last;
}

DistanceTable::DistanceTable(std::int64_t low, std::int64_t high, int heads, int buckets, bool bidirectional,
                             int max_distance)
    : low_(low), width_(high - low + 1 + 2 * kRoom), heads_(heads), buckets_(buckets) {
  bucket_.resize(static_cast<std::size_t>(width_));
  for (std::int64_t place = 0; place < width_; ++place)
    bucket_[static_cast<std::size_t>(place)] =
        relative_bucket(place - kRoom + low, bidirectional, buckets, max_distance);
}

template <class T>
std::vector<T> DistanceTable::spread(const Tensor& bias) const {
  std::vector<T> rows(static_cast<std::size_t>(heads_ * width_));
  for (std::int64_t head = 0; head < heads_; ++head)
    for (std::int64_t place = 0; place < width_; ++place)
      rows[static_cast<std::size_t>(head * width_ + place)] =
          bias.data<T>()[bucket_[static_cast<std::size_t>(place)] * heads_ + head];
  return rows;
}

template <class T>
void DistanceTable::collect(const T* by_distance, int head, T* by_bucket) const {
  for (std::int64_t place = kRoom; place < width_ - kRoom; ++place)
    by_bucket[bucket_[static_cast<std::size_t>(place)] * heads_ + head] += by_distance[place];
}

template struct RotaryTable<float>;
template struct RotaryTable<double>;
template std::shared_ptr<const RotaryTable<float>> rotary_table(double, std::int64_t, std::int64_t);
template std::shared_ptr<const RotaryTable<double>> rotary_table(double, std::int64_t, std::int64_t);
template std::vector<float> DistanceTable::spread(const Tensor&) const;
template std::vector<double> DistanceTable::spread(const Tensor&) const;
template void DistanceTable::collect(const float*, int, float*) const;
template void DistanceTable::collect(const double*, int, double*) const;

}  // namespace cpu
}  // namespace tessera
