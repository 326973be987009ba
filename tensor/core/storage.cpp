#include "tensor/core/storage.h"

#include "tensor/core/allocator.h"

namespace tessera {

Storage::Storage(std::size_t bytes, Device device) : data_(allocate(bytes, device)), bytes_(bytes), device_(device) {}
Storage::~Storage() { release(data_, bytes_, device_); }

}  // namespace tessera
