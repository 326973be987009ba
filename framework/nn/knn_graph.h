#pragma once

#include <vector>

#include "tensor/core/tensor.h"
#include "tensor/ops/sparse_matmul/sparse_matrix.h"

namespace tessera {

// Graphs of items by likeness of their vectors. Square matrices (I, I); row i holds what reaches item i.

// The k items of largest cosine with each, itself included, ties to the smaller item number; fewer where there are
// fewer items. Columns of a row rise. weighted: the cosine is the edge's weight (it may be below zero), else 1. A
// vector of zeros has cosine 0 with all. x: (I, D). Makes no (I, I) matrix. Not recorded: with edge_dot over
// l2_normalize(x) the weights are.
TESSERA_API SparseMatrix knn_graph(const Tensor& x, int k, bool weighted);

// D^-1/2 A D^-1/2, D the sums of A's rows; a row whose sum is not above zero takes no part.
TESSERA_API SparseMatrix symmetric_normalized(const SparseMatrix& a);

// sum_m weights[m] graphs[m], all of one shape; an edge of several graphs stands once.
TESSERA_API SparseMatrix weighted_sum(const std::vector<SparseMatrix>& graphs, const std::vector<double>& weights);

}  // namespace tessera
