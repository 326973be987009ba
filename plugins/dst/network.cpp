#include "plugins/dst/network.h"

#include <algorithm>
#include <cmath>

#include "framework/nn/contrastive.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"
#include "tensor/ops/losses/losses.h"
#include "tensor/ops/norm/norm.h"

namespace tessera {
namespace {

constexpr std::uint64_t kFolds = 0x666f6c64;  // key of the items' coins
constexpr double kShortest = 1e-4;            // a vector below this has no direction; its gradient stays bounded

std::vector<std::int64_t> encoder_widths(std::int64_t input, const DstOptions& options) {
  std::vector<std::int64_t> widths{input};
  widths.insert(widths.end(), options.widths.begin(), options.widths.end());
  return widths;
}

std::vector<std::int64_t> decoder_widths(std::int64_t input, const DstOptions& options) {
  std::vector<std::int64_t> widths{2 * options.width};
  widths.insert(widths.end(), options.widths.rbegin(), options.widths.rend());
  widths.push_back(input);
  return widths;
}

QuantizerOptions quantizer_options(const DstOptions& options, int levels, int codes) {
  QuantizerOptions out;
  out.levels = levels;
  out.codes = codes;
  out.width = options.width;
  out.moving_average = true;
  out.decay = options.decay;
  out.commitment = options.commitment;
  return out;
}

Tensor plus(const Tensor& sum, const Tensor& term) { return sum ? add(sum, term) : term; }
Tensor or_zero(const Tensor& sum, DType dtype) { return sum ? sum : Tensor::scalar(0.0, dtype); }

// The groups of some rows, for duplicate_mask; empty where all of them differ.
bool any_twice(std::vector<std::int32_t> group) {
  std::sort(group.begin(), group.end());
  return std::adjacent_find(group.begin(), group.end()) != group.end();
}

std::vector<std::int32_t> taken(const std::vector<std::int32_t>& values, const std::vector<std::int32_t>& rows) {
  std::vector<std::int32_t> out;
  for (const std::int32_t row : rows) out.push_back(values[static_cast<std::size_t>(row)]);
  return out;
}

Tensor mask_of(const std::vector<std::vector<std::int32_t>>& groups, std::int64_t rows, DType dtype) {
  std::vector<std::span<const std::int32_t>> repeated;
  for (const auto& group : groups)
    if (any_twice(group)) repeated.emplace_back(group);
  return repeated.empty() ? Tensor() : duplicate_mask(repeated, rows, dtype);
}

}  // namespace

DstBatch pick(const DstInput& input, std::span<const std::int32_t> items) {
  DstBatch batch;
  batch.rows = static_cast<std::int64_t>(items.size());
  for (const std::int32_t item : items)
    batch.fold.push_back(philox(kFolds, 0, static_cast<std::uint64_t>(item))[0] & 1u);
  for (std::size_t m = 0; m < input.x.size(); ++m) {
    std::vector<std::int32_t> rows, place, group, source;
    for (std::size_t i = 0; i < items.size(); ++i) {
      const bool present = input.has(m, items[i]);
      place.push_back(present ? static_cast<std::int32_t>(rows.size()) : -1);
      if (!present) continue;
      rows.push_back(static_cast<std::int32_t>(i));
      source.push_back(items[i]);
      if (!input.group.empty()) group.push_back(input.group[m][static_cast<std::size_t>(items[i])]);
    }
    batch.x.push_back(source.empty() ? Tensor() : gather_rows(input.x[m], source));
    batch.row.push_back(std::move(rows));
    batch.place.push_back(std::move(place));
    batch.group.push_back(std::move(group));
  }
  return batch;
}

std::pair<std::vector<std::int32_t>, std::vector<std::int32_t>> common_rows(
    const std::vector<std::int32_t>& first_place, const std::vector<std::int32_t>& second_place) {
  std::pair<std::vector<std::int32_t>, std::vector<std::int32_t>> rows;
  for (std::size_t i = 0; i < first_place.size(); ++i)
    if (first_place[i] >= 0 && second_place[i] >= 0) {
      rows.first.push_back(first_place[i]);
      rows.second.push_back(second_place[i]);
    }
  return rows;
}

DstBranch::DstBranch(std::int64_t input, const DstOptions& options, const QuantizerOptions& quantizer)
    : trunk_(encoder_widths(input, options)),
      deep_(!options.widths.empty()),
      align_(encoder_widths(input, options).back(), options.width),
      quantizer_(quantizer),
      decoder_(decoder_widths(input, options)) {
  add_module("trunk", trunk_);
  add_module("align", align_);
  if (options.residual == "private") {
    own_ = std::make_unique<Linear>(encoder_widths(input, options).back(), options.width);
    explained_ = std::make_unique<Linear>(options.width, options.width, false, constant(0.0));
    add_module("own", *own_);
    add_module("explained", *explained_);
  }
  add_module("quantizer", quantizer_);
  add_module("decoder", decoder_);
}

Tensor DstBranch::trunk(const Tensor& x) {
  const Tensor u = trunk_(x);
  return deep_ ? activate(u, Activation::relu) : u;
}

Tensor DstBranch::aligned(const Tensor& u) { return l2_normalize(align_(u), kShortest); }

Tensor DstBranch::own(const Tensor& u, const Tensor& a, const Tensor& shared) {
  if (own_) return subtract((*own_)(u), (*explained_)(shared.detach()));
  return subtract(scale(a, std::sqrt(static_cast<double>(a.columns()))), shared.detach());
}

Tensor DstBranch::decode(const Tensor& shared, const Tensor& own) { return decoder_(concat_columns({shared, own})); }

DstNetwork::DstNetwork(const DstOptions& options, const std::vector<std::int64_t>& inputs)
    : options_(options), shared_(quantizer_options(options, options.shared_levels, options.shared_codes)) {
  for (std::size_t m = 0; m < inputs.size(); ++m) {
    branches_.push_back(std::make_unique<DstBranch>(
        inputs[m], options, quantizer_options(options, options.modality_levels, options.modality_codes)));
    add_module(str("modality.", m), *branches_.back());
  }
  add_module("shared", shared_);
}

int DstNetwork::levels() const {
  return options_.shared_levels + static_cast<int>(branches_.size()) * options_.modality_levels;
}

DstNetwork::Parts DstNetwork::forward(const DstBatch& batch, bool with_codes) {
  const std::size_t count = branches_.size();
  Parts parts;
  parts.hidden.resize(count), parts.aligned.resize(count), parts.shared_of.resize(count);
  parts.own.resize(count), parts.coded.resize(count), parts.own_codes.resize(count);
  Tensor sum;
  std::vector<double> present(static_cast<std::size_t>(batch.rows), 0.0);
  for (std::size_t m = 0; m < count; ++m) {
    if (batch.row[m].empty()) continue;
    parts.hidden[m] = branches_[m]->trunk(batch.x[m]);
    parts.aligned[m] = branches_[m]->aligned(parts.hidden[m]);
    sum = plus(sum, embedding(parts.aligned[m], batch.place[m]));
    for (const std::int32_t row : batch.row[m]) present[static_cast<std::size_t>(row)] += 1.0;
  }
  check(static_cast<bool>(sum), "dst: a batch without any modality");
  const double radius = std::sqrt(static_cast<double>(options_.width));
  for (double& value : present) value = value > 0.0 ? radius / value : 0.0;
  parts.consensus = scale_rows(sum, Tensor::from(present, {batch.rows}).to(sum.dtype()));
  if (with_codes) {
    parts.shared_codes = shared_.quantize(parts.consensus);
    parts.shared = parts.shared_codes.vectors;
  } else {
    parts.shared = parts.consensus;
  }
  for (std::size_t m = 0; m < count; ++m) {
    if (batch.row[m].empty()) continue;
    parts.shared_of[m] = gather_rows(parts.shared, batch.row[m]);
    parts.own[m] = branches_[m]->own(parts.hidden[m], parts.aligned[m], parts.shared_of[m]);
    if (with_codes) {
      parts.own_codes[m] = branches_[m]->quantizer().quantize(parts.own[m]);
      parts.coded[m] = parts.own_codes[m].vectors;
    } else {
      parts.coded[m] = parts.own[m];
    }
  }
  return parts;
}

Tensor DstNetwork::reconstruction(const DstBatch& batch, const Parts& parts) {
  Tensor sum;
  for (std::size_t m = 0; m < branches_.size(); ++m)
    if (!batch.row[m].empty())
      sum = plus(sum, mse(branches_[m]->decode(parts.shared_of[m], parts.coded[m]), batch.x[m]));
  return sum;
}

Tensor DstNetwork::shared_reconstruction(const DstBatch& batch, const Parts& parts) {
  Tensor sum;
  for (std::size_t m = 0; m < branches_.size(); ++m) {
    if (batch.row[m].empty()) continue;
    const Tensor nothing = Tensor::zeros(parts.shared_of[m].shape(), parts.shared_of[m].dtype());
    sum = plus(sum, mse(branches_[m]->decode(parts.shared_of[m], nothing), batch.x[m]));
  }
  return sum;
}

Tensor DstNetwork::quantization(const Parts& parts) {
  Tensor sum = scale(parts.shared_codes.loss, 1.0 / options_.shared_levels);
  for (const auto& own : parts.own_codes)
    if (own.loss) sum = add(sum, scale(own.loss, 1.0 / options_.modality_levels));
  return sum;
}

Tensor DstNetwork::alignment(const DstBatch& batch, const Parts& parts) {
  Tensor sum = options_.align == "gram" ? volume_alignment(batch, parts) : pairwise_alignment(batch, parts);
  if (options_.uniformity > 0.0 && batch.rows >= 2)
    sum = plus(sum, scale(uniformity(l2_normalize(parts.consensus, kShortest)), options_.uniformity));
  return or_zero(sum, parts.consensus.dtype());
}

Tensor DstNetwork::pairwise_alignment(const DstBatch& batch, const Parts& parts) {
  Tensor sum;
  int pairs = 0;
  for (std::size_t m = 0; m < branches_.size(); ++m)
    for (std::size_t n = m + 1; n < branches_.size(); ++n) {
      const auto [first, second] = common_rows(batch.place[m], batch.place[n]);
      if (first.size() < 2) continue;
      const Tensor a = gather_rows(parts.aligned[m], first), b = gather_rows(parts.aligned[n], second);
      const Tensor mask = mask_of({taken(batch.group[m], first), taken(batch.group[n], second)}, a.rows(), a.dtype());
      sum = plus(sum, info_nce(a, b, options_.temperature, mask));
      ++pairs;
    }
  return pairs > 1 ? scale(sum, 1.0 / pairs) : sum;
}

// Of the items that have every modality; the first is the anchor.
Tensor DstNetwork::volume_alignment(const DstBatch& batch, const Parts& parts) {
  std::vector<std::int32_t> complete;
  for (std::int64_t i = 0; i < batch.rows; ++i)
    if (std::all_of(batch.place.begin(), batch.place.end(),
                    [&](const auto& place) { return place[static_cast<std::size_t>(i)] >= 0; }))
      complete.push_back(static_cast<std::int32_t>(i));
  if (complete.size() < 2) return {};
  std::vector<Tensor> vectors;
  std::vector<std::vector<std::int32_t>> groups;
  for (std::size_t m = 0; m < branches_.size(); ++m) {
    const auto rows = taken(batch.place[m], complete);
    vectors.push_back(gather_rows(parts.aligned[m], rows));
    groups.push_back(taken(batch.group[m], rows));
  }
  const Tensor mask = mask_of(groups, static_cast<std::int64_t>(complete.size()), vectors[0].dtype());
  return gram_loss(vectors[0], {vectors.begin() + 1, vectors.end()}, options_.temperature, mask);
}

std::vector<std::int32_t> DstNetwork::encode(const DstBatch& batch) {
  const NoTape quiet;
  const auto width = static_cast<std::size_t>(levels());
  std::vector<std::int32_t> out(static_cast<std::size_t>(batch.rows) * width, -1);
  if (std::all_of(batch.row.begin(), batch.row.end(), [](const auto& rows) { return rows.empty(); })) return out;
  const Parts parts = forward(batch, true);
  const auto put = [&](const ResidualQuantizer::Output& found, int levels, std::size_t from,
                       const std::vector<std::int32_t>* rows) {
    for (std::size_t i = 0; i < found.codes.size(); ++i) {
      const std::size_t at = i / static_cast<std::size_t>(levels), level = i % static_cast<std::size_t>(levels);
      out[(rows ? static_cast<std::size_t>((*rows)[at]) : at) * width + from + level] = found.codes[i];
    }
  };
  put(parts.shared_codes, options_.shared_levels, 0, nullptr);
  for (std::size_t m = 0; m < branches_.size(); ++m)
    put(parts.own_codes[m], options_.modality_levels,
        static_cast<std::size_t>(options_.shared_levels) + m * static_cast<std::size_t>(options_.modality_levels),
        &batch.row[m]);
  for (std::int64_t i = 0; i < batch.rows; ++i)
    if (std::all_of(batch.place.begin(), batch.place.end(),
                    [&](const auto& place) { return place[static_cast<std::size_t>(i)] < 0; }))
      std::fill_n(out.begin() + static_cast<std::ptrdiff_t>(i) * static_cast<std::ptrdiff_t>(width), width, -1);
  return out;
}

std::vector<std::int32_t> DstNetwork::level_codes(std::span<const std::int32_t> codes, int begin, int count) const {
  const auto width = static_cast<std::size_t>(levels());
  check(codes.size() % width == 0, "dst: ", codes.size(), " codes are no multiple of ", width, " levels");
  std::vector<std::int32_t> out;
  for (std::size_t i = 0; i < codes.size(); i += width)
    for (int l = 0; l < count; ++l) out.push_back(codes[i + static_cast<std::size_t>(begin + l)]);
  return out;
}

Tensor DstNetwork::shared_of_codes(std::span<const std::int32_t> codes, int levels) const {
  return shared_.decode(level_codes(codes, 0, options_.shared_levels), std::clamp(levels, 0, options_.shared_levels));
}

Tensor DstNetwork::own_of_codes(std::span<const std::int32_t> codes, int levels, std::size_t modality) const {
  const int begin = options_.shared_levels + static_cast<int>(modality) * options_.modality_levels;
  return branches_[modality]->quantizer().decode(level_codes(codes, begin, options_.modality_levels),
                                                 std::clamp(levels - begin, 0, options_.modality_levels));
}

Tensor DstNetwork::reconstruct(std::span<const std::int32_t> codes, int levels, std::size_t modality) {
  const NoTape quiet;
  return branches_[modality]->decode(shared_of_codes(codes, levels), own_of_codes(codes, levels, modality));
}

}  // namespace tessera
