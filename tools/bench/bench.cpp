#include "tools/bench/bench.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <sstream>

#include "tensor/core/error.h"
#include "tensor/core/random.h"
#include "tensor/gemm/gemm.h"

namespace tessera::bench {
namespace {

double number_of(const std::string& option, const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  check(end != text.c_str() && *end == '\0', "tessera_bench: --", option, " ", text, ", expected a number");
  return value;
}

std::string in_quotes(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

rusage usage() {
  rusage out{};
  getrusage(RUSAGE_SELF, &out);
  return out;
}

std::string plain(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

}  // namespace

Arguments::Arguments(int count, char** values) {
  for (int i = 0; i < count; ++i) {
    const std::string name = values[i];
    check(name.starts_with("--"), "tessera_bench: \"", name, "\", expected --name value");
    const bool has_value = i + 1 < count && std::string(values[i + 1]).rfind("--", 0) != 0;
    values_[name.substr(2)] = has_value ? values[++i] : "1";
  }
}

const std::string* Arguments::find(const std::string& name) {
  read_[name] = true;
  const auto it = values_.find(name);
  return it == values_.end() ? nullptr : &it->second;
}

double Arguments::real(const std::string& name, double otherwise) {
  const std::string* text = find(name);
  return text == nullptr ? otherwise : number_of(name, *text);
}

std::int64_t Arguments::number(const std::string& name, std::int64_t otherwise) {
  return static_cast<std::int64_t>(real(name, static_cast<double>(otherwise)));
}

std::string Arguments::text(const std::string& name, const std::string& otherwise) {
  const std::string* text = find(name);
  return text == nullptr ? otherwise : *text;
}

std::vector<std::string> Arguments::texts(const std::string& name, const std::string& otherwise) {
  std::vector<std::string> out;
  std::istringstream in(text(name, otherwise));
  for (std::string part; std::getline(in, part, ',');) out.push_back(part);
  return out;
}

std::vector<std::int64_t> Arguments::numbers(const std::string& name, const std::string& otherwise) {
  std::vector<std::int64_t> out;
  for (const std::string& part : texts(name, otherwise))
    out.push_back(static_cast<std::int64_t>(number_of(name, part)));
  return out;
}

void Arguments::finish() const {
  for (const auto& [name, value] : values_)
    check(read_.contains(name), "tessera_bench: this workload has no option --", name);
}

Report::Report(const std::string& workload) : line_("{\"workload\": " + in_quotes(workload)) { memory(); }
void Report::text(const std::string& key, const std::string& value) {
  line_ += ", " + in_quotes(key) + ": " + in_quotes(value);
}
void Report::number(const std::string& key, double value) { line_ += ", " + in_quotes(key) + ": " + plain(value); }

void Report::seconds(const std::string& key, std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  const std::size_t n = seconds.size();
  const double median = n % 2 == 1 ? seconds[n / 2] : 0.5 * (seconds[n / 2 - 1] + seconds[n / 2]);
  line_ += ", " + in_quotes(key) + ": {\"min\": " + plain(seconds.front()) + ", \"median\": " + plain(median) +
           ", \"max\": " + plain(seconds.back()) + "}";
}

void Report::memory() { peak_rss_ = static_cast<double>(usage().ru_maxrss) / 1024.0; }

void Report::print() {
  number("peak_rss_mib", peak_rss_);
  std::printf("%s}\n", line_.c_str());
  std::fflush(stdout);
}

std::map<std::string, WorkloadEntry>& workloads() {
  static std::map<std::string, WorkloadEntry> all;
  return all;
}
Workload::Workload(const char* name, const char* summary, void (*run)(Arguments&)) {
  workloads()[name] = {summary, run};
}

std::vector<double> timed(const std::function<void()>& f, std::int64_t repeat, std::int64_t warmup) {
  std::vector<double> seconds;
  for (std::int64_t i = -warmup; i < repeat; ++i) {
    const auto start = std::chrono::steady_clock::now();
    f();
    if (i >= 0) seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return seconds;
}

double cpu_seconds() {
  const rusage used = usage();
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

double least(const std::vector<double>& seconds) { return *std::min_element(seconds.begin(), seconds.end()); }

double best_gemm_rate(const std::vector<Product>& products, std::int64_t repeat) {
  const std::string kept = gemm_backend_name();
  double best = 0.0;
  for (const std::string& backend : gemm_backends()) {
    set_gemm_backend(backend);
    for (const Product& p : products) {
      const Tensor a = Tensor::full({p.m, p.k}, 0.5), b = Tensor::full({p.k, p.n}, 0.25), c({p.m, p.n});
      const auto multiply = [&] {
        gemm({false, false, p.m, p.n, p.k}, 1.0f, a.data<float>(), p.k, b.data<float>(), p.n, 0.0f, c.data<float>(),
             p.n);
      };
      const double seconds = least(timed(multiply, repeat, 1));
      best = std::max(best,
                      2e-9 * static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k) / seconds);
    }
  }
  set_gemm_backend(kept);
  return best;
}

Model::Model(std::uint64_t seed, double learning_rate, double weight_decay)
    : seed_(seed), learning_rate_(learning_rate), weight_decay_(weight_decay) {}

Parameter& Model::normal(const std::string& name, Shape shape, double deviation) {
  Tensor value(shape);
  fill_normal(value, 0.0, deviation, seed_, stream_of(name));
  return keep(name, value);
}

Parameter& Model::uniform(const std::string& name, Shape shape, double bound) {
  Tensor value(shape);
  fill_uniform(value, -bound, bound, seed_, stream_of(name));
  return keep(name, value);
}

Parameter& Model::constant(const std::string& name, Shape shape, double value) {
  return keep(name, Tensor::full(shape, value));
}

Parameter& Model::keep(const std::string& name, Tensor value) {
  parameters_.push_back(std::make_unique<Parameter>(name, value));
  state_.push_back({value, {}, Tensor::zeros(value.shape()), Tensor::zeros(value.shape()), weight_decay_});
  return *parameters_.back();
}

std::int64_t Model::count() const {
  std::int64_t sum = 0;
  for (const auto& parameter : parameters_) sum += parameter->value.numel();
  return sum;
}

void Model::update() {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    check(static_cast<bool>(parameters_[i]->gradient), "tessera_bench: no gradient reached ", parameters_[i]->name);
    state_[i].gradient = std::move(parameters_[i]->gradient);
    parameters_[i]->gradient = {};
  }
  AdamWStep step;
  step.learning_rate = learning_rate_;
  step.step = ++step_;
  adamw(state_, step);
  for (auto& each : state_) each.gradient = {};
}

}  // namespace tessera::bench
