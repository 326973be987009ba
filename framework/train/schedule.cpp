#include "framework/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tessera {

double learning_rate_at(std::int64_t step, std::int64_t total, const TrainOptions& options) {
  const double peak = options.learning_rate;
  const auto s = static_cast<double>(step), warm = static_cast<double>(options.warmup_steps);
  if (step <= options.warmup_steps) return peak * s / warm;
  if (options.schedule == "cosine") {
    const double share = std::clamp((s - warm) / std::max(1.0, static_cast<double>(total) - warm), 0.0, 1.0);
    return peak * (options.final_rate + (1 - options.final_rate) * 0.5 * (1 + std::cos(std::numbers::pi * share)));
  }
  if (options.schedule == "inverse_sqrt") return peak * std::sqrt(std::max(1.0, warm) / s);
  return peak;
}

}  // namespace tessera
