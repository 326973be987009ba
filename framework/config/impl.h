#pragma once

#include <string>

#include "framework/config/config.h"
#include "framework/config/tree.h"

// What Config and Section hold. Private to this room.
namespace tessera {

struct Config::Impl {
  detail::Value root;
  std::string files;  // "tiger.toml, demo.toml"
};

struct Section::Impl {
  std::string name;
  detail::Value table;
  std::string where;
};

}  // namespace tessera
