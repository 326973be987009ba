#include "framework/serve/memory_events.h"

#include <limits>
#include <unordered_map>

#include "framework/data/interaction_rows.h"
#include "framework/data/text.h"

namespace tessera {
namespace {

class Parser {
 public:
  Parser(const MemoryFacts& facts, const Items& items,
         const std::function<std::optional<std::int64_t>(const std::string&)>& newest)
      : facts_(facts), newest_(newest), columns_(2 + (facts.times ? 1 : 0) + (facts.actions ? 1 : 0)) {
    for (const auto& id : items.ids) items_.add(id);
  }

  // What is wrong with the line; empty: it became an event.
  std::string parse(std::string_view line, UserEvent event, EventFile& file) {
    const auto fields = split_at(line, '\t');
    if (fields.size() != columns_) return str("has ", fields.size(), " fields, expected ", expected());
    if (fields[0].empty()) return "has no user";
    event.item = items_.find(fields[1]);
    if (event.item < 0) return str("item ", in_quotes(fields[1]), " is not in the catalogue");
    if (facts_.times) {
      const auto time = parse_integer(fields[2]);
      if (!time) return str("time ", in_quotes(fields[2]), " is no whole number of seconds");
      event.time = *time;
    }
    if (facts_.actions) {
      const auto action = parse_integer(fields.back());
      if (!action || *action < std::numeric_limits<std::int8_t>::min() ||
          *action > std::numeric_limits<std::int8_t>::max())
        return str("action ", in_quotes(fields.back()), " is no whole number of -128 .. 127");
      event.action = static_cast<std::int8_t>(*action);
    }
    return accept(fields[0], event, file);
  }

  std::string expected() const {
    return str(columns_, " separated by tabs: user, item", facts_.times ? ", time" : "",
               facts_.actions ? ", action" : "", ", as the run's data have them");
  }

 private:
  std::string accept(std::string_view user, UserEvent event, EventFile& file) {
    const std::int64_t known = users_.size();
    event.user = users_.add(user);
    if (users_.size() > known) {
      file.users.emplace_back(user);
      const auto newest = newest_(file.users.back());
      last_.push_back(newest && facts_.times ? *newest : std::numeric_limits<std::int64_t>::min());
    }
    std::int64_t& last = last_[static_cast<std::size_t>(event.user)];
    if (facts_.times && event.time < last)
      return str("time ", event.time, " is before ", last,
                 ", the user's newest event; events are appended oldest first");
    last = facts_.times ? event.time : 0;
    file.events.push_back(event);
    return "";
  }

  const MemoryFacts& facts_;
  const std::function<std::optional<std::int64_t>(const std::string&)>& newest_;
  std::size_t columns_;
  IdIndex items_, users_;
  std::vector<std::int64_t> last_;
};

}  // namespace

std::uint64_t prefix_checksum(std::string_view text, std::uint64_t start) {
  for (const char c : text) start = (start ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return start;
}

EventFile read_events(const std::string& path, std::string_view text, const AppliedFile& begin,
                      const MemoryFacts& facts, const Items& items,
                      const std::function<std::optional<std::int64_t>(const std::string&)>& newest, Rejects& rejects) {
  Parser parser(facts, items, newest);
  EventFile file;
  file.lines = begin.lines;
  for (std::size_t at = begin.bytes; at < text.size();) {
    const std::size_t newline = text.find('\n', at);
    UserEvent event;
    event.line = ++file.lines;
    event.end = newline == std::string_view::npos ? text.size() : newline + 1;
    if (newline == std::string_view::npos) {
      rejects.add(path, static_cast<std::int64_t>(event.line), "has no end; the file is cut, or still being written");
      break;
    }
    std::string_view line = text.substr(at, newline - at);
    if (line.ends_with('\r')) line.remove_suffix(1);
    at = event.end;
    if (line.empty() || (event.line == 1 && line.starts_with("user\titem"))) continue;
    const std::string problem = parser.parse(line, event, file);
    if (!problem.empty()) rejects.add(path, static_cast<std::int64_t>(event.line), problem);
  }
  rejects.finish();
  return file;
}

}  // namespace tessera
