#include "framework/catalog/health.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>

#include "framework/catalog/order.h"
#include "tensor/core/random.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/nearest_code/nearest_code.h"
#include "tensor/ops/topk/topk.h"

namespace tessera {
namespace {

HealthReport::Level measure_level(const ItemTokens& tokens, int level) {
  const auto width = tokens.levels.size();
  HealthReport::Level out;
  out.name = tokens.levels[static_cast<std::size_t>(level)].name;
  out.codes = tokens.levels[static_cast<std::size_t>(level)].codes;
  std::vector<std::int64_t> hits(static_cast<std::size_t>(out.codes), 0);
  std::int64_t items = 0;
  for (std::size_t i = static_cast<std::size_t>(level); i < tokens.codes.size(); i += width) {
    if (tokens.codes[i] < 0) continue;
    ++hits[static_cast<std::size_t>(tokens.codes[i])];
    ++items;
  }
  if (items == 0) return out;
  double entropy = 0.0;
  for (const std::int64_t count : hits) {
    if (count == 0) continue;
    ++out.used;
    const double share = static_cast<double>(count) / static_cast<double>(items);
    entropy -= share * std::log(share);
  }
  out.perplexity = std::exp(entropy);
  const auto reach = static_cast<double>(std::min<std::int64_t>(out.codes, items));
  out.usage = out.used / reach;
  out.evenness = out.perplexity / reach;
  return out;
}

// Groups of items with the same first 1 .. L codes; `colliding`: items in groups of two or more by all codes.
std::vector<HealthReport::Prefix> measure_prefixes(std::span<const std::int32_t> codes, int levels,
                                                   std::int64_t& colliding) {
  const auto shared = shared_prefixes(codes, levels, order_by_codes(codes, levels));
  std::vector<HealthReport::Prefix> out;
  for (int depth = 1; depth <= levels; ++depth) {
    HealthReport::Prefix prefix{depth, 0, 0, 0.0};
    colliding = 0;
    for (std::size_t begin = 0, end = 0; begin < shared.size(); begin = end) {
      for (end = begin + 1; end < shared.size() && shared[end] >= depth; ++end) {
      }
      const auto size = static_cast<std::int64_t>(end - begin);
      ++prefix.distinct;
      prefix.largest_group = std::max(prefix.largest_group, size);
      colliding += size > 1 ? size : 0;
    }
    prefix.share = static_cast<double>(prefix.distinct) / static_cast<double>(shared.size());
    out.push_back(prefix);
  }
  return out;
}

// 1 - sum |x - y|^2 / sum |x - mean|^2.
double r_squared(const Tensor& x, const Tensor& y) {
  const std::int64_t rows = x.rows(), width = x.columns();
  std::vector<double> mean(static_cast<std::size_t>(width), 0.0);
  for (std::int64_t i = 0; i < x.numel(); ++i) mean[static_cast<std::size_t>(i % width)] += x.data<float>()[i];
  double error = 0.0, variance = 0.0;
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const double value = x.data<float>()[i],
                 centre = mean[static_cast<std::size_t>(i % width)] / static_cast<double>(rows);
    error += (value - y.data<float>()[i]) * (value - y.data<float>()[i]);
    variance += (value - centre) * (value - centre);
  }
  return variance > 0.0 ? 1.0 - error / variance : error > 0.0 ? 0.0 : 1.0;
}

std::vector<std::int32_t> sample(std::int64_t rows, std::int64_t most, const char* name) {
  std::vector<std::int32_t> picked(static_cast<std::size_t>(rows));
  std::iota(picked.begin(), picked.end(), 0);
  if (rows <= most) return picked;
  Random(1, stream_of(name)).shuffle(std::span(picked));
  picked.resize(static_cast<std::size_t>(most));
  std::sort(picked.begin(), picked.end());
  return picked;
}

// Rows of x nearest to the rows `queries`, each without itself: (queries, k).
std::vector<std::int32_t> nearest_rows(const Tensor& x, std::span<const std::int32_t> queries, int k) {
  constexpr std::size_t kBlock = 256;
  std::vector<std::int32_t> out;
  for (std::size_t begin = 0; begin < queries.size(); begin += kBlock) {
    const auto block = queries.subspan(begin, std::min(kBlock, queries.size() - begin));
    const Tensor distances = squared_distances(gather_rows(x, block), x);
    for (float& d : distances.values<float>()) d = -d;
    for (std::size_t q = 0; q < block.size(); ++q)
      distances.data<float>()[static_cast<std::int64_t>(q) * x.rows() + block[q]] =
          -std::numeric_limits<float>::infinity();
    const TopK top = topk(distances, k);
    out.insert(out.end(), top.index.begin(), top.index.end());
  }
  return out;
}

double kept_neighbours(const Tensor& before, const Tensor& after, std::span<const std::int32_t> queries, int k) {
  auto a = nearest_rows(before, queries, k), b = nearest_rows(after, queries, k);
  std::int64_t kept = 0;
  for (std::size_t begin = 0; begin < a.size(); begin += static_cast<std::size_t>(k)) {
    const auto from = static_cast<std::ptrdiff_t>(begin);
    std::sort(a.begin() + from, a.begin() + from + k);
    std::sort(b.begin() + from, b.begin() + from + k);
    std::vector<std::int32_t> both;
    std::set_intersection(a.begin() + from, a.begin() + from + k, b.begin() + from, b.begin() + from + k,
                          std::back_inserter(both));
    kept += static_cast<std::int64_t>(both.size());
  }
  return a.empty() ? 0.0 : static_cast<double>(kept) / static_cast<double>(a.size());
}

// False where the tokenizer cannot rebuild the modality.
bool measure_modality(const Dataset& data, const Tokenizer& tokenizer, const ItemTokens& tokens,
                      const std::string& name, const HealthOptions& options, HealthReport::Modality& out) {
  const ItemFeatures& features = data.features.at(name);
  const auto width = tokens.levels.size();
  const auto codes_of = [&](std::int32_t item) {
    return std::span(tokens.codes).subspan(static_cast<std::size_t>(item) * width, width);
  };
  std::vector<std::int32_t> known, rows, codes;
  for (std::int32_t i = 0; i < tokens.items(); ++i) {
    const auto own = codes_of(i);
    const bool coded = std::any_of(own.begin(), own.end(), [](std::int32_t code) { return code >= 0; });
    if (coded && (features.present.empty() || features.present[static_cast<std::size_t>(i)])) known.push_back(i);
  }
  if (known.empty()) return false;
  for (const std::int32_t picked : sample(static_cast<std::int64_t>(known.size()), options.pool, "health/pool")) {
    rows.push_back(known[static_cast<std::size_t>(picked)]);
    const auto own = codes_of(rows.back());
    codes.insert(codes.end(), own.begin(), own.end());
  }
  const int levels = tokens.level_count();
  const Tensor rebuilt = tokenizer.reconstruct(codes, levels, name);
  if (!rebuilt) return false;
  const Tensor target = tokenizer.reconstruction_target(data, name);
  const Tensor x = gather_rows(target ? target : features.values, rows);
  check(rebuilt.shape() == x.shape(), "health: the tokenizer rebuilds modality '", name, "' as ",
        rebuilt.shape().text(), ", expected ", x.shape().text());
  out.name = name;
  for (int l = 1; l <= levels; ++l)
    out.r2.push_back(r_squared(x, l == levels ? rebuilt : tokenizer.reconstruct(codes, l, name)));
  const int k = static_cast<int>(std::min<std::int64_t>(options.nearest, x.rows() - 1));
  if (k < 1) return true;
  out.neighbours = kept_neighbours(x, rebuilt, sample(x.rows(), options.queries, "health/queries"), k);
  out.chance = static_cast<double>(k) / static_cast<double>(x.rows() - 1);
  return true;
}

void add_checks(HealthReport& report, const HealthOptions& options, int tokenizer_levels) {
  const auto at_least = [&](const std::string& what, double found, double expected) {
    if (expected > 0.0) report.checks.push_back({what, found, expected, found >= expected});
  };
  for (const auto& level : report.levels) {
    at_least("usage of " + level.name, level.usage, options.usage);
    at_least("perplexity of " + level.name, level.evenness, options.perplexity);
  }
  const int depth = std::min(options.prefix_levels, tokenizer_levels);
  at_least(str("different prefixes of length ", depth), report.prefixes[static_cast<std::size_t>(depth) - 1].share,
           options.prefixes);
  if (report.policy != "none") at_least("unique identifiers", report.prefixes.back().share, 1.0);
  for (const auto& modality : report.modalities) {
    at_least("R2 of " + modality.name, modality.r2.back(), options.reconstruction);
    at_least("neighbours of " + modality.name, modality.neighbours, options.neighbours);
  }
}

}  // namespace

