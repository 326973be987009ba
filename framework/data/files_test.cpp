#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "framework/data/interaction_rows.h"
#include "framework/data/json.h"
#include "framework/data/npy.h"
#include "framework/data/table.h"
#include "framework/data/text.h"

namespace tessera {
namespace {

class Files : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name), std::ios::binary) << text;
    return path(name);
  }
  std::string read(const std::string& name) const {
    std::ifstream file(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              (std::string("tessera_") + testing::UnitTest::GetInstance()->current_test_info()->name() +
               std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

 private:
  std::filesystem::path folder_;
};

std::string message(const auto& call) {
  try {
    call();
  } catch (const DataError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

std::string npy(const std::string& descr, const std::string& shape, const std::string& bytes,
                const char* fortran = "False") {
  std::string header = "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': (" + shape + "), }";
  header.resize(117, ' ');
  return std::string("\x93NUMPY\x01\x00\x76\x00", 10) + header + "\n" + bytes;
}

}  // namespace

TEST_F(Files, LinesLoseTheirEnds) {
  const std::string file = write("a.txt", "one\r\n\ntwo\n" + std::string(3 << 20, 'x') + "\nlast");
  LineReader lines(file);
  std::string_view line;
  std::vector<std::size_t> lengths;
  while (lines.next(line)) lengths.push_back(line.size());
  EXPECT_EQ(lengths, (std::vector<std::size_t>{3, 0, 3, 3 << 20, 4}));
  EXPECT_EQ(lines.number(), 5);
  EXPECT_EQ(message([&] { LineReader(path("none.txt")); }),
            path("none.txt") + ": cannot be opened: No such file or directory");
  EXPECT_EQ(message([&] { LineReader(path("")); }), path("") + ": is a folder, expected a file");
}

TEST_F(Files, PiecesAndNumbers) {
  EXPECT_EQ(split_at("a,,b", ','), (std::vector<std::string_view>{"a", "", "b"}));
  EXPECT_EQ(split_words("  a \t b "), (std::vector<std::string_view>{"a", "b"}));
  EXPECT_EQ(parse_integer("-12"), -12);
  EXPECT_FALSE(parse_integer("12x") || parse_integer("") || parse_integer("99999999999999999999"));
  EXPECT_EQ(parse_number("4.5"), 4.5);
  EXPECT_FALSE(parse_number("nan") || parse_number("inf") || parse_number("4,5"));
  EXPECT_EQ(in_quotes("a\tb"), "'a?b'");
}

TEST_F(Files, JsonLinesGiveObjectsAndRejectTheRest) {
  const std::string file =
      write("a.json", R"({"id": 7, "title": "caf\u00e9", "tags": [["a", "b"], "c"], "x": 1.5, "none": null}
[1]

{"cut": "off
{"id": 8}
)");
  Rejects rejects(true);
  JsonLines lines(file, rejects);
  JsonValue object;
  ASSERT_TRUE(lines.next(object));
  EXPECT_EQ(object.find("id")->text, "7");
  EXPECT_EQ(object.find("title")->text, "caf\xc3\xa9");
  EXPECT_EQ(object.find("tags")->flat(), "a, b, c");
  EXPECT_EQ(object.find("x")->number, 1.5);
  EXPECT_EQ(object.find("none"), nullptr);
  ASSERT_TRUE(lines.next(object));
  EXPECT_EQ(lines.number(), 5);
  EXPECT_FALSE(lines.next(object));
  ASSERT_EQ(rejects.count(), 2);
  EXPECT_EQ(rejects.first()[0], file + ":2: is no JSON object; expected {...}");
  EXPECT_EQ(rejects.first()[1].substr(0, file.size() + 15), file + ":4: is no JSON:");
}

TEST_F(Files, TablesHaveNamedColumns) {
  const std::string file = write("t.inter", "user:token\titem:token\nu\t1\n\nv\nw\t\n");
  Rejects rejects(true);
  TableReader table(file, rejects);
  EXPECT_EQ(table.names(), (std::vector<std::string>{"user", "item"}));
  EXPECT_EQ(table.types()[0], "token");
  EXPECT_EQ(table.find({"none", "item"}), 1);
  EXPECT_EQ(table.find({"none"}), -1);
  EXPECT_EQ(message([&] {
              table.require({"a", "b"});
            }),
            file + ":1: has no column 'a' or 'b'; its columns are user, item");
  std::vector<std::string_view> fields;
  ASSERT_TRUE(table.next(fields));
  EXPECT_EQ(fields, (std::vector<std::string_view>{"u", "1"}));
  ASSERT_TRUE(table.next(fields));
  EXPECT_EQ(fields, (std::vector<std::string_view>{"w", ""}));
  EXPECT_FALSE(table.next(fields));
  EXPECT_EQ(rejects.first(), std::vector<std::string>{file + ":4: has 1 fields, expected 2, separated by tabs"});
  EXPECT_EQ(message([&] { TableReader(write("e.inter", ""), rejects); }),
            path("e.inter") + ":1: is empty, expected a header of column names");
}

TEST_F(Files, NpyKeepsNumbersOfEveryType) {
  const auto round_trip = [&](const Tensor& values) {
    write_npy(path("a.npy"), values);
    EXPECT_EQ(std::filesystem::file_size(path("a.npy")) % 64, values.bytes() % 64);
    return read_npy(path("a.npy"));
  };
  const Tensor f32 = round_trip(Tensor::from<float>({1.5f, -2, 3, 4, 5, 6}, {2, 3}));
  EXPECT_EQ(f32.shape(), (Shape{2, 3}));
  EXPECT_EQ(f32.data<float>()[1], -2.0f);
  const Tensor f64 = round_trip(Tensor::from<double>({0.25, 7}, {2}));
  EXPECT_EQ(f64.shape(), Shape{2});
  EXPECT_EQ(f64.data<float>()[0], 0.25f);
  EXPECT_EQ(round_trip(Tensor::from<std::int32_t>({-5, 9}, {2, 1})).data<std::int32_t>()[0], -5);
  EXPECT_EQ(npy_shape(path("a.npy")), (Shape{2, 1}));
  EXPECT_EQ(round_trip(Tensor::from<std::int64_t>({1LL << 40}, {1, 1})).data<std::int64_t>()[0], 1LL << 40);
  EXPECT_NE(read("a.npy").find("{'descr': '<i8', 'fortran_order': False, 'shape': (1, 1), }"), std::string::npos);
}

TEST_F(Files, NpyHalfPrecision) {
  // 1, -2, 65504, the smallest subnormal, -0, infinity
  const std::string bytes("\x00\x3c\x00\xc0\xff\x7b\x01\x00\x00\x80\x00\x7c", 12);
  const Tensor x = read_npy(write("h.npy", npy("<f2", "3, 2", bytes)));
  const float* v = x.data<float>();
  EXPECT_EQ(v[0], 1.0f);
  EXPECT_EQ(v[1], -2.0f);
  EXPECT_EQ(v[2], 65504.0f);
  EXPECT_EQ(v[3], 0x1.0p-24f);
  EXPECT_TRUE(v[4] == 0.0f && std::signbit(v[4]));
  EXPECT_TRUE(std::isinf(v[5]));
}

TEST_F(Files, NpyRefusesWhatItCannotRead) {
  const auto says = [&](const std::string& bytes) {
    const std::string file = write("bad.npy", bytes);
    const std::string text = message([&] { read_npy(file); });
    return text.substr(std::min(text.size(), file.size() + 2));
  };
  const std::string sixteen(16, '\0');
  EXPECT_EQ(says("PK\x03\x04 something else"), "is no .npy file (its first bytes differ)");
  EXPECT_EQ(says(npy("<f4", "2, 2", "").substr(0, 50)), "is cut off within its header");
  EXPECT_EQ(says(npy("<f4", "2, 2", sixteen.substr(1))),
            "holds 15 bytes of numbers, but its shape (2, 2) of '<f4' needs 16; the file is cut off");
  EXPECT_EQ(says(npy("<f4", "2, 2", sixteen + "x")),
            "holds 17 bytes of numbers, but its shape (2, 2) of '<f4' needs 16");
  EXPECT_EQ(says(npy(">f4", "2, 2", sixteen)), "holds numbers of type '>f4', expected <f2, <f4, <f8, <i4 or <i8");
  EXPECT_EQ(says(npy("<f4", "2, 2", sixteen, "True")),
            "is in Fortran order, expected C order (save numpy.ascontiguousarray of it)");
  EXPECT_EQ(says(npy("<f4", "1, 2, 2", sixteen)), "has 3 dimensions, expected 1 or 2");
  EXPECT_EQ(says(npy("<f4", "2, x", sixteen)), "the shape is unreadable: '(2, x), }" + std::string(31, ' ') + "...'");
  EXPECT_EQ(says(npy("<f4", "1000000000000, 1000000000000", sixteen)), "has a shape beyond any memory");
  EXPECT_EQ(message([&] { read_npy(path("none.npy")); }),
            path("none.npy") + ": cannot be opened: No such file or directory");
}

TEST(InteractionRows, SortByUserAndTimeAndKeepTies) {
  const std::vector<InteractionRow> rows = {{1, 5, 30}, {0, 1, 9}, {1, 6, 10}, {1, 7, 30}, {0, 2, 9}, {1, 8, 10}};
  const Interactions by_time = interactions_of(rows, 2, {.time = true});
  EXPECT_EQ(by_time.offset, (std::vector<std::int64_t>{0, 2, 6}));
  EXPECT_EQ(by_time.item, (std::vector<std::int32_t>{1, 2, 6, 8, 5, 7}));
  EXPECT_EQ(by_time.time, (std::vector<std::int64_t>{9, 9, 10, 10, 30, 30}));
  EXPECT_TRUE(by_time.rating.empty());
  EXPECT_EQ(interactions_of(rows, 2, {}).item, (std::vector<std::int32_t>{1, 2, 5, 6, 7, 8}));
}

TEST(InteractionRows, CoreDropsUntilNothingIsLeftToDrop) {
  // Item 9 is rare; without it user 0 is rare; without user 0 item 1 is rare.
  std::vector<InteractionRow> rows = {{0, 9}, {0, 1}, {1, 1}, {1, 2}, {1, 3}, {2, 2}, {2, 3}};
  const Core core = keep_core(rows, 3, 10, 2);
  EXPECT_EQ(core.users, (std::vector<std::int32_t>{1, 2}));
  EXPECT_EQ(core.items, (std::vector<std::int32_t>{2, 3}));
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0].user, 0);
  EXPECT_EQ(rows[3].item, 1);
}

TEST(InteractionRows, IdsAreNumberedOnce) {
  IdIndex index;
  EXPECT_EQ(index.add("b"), 0);
  EXPECT_EQ(index.add("a"), 1);
  EXPECT_EQ(index.add("b"), 0);
  EXPECT_EQ(index.find("a"), 1);
  EXPECT_EQ(index.find("c"), -1);
  EXPECT_EQ(index.ids(), (std::vector<std::string>{"b", "a"}));
}

}  // namespace tessera
