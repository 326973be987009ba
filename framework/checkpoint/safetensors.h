#pragma once

#include <map>
#include <string>

#include "tensor/core/error.h"
#include "tensor/core/export.h"
#include "tensor/core/tensor.h"

namespace tessera {

// A checkpoint that cannot be trusted or does not fit. Names the file and the tensor.
class TESSERA_API CheckpointError : public Error {
 public:
  using Error::Error;
  ~CheckpointError() override;
};

// The safetensors format: 8 bytes little-endian length of a JSON header, the header, the tensors one after the other
// without holes. The Python package of that name reads what is written here. The header is padded so that the data
// begins at a multiple of 64. A checksum over names, types, shapes, metadata and data stands in the metadata
// ("tessera.checksum"); a file that carries one is checked.
struct TensorFile {
  std::map<std::string, Tensor> tensors;        // by name, which is also the order in the file
  std::map<std::string, std::string> metadata;  // small facts
};

TESSERA_API void write_safetensors(const std::string& path, const TensorFile& file);  // atomic
// Every number in the file is treated as hostile: throws CheckpointError for a truncated file, offsets out of range,
// overlaps, holes, sizes that do not fit shape and type, a wrong checksum. need_checksum refuses files without one.
TESSERA_API TensorFile read_safetensors(const std::string& path, bool need_checksum = false);

}  // namespace tessera
