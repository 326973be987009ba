#pragma once

#include <memory>
#include <vector>

#include "framework/catalog/catalog.h"
#include "framework/nn/embedding.h"
#include "framework/roles/item_vectors.h"
#include "plugins/generative_decoder/options.h"

namespace tessera {

// The codes of all levels: their vectors as they are read and as they are written, the logits and the loss of a level, and, as
// an item tower, the sum of an item's code vectors. A level whose code may be absent has one class more, after its codes.
class CodeTable final : public Module, public ItemVectorSource {
 public:
  CodeTable(const Catalog& catalog, int width, const GenerativeOptions& options);
  ~CodeTable() override;

  int levels() const { return static_cast<int>(classes_.size()); }
  int width() const override { return width_; }
  Tensor vectors(std::span<const std::int32_t> items) override;
  Tensor all() override;

  Tensor read(int level, std::span<const std::int32_t> codes);    // (n) codes, -1: absent -> (n, D)
  Tensor start(std::int64_t rows);                                // (rows, D): what stands before the first level
  // Classes of the given items at a level, as targets of loss().
  std::vector<std::int32_t> targets(int level, std::span<const std::int32_t> items) const;
  std::vector<std::int32_t> codes(int level, std::span<const std::int32_t> items) const;
  Tensor loss(int level, const Tensor& query, std::span<const std::int32_t> targets);  // scalar, mean over rows
  // (C, columns) scores of the softmax's classes; the codes of the level stand from column(level, 0) on.
  Tensor logits(int level, const Tensor& query);
  std::int64_t column(int level, std::int32_t code) const;

 private:
  Tensor queries(const Tensor& query) const;
  Tensor output_rows(int level);
  Tensor output_bias(int level);
  int first(int level) const { return shared_ ? 0 : offset_[static_cast<std::size_t>(level)]; }
  int end(int level) const { return shared_ ? offset_.back() : offset_[static_cast<std::size_t>(level) + 1]; }
  std::int32_t class_of(int level, std::int32_t code) const;  // in the whole table

  const Catalog& catalog_;
  int width_;
  GenerativeOptions options_;
  bool shared_;
  std::vector<int> classes_, offset_{0};   // (L), (L + 1)
  std::vector<std::int32_t> tokens_;       // (I, L) classes in the whole table
  std::unique_ptr<Embedding> read_, write_;  // write_ is null where tied
  Parameter* bias_ = nullptr;
  Parameter* start_ = nullptr;
};

}  // namespace tessera
