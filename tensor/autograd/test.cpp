#include <gtest/gtest.h>

#include "tensor/autograd/gradcheck.h"
#include "tensor/autograd/tape.h"
#include "tensor/ops/accumulate/accumulate.h"
#include "tensor/ops/softmax/softmax.h"

namespace tessera {
namespace {

// y = factor x, recorded here so that the tape is tested without help from the op rooms.
Tensor times(const Tensor& x, double factor) {
  Tensor y = x.clone();
  for (double& value : y.values<double>()) value *= factor;
  return record("times", y, {&x}, [factor](const Tensor& dy, Grads& dx) { dx[0].add(times(dy, factor)); });
}

// Both inputs are handed the very same gradient tensor: the tape must not write into shared numbers.
Tensor plus(const Tensor& a, const Tensor& b) {
  Tensor y = a.clone();
  accumulate(y, b);
  return record("plus", y, {&a, &b}, [](const Tensor& dy, Grads& dx) {
    if (dx[0]) dx[0].add(dy);
    if (dx[1]) dx[1].add(dy);
  });
}

// Adds its gradient in place, as matrix products do.
Tensor times_into(const Tensor& x, double factor) {
  return record("times_into", times(x, factor), {&x}, [factor](const Tensor& dy, Grads& dx) {
    auto [buffer, beta] = dx[0].into();
    for (std::int64_t i = 0; i < dy.numel(); ++i) {
      double& to = buffer.data<double>()[i];
      to = (beta == 0.0 ? 0.0 : beta * to) + factor * dy.data<double>()[i];
    }
  });
}

Tensor vec(std::vector<double> values) {
  const auto n = static_cast<std::int64_t>(values.size());
  return Tensor::from<double>(values, {n});
}

}  // namespace

TEST(Tape, RecordsOnlyWhatDependsOnALeaf) {
  const Tensor x = vec({1, 2});
  EXPECT_EQ(times(x, 2).node(), -1);  // no tape
  Tape tape;
  EXPECT_EQ(times(x, 2).node(), -1);
  EXPECT_EQ(tape.size(), 0u);
  EXPECT_GE(times(tape.watch(x), 2).node(), 0);
  EXPECT_EQ(tape.size(), 2u);
}

TEST(Tape, NoTapeStopsRecording) {
  Tape tape;
  const Tensor x = tape.watch(vec({1, 2}));
  {
    const NoTape inference;
    EXPECT_EQ(Tape::current(), nullptr);
    EXPECT_EQ(times(x, 2).node(), -1);
  }
  EXPECT_EQ(Tape::current(), &tape);
  EXPECT_GE(times(x, 2).node(), 0);
}

TEST(Tape, SharedSubexpressionsAddUp) {
  Tape tape;
  const Tensor x = tape.watch(vec({1, 10}));
  const Tensor shared = times(x, 3);
  const Tensor y = plus(plus(times(shared, 5), shared), plus(shared, x));  // (15 + 3 + 3 + 1) x
  tape.backward(y, vec({1, 2}));
  EXPECT_EQ(tape.gradient(x).values<double>()[0], 22.0);
  EXPECT_EQ(tape.gradient(x).values<double>()[1], 44.0);
}

TEST(Tape, StolenGradientsAreNeverWrittenInto) {
  Tape tape;
  const Tensor x = tape.watch(vec({1})), z = tape.watch(vec({1}));
  // dy is stolen by x and by z; x then receives more, in place. z must stay as it was, and so must the seed.
  const Tensor more = times(x, 7);
  const Tensor sum = plus(x, z);
  const Tensor again = times_into(x, 100);
  const Tensor y = plus(plus(sum, more), again);
  const Tensor seed = vec({1});
  tape.backward(y, seed);
  EXPECT_EQ(tape.gradient(x).item(), 108.0);
  EXPECT_EQ(tape.gradient(z).item(), 1.0);
  EXPECT_EQ(seed.item(), 1.0);
}

TEST(Tape, IntoAddsToWhatIsThere) {
  Tape tape;
  const Tensor x = tape.watch(vec({1}));
  tape.backward(plus(times_into(x, 2), times_into(x, 3)), vec({1}));
  EXPECT_EQ(tape.gradient(x).item(), 5.0);
}

TEST(Tape, UnreachedNodesAreSkipped) {
  Tape tape;
  const Tensor x = tape.watch(vec({1})), z = tape.watch(vec({1}));
  int ran = 0;
  const Tensor other = record("other", vec({1}), {&x}, [&ran](const Tensor&, Grads&) { ++ran; });
  tape.backward(times(x, 2), vec({1}));
  EXPECT_EQ(ran, 0);
  EXPECT_FALSE(tape.gradient(z));
  EXPECT_EQ(tape.gradient(x).item(), 2.0);
}

TEST(Tape, SlotsOfConstantsAreFalse) {
  Tape tape;
  const Tensor x = tape.watch(vec({1})), constant = vec({1});
  const Tensor y = record("look", vec({1}), {&x, &constant}, [](const Tensor& dy, Grads& dx) {
    EXPECT_TRUE(dx[0]);
    EXPECT_FALSE(dx[1]);
    dx[0].add(dy);
  });
  tape.backward(y, vec({1}));
}

TEST(Tape, SavedTensorsAreFreedAsBackwardRuns) {
  Tape tape;
  const Tensor x = tape.watch(vec({1}));
  const Tensor saved = vec({1});
  const Tensor y = record("keep", vec({1}), {&x}, [saved](const Tensor& dy, Grads& dx) { dx[0].add(dy); });
  EXPECT_TRUE(saved.shares_storage());
  tape.backward(y, vec({1}));
  EXPECT_FALSE(saved.shares_storage());
}

TEST(Tape, ParametersAccumulateOverTapes) {
  Parameter w("w", vec({2, 3}));
  for (int step = 1; step <= 2; ++step) {
    Tape tape;
    EXPECT_EQ(w().node(), w().node());  // one leaf a tape
    tape.backward(plus(times(w(), 10), w()), vec({1, 1}));
    EXPECT_EQ(w.gradient.values<double>()[1], 11.0 * step);
  }
  EXPECT_EQ(w().node(), -1);
}

TEST(Tape, TheLossMayBeALeaf) {
  Parameter w("w", Tensor::scalar(2, DType::f64));
  for (int step = 1; step <= 2; ++step) {
    Tape tape;
    tape.backward(w());
    EXPECT_EQ(w.gradient.item(), step);
  }
}

TEST(Tape, TwoTapesAlive) {
  Parameter w("w", vec({1}));
  Tape first;
  first.backward(times(w(), 2), vec({1}));
  const Tensor kept = w.gradient;
  Tape second;
  second.backward(times(w(), 3), vec({1}));
  EXPECT_EQ(w.gradient.item(), 5.0);
  EXPECT_EQ(kept.item(), 2.0);  // a handle taken in between keeps its numbers
}

TEST(Tape, InnerTapesTakeOuterTensorsAsConstants) {
  Tape outer;
  const Tensor x = outer.watch(vec({1}));
  const Tensor y = times(x, 2);
  {
    Tape inner;
    EXPECT_EQ(Tape::current(), &inner);
    EXPECT_EQ(times(y, 3).node(), -1);
    const Tensor z = inner.watch(vec({5}));
    inner.backward(plus(z, y), vec({1}));
    EXPECT_EQ(inner.gradient(z).item(), 1.0);
    EXPECT_THROW(inner.gradient(x), Error);
  }
  EXPECT_EQ(Tape::current(), &outer);
  outer.backward(times(y, 3), vec({1}));
  EXPECT_EQ(outer.gradient(x).item(), 6.0);
}

TEST(Tape, TensorsOfADeadTapeAreConstants) {
  Tensor stale;
  {
    Tape tape;
    stale = times(tape.watch(vec({1})), 2);
  }
  Tape tape;
  const Tensor x = tape.watch(vec({1}));
  tape.backward(plus(times(x, 4), stale), vec({1}));
  EXPECT_EQ(tape.gradient(x).item(), 4.0);
}

TEST(Tape, ReshapeKeepsTheNode) {
  Tape tape;
  const Tensor x = tape.watch(random_f64({2, 3}, 1));
  const Tensor y = times(x.reshape({6}), 2).reshape({3, 2});
  tape.backward(y, random_f64({3, 2}, 2));
  EXPECT_EQ(tape.gradient(x).shape(), (Shape{2, 3}));
}

TEST(Tape, DeepChainsDoNotRecurse) {
  constexpr int kNodes = 200'000;
  Tape tape;
  const Tensor x = tape.watch(vec({1}));
  Tensor y = x;
  for (int i = 0; i < kNodes; ++i) y = times(y, i % 2 ? 2.0 : 0.5);
  tape.backward(y, vec({3}));
  EXPECT_EQ(tape.gradient(x).item(), 3.0);
}

TEST(Tape, RefusesWhatIsNotItsOwn) {
  Tape tape;
  const Tensor x = tape.watch(vec({1, 2}));
  try {
    tape.backward(times(x, 2));
    FAIL() << "a loss of two elements was accepted";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "backward: loss has shape (2), expected one element");
  }
  EXPECT_THROW(tape.backward(vec({1}), vec({1})), Error);
  EXPECT_THROW(tape.gradient(vec({1})), Error);
  EXPECT_THROW(tape.gradient(x), Error);  // backward has not run
}

TEST(Gradcheck, SeesWrongGradients) {
  const auto wrong = [](const auto& x) {
    return record("wrong", softmax(x[0]).detach(), {&x[0]},
                  [](const Tensor& dy, Grads& dx) { dx[0].add(Tensor::zeros(dy.shape(), dy.dtype())); });
  };
  EXPECT_GT(gradcheck(wrong, {random_f64({3, 4}, 1)}), 1e-3);
}

}  // namespace tessera
