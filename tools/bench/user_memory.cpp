#include <chrono>
#include <filesystem>
#include <vector>

#include "framework/serve/user_memory.h"
#include "tensor/core/random.h"
#include "tools/bench/bench.h"

namespace tessera::bench {
namespace {

// Keys and values of `anchors` anchors in each layer, as an anchor model stores them.
MemoryRow anchors_of(std::int64_t user, std::int64_t anchors, std::int64_t layers, std::int64_t width) {
  MemoryRow row;
  row.events = static_cast<std::uint64_t>(anchors);
  row.newest = 1'700'000'000 + user;
  for (std::int64_t i = 0; i < anchors; ++i) row.items.push_back(static_cast<std::int32_t>(user % 1000 + 7 * i));
  for (std::int64_t p = 0; p < 2 * layers; ++p) {
    Tensor part({anchors, width});
    fill_normal(part, 0.0, 1.0, 1, static_cast<std::uint64_t>(user * 2 * layers + p));
    row.parts.push_back(std::move(part));
  }
  return row;
}

void run(Arguments& arguments) {
  const std::int64_t users = arguments.number("users", 100'000), anchors = arguments.number("anchors", 50),
                     layers = arguments.number("layers", 2), width = arguments.number("width", 64),
                     appends = arguments.number("appends", 1000), together = arguments.number("batch", 64);
  const std::string folder = arguments.text("folder", "user_memory_bench");
  arguments.finish();
  Report report("user_memory");
  report.number("users", static_cast<double>(users));
  report.number("anchors", static_cast<double>(anchors));
  std::vector<MemoryRow> made;  // drawn before the clock runs, and used again and again
  for (std::int64_t user = 0; user < together; ++user) made.push_back(anchors_of(user, anchors, layers, width));
  report.number("row_bytes", static_cast<double>(pack_row("u0", made[0]).size()));
  const auto rows_from = [&](std::int64_t first, std::int64_t last) {
    std::vector<UserMemory::Row> rows;
    for (std::int64_t user = first; user < last; ++user)
      rows.emplace_back("u" + std::to_string(user), made[static_cast<std::size_t>(user - first)]);
    return rows;
  };
  report.seconds("write_s", timed(
                                [&] {
                                  UserMemory memory = UserMemory::create(folder, {"0", "bench", "bench", true, false});
                                  for (std::int64_t first = 0; first < users; first += together)
                                    memory.write(rows_from(first, std::min(users, first + together)));
                                  memory.finish();
                                },
                                1, 0));
  report.number("bytes_a_user_on_disk",
                static_cast<double>(UserMemory::open(folder, UserMemory::Access::read).bytes_on_disk()) /
                    static_cast<double>(users));
  report.seconds("reopen_s", timed([&] { UserMemory::open(folder, UserMemory::Access::write); }, 3, 0));
  std::int64_t user = 0;
  {
    UserMemory memory = UserMemory::open(folder, UserMemory::Access::write);
    report.seconds("append_one_s",
                   timed(
                       [&] {
                         auto row = *memory.find("u" + std::to_string(user * 7919 % users));
                         ++row.events;
                         const UserMemory::Row changed{"u" + std::to_string(user++ * 7919 % users), std::move(row)};
                         memory.write({&changed, 1});
                       },
                       appends, 0));
    memory.finish();
  }
  const UserMemory memory = UserMemory::open(folder, UserMemory::Access::read);
  report.seconds("find_s", timed([&] { memory.find("u" + std::to_string(user++ * 7919 % users)); }, appends, 10));
  report.seconds("verify_all_s",
                 timed(
                     [&] {
                       std::int64_t found = 0;
                       memory.for_each([&](const std::string&, const MemoryRow&, std::size_t) { ++found; });
                       check(found == users, "user_memory: ", found, " rows");
                     },
                     1, 0));
  report.memory();
  report.print();
  std::filesystem::remove_all(folder);
}

const Workload workload("user_memory", "writes, reopens and appends to a user memory", run);

}  // namespace
}  // namespace tessera::bench
