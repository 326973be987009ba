#include <cmath>
#include <filesystem>
#include <iostream>

#include "framework/checkpoint/atomic_file.h"
#include "framework/checkpoint/safetensors.h"
#include "framework/data/npy.h"
#include "framework/pipeline/run_directory.h"
#include "framework/serve/user_memory.h"
#include "tools/cli/arguments.h"
#include "tools/cli/command.h"
#include "tools/cli/report.h"

namespace tessera::cli {
namespace {

void print_tensors(const std::string& path) {
  const TensorFile file = read_safetensors(path);
  std::vector<std::vector<std::string>> rows{{"tensor", "type", "shape", "mean", "deviation"}};
  std::int64_t numbers = 0;
  for (const auto& [name, tensor] : file.tensors) {
    const Tensor x = tensor.to(DType::f64);
    double sum = 0, squares = 0;
    for (const double v : x.values<double>()) sum += v, squares += v * v;
    const double n = static_cast<double>(std::max<std::int64_t>(1, x.numel())), mean = sum / n;
    rows.push_back({name, name_of(tensor.dtype()), tensor.shape().text(), fixed(mean, 5),
                    fixed(std::sqrt(std::max(0.0, squares / n - mean * mean)), 5)});
    numbers += tensor.numel();
  }
  std::cout << path << ": " << file.tensors.size() << " tensors, " << numbers << " numbers, checksum holds\n"
            << table(rows);
  for (const auto& [key, value] : file.metadata)
    if (value.size() <= 100 && value.find('\n') == std::string::npos) std::cout << key << " = " << value << "\n";
}

void print_codes(const std::string& path) {
  const Tensor values = read_npy(path);
  std::cout << path << ": " << name_of(values.dtype()) << " " << values.shape().text() << "\n";
  const Tensor x = values.to(DType::f64);
  for (std::int64_t i = 0; i < std::min<std::int64_t>(5, x.rows()); ++i) {
    std::cout << "row " << i << ":";
    for (std::int64_t c = 0; c < std::min<std::int64_t>(12, x.columns()); ++c)
      std::cout << ' ' << x.data<double>()[i * x.columns() + c];
    std::cout << "\n";
  }
}

void print_run(const std::string& folder) {
  read_manifest(folder);
  std::cout << read_file(folder + "/manifest.toml") << "\n";
  if (std::filesystem::exists(folder + "/metrics.csv")) std::cout << read_file(folder + "/metrics.csv") << "\n";
  for (const char* name : {"/codes.npy"})
    if (std::filesystem::exists(folder + name)) print_codes(folder + name);
  for (const char* name : {"/tokenizer.safetensors", "/model.safetensors", "/checkpoint.safetensors"})
    if (std::filesystem::exists(folder + name)) print_tensors(folder + name);
}

}  // namespace

int run_inspect(const std::vector<std::string>& words) {
  Arguments arguments("inspect");
  if (!arguments.parse(words)) return 0;
  const std::string path = arguments.words(1, 1)[0];
  if (UserMemory::holds(path)) print_memory(path);
  else if (std::filesystem::is_directory(path)) print_run(path);
  else if (path.ends_with(".npy")) print_codes(path);
  else print_tensors(path);
  return 0;
}

}  // namespace tessera::cli
