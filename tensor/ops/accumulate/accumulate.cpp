#include "tensor/ops/accumulate/accumulate.h"

#include "tensor/core/dispatch.h"

namespace tessera {

void accumulate(Tensor& y, const Tensor& x) {
  check(y.numel() == x.numel() && y.dtype() == x.dtype(), "accumulate: ", name_of(x.dtype()), " ", x.shape().text(), " onto ",
        name_of(y.dtype()), " ", y.shape().text());
  TESSERA_ON_DEVICE("accumulate", y.device(), accumulate(y, x));
}

}  // namespace tessera
