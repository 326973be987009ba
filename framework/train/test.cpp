#include <gtest/gtest.h>

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "framework/checkpoint/atomic_file.h"
#include "framework/data/split.h"
#include "framework/train/event_file.h"
#include "framework/train/schedule.h"
#include "framework/train/trainer.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/ops/cross_entropy/cross_entropy.h"
#include "tensor/ops/dropout/dropout.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/reduce/reduce.h"
#include "tensor/ops/topk/topk.h"

namespace tessera {
namespace {

constexpr int kItems = 12, kWidth = 8;

// The smallest real pair: the state after an item is its embedding with dropout; scores are inner products with a
// second table.
class ToyModel final : public Model {
 public:
  ToyModel() : table_(add_parameter("table", {kItems, kWidth}, normal(0.5))) { initialize(1, "model/"); }
  ModelSpec spec() const override { return {.width = kWidth, .causal = true, .max_items = 10}; }
  void build(const BuildContext&, ItemVectorSource*) override {}
  Memory encode(const Histories& h) override {
    Memory memory;
    memory.states = dropout(embedding(table_(), h.item), 0.1);
    memory.offset = h.offset;
    std::vector<std::int32_t> last;
    for (std::int64_t b = 0; b < h.rows(); ++b) {
      const auto end = h.offset[static_cast<std::size_t>(b) + 1];
      last.push_back(end == h.offset[static_cast<std::size_t>(b)] ? -1 : static_cast<std::int32_t>(end - 1));
    }
    memory.summary = embedding(memory.states, last);
    return memory;
  }
  Parameter& table_;
};

class ToyHead final : public Head {
 public:
  ToyHead() : table_(add_parameter("table", {kItems, kWidth}, normal(0.5))) { initialize(1, "head/"); }
  HeadSpec spec(const ModelSpec&) const override { return {}; }
  void build(const BuildContext&, const ModelSpec&) override {}
  Tensor loss(Model& model, const TrainBatch& batch) override {
    if (batch.step == poison_step) return Tensor::scalar(std::numeric_limits<double>::quiet_NaN());
    return linear_cross_entropy(model.encode(batch.histories).states, table_(), {}, batch.target);
  }
  Ranking rank(Model& model, const Histories& h, const RankRequest& request) override {
    auto top = topk_inner_product(model.encode(h).summary, table_.value, request.k, request.excluded_offset,
                                  request.excluded, request.allowed);
    return {request.k, std::move(top.index), std::move(top.score)};
  }
  std::vector<float> score(Model&, const Histories&, std::span<const std::int64_t>,
                           std::span<const std::int32_t>) override {
    return {};
  }
  Parameter& table_;
  std::int64_t poison_step = -1;
};

// 60 users who walk round a circle of items: the next item is the last plus one.
Dataset circle() {
  Dataset data;
  data.name = "circle";
  for (int i = 0; i < kItems; ++i) data.items.ids.push_back(std::to_string(i));
  for (int user = 0; user < 60; ++user) {
    data.user_ids.push_back("u" + std::to_string(user));
    for (int t = 0; t < 5 + user % 4; ++t) data.interactions.item.push_back((user + t) % kItems);
    data.interactions.offset.push_back(data.interactions.size());
  }
  split(data, {}, 1);
  return data;
}

TrainOptions quick() {
  TrainOptions options;
  options.epochs = 6;
  options.batch_size = 16;
  options.learning_rate = 0.05;
  options.average = 0.9;
  options.clip_norm = 1.0;
  options.checkpoint_steps = 3;
  options.metric = "NDCG@5";
  return options;
}

class TrainerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::temp_directory_path() / str("tessera_trainer_", ::getpid());
    std::filesystem::create_directories(root_);
  }
  void TearDown() override {
    set_threads(2);
    std::filesystem::remove_all(root_);
  }

  std::string folder(const std::string& name) const {
    std::filesystem::create_directories(root_ / name);
    return (root_ / name).string();
  }

  // Trains until `stop_after` steps were taken in this call (0: to the end). Returns the weights as bytes.
  TrainResult run(const std::string& name, const TrainOptions& options, bool resume = false, int stop_after = 0,
                  const std::string& identity = "x") {
    ToyModel model;
    ToyHead head;
    head.poison_step = poison_step_;
    Trainer trainer(model, head, data_, options, {}, 3, folder(name), identity);
    FitContext context;
    int taken = 0;
    context.progress = [&](double done, const std::string&) { taken += done >= 0; };
    context.stop = [&] { return stop_after > 0 && taken >= stop_after; };
    context.say = [&](const std::string& line) { said_ += line + "\n"; };
    const TrainResult result = trainer.run(resume, context);
    weights_.clear();
    for (auto& [key, p] : named_parameters(model, head))
      weights_.append(static_cast<const char*>(p->value.raw()), p->value.bytes());
    return result;
  }

