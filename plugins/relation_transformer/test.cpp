#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "framework/nn/pair_testing.h"
#include "tensor/core/parallel.h"
#include "tensor/core/testing.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/reduce/reduce.h"

namespace tessera {
namespace {

using namespace testing;

constexpr std::int64_t kItems = 30, kUsers = 5, kWidth = 12;
const std::string kSmall =
    "plugin = \"relation_transformer\"\nwidth = 12\nlayers = 2\nheads = 2\nhead_width = 6\nffn = 10\ndropout = 0.0\n";
const std::string kGenerative = "plugin = \"generative_decoder\"\nform = \"cross\"\nlayers = 1\nffn = 12";

Registry& plugins() { return registry(TESSERA_BINARY_DIR "/lib/tessera/plugins"); }

ItemTokens tokens_with_vectors(bool users = true) {
  ItemTokens tokens = random_tokens(kItems, 3, 4);
  tokens.item_vectors = Tensor({kItems, kWidth});
  fill_normal(tokens.item_vectors, 0.0, 1.0, 1, 1);
  if (users) {
    tokens.user_vectors = Tensor({kUsers, kWidth});
    fill_normal(tokens.user_vectors, 0.0, 1.0, 1, 2);
  }
  return tokens;
}

void to_double(Pair& pair) {
  for (auto& [name, parameter] : pair.parameters()) parameter->value = parameter->value.to(DType::f64);
}

using Matrix = std::vector<std::vector<double>>;

Matrix matrix(const Tensor& x) {
  const Tensor y = x.to(DType::f64);
  Matrix out(static_cast<std::size_t>(y.rows()));
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i].assign(y.data<double>() + static_cast<std::int64_t>(i) * y.columns(),
                  y.data<double>() + static_cast<std::int64_t>(i + 1) * y.columns());
  return out;
}

Matrix product(const Matrix& a, const Matrix& b, std::size_t from = 0, std::size_t count = 0) {
  if (count == 0) count = b[0].size();
  Matrix out(a.size(), std::vector<double>(count));
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t j = 0; j < count; ++j)
      for (std::size_t k = 0; k < b.size(); ++k) out[i][j] += a[i][k] * b[k][from + j];
  return out;
}

void layer_norm(Matrix& x, const Matrix& gain, const Matrix& bias) {
  for (auto& row : x) {
    double mean = 0, square = 0;
    for (const double v : row) mean += v / static_cast<double>(row.size());
    for (const double v : row) square += (v - mean) * (v - mean) / static_cast<double>(row.size());
    for (std::size_t d = 0; d < row.size(); ++d)
      row[d] = (row[d] - mean) / std::sqrt(square + 1e-5) * gain[0][d] + bias[0][d];
  }
}

// mmgrec.md 2.2, written down as it stands, for one user.
Matrix transcribed(Matrix x, const std::vector<double>& user, std::map<std::string, Matrix>& p) {
  constexpr std::size_t kHeads = 2, kHead = 6, kInner = kHeads * kHead;
  for (const std::string block : {"blocks.0.", "blocks.1."}) {
    const auto number = [&](const char* part) {
      Matrix hidden = product({user}, p[block + "attention.user_" + part + ".hidden.weight"]);
      for (double& h : hidden[0]) h = std::max(0.0, h);
      return product(hidden, p[block + "attention.user_" + part + ".scalar.weight"])[0][0];
    };
    const double s[3] = {number("q"), number("k"), number("v")};
    Matrix joined(x.size(), std::vector<double>(kInner));
    for (std::size_t h = 0; h < kHeads; ++h) {
      Matrix own[3], shared[3];
      for (std::size_t part = 0; part < 3; ++part) {
        own[part] = product(x, p[block + "attention.qkv.weight"], part * kInner + h * kHead, kHead);
        shared[part] = product(x, p[block + "attention.relations.weight"], part * kHead, kHead);
        for (auto& row : shared[part])
          for (double& v : row) v *= s[part];
      }
      for (std::size_t i = 0; i < x.size(); ++i) {
        std::vector<double> score(x.size());
        double sum = 0;
        for (std::size_t j = 0; j < x.size(); ++j) {
          for (std::size_t d = 0; d < kHead; ++d)
            score[j] += own[0][i][d] * own[1][j][d] + shared[0][i][d] * shared[1][j][d];
          score[j] = std::exp(score[j] / std::sqrt(static_cast<double>(kHead)));
          sum += score[j];
        }
        for (std::size_t j = 0; j < x.size(); ++j)
          for (std::size_t d = 0; d < kHead; ++d)
            joined[i][h * kHead + d] += score[j] / sum * (own[2][j][d] + shared[2][j][d]);
      }
    }
    Matrix y = product(joined, p[block + "attention.out.weight"]);
    for (std::size_t i = 0; i < x.size(); ++i)
      for (std::size_t d = 0; d < x[i].size(); ++d) y[i][d] += x[i][d];
    layer_norm(y, p[block + "attention.norm.gain"], p[block + "attention.norm.bias"]);
    Matrix hidden = product(y, p[block + "ffn.up.weight"]);
    for (auto& row : hidden)
      for (double& v : row) v = std::max(0.0, v);
    x = product(hidden, p[block + "ffn.down.weight"]);
    for (std::size_t i = 0; i < x.size(); ++i)
      for (std::size_t d = 0; d < x[i].size(); ++d) x[i][d] += y[i][d];
    layer_norm(x, p[block + "ffn.norm.gain"], p[block + "ffn.norm.bias"]);
  }
  return x;
}

