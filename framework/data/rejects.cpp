#include "framework/data/rejects.h"

#include "framework/data/dataset.h"

namespace tessera {

void Rejects::add(const std::string& file, std::int64_t record, const std::string& problem) {
  constexpr std::size_t kShown = 10;
  if (first_.size() < kShown) first_.push_back(str(file, ":", record, ": ", problem));
  ++count_;
}

void Rejects::finish() {
  if (count_ == reported_) return;
  reported_ = count_;
  if (skip_bad_) return;
  std::string text = str(count_, count_ == 1 ? " bad record" : " bad records");
  for (const auto& line : first_) text += "\n  " + line;
  if (const auto more = count_ - static_cast<std::int64_t>(first_.size()); more > 0)
    text += str("\n  and ", more, " more");
  throw DataError(text + "\ncorrect them, or leave them out with --skip-bad");
}

}  // namespace tessera
