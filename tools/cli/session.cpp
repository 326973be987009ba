#include "tools/cli/session.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <iostream>
#include <thread>

#include "tensor/core/parallel.h"
#include "tensor/gemm/gemm.h"

namespace tessera::cli {
namespace {

volatile std::sig_atomic_t stop_flag = 0;

extern "C" void on_signal(int signal) {
  if (stop_flag) std::signal(signal, SIG_DFL), std::raise(signal);
  stop_flag = 1;
}

// The handler runs on a stack of its own: oneDNN's matrix products point the stack pointer at a buffer on the heap, and
// the frame of a handler on that "stack" would be written over what lies there.
void handle(int signal) {
  alignas(64) static std::array<char, 128 * 1024> memory;
  stack_t stack{};
  if (sigaltstack(nullptr, &stack) == 0 && (stack.ss_flags & SS_DISABLE) != 0) {  // a sanitizer may have set one
    stack = {};
    stack.ss_sp = memory.data();
    stack.ss_size = memory.size();
    sigaltstack(&stack, nullptr);
  }
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_ONSTACK | SA_RESTART;
  sigaction(signal, &action, nullptr);
}

}  // namespace

bool stop_requested() { return stop_flag != 0; }

Session::Session(const std::vector<std::string>& plugin_folders, bool quiet)
    : loader(registry, plugin_folders), bar_(quiet) {
  handle(SIGINT);
  handle(SIGTERM);
}

void Session::say(const std::string& line) {
  bar_.clear();
  std::cerr << line << '\n';
  if (log_) log_ << line << std::endl;
}

void Session::log_to(const std::string& folder) {
  log_.close();
  log_.clear();
  log_.open(folder + "/log.txt", std::ios::app);
}

FitContext Session::context(std::uint64_t seed) {
  FitContext context;
  context.seed = seed;
  context.say = [this](const std::string& line) { say(line); };
  context.progress = [this](double done, const std::string& what) { bar_.update(done, what); };
  context.stop = stop_requested;
  return context;
}

std::unique_ptr<Pipeline> Session::open(const Config& config) {
  for (const auto& name : config.texts("plugins"))
    if (!loader.load_by_name(name))
      throw ConfigError(str(config.where("plugins"), ": plugin '", name, "' is in no plugin folder"));
  auto pipeline = std::make_unique<Pipeline>(config, registry);
  const int threads = pipeline->run.threads;
  set_threads(threads > 0 ? threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
  set_gemm_backend(pipeline->run.gemm);
  return pipeline;
}

std::unique_ptr<Pipeline> Session::open_run(const std::string& folder, const std::vector<std::string>& settings,
                                            bool skip_bad) {
  const Manifest manifest = read_manifest(folder);
  const auto& there = gemm_backends();
  const bool here = std::find(there.begin(), there.end(), manifest.gemm) != there.end();
  if (!here)
    say(str(folder, ": trained with gemm ", manifest.gemm,
            ", which this machine or build does not have; the last digits of scores may differ"));
  std::vector<std::string> all{"run.gemm=\"" + (here ? manifest.gemm : "auto") + "\""};
  all.insert(all.end(), settings.begin(), settings.end());
  auto pipeline = open(Config::parse(folder + "/manifest.toml (config)", manifest.config, all));
  auto ctx = context(static_cast<std::uint64_t>(pipeline->run.seed));
  Rejects rejects(skip_bad);
  pipeline->load_data(rejects, ctx);
  pipeline->load_tokenizer(folder);
  pipeline->build();
  pipeline->load_model(folder);
  return pipeline;
}

}  // namespace tessera::cli
