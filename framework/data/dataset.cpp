#include "framework/data/dataset.h"

#include <bit>
#include <cmath>
#include <string_view>
#include <unordered_map>

#include "framework/data/rejects.h"

namespace tessera {
namespace {

void check_size(Rejects& rejects, const std::string& what, std::size_t found, std::int64_t expected, const char* of) {
  if (found != static_cast<std::size_t>(expected))
    rejects.add(what, 0, str("holds ", found, " entries, expected ", expected, ", one for each ", of));
}

void check_unique(Rejects& rejects, const std::string& what, const std::vector<std::string>& ids) {
  std::unordered_map<std::string_view, std::size_t> first;
  first.reserve(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto [at, is_new] = first.emplace(ids[i], i);
    if (!is_new)
      rejects.add(what, static_cast<std::int64_t>(i), str("'", ids[i], "' is already the id of number ", at->second));
  }
}

void check_items(Rejects& rejects, const Items& items) {
  check_unique(rejects, "items.ids", items.ids);
  if (!items.titles.empty()) check_size(rejects, "items.titles", items.titles.size(), items.size(), "item");
  for (const auto& [name, texts] : items.fields)
    check_size(rejects, "items.fields." + name, texts.size(), items.size(), "item");
}

void check_users(Rejects& rejects, const Dataset& data) {
  const Interactions& rows = data.interactions;
  for (std::int64_t user = 0; user < rows.users(); ++user) {
    if (rows.begin(user) >= rows.end(user)) {
      rejects.add("users", user, str("'", data.user_ids[static_cast<std::size_t>(user)], "' has no interactions"));
      continue;
    }
    if (rows.time.empty()) continue;
    for (auto i = static_cast<std::size_t>(rows.begin(user)) + 1; i < static_cast<std::size_t>(rows.end(user)); ++i)
      if (rows.time[i] < rows.time[i - 1])
        rejects.add("interactions.time", static_cast<std::int64_t>(i),
                    str(rows.time[i], " is earlier than the same user's interaction before it, ", rows.time[i - 1]));
  }
}

void check_interactions(Rejects& rejects, const Dataset& data) {
  const Interactions& rows = data.interactions;
  const std::int64_t problems_before = rejects.count();
  if (rows.offset.empty() || rows.offset.front() != 0 || rows.offset.back() != rows.size()) {
    rejects.add("interactions.offset", 0, str("does not run from 0 to the number of interactions, ", rows.size()));
    return;
  }
  check_size(rejects, "user_ids", data.user_ids.size(), rows.users(), "user");
  if (!rows.time.empty()) check_size(rejects, "interactions.time", rows.time.size(), rows.size(), "interaction");
  if (!rows.rating.empty()) check_size(rejects, "interactions.rating", rows.rating.size(), rows.size(), "interaction");
  if (!rows.label.empty()) check_size(rejects, "interactions.label", rows.label.size(), rows.size(), "interaction");
  if (!rows.part.empty()) check_size(rejects, "interactions.part", rows.part.size(), rows.size(), "interaction");
  if (data.split_given && rows.part.empty() && rows.size() > 0)
    rejects.add("interactions.part", 0, "is empty although the source says that it brings a split");
  if (rejects.count() > problems_before) return;  // what follows reads those columns
  for (std::int64_t i = 0; i < rows.size(); ++i) {
    const std::int32_t item = rows.item[static_cast<std::size_t>(i)];
    if (item < 0 || item >= data.item_count())
      rejects.add("interactions.item", i, str("is item ", item, ", but the catalogue has ", data.item_count()));
  }
  for (std::size_t i = 0; i < rows.rating.size(); ++i)
    if (!std::isfinite(rows.rating[i]))
      rejects.add("interactions.rating", static_cast<std::int64_t>(i),
                  str("is ", rows.rating[i], ", expected a finite number"));
  check_unique(rejects, "user_ids", data.user_ids);
  check_users(rejects, data);
}

void check_features(Rejects& rejects, const Dataset& data) {
  for (const auto& [modality, features] : data.features) {
    const std::string what = "features." + modality;
    if (!features.values || features.values.shape().rank() != 2 || features.values.dim(0) != data.item_count()) {
      rejects.add(what, 0,
                  str("has the shape ", features.values ? features.values.shape().text() : "()", ", expected (",
                      data.item_count(), ", D): one row for each item"));
      continue;
    }
    check_size(rejects, what + ".present", features.present.size(), data.item_count(), "item");
    const std::int64_t width = features.width();
    const float* x = features.values.data<float>();
    for (std::int64_t i = 0; i < data.item_count(); ++i)
      for (std::int64_t d = 0; d < width; ++d)
        if (!std::isfinite(x[i * width + d])) {
          rejects.add(what, i, str("column ", d, " is ", x[i * width + d], ", expected a finite number"));
          break;
        }
  }
}

// 64 bits, word by word.
class Hash {
 public:
  void word(std::uint64_t w) { state_ = std::rotl((state_ ^ w) * 0x9E3779B97F4A7C15ull, 29) * 0xBF58476D1CE4E5B9ull; }
  void text(const std::string& s) {
    word(s.size());
    std::uint64_t w = 0;
    for (std::size_t i = 0; i < s.size(); ++i) {
      w = w << 8 | static_cast<unsigned char>(s[i]);
      if (i % 8 == 7) word(w);
    }
    if (s.size() % 8 != 0) word(w);
  }
  std::uint64_t value() const { return state_ ^ state_ >> 32; }