  std::filesystem::path root_;
  Dataset data_ = circle();
  std::string weights_, said_;
  std::int64_t poison_step_ = -1;
};

TEST_F(TrainerTest, Learns) {
  const TrainResult result = run("a", quick());
  EXPECT_GT(result.best_metric, 0.9);
  EXPECT_TRUE(std::filesystem::exists(root_ / "a/metrics.csv"));
}

// A rise that the counted decimals do not show is none; what is reported keeps all decimals.
TEST_F(TrainerTest, ComparesValidationsInDecimals) {
  TrainOptions options = quick();
  options.epochs = 30;
  options.average = 0.0;
  options.learning_rate = 0.005;
  options.patience = 1;
  const TrainResult fine = run("fine", options);
  options.metric_decimals = 1;
  const TrainResult coarse = run("coarse", options);
  EXPECT_LT(coarse.best_epoch, fine.best_epoch);
  EXPECT_NE(coarse.best_metric, std::round(10 * coarse.best_metric) / 10);
}

TEST_F(TrainerTest, SameBitsForAnyNumberOfThreads) {
  std::string first, checkpoint;
  for (const int threads : {1, 2, 3}) {
    set_threads(threads);
    const std::string name = "threads" + std::to_string(threads);
    run(name, quick());
    const std::string bytes = read_file((root_ / name / "checkpoint.safetensors").string());
    if (first.empty()) first = weights_, checkpoint = bytes;
    EXPECT_EQ(weights_, first) << threads;
    EXPECT_EQ(bytes, checkpoint) << threads;
  }
}

TEST_F(TrainerTest, ResumedRunEndsWithTheSameBits) {
  run("whole", quick());
  const std::string whole = weights_;
  for (const int stop : {1, 4, 9}) {
    const std::string name = "broken" + std::to_string(stop);
    TrainResult result = run(name, quick(), false, stop);
    EXPECT_TRUE(result.interrupted);
    while (result.interrupted) result = run(name, quick(), true, stop);
    EXPECT_EQ(weights_, whole) << stop;
    for (const char* file : {"checkpoint.safetensors", "metrics.jsonl", "events.out.tfevents.0.tessera"})
      EXPECT_EQ(read_file((root_ / "whole" / file).string()), read_file((root_ / name / file).string())) << file;
  }
}

TEST_F(TrainerTest, DamagedCheckpointIsPassedOver) {
  run("whole", quick());
  const std::string whole = weights_;
  run("b", quick(), false, 7);
  const std::string path = (root_ / "b/checkpoint.safetensors").string();
  ASSERT_TRUE(std::filesystem::exists(root_ / "b/checkpoint.previous.safetensors"));
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  run("b", quick(), true);
  EXPECT_NE(said_.find("passed over: " + path), std::string::npos) << said_;
  EXPECT_EQ(weights_, whole);
}

TEST_F(TrainerTest, NothingLeftToResumeFromIsAnError) {
  run("c", quick(), false, 2);
  for (const auto& entry : std::filesystem::directory_iterator(root_ / "c"))
    if (entry.path().extension() == ".safetensors") std::filesystem::resize_file(entry.path(), 20);
  EXPECT_THROW(run("c", quick(), true), CheckpointError);
}

TEST_F(TrainerTest, CheckpointOfAnotherPipelineIsRefused) {
  run("d", quick(), false, 2);
  try {
    run("d", quick(), true, 0, "y");
    FAIL();
  } catch (const CheckpointError& error) {
    EXPECT_NE(std::string(error.what()).find("made by another pipeline, data set or seed (x, now y)"),
              std::string::npos)
        << error.what();
  }
}

TEST_F(TrainerTest, NonFiniteLossStopsAndTheLastGoodCheckpointStays) {
  poison_step_ = 8;
  try {
    run("e", quick());
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("train: the loss is nan at step 9 (epoch 3, batch 1)"), std::string::npos)
        << error.what();
  }
  poison_step_ = -1;
  run("e", quick(), true);
  const std::string resumed = weights_;
  run("whole", quick());
  EXPECT_EQ(resumed, weights_);
}

