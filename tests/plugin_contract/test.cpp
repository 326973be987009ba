// The handshake with plugins that break the contract, each in one way; the sentence that the user reads is the test.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "framework/plugin/loader.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/model.h"
#include "framework/roles/tokenizer.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

std::string built(const std::string& name) { return std::string(CONTRACT_PLUGINS) + "/" + name + ".so"; }

// The message, with the folder of the plugins written as <plugins>.
template <class Action>
std::string error_of(const Action& action) {
  std::string text = "no error";
  try {
    action();
  } catch (const Error& e) {
    text = e.what();
  }
  const std::string folder = fs::canonical(CONTRACT_PLUGINS).string();
  for (std::size_t at; (at = text.find(folder)) != std::string::npos;) text.replace(at, folder.size(), "<plugins>");
  return text;
}

std::string load_error(const std::string& path) {
  Registry registry;
  Loader loader(registry);
  const std::string error = error_of([&] { loader.load_file(path); });
  EXPECT_TRUE(registry.components().empty()) << "a refused plugin left a component behind";
  return error;
}

std::string make_error(const std::string& plugin, const std::string& toml) {
  Registry registry;
  Loader loader(registry);
  loader.load_file(built(plugin));
  return error_of([&] { registry.create<Tokenizer>(Section::parse("tokenizer", toml)); });
}

