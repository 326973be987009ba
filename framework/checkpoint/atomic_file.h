#pragma once

#include <functional>
#include <ostream>
#include <string>

#include "tensor/core/error.h"
#include "tensor/core/export.h"

namespace tessera {

// Writes a file so that it is there whole or not at all: a temporary name in the same folder, fsync, rename, fsync of
// the folder. Whatever goes wrong (disk full, a throwing writer), the old file stays and the temporary one is removed.
// Throws Error with the path and the system's reason.
TESSERA_API void write_atomically(const std::string& path, const std::function<void(std::ostream&)>& write);
TESSERA_API std::string read_file(const std::string& path);  // whole; throws Error

}  // namespace tessera
