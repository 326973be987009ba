#pragma once

#include <chrono>
#include <string>

namespace tessera::cli {

// One line on standard error that is redrawn: bar, share, rate, remaining time. On a terminal only; elsewhere a line
// every half minute.
class ProgressBar {
 public:
  explicit ProgressBar(bool quiet);
  void update(double done, const std::string& what);  // done: 0 .. 1; below 0: measure the rate afresh
  void clear();                                       // before other words are printed

 private:
  using Clock = std::chrono::steady_clock;
  bool quiet_, terminal_, drawn_ = false;
  double begin_done_ = 0, last_done_ = 0;
  Clock::time_point begin_, last_;
};

}  // namespace tessera::cli
