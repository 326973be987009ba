#include <gtest/gtest.h>

#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

#include "framework/checkpoint/atomic_file.h"
#include "framework/checkpoint/json.h"
#include "framework/checkpoint/safetensors.h"
#include "framework/checkpoint/state.h"

namespace tessera {
namespace {

class Checkpoint : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / str("tessera_checkpoint_", ::getpid());
    std::filesystem::create_directories(folder_);
    path_ = (folder_ / "model.safetensors").string();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static TensorFile sample() {
    TensorFile file;
    file.tensors["a.weight"] = Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3});
    file.tensors["codes"] = Tensor::from<std::int32_t>({7, 8, 9}, {3});
    file.tensors["empty"] = Tensor({0, 4});
    file.tensors["scalar"] = Tensor::scalar(2.5, DType::f64);
    file.metadata["name"] = "a \"quoted\" \n name";
    return file;
  }

  void write_raw(const std::string& bytes) const { std::ofstream(path_, std::ios::binary) << bytes; }

  static std::string with_header(const std::string& header, const std::string& data) {
    std::string out(8, '\0');
    const std::uint64_t length = header.size();
    std::memcpy(out.data(), &length, 8);
    return out + header + data;
  }

  std::string refusal(bool need_checksum = false) const {
    try {
      read_safetensors(path_, need_checksum);
    } catch (const CheckpointError& error) {
      const std::string text = error.what();
      EXPECT_EQ(text.rfind(path_, 0), 0u) << text;
      return text;
    }
    return "(accepted)";
  }

  std::filesystem::path folder_;
  std::string path_;
};

TEST_F(Checkpoint, RoundTrip) {
  write_safetensors(path_, sample());
  const TensorFile file = read_safetensors(path_, true);
  ASSERT_EQ(file.tensors.size(), 4u);
  EXPECT_EQ(file.tensors.at("a.weight").shape(), (Shape{2, 3}));
  EXPECT_EQ(file.tensors.at("a.weight").values<float>()[5], 6.0f);
  EXPECT_EQ(file.tensors.at("codes").values<std::int32_t>()[0], 7);
  EXPECT_EQ(file.tensors.at("empty").shape(), (Shape{0, 4}));
  EXPECT_EQ(file.tensors.at("scalar").item(), 2.5);
  EXPECT_EQ(file.metadata.at("name"), "a \"quoted\" \n name");
  EXPECT_EQ(file.metadata.size(), 1u);
}

TEST_F(Checkpoint, DataBeginsAtAMultipleOf64) {
  write_safetensors(path_, sample());
  const std::string bytes = read_file(path_);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ((length + 8) % 64, 0u);
}

TEST_F(Checkpoint, EveryTruncationIsRefused) {
  write_safetensors(path_, sample());
  const std::string bytes = read_file(path_);
  for (std::size_t size = 0; size < bytes.size(); size += 3) {
    write_raw(bytes.substr(0, size));
    EXPECT_NE(refusal(), "(accepted)") << size;
  }
}

TEST_F(Checkpoint, EveryFlippedByteIsRefused) {
  write_safetensors(path_, sample());
  const std::string bytes = read_file(path_);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    if (bytes[at] == ' ') continue;  // padding of the header: another blank character is as good
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    write_raw(damaged);
    EXPECT_NE(refusal(true), "(accepted)") << "byte " << at;
  }
}

TEST_F(Checkpoint, HostileHeaders) {
  write_raw(with_header(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,80]}})", "12345678"));
  EXPECT_NE(refusal().find("tensor 'x' lies at 0..80, the file has 8 bytes of data"), std::string::npos);
  write_raw(with_header(R"({"x":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", "12345678"));
  EXPECT_NE(refusal().find("tensor 'x' has 8 bytes, its shape (3) needs 12"), std::string::npos);
  write_raw(with_header(R"({"x":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}})", "12345678"));
  EXPECT_NE(refusal().find("a shape that is no shape"), std::string::npos);
  write_raw(with_header(R"({"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,8]}})", "12345678"));
  EXPECT_NE(refusal().find("a shape that is no shape"), std::string::npos);
  write_raw(with_header(R"({"x":{"dtype":"Q7","shape":[2],"data_offsets":[0,8]}})", "12345678"));
  EXPECT_NE(refusal().find("dtype Q7"), std::string::npos);
  write_raw(with_header(
      R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"y":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
      "12345678"));
  EXPECT_NE(refusal().find("overlaps"), std::string::npos);
  write_raw(with_header(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", "12345678"));
  EXPECT_NE(refusal().find("leaves a hole"), std::string::npos);
  write_raw(with_header(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "12345678"));
  EXPECT_NE(refusal().find("cover 4 of 8 bytes"), std::string::npos);
  write_raw(with_header("[1]", ""));
  EXPECT_NE(refusal().find("no JSON object"), std::string::npos);
  write_raw(std::string(8, '\xff'));
  EXPECT_NE(refusal().find("header of 18446744073709551615 bytes in a file of 8"), std::string::npos);
}

TEST_F(Checkpoint, AFileWithoutChecksumIsReadOnlyWhereItNeedsNone) {
  write_raw(with_header(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "12345678"));
  EXPECT_EQ(refusal(false), "(accepted)");
  EXPECT_NE(refusal(true).find("no checksum"), std::string::npos);
}

TEST_F(Checkpoint, AThrowingWriterLeavesTheOldFile) {
  write_atomically(path_, [](std::ostream& out) { out << "old"; });
  EXPECT_THROW(write_atomically(path_,
                                [](std::ostream& out) {
                                  out << "half";
                                  throw Error("power cut");
                                }),
               Error);
  EXPECT_EQ(read_file(path_), "old");
  EXPECT_FALSE(std::filesystem::exists(path_ + ".writing"));
}

TEST_F(Checkpoint, AFullDiskLeavesTheOldFile) {
  write_atomically(path_, [](std::ostream& out) { out << "old"; });
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  EXPECT_THROW(write_atomically(path_, [](std::ostream& out) { out << std::string(1 << 20, 'x'); }), Error);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(read_file(path_), "old");
}

TEST_F(Checkpoint, StateVisitors) {
  TensorFile file;
  Tensor books = Tensor::from<float>({1, 2}, {2});
  std::string words = "red blue";
  StateWriter writer(file, "tokenizer/");
  writer.tensor("books", books);
  writer.text("words", words);
  write_safetensors(path_, file);
  const TensorFile again = read_safetensors(path_);
  Tensor loaded;
  std::string text;
  StateReader reader(again, "tokenizer/", path_);
  reader.tensor("books", loaded);
  reader.text("words", text);
  EXPECT_EQ(loaded.values<float>()[1], 2.0f);
  EXPECT_EQ(text, "red blue");
  EXPECT_THROW(reader.tensor("other", loaded), CheckpointError);
}

TEST(Json, TextAndNumbers) {
  EXPECT_EQ(json_text("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\"");
  EXPECT_EQ(json_number(0.1), "0.1");
  EXPECT_EQ(json_number(std::numeric_limits<double>::quiet_NaN()), "null");
}

}  // namespace
}  // namespace tessera
