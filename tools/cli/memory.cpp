#include <filesystem>
#include <iostream>

#include "framework/serve/memory_update.h"
#include "tools/cli/arguments.h"
#include "tools/cli/command.h"
#include "tools/cli/report.h"
#include "tools/cli/session.h"

namespace tessera::cli {
namespace {

namespace po = boost::program_options;

std::string mebibytes(std::uint64_t bytes) { return fixed(static_cast<double>(bytes) / (1 << 20), 1) + " MiB"; }

int build(const Arguments& arguments, const std::string& run) {
  if (!arguments.has("out")) throw UsageError("tessera memory build: expected --out DIR");
  for (const char* name : {"run", "batch"})
    if (arguments.has(name)) throw UsageError(str("tessera memory build: --", name, " belongs to append"));
  const std::string folder = arguments.text("out");
  Session session(arguments.texts("plugin-dir"));
  auto pipeline = session.open_run(run, arguments.texts("set"), arguments.has("skip-bad"));
  require_storable(*pipeline);
  auto context = session.context(static_cast<std::uint64_t>(pipeline->run.seed));
  UserMemory memory =
      UserMemory::create(folder, facts_of(*pipeline, std::filesystem::absolute(run).lexically_normal().string()));
  const BuildReport report = build_memory(pipeline->model(), pipeline->data(), memory, context);
  const auto users = static_cast<std::uint64_t>(std::max<std::int64_t>(1, report.users));
  std::cout << folder << ": " << report.users << " users, " << report.row_bytes / users << " bytes a user, "
            << mebibytes(memory.bytes_on_disk()) << " on disk, model " << memory.facts().model_hash << std::endl;
  return 0;
}

int append(const Arguments& arguments, const std::string& folder, const std::string& events) {
  if (arguments.has("out")) throw UsageError("tessera memory append: --out belongs to build");
  const int batch = arguments.has("batch") ? arguments.get<int>("batch") : 64;
  if (batch < 1) throw UsageError(str("tessera memory append: --batch is ", batch, ", expected 1 or more"));
  UserMemory memory = UserMemory::open(folder, UserMemory::Access::write);
  const std::string run = arguments.has("run") ? arguments.text("run") : memory.facts().run;
  if (!is_run_directory(run))
    throw Error(
        str("memory append: the memory was built by the run ", run, ", which is not there; name it with --run"));
  Session session(arguments.texts("plugin-dir"), true);
  auto pipeline = session.open_run(run, arguments.texts("set"), arguments.has("skip-bad"));
  memory.require_model(model_hash(*pipeline), run);
  require_storable(*pipeline);
  auto context = session.context(static_cast<std::uint64_t>(pipeline->run.seed));
  Rejects rejects(arguments.has("skip-bad"));
  const AppendReport report =
      append_events(pipeline->model(), pipeline->data(), memory, events, batch, rejects, context,
                    [](std::uint64_t line) { std::cout << "acknowledged " << line << std::endl; });
  if (report.lines_before > 0) session.say(str(events, ": lines 1 to ", report.lines_before, " were appended before"));
  if (rejects.count() > 0) session.say(str(events, ": ", rejects.count(), " bad lines left out"));
  std::cout << folder << ": " << report.events << " events of " << report.users << " users appended, "
            << report.new_users << " of them new" << std::endl;
  return 0;
}

}  // namespace

int run_memory(const std::vector<std::string>& words) {
  Arguments arguments("memory");
  add_pipeline_options(arguments);
  arguments.options()("out", po::value<std::string>(), "build: the folder to make")(
      "run", po::value<std::string>(), "append: the run, where it is no longer where it was")(
      "batch", po::value<int>(), "append: events a write (64); each write is acknowledged once it is on the disk");
  if (!arguments.parse(words)) return 0;
  const auto given = arguments.words(1, 3);
  if (given[0] == "build" && given.size() == 2) return build(arguments, given[1]);
  if (given[0] == "append" && given.size() == 3) return append(arguments, given[1], given[2]);
  throw UsageError("tessera memory: expected  build RUN --out DIR  or  append DIR EVENTS");
}

void print_memory(const std::string& folder) {
  const UserMemory memory = UserMemory::open(folder, UserMemory::Access::read);
  const MemoryFacts& facts = memory.facts();
  std::uint64_t users = 0, events = 0, bytes = 0, longest = 0;
  std::int64_t newest = 0;
  memory.for_each([&](const std::string&, const MemoryRow& row, std::size_t size) {
    ++users;
    events += row.events;
    bytes += size;
    longest = std::max(longest, row.events);
    newest = std::max(newest, row.newest);
  });
  std::cout << folder << ": user memory, the checksums of all rows hold\n"
            << "model " << facts.model_hash << " (pipeline '" << facts.pipeline << "', run " << facts.run << ")\n"
            << "users " << users << "\nevents " << events << " (at most " << longest << " of a user)\n"
            << "event columns user, item" << (facts.times ? ", time" : "") << (facts.actions ? ", action" : "") << "\n";
  if (facts.times) std::cout << "newest event " << newest << "\n";
  std::cout << "bytes a user " << bytes / std::max<std::uint64_t>(1, users) << "\non disk "
            << mebibytes(memory.bytes_on_disk()) << "\n";
  for (const auto& [name, file] : memory.applied_files())
    std::cout << "appended " << file.lines << " lines, " << file.bytes << " bytes of an event file\n";
}

}  // namespace tessera::cli
