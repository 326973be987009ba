#pragma once

#include <cstdint>
#include <span>

#include "tensor/core/tensor.h"
#include "tensor/ops/sparse_matmul/sparse_matrix.h"

namespace tessera {

// Y = A X, or A^T X where transpose is set: y_r = sum over the entries e of row r of a_e x_(column of e). A (R, C), X
// (C, D) gives (R, D); transposed X (R, D) gives (C, D). X f32 or f64; sums run in X's type in the order of the
// entries. Gradient: dX = A^T dY (or A dY), by the other order of A's entries.
TESSERA_API Tensor sparse_matmul(const SparseMatrix& a, const Tensor& x, bool transpose = false);

// The same with values (E) in the place of A's own, in the order of its entries, of X's type.
// Gradients: that of X as above, and dvalue_e = dy_(row of e) . x_(column of e) (with the two exchanged where
// transposed).
TESSERA_API Tensor sparse_matmul(const SparseMatrix& a, const Tensor& values, const Tensor& x, bool transpose = false);

// Only some rows of the product, no row twice: rows (n) of R (of C where transposed) -> (n, D). Costs as much as the
// entries of these rows. Gradient: dX takes part in the entries of these rows alone; the others are only looked at.
TESSERA_API Tensor sparse_matmul_rows(const SparseMatrix& a, const Tensor& x, std::span<const std::int32_t> rows,
                                      bool transpose = false);

// A block of A: some rows and some columns, none twice. X (columns, D) holds only these columns' rows (rows of A where
// transposed), in their order -> (rows, D). Entries of other columns take no part. Gradient: that of the block's
// entries. So a layer can be computed for the nodes that the next one reads, and for no others.
TESSERA_API Tensor sparse_matmul_block(const SparseMatrix& a, const Tensor& x, std::span<const std::int32_t> rows,
                                       std::span<const std::int32_t> columns, bool transpose = false);

// Kernels. A half gives lines; values: (E) in its own order, or empty: the half's.
namespace cpu {
void sparse_product(const SparseMatrix::Half& a, const Tensor& values, const Tensor& x, double beta, Tensor& y);
void sparse_product_rows(const SparseMatrix::Half& a, const Tensor& x, std::span<const std::int32_t> lines, Tensor& y);
// y_i = sum of the entries of line lines[i] whose place[index] is not -1: a_e x_place + beta y_i. No `lines`: all.
void sparse_product_placed(const SparseMatrix::Half& a, const Tensor& x, std::span<const std::int32_t> lines,
                           std::span<const std::int32_t> place, double beta, Tensor& y);
// y_e = left_(line of e) . right_(index of e) + beta y_e, e in the order of the half
void sparse_dots(const SparseMatrix::Half& a, const Tensor& left, const Tensor& right, double beta, Tensor& y);
// Values in the order of the entries, brought into the order of a half.
Tensor in_order_of(const SparseMatrix::Half& a, const Tensor& values);
}  // namespace cpu

}  // namespace tessera
