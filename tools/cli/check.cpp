#include <chrono>
#include <iostream>

#include "framework/train/trainer.h"
#include "tensor/core/allocator.h"
#include "tensor/gemm/gemm.h"
#include "tools/cli/arguments.h"
#include "tools/cli/command.h"
#include "tools/cli/report.h"
#include "tools/cli/session.h"

namespace tessera::cli {
namespace {

double mebibytes(std::size_t bytes) { return static_cast<double>(bytes) / (1024.0 * 1024.0); }

void line(const std::string& what, const std::string& value) {
  std::cout << what << std::string(what.size() < 24 ? 24 - what.size() : 1, ' ') << value << "\n";
}

// One step on the first batch, without an update: what it costs is measured, not guessed.
void measure_step(Pipeline& pipeline) {
  TrainOptions options = pipeline.train_options;
  Trainer trainer(pipeline.model(), pipeline.head(), pipeline.data(), options, pipeline.evaluate_options, 1, "", "");
  double seconds = 0;
  std::uint64_t operations = 0;
  for (int repeat = 0; repeat < 2; ++repeat) {
    reset_peak();
    operations = gemm_operations();
    const auto start = std::chrono::steady_clock::now();
    trainer.gradient_of_batch(0, 0);
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    operations = gemm_operations() - operations;
  }
  const double steps = static_cast<double>(trainer.steps_per_epoch());
  line("steps an epoch", str(trainer.steps_per_epoch()));
  line("one batch", str(fixed(seconds * 1e3, 1), " ms forward and backward (measured on the first batch)"));
  line("its matrix products", str(fixed(static_cast<double>(operations) * 1e-9, 2), " GFLOP (",
                                  fixed(static_cast<double>(operations) * 1e-9 / seconds, 0), " GFLOP/s)"));
  line("an epoch, about", str(fixed(seconds * steps * options.accumulate, 1), " s"));
  line("memory of a step",
       str(fixed(mebibytes(allocator_stats().peak_in_use), 1), " MiB at most (tensors, data set not counted)"));
}

}  // namespace

int run_check(const std::vector<std::string>& words) {
  Arguments arguments("check");
  add_pipeline_options(arguments);
  arguments.options()("fit", "fit the tokenizer too and measure one training step (may take minutes)");
  if (!arguments.parse(words)) return 0;
  Session session(arguments.texts("plugin-dir"));
  auto pipeline = session.open(Config::load(arguments.words(1, 100), arguments.texts("set")));
  FitContext context = session.context(static_cast<std::uint64_t>(pipeline->run.seed));
  Rejects rejects(arguments.has("skip-bad"));
  pipeline->load_data(rejects, context);
  line("pipeline", pipeline->name());
  line("data", data_line(pipeline->data(), rejects.count()));
  for (const auto& plugin : pipeline->plugins()) line("plugin", plugin);
  const ModelSpec spec = pipeline->model().spec();
  line("model", str("width ", spec.width,
                    spec.reads_histories ? (spec.causal ? ", causal" : ", bidirectional") : ", reads the graph",
                    spec.max_items > 0 ? str(", newest ", spec.max_items, " items") : ""));
  if (!arguments.has("fit")) {
    std::cout << "The files fit. With --fit the tokenizer is fitted in memory and one step is measured.\n";
    return 0;
  }
  pipeline->tokenize(context);
  pipeline->build();
  line("identifiers", str(pipeline->catalog().levels(), " levels, ", pipeline->catalog().tokens(), " tokens, ",
                          pipeline->catalog().unique() ? "unique" : "shared"));
  const auto parameters = pipeline->model().parameter_count() + pipeline->head().parameter_count();
  line("parameters", str(parameters, " (", fixed(mebibytes(static_cast<std::size_t>(parameters) * 16), 1),
                         " MiB with gradients and moments)"));
  measure_step(*pipeline);
  return 0;
}

}  // namespace tessera::cli
