#include "plugins/image/encoder.h"

#include "tensor/core/error.h"

#ifdef TESSERA_WITH_OPENCV_DNN
#include <algorithm>
#include <cmath>
#include <opencv2/dnn.hpp>
#include <opencv2/imgproc.hpp>
#endif

namespace tessera::image {

#ifdef TESSERA_WITH_OPENCV_DNN

namespace {

constexpr std::size_t kWidest = 65536;

struct Scaling {
  float mean[3], deviation[3];
};

Scaling scaling_of(const std::string& name) {
  if (name == "imagenet") return {{0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}};
  if (name == "clip") return {{0.48145466f, 0.4578275f, 0.40821073f}, {0.26862954f, 0.26130258f, 0.27577711f}};
  if (name == "half") return {{0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f}};
  return {{0.0f, 0.0f, 0.0f}, {1.0f, 1.0f, 1.0f}};
}

}  // namespace

struct Encoder::Impl {
  EncoderOptions options;
  Scaling scaling;
  cv::dnn::Net net;
  std::int64_t width = 0;

  cv::Mat run(const Picture& picture) {
    const cv::Mat whole(picture.height, picture.width, CV_8UC3, const_cast<std::uint8_t*>(picture.rgb.data()));
    const bool shrinks = picture.width >= options.side && picture.height >= options.side;
    cv::Mat rgb, real;
    cv::resize(whole, rgb, {options.side, options.side}, 0, 0, shrinks ? cv::INTER_AREA : cv::INTER_LINEAR);
    rgb.convertTo(real, CV_32F, 1.0 / 255.0);
    for (int y = 0; y < real.rows; ++y)
      for (int x = 0; x < real.cols; ++x)
        for (int c = 0; c < 3; ++c) {
          float& value = real.at<cv::Vec3f>(y, x)[c];
          value = (value - scaling.mean[c]) / scaling.deviation[c];
        }
    net.setInput(cv::dnn::blobFromImage(real));
    cv::Mat out = net.forward();
    check(out.type() == CV_32F, "image: ", options.model, " gives no 32-bit numbers");
    return out;
  }
};

Encoder::Encoder(const EncoderOptions& options)
    : impl_(std::make_unique<Impl>(Impl{options, scaling_of(options.scaling), {}, 0})) {
  try {
    impl_->net = cv::dnn::readNetFromONNX(options.model);
    impl_->net.setPreferableBackend(cv::dnn::DNN_BACKEND_OPENCV);
    const int side = options.side;
    impl_->width = static_cast<std::int64_t>(
        impl_->run({side, side, std::vector<std::uint8_t>(static_cast<std::size_t>(3 * side * side), 128)}).total());
  } catch (const cv::Exception& error) {
    throw Error(str("image: the model ", options.model, " cannot be run on ", options.side, " x ", options.side,
                    " pixels: ", error.err));
  }
  check(impl_->width > 0 && static_cast<std::size_t>(impl_->width) <= kWidest, "image: the model ", options.model,
        " gives ", impl_->width, " numbers an image, expected 1 to ", kWidest, "; cut it at its pooled output");
}

Encoder::~Encoder() = default;
std::int64_t Encoder::width() const { return impl_->width; }

void Encoder::encode(const Picture& picture, float* out) {
  const cv::Mat values = impl_->run(picture);
  std::copy_n(values.ptr<float>(), impl_->width, out);
  check(std::all_of(out, out + impl_->width, [](float v) { return std::isfinite(v); }), "makes ", impl_->options.model,
        " give numbers that are not finite");
}

#else

struct Encoder::Impl {};

Encoder::Encoder(const EncoderOptions& options) {
  throw Error(str("image: model = '", options.model,
                  "' needs OpenCV's dnn module, which this build lacks; install libopencv-dnn-dev and build with "
                  "-DTESSERA_OPENCV_DNN=ON, or leave `model` out"));
}

Encoder::~Encoder() = default;
std::int64_t Encoder::width() const { return 0; }
void Encoder::encode(const Picture&, float*) {}

#endif

}  // namespace tessera::image