TEST_F(TrainerTest, EarlyStop) {
  TrainOptions options = quick();
  options.epochs = 200;
  options.patience = 3;
  const TrainResult result = run("f", options);
  EXPECT_LT(result.steps, 200 * 4);
  EXPECT_NE(result.reason.find("did not rise for 3 validations"), std::string::npos);
}

TEST_F(TrainerTest, UnknownMetricIsAConfigurationError) {
  TrainOptions options = quick();
  options.metric = "Precision@5";
  EXPECT_THROW(run("g", options), ConfigError);
}

// A model of the graph with a loss of its own, under a head that adds none: it sees every interaction once an epoch,
// with as many negatives as the two of them want at most.
class GraphModel final : public Model {
 public:
  GraphModel() : table_(add_parameter("table", {kItems, kWidth}, normal(0.5))) { initialize(1, "model/"); }
  ModelSpec spec() const override {
    return {.width = kWidth, .reads_histories = false, .own_loss = true, .negatives = 1};
  }
  void build(const BuildContext&, ItemVectorSource*) override {}
  Tensor auxiliary_loss(const TrainBatch& batch) override {
    EXPECT_EQ(batch.negative.size(), 2 * batch.target.size());
    EXPECT_EQ(batch.histories.size(), 0);
    targets += batch.target.size();
    return mean(embedding(table_(), batch.target));
  }
  void begin_epoch(std::int64_t epoch, std::uint64_t seed) override {
    EXPECT_EQ(seed, 3u);
    begun.push_back(epoch);
  }
  Parameter& table_;
  std::size_t targets = 0;
  std::vector<std::int64_t> begun;
};

class SilentHead final : public Head {
 public:
  HeadSpec spec(const ModelSpec&) const override { return {.form = BatchForm::one_target, .negatives = 2}; }
  void build(const BuildContext&, const ModelSpec&) override {}
  Tensor loss(Model&, const TrainBatch&) override { return {}; }
  Ranking rank(Model&, const Histories&, const RankRequest&) override { return {}; }
  std::vector<float> score(Model&, const Histories&, std::span<const std::int64_t>,
                           std::span<const std::int32_t>) override {
    return {};
  }
};

TEST_F(TrainerTest, ModelsOfTheGraphSeeEveryInteraction) {
  GraphModel model;
  SilentHead head;
  TrainOptions options = quick();
  Trainer trainer(model, head, data_, options, {}, 3, folder("graph"), "x");
  for (std::int64_t i = 0; i < trainer.steps_per_epoch(); ++i) trainer.gradient_of_batch(0, i);
  std::size_t train = 0;
  for (const Part part : data_.interactions.part) train += part == Part::train;
  EXPECT_EQ(model.targets, train);
  trainer.gradient_of_batch(4, 1);
  trainer.gradient_of_batch(4, 2);
  EXPECT_EQ(model.begun, (std::vector<std::int64_t>{0, 4}));
}

TEST_F(TrainerTest, AccumulatedBatchesMakeOneStep) {
  TrainOptions options = quick();
  options.accumulate = 3;
  ToyModel model;
  ToyHead head;
  const Trainer trainer(model, head, data_, options, {}, 3, folder("h"), "x");
  EXPECT_EQ(trainer.steps_per_epoch(), 2);  // four batches
}

TEST(Schedule, WarmUpCosineAndInverseSquareRoot) {
  TrainOptions options;
  options.learning_rate = 1.0;
  options.warmup_steps = 10;
  EXPECT_DOUBLE_EQ(learning_rate_at(5, 110, options), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate_at(50, 110, options), 1.0);
  options.schedule = "cosine";
  options.final_rate = 0.1;
  EXPECT_DOUBLE_EQ(learning_rate_at(10, 110, options), 1.0);
  EXPECT_NEAR(learning_rate_at(60, 110, options), 0.55, 1e-12);
  EXPECT_NEAR(learning_rate_at(110, 110, options), 0.1, 1e-12);
  options.schedule = "inverse_sqrt";
  EXPECT_DOUBLE_EQ(learning_rate_at(40, 110, options), 0.5);
}

TEST(EventFile, ChecksumOfTheStandardText) { EXPECT_EQ(crc32c("123456789"), 0xe3069283u); }

TEST(MetricsLog, RestoresWhatItWrote) {
  MetricsLog log("");
  log.add({7, {{"valid/NDCG@10", 0.125}, {"train/loss", 1.0}}});
  MetricsLog again("");
  again.restore(log.text());
  EXPECT_EQ(again.text(), log.text());
  EXPECT_EQ(again.rows()[0].step, 7);
}

}  // namespace
}  // namespace tessera