HealthReport measure_health(const Dataset& data, const Tokenizer& tokenizer, const ItemTokens& tokens,
                            const Catalog& catalog, const HealthOptions& options) {
  check(tokens.level_count() >= 1 && tokens.items() >= 1, "health: there are no codes to measure");
  check(tokens.items() == catalog.items(), "health: ", tokens.items(), " items have codes, the catalogue has ",
        catalog.items());
  HealthReport report;
  report.items = tokens.items();
  for (int l = 0; l < tokens.level_count(); ++l) report.levels.push_back(measure_level(tokens, l));
  report.token_prefixes = measure_prefixes(tokens.codes, tokens.level_count(), report.colliding_items);
  report.largest_group = report.token_prefixes.back().largest_group;
  report.policy = name_of(catalog.policy());
  report.identifier_levels = catalog.levels();
  if (catalog.levels() > tokens.level_count()) report.policy_codes = catalog.level(catalog.levels() - 1).codes;
  report.unique = catalog.unique();
  std::int64_t left = 0;
  report.prefixes = measure_prefixes(catalog.codes(), catalog.levels(), left);
  for (const auto& [name, features] : data.features) {
    HealthReport::Modality modality;
    if (measure_modality(data, tokenizer, tokens, name, options, modality))
      report.modalities.push_back(std::move(modality));
  }
  report.figures = tokenizer.health(data);
  add_checks(report, options, tokens.level_count());
  return report;
}

}  // namespace tessera
