#include "framework/serve/memory_update.h"

#include <gtest/gtest.h>

#include "framework/plugin/testing.h"
#include "framework/serve/memory_events.h"

namespace tessera {
namespace {

// Remembers of a user: the sum of (item + 1) x place, weighted by action and time, and the count. Exact in f64.
class ToyModel final : public Model {
 public:
  struct State final : Memory::Cache {
    std::vector<std::vector<double>> rows;  // sum, count
  };
  ModelSpec spec() const override {
    ModelSpec spec;
    spec.appends = spec.stores = true;
    return spec;
  }
  void build(const BuildContext&, ItemVectorSource*) override {}
  Memory encode(const Histories& histories) override {
    Memory memory;
    auto state = std::make_shared<State>();
    state->rows.assign(static_cast<std::size_t>(histories.rows()), {0.0, 0.0});
    memory.cache = state;
    append(memory, histories);
    return memory;
  }
  void append(Memory& memory, const Histories& news) override {
    auto& rows = dynamic_cast<State&>(*memory.cache).rows;
    for (std::size_t b = 0; b < rows.size(); ++b)
      for (auto i = static_cast<std::size_t>(news.offset[b]); i < static_cast<std::size_t>(news.offset[b + 1]); ++i) {
        rows[b][1] += 1;
        rows[b][0] += (news.item[i] + 1) * rows[b][1] * (news.action.empty() ? 1 : 2 + news.action[i]) +
                      (news.time.empty() ? 0.0 : static_cast<double>(news.time[i]));
      }
  }
  std::vector<Tensor> export_row(const Memory& memory, std::int64_t row) override {
    return {Tensor::from(dynamic_cast<State&>(*memory.cache).rows[static_cast<std::size_t>(row)], {2})};
  }
  Memory import_rows(std::span<const std::vector<Tensor>> rows) override {
    Memory memory;
    auto state = std::make_shared<State>();
    for (const auto& row : rows)
      state->rows.emplace_back(row[0].values<double>().begin(), row[0].values<double>().end());
    memory.cache = state;
    return memory;
  }
};

Items ten_items() {
  Items items;
  for (int i = 0; i < 10; ++i) items.ids.push_back(str("i", i));
  return items;
}

EventFile events_of(const std::string& text, const MemoryFacts& facts, Rejects& rejects) {
  return read_events(
      "e.tsv", text, {}, facts, ten_items(),
      [](const std::string& user) {
        return user == "old" ? std::optional<std::int64_t>(100) : std::optional<std::int64_t>();
      },
      rejects);
}

}  // namespace

TEST(MemoryEvents, ColumnsFollowTheFacts) {
  Rejects rejects;
  const EventFile plain = events_of("user\titem\na b\ti3\r\n\na b\ti4\n", {"", "", "", false, false}, rejects);
  ASSERT_EQ(plain.events.size(), 2u);
  EXPECT_EQ(plain.users, std::vector<std::string>{"a b"});
  EXPECT_EQ(plain.events[1].item, 4);
  EXPECT_EQ(plain.events[1].line, 4u);
  EXPECT_EQ(plain.events[1].end, 26u);
  const EventFile full = events_of("old\ti1\t100\t-3\nold\ti2\t107\t4\n", {"", "", "", true, true}, rejects);
  ASSERT_EQ(full.events.size(), 2u);
  EXPECT_EQ(full.events[0].action, -3);
  EXPECT_EQ(full.events[1].time, 107);
}

TEST(MemoryEvents, BadLinesAreToldByNumber) {
  Rejects rejects(true);
  const EventFile file = events_of(
      "a\ti1\t5\n"
      "a\ti1\n"
      "a\tx1\t5\n"
      "a\ti1\tnow\n"
      "a\ti1\t4\n"
      "old\ti1\t99\n"
      "\ti1\t99\n"
      "a\ti1\t9",
      {"", "", "", true, false}, rejects);
  EXPECT_EQ(file.events.size(), 1u);
  EXPECT_EQ(rejects.first(),
            (std::vector<std::string>{
                "e.tsv:2: has 2 fields, expected 3 separated by tabs: user, item, time, as the run's data have them",
                "e.tsv:3: item 'x1' is not in the catalogue", "e.tsv:4: time 'now' is no whole number of seconds",
                "e.tsv:5: time 4 is before 5, the user's newest event; events are appended oldest first",
                "e.tsv:6: time 99 is before 100, the user's newest event; events are appended oldest first",
                "e.tsv:7: has no user", "e.tsv:8: has no end; the file is cut, or still being written"}));
  Rejects strict;
  EXPECT_THROW(events_of("a\ti1\t5\t300\n", {"", "", "", true, true}, strict), DataError);
}

#ifdef TESSERA_WITH_ROCKSDB

namespace {

// Three users; what follows is appended.
struct World {
  TemporaryFolder folder;
  Dataset data;
  ToyModel model;
  MemoryFacts facts{"hash", "toy", "run", true, true};

