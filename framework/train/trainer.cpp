#include "framework/train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <utility>

#include "framework/checkpoint/json.h"
#include "framework/train/schedule.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"
#include "tensor/ops/elementwise/elementwise.h"

namespace tessera {
namespace {

constexpr const char* kFormat = "1";

BatchOptions batch_options(const ModelSpec& model, const HeadSpec& head, const TrainOptions& options) {
  BatchOptions out;
  out.form = head.form;
  out.batch_size = options.batch_size;
  out.max_items = model.max_items > 0 ? model.max_items : std::numeric_limits<std::int32_t>::max();
  out.subsequences = options.subsequences;
  out.bucket = options.bucket;
  out.with_labels = head.needs_labels;
  // Heads with labels learn from every labelled interaction.
  if (head.needs_labels && head.form == BatchForm::one_target) out.subsequences = out.empty_histories = true;
  // Models of the graph learn from every interaction, and read no histories.
  if (!model.reads_histories && head.form == BatchForm::one_target) {
    out.subsequences = out.empty_histories = true;
    out.with_histories = false;
  }
  if (model.subset > 0) {
    out.subset = model.subset;
    out.subset_keeps_target = model.subset_keeps_target;
    out.subsequences = true;
  }
  out.negatives = std::max(model.negatives, head.negatives);
  return out;
}

// Only the protocol that the metric names, and only its K: a ranking only where the metric is one.
EvaluateOptions for_metric(EvaluateOptions options, const std::string& metric) {
  options.seen = metric.starts_with("unseen/") ? "exclude" : "include";
  if (const auto at = metric.find('@'); at != std::string::npos) {
    options.cutoffs = {std::stoll(metric.substr(at + 1))};
    options.ranking = "yes";
  } else {
    options.ranking = "auto";
  }
  if (metric.find("items_") == std::string::npos) options.item_counts.clear();
  options.cold_slices = metric.find("cold/") != std::string::npos || metric.find("cold_alone/") != std::string::npos;
  return options;
}

// What two validations are compared by.
double compared(double value, int decimals) {
  const double unit = std::pow(10.0, decimals);
  return decimals == 0 ? value : std::round(value * unit) / unit;
}

std::string fixed(double value, int digits = 4) {
  char text[40];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

}  // namespace

bool smaller_is_better(const std::string& metric) { return metric.ends_with("LogLoss") || metric.ends_with("ECE"); }

Optimizer::Named named_parameters(Model& model, Head& head) {
  Optimizer::Named all;
  for (auto& [name, p] : model.parameters()) all.emplace_back("model/" + name, p);
  for (auto& [name, p] : head.parameters()) all.emplace_back("head/" + name, p);
  return all;
}

Trainer::Trainer(Model& model, Head& head, const Dataset& data, const TrainOptions& options,
                 const EvaluateOptions& evaluation, std::uint64_t seed, std::string folder, std::string identity)
    : model_(model),
      head_(head),
      data_(data),
      options_(options),
      evaluation_(for_metric(evaluation, options.metric)),
      seed_(seed),
      folder_(std::move(folder)),
      identity_(std::move(identity)),
      spec_(model.spec()),
      batches_(data, batch_options(spec_, head.spec(spec_), options), seed),
      optimizer_(named_parameters(model, head), options),
      log_(folder_) {
  check(batches_.per_epoch() > 0,
        "train: the training part has no targets: every user needs at least two training items");
}

std::int64_t Trainer::steps_per_epoch() const {
  return (batches_.per_epoch() + options_.accumulate - 1) / options_.accumulate;
}

std::int64_t Trainer::total_steps() const {
  const std::int64_t all = steps_per_epoch() * options_.epochs;
  return options_.max_steps > 0 ? std::min(options_.max_steps, all) : all;
}

double Trainer::gradient_of_batch(std::int64_t epoch, std::int64_t index) {
  if (epoch != begun_epoch_) model_.begin_epoch(epoch, seed_);
  begun_epoch_ = epoch;
  const TrainBatch batch = batches_.batch(epoch, index);
  const TrainingScope training(seed_, static_cast<std::uint64_t>(batch.step));
  Tape tape;
  Tensor loss = head_.loss(model_, batch);
  if (const Tensor more = model_.auxiliary_loss(batch)) loss = loss ? add(loss, more) : more;
  check(static_cast<bool>(loss), "train: neither the head nor the model gives a loss");
  const double value = loss.item();
  if (!std::isfinite(value))
    throw Error(str("train: the loss is ", value, " at step ", optimizer_.steps() + 1, " (epoch ", epoch + 1,
                    ", batch ", index + 1, "), last gradient norm ", last_norm_,
                    "; lower train.learning_rate or set train.clip_norm, and go on with --resume"));
  tape.backward(loss);
  return value;
}

double Trainer::take_step(std::int64_t step) {
  const std::int64_t per_epoch = steps_per_epoch(), epoch = step / per_epoch;
  const std::int64_t first = step % per_epoch * options_.accumulate;
  const std::int64_t last = std::min(first + options_.accumulate, batches_.per_epoch());
  double loss_sum = 0;
  for (std::int64_t index = first; index < last; ++index) loss_sum += gradient_of_batch(epoch, index);
  last_rate_ = learning_rate_at(step + 1, total_steps(), options_);
  last_norm_ = optimizer_.step(last_rate_, static_cast<int>(last - first));
  if (!std::isfinite(last_norm_))
    throw Error(str("train: the gradient norm is ", last_norm_, " at step ", step + 1, " (epoch ", epoch + 1,
                    "), loss ", loss_sum,
                    "; lower train.learning_rate or set train.clip_norm, and go on with --resume"));
  return loss_sum / static_cast<double>(last - first);
}

TrainResult Trainer::run(bool resume, FitContext& context) {
  const auto start = std::chrono::steady_clock::now();
  auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  if (resume) load_checkpoint(context);
  const std::int64_t per_epoch = steps_per_epoch(), total = total_steps();
  TrainResult result;
  const std::int64_t first_step = optimizer_.steps();
  double step_seconds = 0;
  while (!progress_.finished && optimizer_.steps() < total) {
    const std::int64_t step = optimizer_.steps();
    const double before = seconds();
    progress_.epoch_loss += take_step(step);
    step_seconds += seconds() - before;
    context.progress(static_cast<double>(step + 1) / static_cast<double>(total),
                     str("epoch ", step / per_epoch + 1, " loss ",
                         fixed(progress_.epoch_loss / static_cast<double>(step % per_epoch + 1))));
    const bool epoch_ends = (step + 1) % per_epoch == 0 || step + 1 == total;
    if (epoch_ends) end_epoch(step / per_epoch + 1, context);
    if (options_.max_minutes > 0 && seconds() > 60 * options_.max_minutes && !progress_.finished) {
      progress_.finished = true;
      progress_.reason = str("the budget of ", options_.max_minutes, " minutes is spent");
    }
    result.interrupted = !progress_.finished && optimizer_.steps() < total && context.stop();
    if (epoch_ends || result.interrupted || progress_.finished || (step + 1) % options_.checkpoint_steps == 0)
      save_checkpoint();
    if (result.interrupted) break;
  }
  if (!result.interrupted && !best_.empty()) {
    for (std::size_t i = 0; i < best_.size(); ++i) optimizer_.parameters()[i].second->value.copy_from(best_[i]);
  } else if (!result.interrupted) {
    optimizer_.swap_average();
  }
  result.steps = optimizer_.steps();
  result.best_epoch = progress_.best_epoch;
  result.best_metric = progress_.best_metric;
  result.seconds = seconds();
  if (result.steps > first_step)
    result.epoch_seconds =
        step_seconds * static_cast<double>(per_epoch) / static_cast<double>(result.steps - first_step);
  result.reason = result.interrupted         ? "a stop was requested"
                  : progress_.reason.empty() ? str("all ", result.steps, " steps are done")
                                             : progress_.reason;
  return result;
}

void Trainer::end_epoch(std::int64_t epoch, FitContext& context) {
  const std::int64_t steps = (optimizer_.steps() - 1) % steps_per_epoch() + 1;
  MetricsLog::Row row;
  row.step = optimizer_.steps();
  row.values["epoch"] = static_cast<double>(epoch);
  row.values["train/loss"] = progress_.epoch_loss / static_cast<double>(steps);
  row.values["train/learning_rate"] = last_rate_;
  row.values["train/gradient_norm"] = last_norm_;
  progress_.epoch_loss = 0;
  if (options_.valid_every > 0 && epoch % options_.valid_every == 0) validate(epoch, row, context);
  std::string line = str("epoch ", epoch, "  loss ", fixed(row.values["train/loss"]));
  for (const auto& [name, value] : row.values)
    if (name.starts_with("valid/") && name.find("cold_") == std::string::npos && name != "valid/impressions")
      line += str("  ", name, " ", fixed(value));
  context.say(line);
  log_.add(std::move(row));
  log_.write();
}

void Trainer::validate(std::int64_t epoch, MetricsLog::Row& row, FitContext& context) {
  optimizer_.swap_average();
  const Evaluation result = evaluate(model_, head_, data_, Part::valid, evaluation_, spec_.max_items);
  for (const auto& [name, value] : result.mean) row.values["valid/" + name] = value;
  const auto found = result.mean.find(options_.metric);
  if (found == result.mean.end()) {
    optimizer_.swap_average();
    throw ConfigError(
        str("train.metric is '", options_.metric, "', which validation does not give; it gives ", result.names.front(),
            " and the like",
            options_.metric.ends_with("AUC") ? " (GAUC needs users with both labels in the validation part)" : ""));
  }
  const double now = compared(found->second, options_.metric_decimals);
  const double best = compared(progress_.best_metric, options_.metric_decimals);
  const bool better = smaller_is_better(options_.metric) ? now < best : now > best;
  if (progress_.best_epoch == 0 || better) {
    progress_.best_metric = found->second;
    progress_.best_epoch = epoch;
    progress_.bad_validations = 0;
    keep_best();
  } else if (++progress_.bad_validations >= options_.patience) {
    progress_.finished = true;
    progress_.reason =
        str(options_.metric, smaller_is_better(options_.metric) ? " did not fall for " : " did not rise for ",
            options_.patience, " validations; the best was epoch ", progress_.best_epoch);
  }
  optimizer_.swap_average();
  context.progress(-1, "");  // a validation may take long: let a bar measure its rate afresh
}

void Trainer::keep_best() {
  best_.resize(optimizer_.parameters().size());
  for (std::size_t i = 0; i < best_.size(); ++i) {
    const Tensor& value = optimizer_.parameters()[i].second->value;
    if (!best_[i]) best_[i] = Tensor(value.shape(), value.dtype(), value.device());
    best_[i].copy_from(value);
  }
}

void Trainer::save_checkpoint() const {
  TensorFile file;
  save_parameters(optimizer_.parameters(), "", file);
  for (std::size_t i = 0; i < best_.size(); ++i) file.tensors["best/" + optimizer_.parameters()[i].first] = best_[i];
  optimizer_.save(file);
  file.metadata["tessera.format"] = kFormat;
  file.metadata["identity"] = identity_;
  file.metadata["epoch_loss"] = json_number(progress_.epoch_loss);
  file.metadata["best_metric"] = json_number(progress_.best_metric);
  file.metadata["best_epoch"] = std::to_string(progress_.best_epoch);
  file.metadata["bad_validations"] = std::to_string(progress_.bad_validations);
  file.metadata["finished"] = progress_.finished ? "1" : "0";
  file.metadata["reason"] = progress_.reason;
  file.metadata["metrics"] = log_.text();
  const std::string path = folder_ + "/checkpoint.safetensors";
  if (std::filesystem::exists(path)) std::filesystem::rename(path, folder_ + "/checkpoint.previous.safetensors");
  write_safetensors(path, file);
}

// The newest checkpoint that can be trusted. A damaged one is named and passed over; one of another pipeline is an
// error.
bool Trainer::load_checkpoint(FitContext& context) {
  std::string damaged;
  for (const char* name : {"/checkpoint.safetensors", "/checkpoint.previous.safetensors"}) {
    const std::string path = folder_ + name;
    if (!std::filesystem::exists(path)) continue;
    TensorFile file;
    try {
      file = read_safetensors(path, true);
    } catch (const Error& error) {
      damaged = error.what();
      context.say(str("passed over: ", damaged));
      continue;
    }
    load_from(path, file);
    context.say(str("resumed from ", path, " at step ", optimizer_.steps()));
    return true;
  }
  if (!damaged.empty()) throw CheckpointError(damaged + "; no other checkpoint is left, start again without --resume");
  return false;
}

void Trainer::load_from(const std::string& path, const TensorFile& file) {
  auto fact = [&](const std::string& key) {
    const auto it = file.metadata.find(key);
    if (it == file.metadata.end())
      throw CheckpointError(str(path, ": '", key, "' is missing; this is no training checkpoint"));
    return it->second;
  };
  if (fact("tessera.format") != kFormat)
    throw CheckpointError(str(path, ": checkpoint format ", fact("tessera.format"), ", this program reads format ",
                              kFormat, "; resume with the version that wrote it"));
  if (fact("identity") != identity_)
    throw CheckpointError(str(path, ": made by another pipeline, data set or seed (", fact("identity"), ", now ",
                              identity_, "); use the same ones or another --out"));
  load_parameters(optimizer_.parameters(), "", file, path);
  optimizer_.load(file, path);
  progress_.epoch_loss = std::stod(fact("epoch_loss"));
  progress_.best_metric = std::stod(fact("best_metric"));
  progress_.best_epoch = std::stoll(fact("best_epoch"));
  progress_.bad_validations = std::stoll(fact("bad_validations"));
  progress_.finished = fact("finished") == "1";
  progress_.reason = fact("reason");
  log_.restore(fact("metrics"));
  if (progress_.best_epoch > 0) {
    keep_best();
    const Optimizer::Named& named = optimizer_.parameters();
    for (std::size_t i = 0; i < best_.size(); ++i) {
      const auto it = file.tensors.find("best/" + named[i].first);
      if (it == file.tensors.end() || it->second.shape() != best_[i].shape())
        throw CheckpointError(str(path, ": tensor 'best/", named[i].first, "' is missing or has another shape"));
      best_[i].copy_from(it->second);
    }
  }
}

}  // namespace tessera
