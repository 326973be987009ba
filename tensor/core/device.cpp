#include "tensor/core/device.h"

#include <charconv>

#include "tensor/core/dispatch.h"
#include "tensor/core/error.h"

namespace tessera {

Device Device::parse(const std::string& text) {
  if (text == "cpu") return cpu();
  if (text == "cuda") return cuda();
  if (text.starts_with("cuda:")) {
    int index = -1;
    const char* begin = text.data() + 5;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(begin, end, index);
    if (error == std::errc() && stop == end && index >= 0) return cuda(index);
  }
  throw Error(str("device: '", text, "', expected cpu, cuda or cuda:N"));
}

std::string Device::text() const { return is_cpu() ? "cpu" : str("cuda:", index); }

void require_cpu(const char* op, Device device) {
  if (device.is_cpu()) return;
  throw Error(str(op, ": tensor is on ", device.text(), ", but this build has no CUDA (preset 'cuda')"));
}

void require_cpu_kernel(const char* op, Device device) {
  if (device.is_cpu()) return;
  throw Error(str(op, ": tensor is on ", device.text(),
                  ", but this op runs on the cpu alone; move its inputs with to(Device::cpu())"));
}

}  // namespace tessera
