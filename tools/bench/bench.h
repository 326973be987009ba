#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tensor/autograd/parameter.h"
#include "tensor/ops/adamw/adamw.h"

namespace tessera::bench {

// Options of the form --name value, and --flag. Reading one declares it; unread ones are refused by finish().
class Arguments {
 public:
  Arguments(int count, char** values);  // without program and workload
  std::int64_t number(const std::string& name, std::int64_t otherwise);
  double real(const std::string& name, double otherwise);
  std::string text(const std::string& name, const std::string& otherwise);
  std::vector<std::string> texts(const std::string& name, const std::string& otherwise);  // split at commas
  std::vector<std::int64_t> numbers(const std::string& name, const std::string& otherwise);
  void finish() const;  // throws Error

 private:
  const std::string* find(const std::string& name);
  std::map<std::string, std::string> values_;
  std::map<std::string, bool> read_;
};

// One line of JSON, keys in the order of the calls; peak_rss_mib comes last, as it was at the construction or the last
// call of memory().
class Report {
 public:
  explicit Report(const std::string& workload);
  void text(const std::string& key, const std::string& value);
  void number(const std::string& key, double value);
  void seconds(const std::string& key, std::vector<double> seconds);  // {"min": ..., "median": ..., "max": ...}
  void memory();
  void print();

 private:
  std::string line_;
  double peak_rss_ = 0.0;
};

// Each workload names itself: `static const Workload flat("train_flat", "summary", run);`
struct Workload {
  Workload(const char* name, const char* summary, void (*run)(Arguments&));
};
struct WorkloadEntry {
  const char* summary;
  void (*run)(Arguments&);
};
std::map<std::string, WorkloadEntry>& workloads();

// Seconds of `repeat` calls, after `warmup` calls that are not counted.
std::vector<double> timed(const std::function<void()>& f, std::int64_t repeat, std::int64_t warmup);
double cpu_seconds();  // of all threads of this process so far
double least(const std::vector<double>& seconds);

// The best f32 rate in GFLOP/s of any backend over products (m, n, k), with the threads that are set.
struct Product {
  std::int64_t m, n, k;
};
double best_gemm_rate(const std::vector<Product>& products, std::int64_t repeat);

// Parameters by name, and AdamW over all of them.
class Model {
 public:
  Model(std::uint64_t seed, double learning_rate, double weight_decay);
  Parameter& normal(const std::string& name, Shape shape, double deviation);
  Parameter& uniform(const std::string& name, Shape shape, double bound);
  Parameter& constant(const std::string& name, Shape shape, double value);
  std::int64_t count() const;  // numbers
  void update();               // and forgets the gradients

 private:
  Parameter& keep(const std::string& name, Tensor value);
  std::uint64_t seed_;
  double learning_rate_, weight_decay_;
  std::vector<std::unique_ptr<Parameter>> parameters_;
  std::vector<AdamWTensor> state_;
  std::int64_t step_ = 0;
};

}  // namespace tessera::bench
