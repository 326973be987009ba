#include "tensor/ops/skeleton/skeleton.h"

#include "tensor/autograd/tape.h"
#include "tensor/core/agree.h"
#include "tensor/core/dispatch.h"

namespace tessera {

Tensor skeleton(const Tensor& x) {
  check_present("skeleton", "x", x);
  require_cpu_kernel("skeleton", x.device());
  Tensor y(x.shape(), x.dtype());
  cpu::skeleton_forward(x, y);
  return record("skeleton", y, {&x}, [x = x.detach()](const Tensor& dy, Grads& dx) {
    Tensor g(x.shape(), x.dtype());
    cpu::skeleton_backward(x, dy, g);
    dx[0].add(std::move(g));
  });
}

}  // namespace tessera
