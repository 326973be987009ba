#include "framework/plugin/elf.h"

#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string_view>
#include <vector>

#include "tensor/core/error.h"

namespace tessera::detail {
namespace {

using Header = ElfW(Ehdr);
using SectionHeader = ElfW(Shdr);
using Segment = ElfW(Phdr);
using Symbol = ElfW(Sym);

class Image {
 public:
  explicit Image(const std::string& path) : file_(path, std::ios::binary), size_(0) {
    if (!file_) throw Error("cannot be opened");
    file_.seekg(0, std::ios::end);
    size_ = static_cast<std::uint64_t>(file_.tellg());
    const std::string magic = bytes(0, std::min<std::uint64_t>(size_, SELFMAG));
    if (magic != std::string_view(ELFMAG, SELFMAG))
      throw Error("is no shared library (it does not begin as an ELF file)");
    header_ = one<Header>(0);
    constexpr unsigned char kClass = sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32;
    if (header_.e_ident[EI_CLASS] != kClass || header_.e_ident[EI_DATA] != ELFDATA2LSB)
      throw Error("is a library for another kind of processor");
    if (header_.e_type != ET_DYN) throw Error("is no shared library (an ELF file of another type)");
  }

  std::optional<std::string> object(const std::string& name, std::size_t size) {
    const auto sections = many<SectionHeader>(header_.e_shoff, header_.e_shnum);
    for (const SectionHeader& section : sections) {
      if (section.sh_type != SHT_DYNSYM) continue;
      if (section.sh_link >= sections.size()) throw Error("is damaged (its symbols have no names)");
      const SectionHeader& names = sections[section.sh_link];
      const std::string text = bytes(names.sh_offset, names.sh_size);
      for (const Symbol& symbol : many<Symbol>(section.sh_offset, section.sh_size / sizeof(Symbol)))
        if (symbol.st_shndx != SHN_UNDEF && symbol.st_name < text.size() && text.c_str() + symbol.st_name == name)
          return at_address(symbol.st_value, std::min<std::uint64_t>(size, symbol.st_size));
    }
    return std::nullopt;
  }

 private:
  std::string at_address(std::uint64_t address, std::uint64_t size) {
    for (const Segment& segment : many<Segment>(header_.e_phoff, header_.e_phnum))
      if (segment.p_type == PT_LOAD && address >= segment.p_vaddr && address - segment.p_vaddr <= segment.p_filesz &&
          size <= segment.p_filesz - (address - segment.p_vaddr))
        return bytes(segment.p_offset + (address - segment.p_vaddr), size);
    throw Error("is damaged (its descriptor lies outside the file)");
  }

  std::string bytes(std::uint64_t offset, std::uint64_t count) {
    if (offset > size_ || count > size_ - offset) throw Error("is damaged or cut short");
    std::string out(static_cast<std::size_t>(count), '\0');
    file_.seekg(static_cast<std::streamoff>(offset));
    file_.read(out.data(), static_cast<std::streamsize>(count));
    if (!file_) throw Error("cannot be read");
    return out;
  }

  template <class T>
  std::vector<T> many(std::uint64_t offset, std::uint64_t count) {
    if (count > size_ / sizeof(T)) throw Error("is damaged or cut short");
    const std::string raw = bytes(offset, count * sizeof(T));
    std::vector<T> out(static_cast<std::size_t>(count));
    if (count > 0) std::memcpy(out.data(), raw.data(), raw.size());
    return out;
  }

  template <class T>
  T one(std::uint64_t offset) {
    return many<T>(offset, 1).front();
  }

  std::ifstream file_;
  std::uint64_t size_;
  Header header_{};
};

}  // namespace

std::optional<std::string> exported_bytes(const std::string& path, const std::string& symbol, std::size_t size) {
  return Image(path).object(symbol, size);
}

}  // namespace tessera::detail
