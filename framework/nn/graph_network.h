#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include "framework/nn/module.h"

namespace tessera {

// A network over the graph of users and items, whose items have features: vectors of both, and of items that are new.
class TESSERA_API GraphNetwork : public Module {
 public:
  virtual std::pair<Tensor, Tensor> vectors() = 0;  // of users (U, D) and items (I, D), recorded
  // The same for some users and items, in their order and with repetitions.
  virtual std::pair<Tensor, Tensor> vectors_of(std::span<const std::int32_t> users,
                                               std::span<const std::int32_t> items) = 0;
  // Regularisation of a step, after its vectors_of(); empty: none.
  virtual Tensor penalty(std::int64_t /*targets*/) { return {}; }
  // What new items read of users, (U, S), without dropout. Not recorded.
  virtual Tensor user_state() = 0;
  // Items that are not in the graph, (n, Df) -> (n, D), from what they are and the users who took them: means (n, S) of
  // the users' rows of user_state() and how many they are, zeros where there are none; no means: nobody took any. What
  // users are does not change by them. Not recorded.
  virtual Tensor encode(const Tensor& features, const Tensor& means = {},
                        std::span<const std::int64_t> counts = {}) = 0;
};

}  // namespace tessera
