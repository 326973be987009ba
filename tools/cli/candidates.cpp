#include "tools/cli/candidates.h"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <unordered_map>

#include "framework/checkpoint/json.h"
#include "framework/data/rejects.h"
#include "framework/data/text.h"
#include "framework/pipeline/pipeline.h"
#include "framework/serve/memory_update.h"
#include "tools/cli/report.h"

namespace tessera::cli {
namespace {

constexpr std::int64_t kUsers = 256;  // scored at once

std::unordered_map<std::string_view, std::int32_t> numbers_of(const std::vector<std::string>& ids) {
  std::unordered_map<std::string_view, std::int32_t> out;
  for (std::size_t i = 0; i < ids.size(); ++i) out.emplace(ids[i], static_cast<std::int32_t>(i));
  return out;
}

void print_list(const Dataset& data, const std::string& name, std::span<const std::int32_t> items,
                std::span<const float> scores, bool clicks, bool json) {
  std::string line = "{\"user\":" + json_text(name) + ",\"items\":[";
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string& item = data.items.ids[static_cast<std::size_t>(items[i])];
    const double score = static_cast<double>(scores[i]), probability = 1 / (1 + std::exp(-score));
    if (json) {
      line += str(i ? "," : "", "{\"item\":", json_text(item), ",\"score\":", json_number(score));
      line += clicks ? ",\"probability\":" + json_number(probability) + "}" : "}";
    } else {
      std::cout << name << '\t' << item << '\t' << fixed(score, 6) << (clicks ? "\t" + fixed(probability, 6) : "")
                << '\n';
    }
  }
  if (json) std::cout << line << "]}\n";
}

}  // namespace

CandidateLists read_candidates(const std::string& path, const Dataset& data, bool any_user) {
  const auto users = numbers_of(data.user_ids), items = numbers_of(data.items.ids);
  CandidateLists lists;
  Rejects rejects(true);
  LineReader lines(path);
  std::string_view line;
  while (lines.next(line)) {
    const auto words = split_words(line);
    if (words.empty()) continue;
    const auto user = users.find(words[0]);
    lists.name.emplace_back(words[0]);
    lists.user.push_back(user == users.end() ? -1 : user->second);
    if (user == users.end() && !any_user)
      rejects.add(path, lines.number(), str("the user ", in_quotes(words[0]), " is not in the data set of this run"));
    if (words.size() == 1)
      rejects.add(path, lines.number(), str("the user ", in_quotes(words[0]), " has no candidates"));
    for (std::size_t i = 1; i < words.size(); ++i) {
      const auto item = items.find(words[i]);
      if (item == items.end())
        rejects.add(path, lines.number(),
                    str("the item ", in_quotes(words[i]), " is not in the catalogue of this run"));
      else lists.item.push_back(item->second);
    }
    lists.offset.push_back(static_cast<std::int64_t>(lists.item.size()));
  }
  if (rejects.count() > 0) {
    std::string text = str(rejects.count(), " candidates cannot be scored");
    for (const auto& problem : rejects.first()) text += "\n  " + problem;
    const auto more = rejects.count() - static_cast<std::int64_t>(rejects.first().size());
    throw DataError(more > 0 ? str(text, "\n  ... and ", more, " more") : text);
  }
  if (lists.user.empty()) throw DataError(path + ": holds no candidates; expected `user item item ...` a line");
  return lists;
}

void add_user_history(Histories& histories, const Dataset& data, std::int32_t user) {
  const Interactions& all = data.interactions;
  const auto take = [&](const auto& column, auto& to) {
    if (!column.empty()) to.insert(to.end(), column.begin() + all.begin(user), column.begin() + all.end(user));
  };
  take(all.item, histories.item);
  take(all.time, histories.time);
  take(all.label, histories.action);
  histories.user.push_back(user);
  histories.offset.push_back(histories.size());
}

void print_candidate_scores(const Pipeline& pipeline, const CandidateLists& lists, bool json,
                            const UserMemory* memory) {
  const Dataset& data = pipeline.data();
  const bool clicks = pipeline.head().spec(pipeline.model().spec()).needs_labels;
  const auto rows = static_cast<std::int64_t>(lists.user.size());
  const std::span<const std::int32_t> items(lists.item);
  for (std::int64_t begin = 0; begin < rows; begin += kUsers) {
    const std::int64_t end = std::min(begin + kUsers, rows);
    Histories histories;
    std::vector<std::int64_t> offset;
    const std::int64_t first = lists.offset[static_cast<std::size_t>(begin)];
    for (std::int64_t b = begin; b < end; ++b) {
      if (memory == nullptr) add_user_history(histories, data, lists.user[static_cast<std::size_t>(b)]);
      offset.push_back(lists.offset[static_cast<std::size_t>(b)] - first);
    }
    offset.push_back(lists.offset[static_cast<std::size_t>(end)] - first);
    const auto part = items.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(offset.back()));
    const std::span<const std::string> names(lists.name.data() + begin, static_cast<std::size_t>(end - begin));
    const auto scores = memory != nullptr
                            ? pipeline.head().score_memory(
                                  pipeline.model(), recall(pipeline.model(), *memory, names).memory, offset, part)
                            : pipeline.head().score(pipeline.model(), histories, offset, part);
    for (std::size_t b = 0; b + 1 < offset.size(); ++b) {
      const auto from = static_cast<std::size_t>(offset[b]), count = static_cast<std::size_t>(offset[b + 1]) - from;
      print_list(data, names[b], part.subspan(from, count), std::span(scores).subspan(from, count), clicks, json);
    }
  }
}

}  // namespace tessera::cli