TEST(RelationTransformer, EqualsItsFormula) {
  Pair pair(plugins(), tokens_with_vectors(), kSmall, kGenerative);
  to_double(pair);
  std::map<std::string, Matrix> p;
  for (auto& [name, parameter] : pair.parameters()) p[name] = matrix(parameter->value);
  const Histories histories = histories_of_lengths({4, 1, 7}, kItems);
  const Matrix states = matrix(pair.model->encode(histories).states);
  const Matrix items = matrix(pair.catalog->item_vectors()), users = matrix(pair.catalog->user_vectors());
  for (std::size_t b = 0; b < 3; ++b) {
    const auto begin = static_cast<std::size_t>(histories.offset[b]),
               end = static_cast<std::size_t>(histories.offset[b + 1]);
    Matrix x;
    for (std::size_t i = begin; i < end; ++i) x.push_back(items[static_cast<std::size_t>(histories.item[i])]);
    const Matrix expected = transcribed(x, users[b], p);
    for (std::size_t i = begin; i < end; ++i)
      for (std::size_t d = 0; d < kWidth; ++d)
        ASSERT_NEAR(states[i][d], expected[i - begin][d], 1e-12) << b << " " << i;
  }
}

TEST(RelationTransformer, TheOrderOfASetDoesNotMatter) {
  for (const std::string positions : {"relation", "none", "sinusoidal"}) {
    Pair pair(plugins(), tokens_with_vectors(), kSmall + "positions = \"" + positions + "\"", kGenerative);
    to_double(pair);
    Histories one = histories_of_lengths({6}, kItems), turned = one;
    std::reverse(turned.item.begin(), turned.item.end());
    const Memory a = pair.model->encode(one), b = pair.model->encode(turned);
    double most = 0;
    for (std::int64_t i = 0; i < 6; ++i)
      most = std::max(most, largest_difference(a.states.row_range(i, i + 1), b.states.row_range(5 - i, 6 - i)));
    if (positions == "sinusoidal") EXPECT_GT(most, 1e-3);
    else EXPECT_LT(most, 1e-13) << positions;
  }
}

TEST(RelationTransformer, UsersOfTheSameItemsDiffer) {
  Pair pair(plugins(), tokens_with_vectors(), kSmall, kGenerative);
  Histories two = histories_of_lengths({5, 5}, kItems);
  std::copy_n(two.item.begin(), 5, two.item.begin() + 5);
  const auto apart = [&] {
    const Memory memory = pair.model->encode(two);
    return largest_difference(memory.states.row_range(0, 5), memory.states.row_range(5, 10));
  };
  EXPECT_GT(apart(), 1e-4);
  two.user = {-1, -1};  // unknown: the mean of their items
  EXPECT_EQ(apart(), 0.0);
}

TEST(RelationTransformer, ReadsCodesWhereThereAreNoVectors) {
  Pair pair(plugins(), random_tokens(kItems, 3, 4), kSmall, kGenerative);
  const TrainBatch batch = batch_of(histories_of_lengths({4, 2, 6}, kItems), pair.form());
  const double before = pair.loss_of(batch);
  EXPECT_LT(pair.train(batch, 60, 3e-3), 0.6 * before);
}

