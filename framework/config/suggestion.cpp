#include <algorithm>
#include <numeric>
#include <utility>

#include "framework/config/config.h"

namespace tessera {
namespace {

// Optimal string alignment: insertions, deletions, changes, and two neighbours swapped, each once a place.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0u : 1u)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before = std::exchange(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::string suggestion(std::string_view found, const std::vector<std::string>& known) {
  const std::size_t allowed = std::min<std::size_t>(found.size() / 3, 3);  // two letters are close to everything
  const std::string* best = nullptr;
  std::size_t smallest = allowed + 1;
  for (const std::string& word : known) {
    const std::size_t distance = edit_distance(found, word);
    if (distance < smallest) {
      smallest = distance;
      best = &word;
    }
  }
  return best ? str("; did you mean '", *best, "'?") : "";
}

}  // namespace tessera