 private:
  std::uint64_t state_ = 0x8445D61A4E774912ull;
};

}  // namespace

DataError::~DataError() = default;

std::vector<std::int64_t> train_counts(const Dataset& data) {
  const Interactions& rows = data.interactions;
  check(rows.part.size() == rows.item.size(), "train_counts: ", rows.part.size(), " parts for ", rows.item.size(),
        " interactions; call split() first");
  std::vector<std::int64_t> counts(static_cast<std::size_t>(data.item_count()));
  for (std::size_t i = 0; i < rows.item.size(); ++i)
    if (rows.part[i] == Part::train) ++counts[static_cast<std::size_t>(rows.item[i])];
  return counts;
}

std::string fingerprint(const Dataset& data) {
  Hash hash;
  hash.word(data.items.ids.size());
  for (const auto& id : data.items.ids) hash.text(id);
  hash.word(data.user_ids.size());
  for (const auto& id : data.user_ids) hash.text(id);
  const Interactions& rows = data.interactions;
  for (const std::int64_t offset : rows.offset) hash.word(static_cast<std::uint64_t>(offset));
  for (const std::int32_t item : rows.item) hash.word(static_cast<std::uint64_t>(item));
  hash.word(rows.time.size());
  for (const std::int64_t time : rows.time) hash.word(static_cast<std::uint64_t>(time));
  hash.word(rows.rating.size());
  for (const float rating : rows.rating) hash.word(std::bit_cast<std::uint32_t>(rating));
  hash.word(rows.label.size());
  for (const std::int8_t label : rows.label) hash.word(static_cast<std::uint64_t>(label));
  hash.word(rows.part.size());
  for (const Part part : rows.part) hash.word(static_cast<std::uint64_t>(part));
  static const char digits[] = "0123456789abcdef";
  std::string text(16, '0');
  for (std::size_t i = 0; i < 16; ++i) text[i] = digits[hash.value() >> (60 - 4 * i) & 15];
  return text;
}

void validate(const Dataset& data) {
  Rejects rejects;
  check_items(rejects, data.items);
  check_interactions(rejects, data);
  check_features(rejects, data);
  if (rejects.count() == 0) return;
  try {
    rejects.finish();
  } catch (const DataError& error) {
    const std::string text = error.what();  // its last line speaks of files that are being read
    throw DataError(str("dataset '", data.name, "' does not fit together: ", text.substr(0, text.rfind('\n'))));
  }
}

}  // namespace tessera
