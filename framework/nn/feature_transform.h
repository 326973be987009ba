#pragma once

#include <cstdint>
#include <string>

#include "framework/roles/context.h"
#include "tensor/core/export.h"
#include "tensor/core/tensor.h"

namespace tessera {

// What is done to vectors before they are quantised:
//   none         nothing
//   center       x - mean, all columns divided by one number
//   standardize  x - mean, each column divided by its deviation
//   l2           x / |x| a row, times sqrt(D)
//   pca          (x - mean) P over the first `components` principal directions, each divided by its deviation to the
//   power `whiten`, then
//                all by one number: 0 keeps the distances, 1 makes every direction count the same
// Except for `none`, numbers leave with a mean square of about 1, so that learning rates mean the same for any input.
struct FeatureTransformOptions {
  std::string normalize = "standardize";
  std::int64_t components = 0;  // pca: 0 keeps all
  double whiten = 0.0;
};

// Fitted once, then constant and thread-safe.
class TESSERA_API FeatureTransform {
 public:
  void fit(const Tensor& x, const FeatureTransformOptions& options);  // (N, D) f32
  Tensor apply(const Tensor& x) const;                                // (N, D) -> (N, output())
  Tensor recorded(const Tensor& x) const;                             // the same on the tape, f32
  std::int64_t input() const { return input_; }
  std::int64_t output() const { return output_; }
  void visit(StateVisitor& state, const std::string& prefix);

 private:
  void fit_directions(const Tensor& covariance, const FeatureTransformOptions& options);

  bool rows_to_unit_ = false;
  std::int64_t input_ = 0, output_ = 0;
  Tensor mean_, scale_;  // (D) each, or empty
  Tensor directions_;    // (D, output), or empty
};

}  // namespace tessera
