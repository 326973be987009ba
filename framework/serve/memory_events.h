#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "framework/data/dataset.h"
#include "framework/data/rejects.h"
#include "framework/serve/user_memory.h"
#include "tensor/core/export.h"

namespace tessera {

// One line of an event file.
struct UserEvent {
  std::int32_t user = 0, item = 0;  // user: number in EventFile::users; item: internal number
  std::int64_t time = 0;
  std::int8_t action = 0;
  std::uint64_t line = 0;  // from 1
  std::uint64_t end = 0;   // of the line, in bytes from the file's begin
};

// An event file: one event a line, fields separated by tabs: user, item, time where the memory has times, action where
// it has actions. A first line that begins with "user<tab>item" names the columns.
struct EventFile {
  std::vector<std::string> users;
  std::vector<UserEvent> events;
  std::uint64_t lines = 0;
};

// Reads the lines behind byte `begin` (which ends line `line`). Bad lines go to `rejects`: too many or few fields, an
// item that is not in the catalogue, a time or action that is no number, a time before the user's event above it or
// before `newest(user)`, a last line without its end.
TESSERA_API EventFile read_events(const std::string& path, std::string_view text, const AppliedFile& begin,
                                  const MemoryFacts& facts, const Items& items,
                                  const std::function<std::optional<std::int64_t>(const std::string&)>& newest,
                                  Rejects& rejects);

// FNV-1a of the text's first bytes: what AppliedFile::checksum holds. Goes on from `start`.
TESSERA_API std::uint64_t prefix_checksum(std::string_view text, std::uint64_t start = 0xcbf29ce484222325ull);

}  // namespace tessera
