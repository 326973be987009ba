#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "framework/nn/linear.h"
#include "framework/nn/mlp.h"
#include "framework/nn/residual_quantizer.h"
#include "plugins/dst/options.h"

namespace tessera {

// Vectors of items as the network sees them, one entry a modality (M).
struct DstInput {
  std::vector<Tensor> x;                           // (I, D_m) transformed
  std::vector<std::vector<std::uint8_t>> present;  // (I)
  std::vector<std::vector<std::int32_t>> group;    // (I) items with equal numbers have the same vector
  std::int64_t items() const { return x.empty() ? 0 : x[0].rows(); }
  bool has(std::size_t modality, std::int64_t item) const {
    return present[modality][static_cast<std::size_t>(item)] != 0;
  }
};

// Some of them, packed: absent modalities have no row.
struct DstBatch {
  std::int64_t rows = 0;                         // B
  std::vector<std::uint8_t> fold;                // (B) 0 or 1: a coin of the item, the same in every batch
  std::vector<Tensor> x;                         // (n_m, D_m)
  std::vector<std::vector<std::int32_t>> row;    // (n_m) the batch's row of each
  std::vector<std::vector<std::int32_t>> place;  // (B) the row of x, or -1
  std::vector<std::vector<std::int32_t>> group;  // (n_m)
};
DstBatch pick(const DstInput& input, std::span<const std::int32_t> items);

// One modality's part: encoder, two heads, codebooks, decoder.
class DstBranch : public Module {
 public:
  DstBranch(std::int64_t input, const DstOptions& options, const QuantizerOptions& quantizer);

  Tensor trunk(const Tensor& x);                                       // (n, D_m) -> (n, H)
  Tensor aligned(const Tensor& u);                                     // (n, H) -> (n, d) unit rows
  Tensor own(const Tensor& u, const Tensor& a, const Tensor& shared);  // e^m (n, d); shared is a constant to it
  Tensor decode(const Tensor& shared, const Tensor& own);              // (n, d), (n, d) -> (n, D_m)
  ResidualQuantizer& quantizer() { return quantizer_; }
  const ResidualQuantizer& quantizer() const { return quantizer_; }

 private:
  Mlp trunk_;
  bool deep_;
  Linear align_;
  std::unique_ptr<Linear> own_, explained_;  // f^m and W_m; none with residual = plain
  ResidualQuantizer quantizer_;
  Mlp decoder_;
};

// The whole of it. With M modalities, d = width, s = sqrt(d):
//   a^m = unit(align(trunk(x^m)));  h = s mean of the present a^m;  q^s = shared codes of h
//   e^m = own(trunk(x^m)) - sg(q^s) W_m   (private),   s a^m - sg(q^s)   (plain)
//   q^m = codes of e^m;  x^m is rebuilt from [q^s; q^m]
// s makes the numbers of h about 1, like all others here, so that weights of means mean the same everywhere.
class DstNetwork : public Module {
 public:
  DstNetwork(const DstOptions& options, const std::vector<std::int64_t>& inputs);

  struct Parts {
    std::vector<Tensor> hidden, aligned;  // (n_m, H), (n_m, d)
    Tensor consensus;                     // h (B, d)
    Tensor shared;                        // q^s, straight through to h; h itself without codes (B, d)
    std::vector<Tensor> shared_of;        // its rows for each modality (n_m, d)
    std::vector<Tensor> own;              // e^m (n_m, d)
    std::vector<Tensor> coded;            // q^m, straight through to e^m; e^m itself without codes
    ResidualQuantizer::Output shared_codes;
    std::vector<ResidualQuantizer::Output> own_codes;  // M; without residuals where n_m = 0
  };
  Parts forward(const DstBatch& batch, bool with_codes);

  // Sums of terms over the modalities, each a mean; scalars, recorded.
  Tensor reconstruction(const DstBatch& batch, const Parts& parts);
  Tensor shared_reconstruction(const DstBatch& batch, const Parts& parts);
  Tensor quantization(const Parts& parts);  // mean over levels of each quantiser's loss, summed
  Tensor alignment(const DstBatch& batch, const Parts& parts);

  // Codes (B, L) in the order of levels; -1 where a modality, or with all of them the item, is absent.
  std::vector<std::int32_t> encode(const DstBatch& batch);
  // (n, D_m) from the first `levels` codes of each tuple.
  Tensor reconstruct(std::span<const std::int32_t> codes, int levels, std::size_t modality);
  Tensor shared_of_codes(std::span<const std::int32_t> codes, int levels) const;                     // q^s (n, d)
  Tensor own_of_codes(std::span<const std::int32_t> codes, int levels, std::size_t modality) const;  // q^m (n, d)

  int levels() const;
  std::size_t modalities() const { return branches_.size(); }
  ResidualQuantizer& shared() { return shared_; }
  DstBranch& branch(std::size_t modality) { return *branches_[modality]; }

 private:
  std::vector<std::int32_t> level_codes(std::span<const std::int32_t> codes, int begin, int count) const;
  Tensor pairwise_alignment(const DstBatch& batch, const Parts& parts);
  Tensor volume_alignment(const DstBatch& batch, const Parts& parts);

  DstOptions options_;
  std::vector<std::unique_ptr<DstBranch>> branches_;
  ResidualQuantizer shared_;
};

// Rows of x of all items that have the modalities of both lists, by their rows in the batch: (rows in the first list,
// rows in the second).
std::pair<std::vector<std::int32_t>, std::vector<std::int32_t>> common_rows(
    const std::vector<std::int32_t>& first_place, const std::vector<std::int32_t>& second_place);

}  // namespace tessera
