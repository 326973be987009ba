#include <cmath>
#include <mutex>

#include "tensor/ops/anchor_attention/blocks.h"

namespace tessera::cpu {
namespace {

using Kind = BlockPositions::Kind;

// The angle that pair p of `pairs` turns by, for an item and a slot.
double angle(const BlockPositions& positions, std::int64_t p, std::int64_t pairs, std::int64_t block, std::int64_t item,
             std::int64_t slot) {
  const auto part = static_cast<double>(p) / static_cast<double>(pairs);
  const double ladder = std::pow(positions.item_base, -part);
  const bool first = 2 * p < pairs;
  switch (positions.kind) {
    case Kind::hierarchical:
      return first ? static_cast<double>(item) * std::pow(positions.item_base, -2.0 * part)
                   : static_cast<double>(slot) * std::pow(positions.slot_base, -2.0 * part + 1.0);
    case Kind::one_ladder: return static_cast<double>(first ? slot : item) * ladder;
    case Kind::flat: return static_cast<double>(item * block + slot) * ladder;
    case Kind::none: break;
  }
  return 0.0;
}

struct Key {
  BlockPositions positions;
  std::int64_t pairs = 0, block = 0;
  bool operator==(const Key& o) const {
    return positions.kind == o.positions.kind && positions.item_base == o.positions.item_base &&
           positions.slot_base == o.positions.slot_base && pairs == o.pairs && block == o.block;
  }
};

}  // namespace

template <class T>
std::shared_ptr<const RotaryTable<T>> block_rotary(const BlockPositions& positions, std::int64_t width,
                                                   std::int64_t block, std::int64_t items) {
  if (positions.kind == Kind::none) return nullptr;
  // A model uses one kind of position, so the last table serves the next call; it grows in powers of two.
  static std::mutex mutex;
  static std::shared_ptr<const RotaryTable<T>> last;
  static Key last_key;
  const Key key{positions, width / 2, block};
  std::lock_guard lock(mutex);
  if (last && last_key == key && last->positions >= items * block) return last;
  std::int64_t size = 64;
  while (size < items) size *= 2;
  auto table = std::make_shared<RotaryTable<T>>();
  table->half = key.pairs;
  table->positions = size * block;
  table->cosine.resize(static_cast<std::size_t>(table->positions * table->half));
  table->sine.resize(table->cosine.size());
  std::size_t to = 0;
  for (std::int64_t row = 0; row < table->positions; ++row)
    for (std::int64_t p = 0; p < key.pairs; ++p, ++to) {
      const double turn = angle(positions, p, key.pairs, block, row / block, row % block);
      table->cosine[to] = static_cast<T>(std::cos(turn));
      table->sine[to] = static_cast<T>(std::sin(turn));
    }
  last = table;
  last_key = key;
  return last;
}

template std::shared_ptr<const RotaryTable<float>> block_rotary(const BlockPositions&, std::int64_t, std::int64_t,
                                                                std::int64_t);
template std::shared_ptr<const RotaryTable<double>> block_rotary(const BlockPositions&, std::int64_t, std::int64_t,
                                                                 std::int64_t);

}  // namespace tessera::cpu
