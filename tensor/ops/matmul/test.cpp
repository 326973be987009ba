#include "tensor/ops/matmul/matmul.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tensor/autograd/gradcheck.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/parallel.h"

namespace tessera {

TEST(Matmul, GoldenValues) {
  const Tensor a = Tensor::from<double>({1, 2, 3, 4, 5, 6}, {2, 3});
  const Tensor b = Tensor::from<double>({1, 0, 2, -1, 1, 1}, {3, 2});
  const Tensor y = matmul(a, b);
  EXPECT_EQ(std::vector<double>(y.values<double>().begin(), y.values<double>().end()),
            (std::vector<double>{8, 1, 20, 1}));
}

TEST(Matmul, TransposesAreFlags) {
  const Tensor a = random_f64({7, 5}, 1), b = random_f64({5, 3}, 2);
  Tensor at({5, 7}, DType::f64), bt({3, 5}, DType::f64);
  for (int i = 0; i < 7; ++i)
    for (int j = 0; j < 5; ++j) at.data<double>()[j * 7 + i] = a.data<double>()[i * 5 + j];
  for (int i = 0; i < 5; ++i)
    for (int j = 0; j < 3; ++j) bt.data<double>()[j * 5 + i] = b.data<double>()[i * 3 + j];
  const Tensor y = matmul(a, b);
  for (const Tensor& z : {matmul(at, b, true, false), matmul(a, bt, false, true), matmul(at, bt, true, true)})
    for (int i = 0; i < 21; ++i) EXPECT_NEAR(z.data<double>()[i], y.data<double>()[i], 1e-14);
}

TEST(MatmulGrad, Gradcheck) {
  for (const bool ta : {false, true})
    for (const bool tb : {false, true})
      for (const auto& [m, n, k] : {std::array{4, 3, 5}, std::array{1, 7, 1}, std::array{11, 1, 13}}) {
        const Shape a = ta ? Shape{k, m} : Shape{m, k}, b = tb ? Shape{n, k} : Shape{k, n};
        EXPECT_LT(
            gradcheck([&](const auto& x) { return matmul(x[0], x[1], ta, tb); }, {random_f64(a, 1), random_f64(b, 2)}),
            1e-8);
      }
}

TEST(MatmulGrad, ContributionsAddUp) {
  const auto twice = [](const auto& x) { return matmul(matmul(x[0], x[1]), x[1]); };
  EXPECT_LT(gradcheck(twice, {random_f64({3, 5}, 1), random_f64({5, 5}, 2)}), 1e-7);
}

TEST(Matmul, SameBitsForAnyNumberOfThreads) {
  const Tensor a = random_f64({3000, 64}, 1).to(DType::f32), b = random_f64({64, 96}, 2).to(DType::f32);
  const auto run = [&] {
    Tape tape;
    const Tensor x = tape.watch(a), w = tape.watch(b);
    const Tensor y = matmul(x, w);
    tape.backward(y, y.clone());
    return std::array{y, tape.gradient(x), tape.gradient(w)};
  };
  set_threads(1);
  const auto expected = run();
  for (const int n : {2, 3}) {
    set_threads(n);
    const auto found = run();
    for (std::size_t i = 0; i < 3; ++i)
      EXPECT_EQ(std::memcmp(found[i].raw(), expected[i].raw(), expected[i].bytes()), 0);
  }
  set_threads(2);
}

TEST(Matmul, SaysWhichSizesDiffer) {
  try {
    matmul(Tensor({32, 64}), Tensor({65, 10}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "matmul: inner sizes differ: a (32, 64), b (65, 10): 64 is not 65");
  }
  EXPECT_THROW(matmul(Tensor({2, 2}), Tensor({2, 2}, DType::f64)), Error);
  EXPECT_THROW(matmul(Tensor({2, 2, 2}), Tensor({2, 2})), Error);
}

}  // namespace tessera