TEST(RelationTransformer, ItLearnsToGenerate) {
  for (const std::string items : {"vectors", "codes", "tower", "joined"}) {
    Pair pair(plugins(), tokens_with_vectors(), kSmall + "items = \"" + items + "\"", kGenerative);
    const TrainBatch batch = batch_of(histories_of_lengths({4, 2, 6, 3}, kItems), pair.form());
    pair.train(batch, 300, 3e-3);
    RankRequest request;
    request.k = 1;
    EXPECT_EQ(pair.head->rank(*pair.model, batch.histories, request).item, batch.target) << items;
  }
}

TEST(RelationTransformer, TheSameBitsForAnyNumberOfThreads) {
  std::vector<double> losses;
  for (const int threads : {1, 2, 3}) {
    set_threads(threads);
    Pair pair(plugins(), tokens_with_vectors(), kSmall, kGenerative);
    losses.push_back(pair.train(batch_of(histories_of_lengths({40, 2, 61, 3}, kItems), pair.form()), 3, 1e-3));
  }
  set_threads(1);
  EXPECT_EQ(losses[0], losses[1]);
  EXPECT_EQ(losses[0], losses[2]);
}

TEST(RelationTransformerGrad, WholeModelInDoublePrecision) {
  const std::string from_summary = kGenerative + "\nfrom_summary = true";
  for (const std::string& options :
       {std::string(), std::string("items = \"codes\""), std::string("summary = \"items\""),
        std::string("items = \"tower\""), std::string("items = \"joined\""), std::string("user_scalars = false"),
        std::string("positions = \"sinusoidal\"")}) {
    Pair pair(plugins(), tokens_with_vectors(), kSmall + options,
              options.starts_with("summary") ? from_summary : kGenerative);
    to_double(pair);
    for (auto& [name, parameter] : pair.parameters())
      if (name == "head.cross.summary.gain") fill_normal(parameter->value, 0.0, 1.0, 7, 7);  // zero stops gradients
    const TrainBatch batch = batch_of(histories_of_lengths({4, 2, 5}, kItems), pair.form());
    {
      Tape tape;
      tape.backward(pair.head->loss(*pair.model, batch));
    }
    std::uint64_t stream = 0;
    for (auto& [name, parameter] : pair.parameters()) {
      if (!parameter->gradient) continue;
      Tensor direction(parameter->value.shape(), DType::f64);
      fill_normal(direction, 0.0, 1.0, 5, ++stream);
      const Tensor kept = parameter->value.clone();
      double analytic = 0.0;
      for (std::size_t i = 0; i < direction.values<double>().size(); ++i)
        analytic += direction.values<double>()[i] * parameter->gradient.values<double>()[i];
      const auto moved = [&](double step) {
        for (std::size_t i = 0; i < direction.values<double>().size(); ++i)
          parameter->value.values<double>()[i] = kept.values<double>()[i] + step * direction.values<double>()[i];
        return pair.loss_of(batch);
      };
      const double numeric = (moved(1e-6) - moved(-1e-6)) / 2e-6;
      parameter->value.copy_from(kept);
      EXPECT_NEAR(analytic, numeric, 5e-6 * std::max(1.0, std::abs(numeric))) << options << ": " << name;
    }
  }
}

TEST(RelationTransformer, WrongOptionsAreNamed) {
  const auto message = [&](const std::string& options) -> std::string {
    try {
      Pair pair(plugins(), random_tokens(kItems, 3, 4), kSmall + options, kGenerative);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  EXPECT_NE(message("items = \"vectors\"").find("this tokenizer learnt none; take items = \"codes\""),
            std::string::npos);
  EXPECT_NE(message("items = \"joined\"").find("items = \"joined\" reads the tokenizer's item vectors"),
            std::string::npos);
  const std::string no_tower = message_of([&] {
    Pair(plugins(), tokens_with_vectors(), kSmall + "items = \"tower\"",
         "plugin = \"generative_decoder\"\nform = \"continue\"");
  });
  EXPECT_NE(no_tower.find("does not fit the model"), std::string::npos) << no_tower;
  EXPECT_NE(
      message("positions = \"none\"\nuser_scalars = true").find("user_scalars belongs to positions = \"relation\""),
      std::string::npos);
}

}  // namespace
}  // namespace tessera
