#include "framework/train/optimizer.h"

#include <cmath>

#include "tensor/core/parallel.h"

namespace tessera {
namespace {

const Tensor& find_tensor(const TensorFile& file, const std::string& name, const Tensor& like,
                          const std::string& path) {
  const auto it = file.tensors.find(name);
  if (it == file.tensors.end())
    throw CheckpointError(
        str(path, ": tensor '", name, "' is missing; the checkpoint belongs to another pipeline or another version"));
  if (it->second.shape() != like.shape() || it->second.dtype() != like.dtype())
    throw CheckpointError(str(path, ": tensor '", name, "' is ", name_of(it->second.dtype()), " ",
                              it->second.shape().text(), ", the pipeline expects ", name_of(like.dtype()), " ",
                              like.shape().text()));
  return it->second;
}

// average = decay average + (1 - decay) value
void update_average(Tensor& average, const Tensor& value, double decay) {
  float* a = average.data<float>();
  const float* x = value.data<float>();
  const auto d = static_cast<float>(decay);
  parallel_rows(value.numel(), 32768, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) a[i] = d * a[i] + (1 - d) * x[i];
  });
}

}  // namespace

Optimizer::Optimizer(Named parameters, const TrainOptions& options)
    : parameters_(std::move(parameters)), options_(options) {
  for (auto& [name, p] : parameters_) {
    const Tensor& value = p->value;
    state_.push_back({value,
                      {},
                      Tensor::zeros(value.shape(), value.dtype(), value.device()),
                      Tensor::zeros(value.shape(), value.dtype(), value.device()),
                      p->decays ? options.weight_decay : 0.0});
    if (options.average > 0) average_.push_back(value.clone());
  }
}

double Optimizer::step(double learning_rate, int accumulated) {
  std::vector<AdamWTensor> moved;
  std::vector<Tensor> gradients;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    Parameter& p = *parameters_[i].second;
    if (!p.gradient) continue;
    state_[i].value = p.value;
    moved.push_back(state_[i]);
    moved.back().gradient = p.gradient;
    gradients.push_back(p.gradient);
  }
  const double share = 1.0 / accumulated;
  const double norm = global_norm(gradients) * share;
  if (!std::isfinite(norm)) return norm;
  AdamWStep update;
  update.learning_rate = learning_rate;
  update.beta1 = options_.beta1;
  update.beta2 = options_.beta2;
  update.eps = options_.epsilon;
  update.step = ++steps_;
  update.gradient_scale =
      options_.clip_norm > 0 && norm > options_.clip_norm ? share * options_.clip_norm / norm : share;
  adamw(moved, update);
  for (auto& [name, p] : parameters_) p->gradient = {};
  // Early averages would remember the initial values: the decay grows into its own.
  const double decay =
      std::min(options_.average, (1.0 + static_cast<double>(steps_)) / (10.0 + static_cast<double>(steps_)));
  for (std::size_t i = 0; i < average_.size(); ++i) update_average(average_[i], parameters_[i].second->value, decay);
  return norm;
}

void Optimizer::swap_average() {
  for (std::size_t i = 0; i < average_.size(); ++i) std::swap(average_[i], parameters_[i].second->value);
}

void Optimizer::save(TensorFile& file) const {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    file.tensors["optimizer/first/" + parameters_[i].first] = state_[i].first;
    file.tensors["optimizer/second/" + parameters_[i].first] = state_[i].second;
    if (!average_.empty()) file.tensors["optimizer/average/" + parameters_[i].first] = average_[i];
  }
  file.metadata["optimizer.steps"] = std::to_string(steps_);
}

void Optimizer::load(const TensorFile& file, const std::string& path) {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const auto& name = parameters_[i].first;
    state_[i].first.copy_from(find_tensor(file, "optimizer/first/" + name, state_[i].first, path));
    state_[i].second.copy_from(find_tensor(file, "optimizer/second/" + name, state_[i].second, path));
    if (!average_.empty()) average_[i].copy_from(find_tensor(file, "optimizer/average/" + name, average_[i], path));
  }
  const auto steps = file.metadata.find("optimizer.steps");
  if (steps == file.metadata.end()) throw CheckpointError(str(path, ": no step count; this is no training checkpoint"));
  steps_ = std::stoll(steps->second);
}

void save_parameters(const Optimizer::Named& parameters, const std::string& prefix, TensorFile& file) {
  for (const auto& [name, p] : parameters) file.tensors[prefix + name] = p->value;
}

void load_parameters(const Optimizer::Named& parameters, const std::string& prefix, const TensorFile& file,
                     const std::string& path) {
  for (const auto& [name, p] : parameters) p->value.copy_from(find_tensor(file, prefix + name, p->value, path));
}

}  // namespace tessera
