#pragma once

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "framework/pipeline/pipeline.h"
#include "framework/pipeline/run_directory.h"
#include "framework/plugin/loader.h"
#include "framework/roles/context.h"
#include "tools/cli/progress_bar.h"

namespace tessera::cli {

// What every command shares: plugins, words for the user, Ctrl-C. Words go to standard error (and to a log file once
// there is a run directory), data to standard output.
class Session {
 public:
  explicit Session(const std::vector<std::string>& plugin_folders, bool quiet = false);

  Registry registry;
  Loader loader;

  FitContext context(std::uint64_t seed);
  void say(const std::string& line);
  void log_to(const std::string& folder);  // appends to <folder>/log.txt

  // Loads the plugins that the configuration names, applies [run] (threads, gemm), makes the components.
  std::unique_ptr<Pipeline> open(const Config& config);
  // A trained run: its configuration with settings on top, data, tokenizer and weights loaded.
  std::unique_ptr<Pipeline> open_run(const std::string& folder, const std::vector<std::string>& settings,
                                     bool skip_bad);

 private:
  ProgressBar bar_;
  std::ofstream log_;
};

// True after Ctrl-C (SIGINT) or SIGTERM; a second signal ends the program at once.
bool stop_requested();

}  // namespace tessera::cli
