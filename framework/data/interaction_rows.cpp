#include "framework/data/interaction_rows.h"

#include <algorithm>
#include <numeric>

#include "framework/data/json.h"
#include "framework/data/text.h"

namespace tessera {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// Numbers of those that `keep` says stay; `numbers` becomes old -> new, -1 where it goes.
std::vector<std::int32_t> renumber(const std::vector<std::int64_t>& counts, std::int64_t core,
                                   std::vector<std::int32_t>& numbers) {
  std::vector<std::int32_t> kept;
  numbers.assign(counts.size(), -1);
  for (std::size_t i = 0; i < counts.size(); ++i)
    if (counts[i] >= core && counts[i] > 0) {
      numbers[i] = static_cast<std::int32_t>(kept.size());
      kept.push_back(static_cast<std::int32_t>(i));
    }
  return kept;
}

}  // namespace

std::int32_t IdIndex::add(std::string_view id) {
  if (const auto found = numbers_.find(id); found != numbers_.end()) return found->second;
  const auto number = static_cast<std::int32_t>(ids_.size());
  ids_.emplace_back(id);
  numbers_.emplace(std::string(id), number);
  return number;
}

std::int32_t IdIndex::find(std::string_view id) const {
  const auto found = numbers_.find(id);
  return found == numbers_.end() ? -1 : found->second;
}

void LabelRule::apply(const std::string& path, std::vector<InteractionRow>& rows, InteractionColumns& columns) const {
  if (!wanted()) return;
  if (!columns.rating)
    throw DataError(str(path, ": has no ratings, but positive_above = ", positive_above,
                        " makes labels of them; name the column of ratings, or remove positive_above"));
  if (columns.label)
    throw DataError(str(path, ": has labels of its own, and positive_above = ", positive_above,
                        " would make others of the ratings; remove one of them"));
  for (auto& row : rows) row.label = label(static_cast<double>(row.rating));
  columns.label = true;
}

Interactions interactions_of(const std::vector<InteractionRow>& rows, std::int64_t users,
                             const InteractionColumns& columns) {
  Interactions out;
  out.offset.assign(at(users) + 1, 0);
  for (const auto& row : rows) ++out.offset[at(row.user) + 1];
  std::partial_sum(out.offset.begin(), out.offset.end(), out.offset.begin());
  std::vector<std::int64_t> order(rows.size()), next = out.offset;
  for (std::size_t i = 0; i < rows.size(); ++i) order[at(next[at(rows[i].user)]++)] = static_cast<std::int64_t>(i);
  if (columns.time)
    for (std::int64_t user = 0; user < users; ++user)
      std::stable_sort(order.begin() + out.begin(user), order.begin() + out.end(user),
                       [&](std::int64_t a, std::int64_t b) { return rows[at(a)].time < rows[at(b)].time; });
  const auto take = [&](bool wanted, auto& column, auto member) {
    if (wanted)
      for (const std::int64_t i : order) column.push_back(rows[at(i)].*member);
  };
  take(true, out.item, &InteractionRow::item);
  take(columns.time, out.time, &InteractionRow::time);
  take(columns.rating, out.rating, &InteractionRow::rating);
  take(columns.label, out.label, &InteractionRow::label);
  take(columns.part, out.part, &InteractionRow::part);
  return out;
}

std::vector<std::string> catalogue_of(const IdIndex& items, std::vector<InteractionRow>& rows) {
  std::vector<std::pair<std::int64_t, std::int32_t>> order;
  for (const auto& id : items.ids()) {
    const auto number = parse_integer(id);
    if (!number) return items.ids();
    order.emplace_back(*number, static_cast<std::int32_t>(order.size()));
  }
  std::sort(order.begin(), order.end());
  std::vector<std::string> ids;
  std::vector<std::int32_t> rank(order.size());
  for (const auto& [number, old] : order) {
    rank[at(old)] = static_cast<std::int32_t>(ids.size());
    ids.push_back(items.ids()[at(old)]);
  }
  for (auto& row : rows) row.item = rank[at(row.item)];
  return ids;
}

Items read_item_lines(const std::string& path, IdIndex& index, Rejects& rejects) {
  Items items;
  JsonLines lines(path, rejects);
  JsonValue object;
  while (lines.next(object)) {
    const JsonValue* id = object.find("id");
    const std::string id_text = id != nullptr ? id->flat() : "";
    if (id_text.empty() || index.find(id_text) >= 0) {
      rejects.add(
          path, lines.number(),
          id_text.empty() ? "has no \"id\"" : str("the id ", in_quotes(id_text), " is taken by an item before it"));
      continue;
    }
    const auto row = at(index.add(id_text));
    const JsonValue* title = object.find("title");
    if (title == nullptr) title = object.find("name");
    items.titles.push_back(title != nullptr ? title->flat() : "");
    for (std::size_t m = 0; m < object.names.size(); ++m) {
      if (object.names[m] == "id" || &object.list[m] == title) continue;
      auto& column = items.fields[object.names[m]];
      column.resize(row);  // items before it lack this field
      column.push_back(object.list[m].flat());
    }
  }
  rejects.finish();
  items.ids = index.ids();
  for (auto& [name, column] : items.fields) column.resize(items.ids.size());
  return items;
}

Core keep_core(std::vector<InteractionRow>& rows, std::int64_t users, std::int64_t items, std::int64_t core) {
  std::vector<std::int64_t> user_rows, item_rows;
  while (true) {
    user_rows.assign(at(users), 0);
    item_rows.assign(at(items), 0);
    for (const auto& row : rows) {
      ++user_rows[at(row.user)];
      ++item_rows[at(row.item)];
    }
    const std::size_t before = rows.size();
    std::erase_if(rows, [&](const InteractionRow& row) {
      return user_rows[at(row.user)] < core || item_rows[at(row.item)] < core;
    });
    if (rows.size() == before) break;
  }
  Core kept;
  std::vector<std::int32_t> user_numbers, item_numbers;
  kept.users = renumber(user_rows, core, user_numbers);
  kept.items = renumber(item_rows, core, item_numbers);
  for (auto& row : rows) {
    row.user = user_numbers[at(row.user)];
    row.item = item_numbers[at(row.item)];
  }
  return kept;
}

}  // namespace tessera
