#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "plugins/image/decode.h"

namespace tessera::image {

struct EncoderOptions {
  std::string model;  // the .onnx file; empty: describe() is used
  int side = 224;
  std::string scaling = "imagenet";
};

// An image encoder from an ONNX file, run by OpenCV's dnn module in the calling thread. Not thread-safe. Where the
// build has no dnn module, the constructor throws Error with a sentence that tells how to build it.
class Encoder {
 public:
  explicit Encoder(const EncoderOptions& options);
  ~Encoder();
  std::int64_t width() const;
  void encode(const Picture& picture, float* out);  // width() numbers

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::image
