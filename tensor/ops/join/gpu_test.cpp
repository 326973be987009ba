#include <gtest/gtest.h>

#include "tensor/autograd/gpucheck.h"
#include "tensor/ops/join/join.h"

namespace tessera {

TEST(JoinGpu, EqualsTheCpu) {
  if (cuda_device_count() == 0) GTEST_SKIP() << kNoGpu;
  const std::vector<Tensor> columns = {random_f64({4, 3}, 1), random_f64({4, 5}, 2)},
                            rows = {random_f64({4, 3}, 1), random_f64({2, 3}, 2)};
  EXPECT_LT(gpucheck([](const auto& x) { return concat_columns({x[0], x[1], x[0]}); }, columns), 1e-6);
  EXPECT_LT(gpucheck([](const auto& x) { return concat_rows({x[0], x[1], x[0]}); }, rows), 1e-6);
  const auto slices = [](const auto& x) {
    return concat_rows({slice_columns(slice_rows(x[0], 1, 3), 0, 2), slice_columns(x[0], 1, 3)});
  };
  EXPECT_LT(gpucheck(slices, {columns[0]}), 1e-6);
}

}  // namespace tessera