  World() {
    data.items = ten_items();
    data.user_ids = {"u0", "u1", "u2"};
    data.interactions.offset = {0, 2, 5, 6};
    data.interactions.item = {1, 2, 3, 1, 3, 9};
    data.interactions.time = {10, 11, 3, 4, 5, 7};
    data.interactions.label = {1, 0, 1, 1, 0, 1};
  }
  UserMemory built(const std::string& name) {
    UserMemory memory = UserMemory::create(folder.path(name), facts);
    FitContext context;
    EXPECT_EQ(build_memory(model, data, memory, context).users, 3);
    return memory;
  }
  AppendReport append(const std::string& name, const std::string& file, std::int64_t batch,
                      std::vector<std::uint64_t>* acknowledged = nullptr, std::int64_t stop_after = -1) {
    UserMemory memory = UserMemory::open(folder.path(name), UserMemory::Access::write);
    FitContext context;
    std::int64_t writes = 0;
    context.stop = [&] { return stop_after >= 0 && writes >= stop_after; };
    Rejects rejects;
    return append_events(model, data, memory, folder.path(file), batch, rejects, context, [&](std::uint64_t line) {
      ++writes;
      if (acknowledged != nullptr) acknowledged->push_back(line);
    });
  }
  std::map<std::string, std::vector<double>> rows(const std::string& name) const {
    std::map<std::string, std::vector<double>> out;
    UserMemory::open(folder.path(name), UserMemory::Access::read)
        .for_each([&](const std::string& user, const MemoryRow& row, std::size_t) {
          auto& numbers = out[user];
          numbers.assign(row.parts[0].values<double>().begin(), row.parts[0].values<double>().end());
          numbers.push_back(static_cast<double>(row.events));
          numbers.push_back(static_cast<double>(row.newest));
          numbers.insert(numbers.end(), row.items.begin(), row.items.end());
        });
    return out;
  }
};

const std::string kEvents = "u0\ti5\t20\t1\nnew\ti7\t1\t0\nu0\ti1\t20\t0\nu2\ti4\t8\t1\nnew\ti8\t2\t1\nu0\ti9\t30\t1\n";

}  // namespace

TEST(MemoryUpdate, AppendingEqualsBuildingFromAll) {
  World world;
  world.built("m");
  world.folder.write("e.tsv", kEvents);
  const AppendReport report = world.append("m", "e.tsv", 4);
  EXPECT_EQ(report.events, 6u);
  EXPECT_EQ(report.users, 3u);
  EXPECT_EQ(report.new_users, 1u);
  World all;
  all.data.user_ids = {"u0", "u1", "u2", "new"};
  all.data.interactions.offset = {0, 5, 8, 10, 12};
  all.data.interactions.item = {1, 2, 5, 1, 9, 3, 1, 3, 9, 4, 7, 8};
  all.data.interactions.time = {10, 11, 20, 20, 30, 3, 4, 5, 7, 8, 1, 2};
  all.data.interactions.label = {1, 0, 1, 0, 1, 1, 1, 0, 1, 1, 0, 1};
  FitContext context;
  {
    UserMemory memory = UserMemory::create(all.folder.path("m"), all.facts);
    build_memory(all.model, all.data, memory, context);
  }
  const auto expected = all.rows("m");
  EXPECT_EQ(world.rows("m"), expected);
  EXPECT_EQ(expected.at("u0"),
            (std::vector<double>{2 * 3 + 10 + 3 * 2 * 2 + 11 + 6 * 3 * 3 + 20 + 2 * 4 * 2 + 20 + 10 * 5 * 3 + 30, 5, 5,
                                 30, 1, 2, 5, 9}));
}

TEST(MemoryUpdate, ARepeatedOrGrownFileGoesOnBehindTheLastAcknowledgedLine) {
  World world;
  world.built("m");
  world.built("whole");
  world.folder.write("e.tsv", kEvents);
  world.append("whole", "e.tsv", 2);
  std::vector<std::uint64_t> acknowledged;
  EXPECT_THROW(world.append("m", "e.tsv", 2, &acknowledged, 1), Stopped);
  EXPECT_EQ(acknowledged, std::vector<std::uint64_t>{2});
  const AppendReport rest = world.append("m", "e.tsv", 3, &acknowledged);
  EXPECT_EQ(rest.lines_before, 2u);
  EXPECT_EQ(rest.events, 4u);
  EXPECT_EQ(acknowledged, (std::vector<std::uint64_t>{2, 5, 6}));
  EXPECT_EQ(world.rows("m"), world.rows("whole"));
  EXPECT_EQ(world.append("m", "e.tsv", 3).events, 0u);
  world.folder.write("grown.tsv", kEvents + "u1\ti0\t50\t1\n");
  EXPECT_EQ(world.append("m", "grown.tsv", 3).lines_before, 6u);
  EXPECT_EQ(world.rows("m").at("u1")[2], 4.0);
  // Another file of the same events is another file: here its times give it away.
  world.folder.write("other.tsv", "u1\ti2\t49\t1\n");
  EXPECT_NE(message_of([&] { world.append("m", "other.tsv", 3); }).find("other.tsv:1: time 49 is before 50"),
            std::string::npos);
}

TEST(MemoryUpdate, NothingIsWrittenWhereALineIsBad) {
  World world;
  world.built("m");
  const auto before = world.rows("m");
  world.folder.write("e.tsv", kEvents + "u0\tnothing\t31\t1\n");
  EXPECT_THROW(world.append("m", "e.tsv", 1), DataError);
  EXPECT_EQ(world.rows("m"), before);
}

TEST(MemoryUpdate, RecallsRowsInTheOrderOfTheQuestion) {
  World world;
  const UserMemory memory = world.built("m");
  const std::string users[] = {"u2", "u0"};
  const Recalled recalled = recall(world.model, memory, users);
  EXPECT_EQ(recalled.offset, (std::vector<std::int64_t>{0, 1, 3}));
  EXPECT_EQ(recalled.items, (std::vector<std::int32_t>{9, 1, 2}));
  EXPECT_EQ(world.model.export_row(recalled.memory, 0)[0].data<double>()[1], 1.0);
  const std::string nobody[] = {"nobody"};
  EXPECT_EQ(message_of([&] { recall(world.model, memory, nobody); }),
            "user memory " + world.folder.path("m") + " knows no user 'nobody'");
}

#endif

}  // namespace tessera
