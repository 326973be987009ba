#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "framework/data/dataset.h"
#include "tensor/core/tensor.h"
#include "tensor/ops/sparse_matmul/sparse_matrix.h"

namespace tessera {

// The training part as a graph of users and items: the (U, I) block R of its adjacency matrix; the other block is R
// transposed, which a SparseMatrix holds too. So one step along all edges, [users; items] <- A [users; items], is
// {sparse_matmul(R, items), sparse_matmul(R, users, true)}. A user or an item without a training interaction has an
// empty line: nothing comes from it and nothing reaches it.

// Weights of edges, with d the number of edges of a line: 1; 1 / sqrt(d_user d_item); 1 / d_user: a user is the mean of
// his items; 1 / d_item: an item is the mean of its users (transposed).
enum class EdgeWeights { ones, symmetric, user_mean, item_mean };

// Items of a user rising, each once.
TESSERA_API SparseMatrix interaction_graph(const Dataset& data, EdgeWeights weights);
// The same edges weighed by the degrees of this graph; also for graphs of items.
TESSERA_API SparseMatrix weighted(const SparseMatrix& graph, EdgeWeights weights);

// The edges that are left, weight 1: floor((1 - share) of all); the others are taken out without replacement, those of
// great degrees first: an edge stays with probability in proportion to 1 / sqrt(d_user d_item) (FREEDOM: Zhou and Shen
// 2023), by the keys -log(u) sqrt(d_user d_item) of which the smallest stay. A pure function of (graph, share, seed,
// stream).
TESSERA_API SparseMatrix drop_edges(const SparseMatrix& graph, double share, std::uint64_t seed, std::uint64_t stream);

// LightGCN (He et al. 2020): layer l + 1 is one step along the edges from layer l, layer 0 the tables themselves; the
// result is the mean of layers 0 .. L. graph: EdgeWeights::symmetric. users (U, D), items (I, D); recorded.
TESSERA_API std::pair<Tensor, Tensor> light_gcn(const SparseMatrix& graph, const Tensor& users, const Tensor& items,
                                                int layers);
// Rows of it, no row twice: the last layer is made for these alone, and the backward pass begins with their edges.
TESSERA_API std::pair<Tensor, Tensor> light_gcn_rows(const SparseMatrix& graph, const Tensor& users,
                                                     const Tensor& items, int layers,
                                                     std::span<const std::int32_t> user_rows,
                                                     std::span<const std::int32_t> item_rows);

// Numbers 0 .. count - 1, each once and rising, and where each of the given ones stands among them.
struct Distinct {
  std::vector<std::int32_t> rows, place;
};
TESSERA_API Distinct distinct(std::span<const std::int32_t> numbers, std::int64_t count);

}  // namespace tessera
