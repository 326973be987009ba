#include "plugins/image/files.h"

#include <filesystem>

#include "framework/data/text.h"
#include "tensor/core/parallel.h"

namespace tessera::image {
namespace {

constexpr const char* kEndings[] = {".jpg", ".jpeg", ".png", ".JPG", ".PNG"};

bool there(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// An id becomes part of a path only as a plain file name.
bool plain(const std::string& id) {
  return !id.empty() && id.find('/') == std::string::npos && id.find('\0') == std::string::npos;
}

const std::vector<std::string>* field_of(const Items& items, const FileRule& rule) {
  const auto found = items.fields.find(rule.field);
  return found == items.fields.end() ? nullptr : &found->second;
}

std::string named_path(const std::string& value, const FileRule& rule) {
  return rule.folder.empty() || value.front() == '/' ? value : rule.folder + "/" + value;
}

}  // namespace

std::vector<std::string> find_files(const Items& items, const FileRule& rule) {
  const auto* field = field_of(items, rule);
  std::vector<std::string> paths(items.ids.size());
  parallel_rows(items.size(), 256, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      if (field != nullptr && i < field->size() && !(*field)[i].empty()) {
        std::string path = named_path((*field)[i], rule);
        if (there(path)) paths[i] = std::move(path);
        continue;
      }
      if (rule.folder.empty() || !plain(items.ids[i])) continue;
      for (const char* ending : kEndings)
        if (std::string path = rule.folder + "/" + items.ids[i] + ending; there(path)) {
          paths[i] = std::move(path);
          break;
        }
    }
  });
  return paths;
}

std::string looked_for(const Items& items, const FileRule& rule) {
  if (const auto* field = field_of(items, rule))
    for (const auto& value : *field)
      if (!value.empty())
        return str("looked for ", in_quotes(named_path(value, rule)), " and others that the field '", rule.field,
                   "' names");
  if (rule.folder.empty() || items.ids.empty()) return "nothing names one";
  return str("looked in ", rule.folder, " for ", in_quotes(items.ids.front() + ".jpg"), ", .jpeg, .png and so on");
}

}  // namespace tessera::image
