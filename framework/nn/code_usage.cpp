#include "framework/nn/code_usage.h"

namespace tessera {

CodeUsage::CodeUsage(const QuantizerOptions& options)
    : codes_(options.codes),
      idle_(static_cast<std::size_t>(options.levels) * static_cast<std::size_t>(options.codes), 0) {}

void CodeUsage::count(const ResidualQuantizer::Output& output) {
  for (std::int64_t& batches : idle_) ++batches;
  const auto levels = static_cast<std::int64_t>(idle_.size()) / codes_;
  for (std::size_t i = 0; i < output.codes.size(); ++i)
    idle_[static_cast<std::size_t>(static_cast<std::int64_t>(i) % levels * codes_ + output.codes[i])] = 0;
}

std::vector<std::int64_t> CodeUsage::alive(std::int64_t patience) const {
  std::vector<std::int64_t> out;
  out.reserve(idle_.size());
  for (const std::int64_t batches : idle_) out.push_back(batches < patience ? 1 : 0);
  return out;
}

void CodeUsage::taken(const std::vector<std::int64_t>& rows) {
  for (const std::int64_t row : rows) idle_[static_cast<std::size_t>(row)] = 0;
}

}  // namespace tessera
