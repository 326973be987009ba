#include "framework/serve/user_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "framework/plugin/testing.h"
#include "tensor/core/random.h"

#ifdef TESSERA_WITH_ROCKSDB
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace tessera {
namespace {

MemoryRow row_of(std::uint64_t number, std::int64_t anchors = 3, std::int64_t width = 4) {
  MemoryRow row;
  row.events = static_cast<std::uint64_t>(anchors) + number % 5;
  row.newest = static_cast<std::int64_t>(1000 + number);
  row.items = {static_cast<std::int32_t>(number), static_cast<std::int32_t>(number + 7)};
  row.parts = {Tensor({anchors, width}), Tensor::from(std::vector<std::int32_t>{1, 2}, {2}), Tensor({0, width})};
  fill_normal(row.parts[0], 0.0, 1.0, 1, number);
  return row;
}

void expect_equal(const MemoryRow& a, const MemoryRow& b) {
  EXPECT_EQ(a.events, b.events);
  EXPECT_EQ(a.newest, b.newest);
  EXPECT_EQ(a.items, b.items);
  ASSERT_EQ(a.parts.size(), b.parts.size());
  for (std::size_t p = 0; p < a.parts.size(); ++p) {
    EXPECT_EQ(a.parts[p].dtype(), b.parts[p].dtype());
    ASSERT_EQ(a.parts[p].shape(), b.parts[p].shape());
    if (a.parts[p].bytes() > 0) {
      EXPECT_EQ(0, std::memcmp(a.parts[p].raw(), b.parts[p].raw(), a.parts[p].bytes()));
    }
  }
}

}  // namespace

TEST(MemoryRows, ComeBackAsTheyWere) {
  const MemoryRow row = row_of(5);
  expect_equal(unpack_row("u5", pack_row("u5", row)), row);
  expect_equal(unpack_row("", pack_row("", MemoryRow())), MemoryRow());
}

TEST(MemoryRows, EveryFlippedBitAndEveryCutIsFound) {
  const std::string bytes = pack_row("u5", row_of(5));
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << at % 8));
    EXPECT_THROW(unpack_row("u5", damaged), MemoryError) << at;
    EXPECT_THROW(unpack_row("u5", bytes.substr(0, at)), MemoryError) << at;
  }
  EXPECT_EQ(message_of([&] { unpack_row("u6", bytes); }),
            "the row of user 'u6' is damaged: its checksum does not hold");
}

#ifndef TESSERA_WITH_ROCKSDB

TEST(UserMemory, SaysWhatTheBuildLacks) {
  const TemporaryFolder folder;
  EXPECT_EQ(message_of([&] { UserMemory::create(folder.path("m"), {}); }),
            "user memory: this build has no RocksDB; install librocksdb-dev and build again");
}

#else

namespace {

const MemoryFacts kFacts{"0123456789abcdef", "toy", "/runs/toy", true, false};

UserMemory filled(const std::string& folder, std::uint64_t users, std::int64_t anchors = 3) {
  UserMemory memory = UserMemory::create(folder, kFacts);
  for (std::uint64_t u = 0; u < users; ++u) {
    const UserMemory::Row row{str("u", u), row_of(u, anchors)};
    memory.write({&row, 1});
  }
  memory.finish();
  return memory;
}

// The largest file of the folder whose name ends so.
std::string file_of(const std::string& folder, const std::string& ending) {
  std::string best;
  std::uintmax_t size = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().string().ends_with(ending) && entry.file_size() >= size) {
      best = entry.path();
      size = entry.file_size();
    }
  return best;
}

}  // namespace

