#include "framework/serve/memory_update.h"

#include <algorithm>
#include <cstdio>
#include <unordered_map>

#include "framework/checkpoint/atomic_file.h"
#include "framework/data/text.h"
#include "framework/serve/memory_events.h"
#include "framework/train/trainer.h"
#include "tensor/autograd/tape.h"

namespace tessera {
namespace {

constexpr std::int64_t kUsersTogether = 32;

void add_sorted(std::vector<std::int32_t>& items, std::span<const std::int32_t> more) {
  items.insert(items.end(), more.begin(), more.end());
  std::sort(items.begin(), items.end());
  items.erase(std::unique(items.begin(), items.end()), items.end());
}

Histories histories_of_users(const Interactions& all, std::int64_t first, std::int64_t last) {
  Histories out;
  const auto begin = all.begin(first), end = all.end(last - 1);
  out.item.assign(all.item.begin() + begin, all.item.begin() + end);
  if (!all.time.empty()) out.time.assign(all.time.begin() + begin, all.time.begin() + end);
  if (!all.label.empty()) out.action.assign(all.label.begin() + begin, all.label.begin() + end);
  for (std::int64_t user = first; user < last; ++user) {
    out.user.push_back(static_cast<std::int32_t>(user));
    out.offset.push_back(all.end(user) - begin);
  }
  return out;
}

// The events of one write, by user in order of first appearance.
struct Batch {
  std::vector<std::int32_t> users;  // numbers in EventFile::users
  std::vector<std::vector<const UserEvent*>> events;
};

Batch batch_of(std::span<const UserEvent> events) {
  Batch batch;
  std::unordered_map<std::int32_t, std::size_t> place;
  for (const UserEvent& event : events) {
    const auto [at, fresh] = place.emplace(event.user, batch.users.size());
    if (fresh) {
      batch.users.push_back(event.user);
      batch.events.emplace_back();
    }
    batch.events[at->second].push_back(&event);
  }
  return batch;
}

void add_row(Histories& histories, const std::vector<const UserEvent*>& events, std::int32_t user,
             const MemoryFacts& facts) {
  for (const UserEvent* event : events) {
    histories.item.push_back(event->item);
    if (facts.times) histories.time.push_back(event->time);
    if (facts.actions) histories.action.push_back(event->action);
  }
  histories.user.push_back(user);
  histories.offset.push_back(histories.size());
}

class Appender {
 public:
  Appender(Model& model, const Dataset& data, UserMemory& memory) : model_(model), memory_(memory) {
    for (std::size_t u = 0; u < data.user_ids.size(); ++u)
      numbers_.emplace(data.user_ids[u], static_cast<std::int32_t>(u));
  }

  // Rows of the users that the events are of, with these read.
  std::vector<UserMemory::Row> rows(const EventFile& file, std::span<const UserEvent> events, AppendReport& report) {
    const Batch batch = batch_of(events);
    std::vector<UserMemory::Row> rows;
    Histories known, fresh;
    std::vector<std::vector<Tensor>> parts;
    std::vector<std::size_t> order[2];  // places of known users, and of new ones
    for (std::size_t i = 0; i < batch.users.size(); ++i) {
      const std::string& id = file.users[static_cast<std::size_t>(batch.users[i])];
      auto row = memory_.find(id);
      order[row ? 0 : 1].push_back(i);
      if (row) parts.push_back(std::move(row->parts));
      else ++report.new_users;
      const auto number = numbers_.find(id);
      add_row(row ? known : fresh, batch.events[i], number == numbers_.end() ? -1 : number->second, memory_.facts());
      rows.emplace_back(id, row ? std::move(*row) : MemoryRow{});
      count(rows.back().second, batch.events[i]);
    }
    const NoTape no_tape;
    if (!parts.empty()) {
      Memory memory = model_.import_rows(parts);
      model_.append(memory, known);
      store(memory, order[0], rows);
    }
    if (!order[1].empty()) store(model_.encode(fresh), order[1], rows);
    return rows;
  }

 private:
  static void count(MemoryRow& row, const std::vector<const UserEvent*>& events) {
    std::vector<std::int32_t> items;
    for (const UserEvent* event : events) items.push_back(event->item);
    add_sorted(row.items, items);
    row.events += events.size();
    row.newest = events.back()->time;
  }
  void store(const Memory& memory, const std::vector<std::size_t>& order, std::vector<UserMemory::Row>& rows) {
    for (std::size_t b = 0; b < order.size(); ++b)
      rows[order[b]].second.parts = model_.export_row(memory, static_cast<std::int64_t>(b));
  }

  Model& model_;
  UserMemory& memory_;
  std::unordered_map<std::string, std::int32_t> numbers_;
};

// The longest part of the text that was appended before, and the place of its record.
std::pair<std::string, AppliedFile> applied_part(const UserMemory& memory, std::string_view text) {
  auto files = memory.applied_files();
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.second.bytes < b.second.bytes; });
  std::pair<std::string, AppliedFile> best{memory.new_file(), {}};
  std::uint64_t sum = prefix_checksum(""), at = 0;
  for (const auto& file : files) {
    if (file.second.bytes > text.size()) break;
    sum = prefix_checksum(text.substr(at, file.second.bytes - at), sum);
    at = file.second.bytes;
    if (sum == file.second.checksum) best = file;
  }
  if (best.second.bytes == 0) best.second.checksum = prefix_checksum("");
  return best;
}

}  // namespace

