#include "framework/checkpoint/state.h"

namespace tessera {

StateWriter::~StateWriter() = default;
StateReader::~StateReader() = default;

void StateWriter::tensor(const std::string& name, Tensor& value) {
  if (value) file_.tensors[prefix_ + name] = value;
}

void StateWriter::text(const std::string& name, std::string& value) { file_.metadata[prefix_ + name] = value; }

void StateReader::tensor(const std::string& name, Tensor& value) {
  const auto it = file_.tensors.find(prefix_ + name);
  if (it == file_.tensors.end())
    throw CheckpointError(
        str(path_, ": tensor '", prefix_ + name, "' is missing; the file belongs to another pipeline"));
  value = it->second.clone();
}

void StateReader::text(const std::string& name, std::string& value) {
  const auto it = file_.metadata.find(prefix_ + name);
  if (it == file_.metadata.end())
    throw CheckpointError(str(path_, ": '", prefix_ + name, "' is missing; the file belongs to another pipeline"));
  value = it->second;
}

}  // namespace tessera
