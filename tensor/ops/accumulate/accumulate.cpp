#include "tensor/ops/accumulate/accumulate.h"

#include "tensor/core/agree.h"
#include "tensor/core/dispatch.h"

namespace tessera {

void accumulate(Tensor& y, const Tensor& x) {
  check_agree("accumulate", "y", y, "x", x);
  check(y.numel() == x.numel(), "accumulate: ", x.shape().text(), " onto ", y.shape().text(),
        ", expected as many elements");
  TESSERA_ON_DEVICE("accumulate", y.device(), accumulate(y, x));
}

}  // namespace tessera