class TemporaryFolder {
 public:
  TemporaryFolder() {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    path_ = fs::canonical(fs::temp_directory_path()) /
            (std::string("tessera_contract_") + std::to_string(::getpid()) + info->name());
    fs::create_directories(path_);
  }
  ~TemporaryFolder() { fs::remove_all(path_); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

}  // namespace

TEST(PluginContract, MissingFile) {
  EXPECT_EQ(load_error("/none/x.so"), "plugin file /none/x.so: cannot be opened: No such file or directory");
}

TEST(PluginContract, NotALibrary) {
  const TemporaryFolder folder;
  const std::string path = folder.file("text.so");
  for (const char* content : {"", "ab", "hello, I am a text file and no library at all"}) {
    write(path, content);
    EXPECT_EQ(load_error(path), "plugin file " + path + ": is no shared library (it does not begin as an ELF file)");
  }
  EXPECT_NE(load_error(fs::temp_directory_path().string()), "no error");
  const std::string program = fs::canonical("/proc/self/exe").string();
  EXPECT_EQ(load_error(program),
            "plugin file " + program +
                ": is no Tessera plugin: it exports no 'tessera_plugin' (is TESSERA_PLUGIN(...) in "
                "one of its sources?)");
}

TEST(PluginContract, DamagedLibrary) {
  const TemporaryFolder folder;
  const std::string path = folder.file("cut.so"), whole = read(built("options"));
  for (const std::size_t size : {std::size_t{20}, std::size_t{64}, whole.size() / 2, whole.size() - 1}) {
    write(path, whole.substr(0, size));
    EXPECT_EQ(load_error(path), "plugin file " + path + ": is damaged or cut short") << size;
  }
  // Any byte of the header may lie; the reader answers with a sentence. (A library of another ABI, so that none is ever
  // mapped: dlopen itself trusts what it reads.)
  const std::string other = read(built("wrong_abi"));
  for (std::size_t at = 0; at < 64; ++at) {
    std::string flipped = other;
    flipped[at] = static_cast<char>(flipped[at] ^ 0xff);
    write(path, flipped);
    EXPECT_NE(load_error(path), "no error") << at;
  }
}

TEST(PluginContract, NoSymbol) {
  EXPECT_EQ(load_error(built("no_symbol")),
            "plugin file <plugins>/no_symbol.so: is no Tessera plugin: it exports no 'tessera_plugin' (is "
            "TESSERA_PLUGIN(...) in one of its "
            "sources?)");
}

TEST(PluginContract, BadMagic) {
  EXPECT_EQ(load_error(built("bad_magic")),
            "plugin file <plugins>/bad_magic.so: its symbol 'tessera_plugin' is no plugin descriptor");
  EXPECT_EQ(load_error(built("short_symbol")),
            "plugin file <plugins>/short_symbol.so: its symbol 'tessera_plugin' is no plugin descriptor");
}

TEST(PluginContract, WrongAbiNumber) {
  EXPECT_EQ(load_error(built("wrong_abi")),
            str("plugin file <plugins>/wrong_abi.so: was built for plugin ABI 77, this program has ABI ", kPluginAbi,
                "; build the plugin again against this version of Tessera"));
}

TEST(PluginContract, WrongBuildTag) {
  const std::string error = load_error(built("wrong_tag"));
  EXPECT_TRUE(error.starts_with(
      "plugin file <plugins>/wrong_tag.so: was built with other tools than this program; build it again with the same "
      "ones\n  plugin:\n    tessera 0.0\n    compiler gcc 4\n  program:\n    tessera 0.1\n    compiler "))
      << error;
}

TEST(PluginContract, BuildTagNamesTheVersion) {
  EXPECT_TRUE(std::string(TESSERA_BUILD_TAG).starts_with("tessera " TESSERA_VERSION "\n"))
      << "framework/plugin/build_tag.h: write " TESSERA_VERSION;
}

TEST(PluginContract, UndefinedSymbol) {
  const std::string error = load_error(built("undefined"));
  EXPECT_TRUE(error.starts_with("plugin file <plugins>/undefined.so: cannot be loaded: ")) << error;
  EXPECT_NE(error.find("defined_nowhere"), std::string::npos) << error;
}

TEST(PluginContract, ThrowsWhileRegistering) {
  EXPECT_EQ(load_error(built("throws_registering")),
            "plugin 'throws_registering' (<plugins>/throws_registering.so): registering its components "
            "failed: the table of kernels is empty");
  EXPECT_EQ(load_error(built("throws_number")),
            "plugin 'throws_number' (<plugins>/throws_number.so): registering its components failed: it threw "
            "something that is no std::exception");
}

TEST(PluginContract, ThrowsWhileMaking) {
  const std::string call = "plugin 'throws_making' (<plugins>/throws_making.so): making the tokenizer '";
  EXPECT_EQ(make_error("throws_making", "plugin = 'throws_exception'"),
            call + "throws_exception' failed: codebook file is empty");
  EXPECT_EQ(make_error("throws_making", "plugin = 'throws_number'"),
            call + "throws_number' failed: it threw something that is no std::exception");
  EXPECT_EQ(make_error("throws_making", "plugin = 'returns_nothing'"),
            call + "returns_nothing' failed: it returned nothing");
  EXPECT_EQ(make_error("throws_making", " plugin = 'throws_config'"), "tokenizer:1:2: width is no multiple of heads");
}

TEST(PluginContract, DuplicateNameTellsBothFiles) {
  Registry registry;
  Loader loader(registry);
  loader.load_file(built("twin_first"));
  EXPECT_EQ(error_of([&] { loader.load_file(built("twin_second")); }),
            "plugin 'twin_second' (<plugins>/twin_second.so): registering its components failed: tokenizer 'twin' of "
            "plugin 'twin_second' "
            "(<plugins>/twin_second.so) is already registered by plugin 'twin_first' (<plugins>/twin_first.so)");
  loader.load_file(built("twin_first"));  // the same file again is no duplicate
  ASSERT_EQ(registry.components().size(), 1u);
  EXPECT_EQ(registry.components()[0]->plugin, "twin_first");
}

TEST(PluginContract, OptionsOfEveryType) {
  Registry registry;
  Loader loader(registry, {CONTRACT_PLUGINS});
  EXPECT_EQ(registry.find("tokenizer", "options"), nullptr);
  const auto made = registry.create<Tokenizer>(
      Section::parse("tokenizer", "plugin = 'options'\nwidth = 2\ncodes = [4]\nform = 'gradient'"));
  EXPECT_NE(made, nullptr);
  const Registry::Component* component = registry.find("tokenizer", "options");
  ASSERT_NE(component, nullptr);
  EXPECT_EQ(component->plugin + " " + component->version, "options 2.1");
  EXPECT_EQ(component->file, fs::canonical(built("options")).string());
  std::string table;
  for (const OptionHelp& o : component->options)
    table += str(o.key, " ", o.type, " ", o.default_value, " | ", o.range, " | ", o.help, "\n");
  EXPECT_EQ(table,
            "width integer 64 | 1 to 8192 | embedding width\ndropout number 0.1 | 0 to 0.9 | drop probability\nshuffle "
            "boolean false | true or "
            "false | permute ids\npath text \"codes.npy\" | any | file to read\nform choice \"ema\" | \"ema\", "
            "\"gradient\" | how codebooks "
            "learn\ncodes integers [256, 256] | 2 to 65536 | codes a level\nfields texts [] | any | text fields\n");
  EXPECT_EQ(error_of([&] { registry.create<Tokenizer>(Section::parse("tokenizer", "plugin = 'options'\nwidth = 3")); }),
            "tokenizer:2:1: 'width' must be even");
}

TEST(PluginContract, UnknownComponent) {
  Registry registry;
  EXPECT_EQ(error_of([&] { registry.create<Tokenizer>(Section::parse("tokenizer", "plugin = 'optoins'")); }),
            "tokenizer:1:1: no tokenizer named 'optoins' (registered as tokenizer: none)");
  const TemporaryFolder folder;
  fs::copy(built("options"), folder.file("options.so"));
  Loader loader(registry, {folder.file("")});
  EXPECT_TRUE(error_of([&] { registry.create<Tokenizer>(Section::parse("tokenizer", "plugin = 'optoins'")); })
                  .starts_with("tokenizer:1:1: no tokenizer named 'optoins'; did you mean 'options'? (registered as "
                               "tokenizer: none; plugin files: "));
  EXPECT_TRUE(
      error_of([&] {
        registry.create<Model>(Section::parse("model", "plugin = 'options'"));
      }).starts_with("model:1:1: no model named 'options'; 'options' is a tokenizer (registered as model: none; "));
  EXPECT_TRUE(error_of([&] {
                registry.create<Model>(Section::parse("model", "plugin = 'x/../options'"));
              }).starts_with("model:1:1: no model named 'x/../options' (registered as model: none; "));
}

TEST(PluginContract, StrippedPluginLoads) {
  const TemporaryFolder folder;
  const std::string path = folder.file("options.so");
  ASSERT_EQ(std::system((std::string(STRIP) + " -o '" + path + "' '" + built("options") + "'").c_str()), 0);
  Registry registry;
  Loader(registry).load_file(path);
  EXPECT_NE(registry.find("tokenizer", "options"), nullptr);
}

TEST(PluginContract, FoldersInOrderAndNeverTheCurrentOne) {
  const TemporaryFolder folder;
  fs::copy(built("options"), folder.file("options.so"));
  const fs::path back = fs::current_path();
  fs::current_path(folder.file(""));
  ::setenv("TESSERA_PLUGIN_PATH", ":/one::/two:", 1);
  Registry registry;
  Loader loader(registry, {"/given"});
  ::unsetenv("TESSERA_PLUGIN_PATH");
  EXPECT_FALSE(loader.load_by_name("options"));
  fs::current_path(back);
  ASSERT_EQ(loader.folders().size(), 4u);
  EXPECT_EQ(loader.folders()[0], "/given");
  EXPECT_EQ(loader.folders()[1], "/one");
  EXPECT_EQ(loader.folders()[2], "/two");
  EXPECT_EQ(loader.folders()[3],
            fs::path(fs::canonical("/proc/self/exe").parent_path().parent_path() / "lib/tessera/plugins").string());
}

TEST(PluginContract, AvailableNames) {
  Registry registry;
  const auto names = Loader(registry, {CONTRACT_PLUGINS}).available();
  EXPECT_NE(std::find(names.begin(), names.end(), "wrong_abi"), names.end());
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
}

}  // namespace tessera