std::string model_hash(const Pipeline& pipeline) {
  std::uint64_t h = checksum("user memory 1");
  for (const char* section : {"model", "head"}) h = checksum(pipeline.config().section(section).toml(), h);
  for (const auto& [name, parameter] : named_parameters(pipeline.model(), pipeline.head())) {
    const Tensor value = parameter->value.detach();
    h = checksum(str(name, " ", value.shape().text(), " ", name_of(value.dtype())), h);
    h = checksum({static_cast<const char*>(value.raw()), value.bytes()}, h);
  }
  const Catalog& catalog = pipeline.catalog();
  for (std::int32_t item = 0; item < catalog.items(); ++item) {
    const auto codes = catalog.codes_of(item);
    h = checksum({reinterpret_cast<const char*>(codes.data()), codes.size_bytes()}, h);
    h = checksum(pipeline.data().items.ids[static_cast<std::size_t>(item)], h);
  }
  return hex_of(h);
}

MemoryFacts facts_of(const Pipeline& pipeline, const std::string& run) {
  const Interactions& rows = pipeline.data().interactions;
  return {model_hash(pipeline), pipeline.name(), run, !rows.time.empty(), !rows.label.empty()};
}

void require_storable(const Pipeline& pipeline) {
  const ModelSpec spec = pipeline.model().spec();
  const auto name = [&](const char* role) { return pipeline.config().section(role).plugin(); };
  check(spec.stores && spec.appends, "user memory: the model ", name("model"),
        " cannot store what it remembers (hmat can, and flat_transformer with causal = true)");
  check(pipeline.head().spec(spec).answers_memories, "user memory: the head ", name("head"),
        " cannot answer from what the model remembers with the options of this run");
}

BuildReport build_memory(Model& model, const Dataset& data, UserMemory& memory, FitContext& context) {
  const NoTape no_tape;
  const Interactions& all = data.interactions;
  BuildReport report;
  for (std::int64_t first = 0; first < data.users(); first += kUsersTogether) {
    if (context.stop()) throw Stopped("memory build: stopped; nothing was kept");
    const std::int64_t last = std::min(data.users(), first + kUsersTogether);
    const Memory read = model.encode(histories_of_users(all, first, last));
    std::vector<UserMemory::Row> rows;
    for (std::int64_t user = first; user < last; ++user) {
      MemoryRow row;
      row.events = static_cast<std::uint64_t>(all.end(user) - all.begin(user));
      if (!all.time.empty() && row.events > 0) row.newest = all.time[static_cast<std::size_t>(all.end(user) - 1)];
      add_sorted(row.items, std::span(all.item).subspan(static_cast<std::size_t>(all.begin(user)), row.events));
      row.parts = model.export_row(read, user - first);
      report.row_bytes += pack_row("", row).size();
      rows.emplace_back(data.user_ids[static_cast<std::size_t>(user)], std::move(row));
    }
    memory.write(rows);
    report.users += last - first;
    context.progress(static_cast<double>(last) / static_cast<double>(data.users()), "users");
  }
  memory.finish();
  return report;
}

AppendReport append_events(Model& model, const Dataset& data, UserMemory& memory, const std::string& path,
                           std::int64_t batch, Rejects& rejects, FitContext& context,
                           const std::function<void(std::uint64_t line)>& acknowledge) {
  const std::string text = read_file(path);
  auto [place, applied] = applied_part(memory, text);
  AppendReport report;
  report.lines_before = applied.lines;
  const auto newest = [&](const std::string& user) -> std::optional<std::int64_t> {
    const auto row = memory.find(user);
    return row ? std::optional(row->newest) : std::nullopt;
  };
  const EventFile file = read_events(path, text, applied, memory.facts(), data.items, newest, rejects);
  report.users = file.users.size();
  Appender appender(model, data, memory);
  const std::span<const UserEvent> events(file.events);
  for (std::size_t first = 0; first < events.size(); first += static_cast<std::size_t>(batch)) {
    if (context.stop())
      throw Stopped(str("memory append: stopped; lines 1 to ", applied.lines, " of ", path,
                        " are in the memory, the same command goes on behind them"));
    const auto part = events.subspan(first, std::min(events.size() - first, static_cast<std::size_t>(batch)));
    const auto rows = appender.rows(file, part, report);
    const std::uint64_t end = part.back().end;
    applied.checksum =
        prefix_checksum(std::string_view(text).substr(applied.bytes, end - applied.bytes), applied.checksum);
    applied.bytes = end;
    applied.lines = part.back().line;
    const std::pair<std::string, AppliedFile> record{place, applied};
    memory.write(rows, &record);
    report.events += part.size();
    acknowledge(applied.lines);
    context.progress(static_cast<double>(first + part.size()) / static_cast<double>(events.size()), "events");
  }
  memory.finish();
  return report;
}

Recalled recall(Model& model, const UserMemory& memory, std::span<const std::string> users) {
  const NoTape no_tape;
  Recalled out;
  std::vector<std::vector<Tensor>> parts;
  for (const auto& user : users) {
    auto row = memory.find(user);
    if (!row) throw MemoryError(str("user memory ", memory.folder(), " knows no user ", in_quotes(user)));
    out.items.insert(out.items.end(), row->items.begin(), row->items.end());
    out.offset.push_back(static_cast<std::int64_t>(out.items.size()));
    parts.push_back(std::move(row->parts));
  }
  out.memory = model.import_rows(parts);
  return out;
}

}  // namespace tessera
