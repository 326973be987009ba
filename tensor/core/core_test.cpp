#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

#include "tensor/core/agree.h"
#include "tensor/core/dispatch.h"
#include "tensor/core/dtype.h"
#include "tensor/core/shape.h"
#include "tensor/core/testing.h"

namespace tessera {

TEST(Device, Parse) {
  EXPECT_EQ(Device::parse("cpu"), Device::cpu());
  EXPECT_EQ(Device::parse("cuda"), Device::cuda(0));
  EXPECT_EQ(Device::parse("cuda:3"), Device::cuda(3));
  EXPECT_EQ(Device::parse("cuda:3").text(), "cuda:3");
  EXPECT_EQ(Device::cpu().text(), "cpu");
  for (const char* text : {"", "gpu", "CPU", "cuda:", "cuda:-1", "cuda:1x", "cuda:99999999999", "cuda: 1"})
    EXPECT_EQ(message_of([&] { Device::parse(text); }), str("device: '", text, "', expected cpu, cuda or cuda:N"));
}

TEST(Device, NamesWhatIsMissing) {
  require_cpu("softmax", Device::cpu());
  EXPECT_EQ(message_of([] { require_cpu("softmax", Device::cuda()); }),
            "softmax: tensor is on cuda:0, but this build has no CUDA (preset 'cuda')");
  EXPECT_EQ(message_of([] { require_cpu_kernel("topk", Device::cuda(1)); }),
            "topk: tensor is on cuda:1, but this op runs on the cpu alone; move its inputs with to(Device::cpu())");
}

TEST(Shape, Sizes) {
  const Shape shape{2, 3, 5};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape.numel(), 30);
  EXPECT_EQ(shape.rows(), 6);
  EXPECT_EQ(shape.columns(), 5);
  EXPECT_EQ(shape.dim(-1), 5);
  EXPECT_EQ(shape.text(), "(2, 3, 5)");
  EXPECT_EQ(Shape{}.numel(), 1);
  EXPECT_EQ(Shape{}.rows(), 1);
  EXPECT_EQ((Shape{4, 0}).rows(), 0);
  EXPECT_EQ((Shape{0, 4}).numel(), 0);
}

TEST(Shape, Refusals) {
  EXPECT_EQ(message_of([] { Shape{2, -1}; }), "shape: size -1 is negative");
  EXPECT_EQ(message_of([] { Shape{1, 1, 1, 1, 1}; }), "shape: rank 5, expected at most 4");
  EXPECT_EQ(message_of([] { Shape{2, 3}.dim(2); }), "shape: axis 2 of (2, 3) does not exist");
  EXPECT_EQ(message_of([] { Shape{2, 3}.dim(-3); }), "shape: axis -3 of (2, 3) does not exist");
}

TEST(DType, Bf16RoundsToNearestEven) {
  EXPECT_EQ(static_cast<float>(bf16(1.0f)), 1.0f);
  EXPECT_EQ(static_cast<float>(bf16(-3.140625f)), -3.140625f);
  EXPECT_EQ(bf16(std::bit_cast<float>(0x3f808000u)).bits, 0x3f80);  // half way: to the even one, below
  EXPECT_EQ(bf16(std::bit_cast<float>(0x3f818000u)).bits, 0x3f82);  // and above
  EXPECT_EQ(bf16(std::bit_cast<float>(0x3f808001u)).bits, 0x3f81);
  EXPECT_TRUE(std::isnan(static_cast<float>(bf16(NAN))));
  EXPECT_TRUE(std::isnan(static_cast<float>(bf16(std::bit_cast<float>(0x7f800001u)))));  // a NaN of low bits alone
  EXPECT_TRUE(std::isinf(static_cast<float>(bf16(INFINITY))));
}

TEST(DType, NamesAndSizes) {
  EXPECT_STREQ(name_of(DType::bf16), "bf16");
  EXPECT_EQ(size_of(DType::i64), 8u);
  EXPECT_EQ(size_of(DType::bf16), 2u);
  EXPECT_EQ(message_of([] { dispatch_float("softmax", DType::i32, [](auto) {}); }),
            "softmax: type i32, expected f32 or f64");
}

TEST(Agree, Sentences) {
  const Tensor a({2}), b({2}, DType::f64);
  EXPECT_EQ(message_of([&] { check_agree("add", "a", a, "b", b); }),
            "add: a is f32 on cpu, b is f64 on cpu; expected one type and one device");
  EXPECT_EQ(message_of([&] { check_agree("add", "a", a, "b", {}); }), "add: b is empty");
  EXPECT_EQ(message_of([&] { check_agree("add", "a", a, "b", a); }), "no error");
}

}  // namespace tessera
