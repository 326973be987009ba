#pragma once

#include <cstdint>
#include <span>

#include "tensor/core/tensor.h"

namespace tessera {

// What crosses the tokens of an item; L layers over T tokens of width D.
struct TokenCross {
  Tensor table;    // (V, D) vectors of the tokens
  Tensor product;  // (V, D) table W_0: the first layer's product, made once a token and not once an item
  Tensor mix;      // (L, T, T) A_l
  Tensor bias;     // (L, D) b_l
  Tensor weight;   // (L - 1, D, D) W_1 .., or empty with one layer
};

// The crossed vectors of each item's tokens, summed: with X_0 = table[tokens] (T, D),
//   Y_l = A_l X_l W_l + 1 b_l',   X_(l+1) = X_0 * Y_l + X_l (element by element),   y = sum_t X_L[t].
// DCN v2's cross (Wang et al. 2021) with a weight that is a product of a mix of tokens and a mix of channels. A token
// of -1 is a row of zeros on every layer: it adds nothing and takes nothing. tokens: (N, T) row by row. Returns (N, D).
// Gradient, with G the gradient of X_(l+1): dY = G * X_0, dX_0 += G * Y, dA = dY (X W)', db = sum dY, dP = A' dY,
// dW = X' dP, dX = G + dP W'; rows of the tokens are added up in the order of the items. Nothing of size N T D is kept
// for it: the layers are made again tile by tile.
TESSERA_API Tensor token_cross(const TokenCross& in, std::span<const std::int32_t> tokens);

namespace cpu {
void token_cross_forward(const TokenCross& in, std::span<const std::int32_t> tokens, Tensor& y);
// d: gradients, written over; table and product: (N T, D), a row a token of an item.
void token_cross_backward(const TokenCross& in, std::span<const std::int32_t> tokens, const Tensor& dy, TokenCross& d);
}  // namespace cpu

}  // namespace tessera
