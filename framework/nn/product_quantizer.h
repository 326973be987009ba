#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "framework/roles/context.h"
#include "tensor/core/export.h"
#include "tensor/core/tensor.h"

namespace tessera {

struct ProductQuantizerOptions {
  int subspaces = 8;  // M, divides the width
  int codes = 256;    // K of each
  // none        parts of the vector as it comes (PQ)
  // parametric  principal directions, dealt out so that the parts have like products of variances (Ge et al. 2013)
  // opq         from there, rotation and codebooks by turns (OPQ, Ge et al. 2013): each turn `turn_rounds` rounds of
  //             k-means and then the rotation that fits the codes best
  std::string rotation = "opq";
  int first_rounds = 40;  // rounds of k-means before the first turn
  int turns = 30;
  int turn_rounds = 4;
  int final_rounds = 25;
  bool compare = true;          // also fits the parts without a rotation, and keeps them where a rotation does not pay
  std::int64_t sample = 65536;  // rows to learn from, drawn at random; 0: all
};

// Rows become M codes of K each: a part of the (rotated) vector goes to its nearest centre. Fitted once, then constant
// and thread-safe. A pure function of its input, the seed and the name, for any number of threads.
class TESSERA_API ProductQuantizer {
 public:
  // x: (N, D) f32. Throws Error where M does not divide D or N is less than K, Stopped where context.stop() says so.
  void fit(const Tensor& x, const ProductQuantizerOptions& options, const FitContext& context, const std::string& name);

  std::vector<std::int32_t> encode(const Tensor& x) const;  // (N, M)
  // The first `parts` codes of each row put back into the space of x, the other parts at their mean: (N, D).
  Tensor decode(std::span<const std::int32_t> codes, int parts) const;
  Tensor decode(std::span<const std::int32_t> codes) const { return decode(codes, subspaces()); }
  // What each code adds to the vector of its item, without the mean: (M K, D), row m K + k.
  Tensor contributions() const;
  // Mean squared error of each part of rows with these codes, (M), in the rotated space (the same sum as in x's).
  std::vector<double> distortion(const Tensor& x, std::span<const std::int32_t> codes) const;

  int subspaces() const { return static_cast<int>(centres_.dim(0)); }
  int codes() const { return static_cast<int>(centres_.dim(1)); }
  std::int64_t width() const { return centres_.dim(0) * centres_.dim(2); }
  const Tensor& rotation() const { return rotation_; }  // (D, D) orthogonal, or empty
  const Tensor& centres() const { return centres_; }    // (M, K, D / M), of the rotated vectors
  // How the learnt rows were fitted: the mean squared error, and that of the same parts without a rotation (infinite
  // where they were not compared). The first is never above the second.
  double error() const { return error_; }
  double plain_error() const { return plain_error_; }
  void visit(StateVisitor& state, const std::string& prefix);

 private:
  Tensor rotated(const Tensor& x) const;

  Tensor mean_, rotation_, centres_;
  double error_ = 0.0, plain_error_ = 0.0;
};

// 1, 2, .. up to 64: what M may be for this width, "1, 2, 4".
TESSERA_API std::string possible_subspaces(std::int64_t width);

// The order in which principal directions are dealt out to the parts: entry m D/M + j is the direction (by rank of its
// variance, falling) that becomes number j of part m.
TESSERA_API std::vector<std::int32_t> balanced_allocation(std::span<const double> variances, int subspaces);

// Rounds of k-means in all parts at once from these centres (M, K, D / M), x: (N, D): ends early where no code changes.
// A centre that lost all rows moves to the row of its part that is farthest from its own. Returns the codes that the
// centres are the means of, (N, M).
TESSERA_API std::vector<std::int32_t> product_kmeans(const Tensor& x, Tensor& centres, int rounds,
                                                     const FitContext& context);

}  // namespace tessera
