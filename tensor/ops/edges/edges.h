#pragma once

#include "tensor/core/tensor.h"
#include "tensor/ops/sparse_matmul/sparse_matrix.h"

namespace tessera {

// Values of the entries (edges) of a sparse matrix, (E) in the order of its entries; its own values are not read. f32
// or f64. What comes out is fed to sparse_matmul(a, values, x).

// y_e = left_(row of e) . right_(column of e). left (R, D), right (C, D).
// Gradient: dleft_r = sum over the entries of row r of dy_e right_(column of e), dright likewise by columns.
TESSERA_API Tensor edge_dot(const SparseMatrix& a, const Tensor& left, const Tensor& right);

// y_e = exp(x_e) / sum of exp(x) over the entries of e's row, or of its column. Gradient as softmax.
TESSERA_API Tensor edge_softmax(const SparseMatrix& a, const Tensor& x, bool by_columns = false);

namespace cpu {
void edge_softmax_forward(const SparseMatrix::Half& a, const Tensor& x, Tensor& y);
void edge_softmax_backward(const SparseMatrix::Half& a, const Tensor& y, const Tensor& dy, Tensor& dx);
}  // namespace cpu

}  // namespace tessera
