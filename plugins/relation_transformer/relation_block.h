#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "framework/nn/linear.h"
#include "framework/nn/norm.h"

namespace tessera {

struct RelationOptions {
  int width = 64, heads = 4, head_width = 64, ffn = 64, user_width = 0;  // user_width: 0: no scalars a user
  bool relation = true;                                                  // the second term of the scores
  Activation activation = Activation::relu;
  NormKind norm = NormKind::layer;
  double dropout = 0.0;
};

// A block of MMGRec's encoder (README.md), post-norm, without biases. X (N, D): items, jagged over users u:
//   Q_h = X W_Q,h, K_h, V_h of each head; P_Q = s_q X U_Q, P_K = s_k X U_K, P_V = s_v X U_V shared by the heads
//   A_h = softmax((Q_h K_h^T + P_Q P_K^T) / sqrt(Dk)),  O_h = A_h (V_h + P_V)
//   Y = norm(X + concat(O_h) W_O),  out = norm(Y + FFN(Y))
// s_q, s_k, s_v: one number a user each, w ReLU(W h_u) of the user's vector; 1 where user_width is 0. It is one
// ordinary attention of the queries [Q_h | P_Q] and the keys [K_h | P_K]. Equal for any order of a user's items.
class RelationBlock final : public Module {
 public:
  explicit RelationBlock(const RelationOptions& options);
  ~RelationBlock() override;
  // x (N, D), offset (B + 1), users (B, user_width), user (N): the row of users of each row of x -> (N, D).
  Tensor operator()(const Tensor& x, std::span<const std::int64_t> offset, const Tensor& users,
                    std::span<const std::int32_t> user);

 private:
  // part 0, 1, 2: q, k, v; rows of `relations` times the user's number.
  Tensor relation(int part, const Tensor& relations, const Tensor& users, std::span<const std::int32_t> user);
  Tensor attended(const Tensor& x, std::span<const std::int64_t> offset, const Tensor& users,
                  std::span<const std::int32_t> user);

  RelationOptions options_;
  Linear qkv_, out_;
  std::unique_ptr<Linear> relations_;              // (D, 3*Dk)
  std::unique_ptr<Linear> hidden_[3], scalar_[3];  // of q, k, v
  Norm attention_norm_, ffn_norm_;
  FeedForward ffn_;
};

}  // namespace tessera