TEST(UserMemory, ARowIsThereAfterReopening) {
  const TemporaryFolder folder;
  const std::string path = folder.path("m");
  filled(path, 10);
  EXPECT_TRUE(UserMemory::holds(path));
  EXPECT_FALSE(std::filesystem::exists(path + ".building"));
  {
    UserMemory memory = UserMemory::open(path, UserMemory::Access::write);
    const UserMemory::Row rows[] = {{"u3", row_of(99)}, {"new", row_of(100)}};
    const std::pair<std::string, AppliedFile> file{memory.new_file(), {12, 34, 2}};
    memory.write(rows, &file);
  }
  const UserMemory memory = UserMemory::open(path, UserMemory::Access::read);
  EXPECT_EQ(memory.facts().model_hash, kFacts.model_hash);
  EXPECT_EQ(memory.facts().run, kFacts.run);
  EXPECT_TRUE(memory.facts().times && !memory.facts().actions);
  expect_equal(*memory.find("u3"), row_of(99));
  expect_equal(*memory.find("u4"), row_of(4));
  EXPECT_FALSE(memory.find("nobody"));
  std::int64_t users = 0;
  memory.for_each([&](const std::string&, const MemoryRow&, std::size_t bytes) { users += bytes > 0; });
  EXPECT_EQ(users, 11);
  ASSERT_EQ(memory.applied_files().size(), 1u);
  EXPECT_EQ(memory.applied_files()[0].second.checksum, 34u);
  EXPECT_NE(memory.new_file(), memory.applied_files()[0].first);
}

TEST(UserMemory, OneWritesOrManyRead) {
  const TemporaryFolder folder;
  const std::string path = folder.path("m");
  filled(path, 3);
  {
    const UserMemory first = UserMemory::open(path, UserMemory::Access::read),
                     second = UserMemory::open(path, UserMemory::Access::read);
    EXPECT_EQ(message_of([&] { UserMemory::open(path, UserMemory::Access::write); }),
              "user memory " + path + " is in use: another process reads or writes it; wait until it has ended");
  }
  const UserMemory writer = UserMemory::open(path, UserMemory::Access::write);
  EXPECT_EQ(message_of([&] { UserMemory::open(path, UserMemory::Access::read); }),
            "user memory " + path + " is in use: another process writes it; wait until it has ended");
}

TEST(UserMemory, RefusesAnotherModelByName) {
  const TemporaryFolder folder;
  const UserMemory memory = filled(folder.path("m"), 1);
  memory.require_model("0123456789abcdef", "/runs/toy");
  EXPECT_EQ(message_of([&] { memory.require_model("ffff000000000000", "runs/other"); }),
            "user memory " + folder.path("m") +
                " belongs to another model: it was built by model 0123456789abcdef (pipeline 'toy', run /runs/toy), "
                "but runs/other holds model ffff000000000000; use the run that it was built by, or build a memory of "
                "this one with  tessera memory build runs/other --out DIR");
}

TEST(UserMemory, WhatIsInTheWayIsNamed) {
  const TemporaryFolder folder;
  filled(folder.path("m"), 1);
  EXPECT_EQ(message_of([&] { UserMemory::create(folder.path("m"), kFacts); }),
            folder.path("m") + " exists already; remove it, or give another folder");
  EXPECT_EQ(message_of([&] { UserMemory::open(folder.path(), UserMemory::Access::read); }),
            folder.path() + " holds no user memory; make one with  tessera memory build RUN --out " + folder.path());
  { const UserMemory unfinished = UserMemory::create(folder.path("n"), kFacts); }
  EXPECT_FALSE(std::filesystem::exists(folder.path("n")));
  EXPECT_FALSE(std::filesystem::exists(folder.path("n.building")));
}

