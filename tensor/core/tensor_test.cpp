#include "tensor/core/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tensor/core/testing.h"

namespace tessera {

TEST(Tensor, AnEmptyHandle) {
  const Tensor none;
  EXPECT_FALSE(none);
  EXPECT_EQ(none.numel(), 0);
  EXPECT_EQ(none.raw(), nullptr);
  EXPECT_TRUE(none.device().is_cpu());
  EXPECT_FALSE(none.clone());
  EXPECT_FALSE(none.to(DType::f64));
}

TEST(Tensor, MakersAndValues) {
  EXPECT_EQ(Tensor::zeros({2, 3}).values<float>()[5], 0.0f);
  EXPECT_EQ(Tensor::full({2}, 1.5, DType::f64).values<double>()[1], 1.5);
  EXPECT_EQ(Tensor::scalar(3).item(), 3.0);
  EXPECT_EQ(Tensor::scalar(3).shape().rank(), 0);
  const Tensor x = Tensor::from<std::int32_t>({1, 2, 3, 4, 5, 6}, {2, 3});
  EXPECT_EQ(x.dtype(), DType::i32);
  EXPECT_EQ(x.values<std::int32_t>()[4], 5);
  EXPECT_EQ(x.rows(), 2);
  EXPECT_EQ(x.columns(), 3);
  EXPECT_EQ(x.bytes(), 24u);
  EXPECT_EQ(Tensor({0, 3}).numel(), 0);
}

TEST(Tensor, ViewsShareNumbers) {
  Tensor x = Tensor::from<float>({1, 2, 3, 4, 5, 6}, {3, 2});
  const Tensor flat = x.reshape({6}), rows = x.row_range(1, 3), row = rows.row_range(1, 2);
  x.data<float>()[4] = 50;
  EXPECT_EQ(flat.values<float>()[4], 50.0f);
  EXPECT_EQ(rows.shape(), (Shape{2, 2}));
  EXPECT_EQ(rows.values<float>()[2], 50.0f);
  EXPECT_EQ(row.values<float>()[0], 50.0f);
  EXPECT_EQ(x.row_range(1, 1).shape(), (Shape{0, 2}));
  EXPECT_EQ(flat.row_range(2, 4).shape(), (Shape{2}));
  const Tensor cube = Tensor::from<float>({1, 2, 3, 4, 5, 6, 7, 8}, {2, 2, 2});
  EXPECT_EQ(cube.row_range(1, 2).shape(), (Shape{1, 2, 2}));
  EXPECT_EQ(cube.row_range(1, 2).values<float>()[0], 5.0f);
}

TEST(Tensor, ClonesHaveTheirOwnNumbers) {
  const Tensor x = Tensor::from<float>({1, 2}, {2});
  const Tensor copy = x.clone(), handle = x;
  copy.data<float>()[0] = 9;
  EXPECT_EQ(x.values<float>()[0], 1.0f);
  EXPECT_TRUE(x.shares_storage());
  EXPECT_FALSE(copy.shares_storage());
  const Tensor tail = x.row_range(1, 2).clone();
  EXPECT_EQ(tail.item(), 2.0);
}

TEST(Tensor, NodesTravelWithHandlesAndReshapes) {
  const Tensor x = Tensor::zeros({2, 3}).with_node(5);
  EXPECT_EQ(x.node(), 5);
  EXPECT_EQ(x.reshape({6}).node(), 5);
  EXPECT_EQ(Tensor(x).node(), 5);
  EXPECT_EQ(x.detach().node(), -1);
  EXPECT_EQ(x.clone().node(), -1);
  EXPECT_EQ(x.row_range(0, 1).node(), -1);
}

TEST(Tensor, Conversions) {
  const Tensor x = Tensor::from<float>({1.5f, -2.75f, 300.0f}, {3});
  EXPECT_EQ(x.to(DType::f64).values<double>()[1], -2.75);
  EXPECT_EQ(x.to(DType::i32).values<std::int32_t>()[2], 300);
  EXPECT_EQ(static_cast<float>(x.to(DType::bf16).values<bf16>()[1]), -2.75f);
  EXPECT_EQ(x.to(DType::bf16).to(DType::f64).values<double>()[0], 1.5);
  EXPECT_EQ(x.to(DType::f32).raw(), x.raw());
  EXPECT_EQ(x.to(Device::cpu()).raw(), x.raw());
  EXPECT_EQ(Tensor::from<std::int64_t>({7}, {1}).item(), 7.0);
}

TEST(Tensor, FillAndCopy) {
  Tensor x = Tensor::zeros({2, 2});
  x.fill(2.5);
  EXPECT_EQ(x.values<float>()[3], 2.5f);
  x.row_range(0, 1).copy_from(Tensor::from<float>({8, 9}, {2}));
  EXPECT_EQ(x.values<float>()[1], 9.0f);
  EXPECT_EQ(x.values<float>()[2], 2.5f);
}

TEST(Tensor, Refusals) {
  const Tensor x = Tensor::zeros({2, 3});
  EXPECT_EQ(message_of([&] { x.data<double>(); }), "tensor: asked for f64, tensor is f32 (2, 3)");
  EXPECT_EQ(message_of([&] { x.item(); }), "item: tensor has shape (2, 3), expected one element");
  EXPECT_EQ(message_of([&] { x.reshape({4}); }), "reshape: (2, 3) does not fit into (4)");
  EXPECT_EQ(message_of([&] { x.row_range(1, 3); }), "row_range: 1..3 of (2, 3)");
  EXPECT_EQ(message_of([&] { Tensor::from<float>({1, 2, 3}, {2}); }), "tensor: 3 values for shape (2)");
  EXPECT_EQ(message_of([&] { Tensor::zeros({2}).copy_from(x); }), "copy: f32 (2, 3) into f32 (2)");
  EXPECT_EQ(message_of([&] { Tensor::zeros({6}, DType::f64).copy_from(x); }), "copy: f32 (2, 3) into f64 (6)");
}

TEST(Tensor, ABuildWithoutCudaSaysSo) {
  if (built_with_cuda()) GTEST_SKIP() << "this build has CUDA";
  EXPECT_EQ(cuda_device_count(), 0);
  EXPECT_EQ(message_of([] { Tensor({2}, DType::f32, Device::cuda()); }),
            "allocate: tensor is on cuda:0, but this build has no CUDA (preset 'cuda')");
  EXPECT_EQ(message_of([] { Tensor::zeros({2}).to(Device::cuda()); }),
            "allocate: tensor is on cuda:0, but this build has no CUDA (preset 'cuda')");
}

}  // namespace tessera
