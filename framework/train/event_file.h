#pragma once

#include <cstdint>
#include <string>

#include "tensor/core/export.h"

namespace tessera {

// Scalars for TensorBoard: events.out.tfevents.<name>, a sequence of TFRecords (length, masked CRC-32C, Event protocol
// buffer, masked CRC-32C). Written whole on each flush, so that a crash leaves a readable file.
class TESSERA_API EventFile {
 public:
  explicit EventFile(std::string path);
  void add(std::int64_t step, const std::string& tag, double value);
  void flush();

 private:
  std::string path_, records_;
};

TESSERA_API std::uint32_t crc32c(const std::string& bytes);  // Castagnoli

}  // namespace tessera
