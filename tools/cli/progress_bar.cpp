#include "tools/cli/progress_bar.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>

namespace tessera::cli {
namespace {

std::string duration(double seconds) {
  char text[40];
  const auto s = static_cast<long>(seconds + 0.5);
  if (s >= 3600) std::snprintf(text, sizeof text, "%ldh %02ldm", s / 3600, s / 60 % 60);
  else if (s >= 60) std::snprintf(text, sizeof text, "%ldm %02lds", s / 60, s % 60);
  else std::snprintf(text, sizeof text, "%lds", s);
  return text;
}

}  // namespace

ProgressBar::ProgressBar(bool quiet)
    : quiet_(quiet), terminal_(isatty(STDERR_FILENO) != 0), begin_(Clock::now()), last_(begin_) {}

void ProgressBar::update(double done, const std::string& what) {
  const auto now = Clock::now();
  if (done < 0 || done < last_done_) {  // another task begins
    begin_ = last_ = now;
    begin_done_ = last_done_ = std::max(0.0, done);
    return;
  }
  last_done_ = done;
  const double since = std::chrono::duration<double>(now - last_).count();
  if (quiet_ || since < (terminal_ ? 0.1 : 30.0)) return;
  last_ = now;
  const double spent = std::chrono::duration<double>(now - begin_).count();
  const double gained = done - begin_done_;
  const std::string left = gained > 0 ? duration(spent * (1 - done) / gained) + " left" : "";
  char share[16];
  std::snprintf(share, sizeof share, "%5.1f %%", 100 * done);
  if (!terminal_) {
    std::cerr << share << "  " << what << "  " << left << '\n';
    return;
  }
  const auto filled = static_cast<std::size_t>(24 * std::clamp(done, 0.0, 1.0));
  std::cerr << "\r\033[K" << std::string(filled, '#') << std::string(24 - filled, '-') << ' ' << share << "  " << what
            << "  " << left << std::flush;
  drawn_ = true;
}

void ProgressBar::clear() {
  if (drawn_) std::cerr << "\r\033[K" << std::flush;
  drawn_ = false;
}

}  // namespace tessera::cli
