#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/core/export.h"
#include "tensor/core/tensor.h"

namespace tessera {

// Losses that bring the modalities of an item together on the unit sphere. Row i of each input belongs to item i and
// has length 1; scalars come out, recorded. f32 or f64.

// What is added to the logits of pairs: 0, and -1e30 where i != j hold the same content in any of the lists (equal
// numbers in `groups`), because such a j is no negative of i. Each list: N numbers. (N, N), not recorded.
TESSERA_API Tensor duplicate_mask(const std::vector<std::span<const std::int32_t>>& groups, std::int64_t rows,
                                  DType dtype = DType::f32);

// Symmetric InfoNCE (CLIP: Radford et al. 2021), with s_ij = a_i . b_j / temperature + mask_ij:
//   -1/2N sum_i [ log softmax_j(s_ij)_i + log softmax_j(s_ji)_i ]
// a, b: (N, D); mask: (N, N) or empty.
TESSERA_API Tensor info_nce(const Tensor& a, const Tensor& b, double temperature, const Tensor& mask = {});

// One direction, against any rows: -1/N sum_i log softmax_j(a_i . b_j / temperature)_(answer_i). a: (N, D), b: (M, D);
// answer: N rows of b, or empty: row i answers for i. The logits of all pairs never stand in memory at once.
TESSERA_API Tensor info_nce_one_way(const Tensor& a, const Tensor& b, double temperature,
                                    std::span<const std::int32_t> answer = {});

// log mean_(i != j) exp(-2 |z_i - z_j|^2) (Wang and Isola 2020): low where the rows of z spread over the sphere. N
// >= 2.
TESSERA_API Tensor uniformity(const Tensor& z);

// V_ij: how far the unit vectors anchor_i, others[0]_j, others[1]_j, .. are from one direction; (N, N). It is the
// volume that they span (GRAM: Cicchetti et al. 2024), mended in two places:
//   V = sqrt(max(0, det G) + 1e-6) + sum of max(0, -cos) over the pairs, G the Gram matrix of cosines cut off at 0.
// The small number keeps the gradient finite where vectors meet. A volume alone is as small for opposite vectors as for
// equal ones; cut off at 0 and with the second sum, V grows all the way from cos = 1 to cos = -1. One to three others.
// transposed: V_ji at (i, j).
TESSERA_API Tensor gram_volumes(const Tensor& anchor, const std::vector<Tensor>& others, bool transposed = false);

// Symmetric cross-entropy of -V / temperature + mask: item i's anchor against all others, and its others against all
// anchors.
TESSERA_API Tensor gram_loss(const Tensor& anchor, const std::vector<Tensor>& others, double temperature,
                             const Tensor& mask = {});

}  // namespace tessera
