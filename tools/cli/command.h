#pragma once

#include <string>
#include <vector>

namespace tessera::cli {

// One command of the program: `tessera <name> ...`. Each stands in a file of its name; run() returns the exit status.
struct Command {
  const char* name;
  const char* usage;
  const char* summary;
  int (*run)(const std::vector<std::string>& arguments);
};

int run_train(const std::vector<std::string>& arguments);
int run_tokenize(const std::vector<std::string>& arguments);
int run_evaluate(const std::vector<std::string>& arguments);
int run_recommend(const std::vector<std::string>& arguments);
int run_import(const std::vector<std::string>& arguments);
int run_check(const std::vector<std::string>& arguments);
int run_plugins(const std::vector<std::string>& arguments);
int run_inspect(const std::vector<std::string>& arguments);
int run_memory(const std::vector<std::string>& arguments);
int run_search(const std::vector<std::string>& arguments);
int run_compare(const std::vector<std::string>& arguments);

const std::vector<Command>& commands();

void print_memory(const std::string& folder);  // what `inspect` says of a user memory

}  // namespace tessera::cli
