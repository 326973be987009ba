#include <iostream>

#include "framework/config/config.h"
#include "framework/roles/context.h"
#include "tools/cli/arguments.h"
#include "tools/cli/command.h"

namespace tessera::cli {

const std::vector<Command>& commands() {
  static const std::vector<Command> all = {
      {"train", "train PIPELINE CONFIG... [--out DIR] [--resume] [--set section.key=value]",
       "Train a pipeline; tokenizes first where needed.", run_train},
      {"search", "search PIPELINE CONFIG... [--out DIR] [--seeds N] [--select-on-test] [--set section.key=value]",
       "Train every combination of the lists in [search]; the best on validation is evaluated on test.", run_search},
      {"tokenize", "tokenize PIPELINE CONFIG... [--out DIR]", "Fit the tokenizer alone and print its health report.",
       run_tokenize},
      {"evaluate", "evaluate RUN [--split test|valid] [--lists FILE] [--json]",
       "Rank the whole catalogue for every held-out user.", run_evaluate},
      {"recommend",
       "recommend RUN (--user ID | --history a,b,c | --users FILE | --candidates FILE) [--memory DIR] [--k 10] "
       "[--allow FILE] [--explain] [--json]",
       "Items for users of the data set, for a given history, or from a user memory.", run_recommend},
      {"memory", "memory build RUN --out DIR | memory append DIR EVENTS",
       "What the model remembers of every user, on disk; kept up to date by events.", run_memory},
      {"import", "import FORMAT SOURCE --out DIR",
       "Convert a data set to sequences.txt and items.jsonl; reports every rejected record.", run_import},
      {"check", "check PIPELINE CONFIG...",
       "Dry run: plan, parameters, memory, work and time of a step. Nothing is written.", run_check},
      {"plugins", "plugins [NAME]", "List the plugins, or one plugin's options.", run_plugins},
      {"inspect", "inspect FILE|RUN|MEMORY", "What was written: tensors, codes, metrics, user memories.", run_inspect},
      {"compare", "compare RUN RUN... | --group name=RUN,RUN,... --group ...",
       "Metrics side by side with paired significance tests; groups are runs of one thing with several seeds.",
       run_compare},
  };
  return all;
}

namespace {

void print_help(std::ostream& out) {
  out << "tessera: multi-modal recommenders from plugins\n\nusage: tessera COMMAND ...\n\n";
  for (const auto& command : commands()) out << "  " << command.usage << "\n      " << command.summary << "\n";
  out << "\n`tessera COMMAND --help` tells a command's options. Exit status: 0 done, 1 failed, 2 usage or "
         "configuration, 130 stopped.\n";
}

int run(const std::vector<std::string>& words) {
  if (words.empty() || words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
    print_help(words.empty() ? std::cerr : std::cout);
    return words.empty() ? 2 : 0;
  }
  if (words[0] == "--version") {
    std::cout << "tessera " << TESSERA_VERSION << "\n";
    return 0;
  }
  std::vector<std::string> names;
  for (const auto& command : commands()) {
    if (words[0] == command.name) return command.run({words.begin() + 1, words.end()});
    names.emplace_back(command.name);
  }
  throw UsageError(
      str("tessera: no command '", words[0], "'", suggestion(words[0], names), "; `tessera --help` lists them"));
}

}  // namespace
}  // namespace tessera::cli

int main(int argc, char** argv) {
  using namespace tessera;
  try {
    return cli::run({argv + 1, argv + argc});
  } catch (const cli::UsageError& error) {
    std::cerr << error.what() << "\n";
    return 2;
  } catch (const ConfigError& error) {
    std::cerr << error.what() << "\n";
    return 2;
  } catch (const Stopped& error) {
    std::cerr << error.what() << "\n";
    return 130;
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 1;
  }
}