TEST(UserMemory, DamagedFilesAreErrors) {
  for (const char* ending : {".blob", ".sst", "CURRENT"})
    for (const bool cut : {false, true}) {
      const TemporaryFolder folder;
      const std::string path = folder.path("m");
      filled(path, 200, 100);
      const std::string file = file_of(path, ending);
      ASSERT_FALSE(file.empty()) << ending;
      const auto size = std::filesystem::file_size(file);
      if (cut) {
        std::filesystem::resize_file(file, size / 2);
      } else {
        std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
        for (std::uintmax_t at = 1; at < size; at += 97) {
          stream.seekp(static_cast<std::streamoff>(at));
          stream.put('\x5a');
        }
      }
      const std::string problem = message_of([&] {
        const UserMemory memory = UserMemory::open(path, UserMemory::Access::read);
        memory.for_each([](const std::string&, const MemoryRow&, std::size_t) {});
      });
      EXPECT_NE(problem.find("user memory " + path), std::string::npos) << ending << " " << cut << ": " << problem;
    }
}

// A child writes numbered rows and acknowledges each through a pipe; it is killed in the middle. What it acknowledged
// is there.
TEST(UserMemory, NoAcknowledgedRowIsLostWhenTheWriterIsKilled) {
  const TemporaryFolder folder;
  const std::string path = folder.path("m");
  filled(path, 5);
  std::uint64_t next = 0;
  for (int round = 0; round < 4; ++round) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
      close(ends[0]);
      UserMemory memory = UserMemory::open(path, UserMemory::Access::write);
      for (std::uint64_t n = next;; ++n) {
        const UserMemory::Row row{str("n", n), row_of(n, 40, 32)};
        const std::pair<std::string, AppliedFile> file{"00", {n, n, n}};
        memory.write({&row, 1}, &file);
        if (write(ends[1], &n, sizeof n) != sizeof n) _exit(1);
      }
    }
    close(ends[1]);
    std::uint64_t acknowledged = 0, count = 0;
    while (count < 30 + 11 * static_cast<std::uint64_t>(round) &&
           read(ends[0], &acknowledged, sizeof acknowledged) == sizeof acknowledged)
      ++count;
    kill(child, SIGKILL);
    while (read(ends[0], &acknowledged, sizeof acknowledged) == sizeof acknowledged) ++count;
    close(ends[0]);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    ASSERT_GT(count, 0u);
    next = acknowledged + 1;
    const UserMemory memory = UserMemory::open(path, UserMemory::Access::read);
    for (std::uint64_t n = 0; n < next; ++n) {
      const auto row = memory.find(str("n", n));
      ASSERT_TRUE(row) << n << " of " << next;
      expect_equal(*row, row_of(n, 40, 32));
    }
    EXPECT_GE(memory.applied_files().at(0).second.lines, acknowledged);
  }
}

// 10^5 users of 50 anchors: written, reopened, appended.
TEST(UserMemory, HoldsAHundredThousandUsers) {
  constexpr std::uint64_t kUsers = 100'000;
  const TemporaryFolder folder;
  const std::string path = folder.path("m");
  {
    UserMemory memory = UserMemory::create(path, kFacts);
    std::vector<UserMemory::Row> rows;
    for (std::uint64_t u = 0; u < kUsers; ++u) {
      rows.emplace_back(str("u", u), row_of(u, 50, 2));
      if (rows.size() < 256 && u + 1 < kUsers) continue;
      memory.write(rows);
      rows.clear();
    }
    memory.finish();
  }
  {
    UserMemory memory = UserMemory::open(path, UserMemory::Access::write);
    for (std::uint64_t u = 0; u < kUsers; u += 4000) {
      auto row = *memory.find(str("u", u));
      ++row.events;
      const UserMemory::Row changed{str("u", u), row};
      memory.write({&changed, 1});
    }
  }
  const UserMemory memory = UserMemory::open(path, UserMemory::Access::read);
  std::uint64_t users = 0, events = 0, expected = kUsers / 4000;
  memory.for_each([&](const std::string&, const MemoryRow& row, std::size_t) {
    ++users;
    events += row.events;
  });
  for (std::uint64_t u = 0; u < kUsers; ++u) expected += 50 + u % 5;
  EXPECT_EQ(users, kUsers);
  EXPECT_EQ(events, expected);
  expect_equal(*memory.find("u77777"), row_of(77777, 50, 2));
}

#endif

}  // namespace tessera
