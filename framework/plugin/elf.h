#pragma once

#include <cstddef>
#include <optional>
#include <string>

// The little of the ELF format that the handshake needs: the bytes of one exported object, read from the file alone.
// boost::dll::library_info reads .symtab, which `strip` removes, and trusts every offset; this reads .dynsym, which
// stays, and takes every offset as hostile. Private to this room.
namespace tessera::detail {

// The first `size` bytes of the object `symbol` as they stand in the file; fewer where the object is smaller.
// nullopt where the library exports no such object. Throws Error with the reason where the file is no ELF library.
std::optional<std::string> exported_bytes(const std::string& path, const std::string& symbol, std::size_t size);

}  // namespace tessera::detail
