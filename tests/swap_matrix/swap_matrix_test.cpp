// Every tokenizer x model x head from TOML alone: a legal cell trains two steps and ranks, an illegal one gives its
// sentence.
#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "framework/pipeline/pipeline.h"
#include "framework/plugin/loader.h"
#include "framework/plugin/testing.h"
#include "framework/train/trainer.h"

namespace tessera {
namespace {

struct Part_ {
  std::string name, toml;
};

const std::vector<Part_> kTokenizers = {
    {"item_id", "[tokenizer]\nplugin = \"item_id\"\n"},
    {"rq_kmeans",
     "[[featurizer]]\nplugin = \"text_hash\"\nwidth = 16\n[tokenizer]\nplugin = \"rq_vae\"\nwidths = []\nlevels = "
     "2\ncodes = 8\n"},
    {"rq_vae",
     "[[featurizer]]\nplugin = \"text_hash\"\nwidth = 16\n[tokenizer]\nplugin = \"rq_vae\"\nwidths = [16, 8]\nlevels = "
     "2\ncodes = 8\nepochs = 2\nwarmup_epochs = 1\n"},
    {"dst",
     "[[featurizer]]\nplugin = \"text_hash\"\nwidth = 16\n[[featurizer]]\nplugin = \"text_hash\"\nmodality = "
     "\"topic\"\nfields = [\"category\"]\nwidth = 8\n[tokenizer]\nplugin = \"dst\"\nmodalities = [\"text\", "
     "\"topic\"]\nwidths = [16]\nwidth = 8\nshared_levels = 1\nshared_codes = 8\nmodality_codes = 8\nepochs = "
     "2\nwarmup_epochs = 1\nbatch_size = 16\nmi_hidden = 8\n"},
};
const std::string kFlat = "plugin = \"flat_transformer\"\nwidth = 16\nlayers = 1\nheads = 2\nffn = 16\nmax_items = 6\n";
const std::vector<Part_> kModels = {
    {"items_tower", kFlat + "input = \"items\"\nitem_input = \"tower\"\ncausal = true\n"},
    {"items_tokens", kFlat + "input = \"items\"\nitem_input = \"tokens\"\ncausal = true\n"},
    {"tokens", kFlat + "input = \"tokens\"\ncausal = true\n"},
    {"tokens_actions", kFlat + "input = \"tokens\"\ncausal = true\nactions = 2\n"},
    {"items_bidirectional", kFlat + "input = \"items\"\nitem_input = \"tokens\"\ncausal = false\n"},
    {"tokens_bidirectional", kFlat + "input = \"tokens\"\ncausal = false\n"},
    {"hmat", "plugin = \"hmat\"\nwidth = 16\nlayers = 1\nheads = 2\nffn = 16\nmax_items = 6\n"},
    {"din", "plugin = \"din\"\nwidth = 8\nunit = [4]\nmax_items = 6\n"},
};
const std::vector<Part_> kHeads = {
    {"dot_product", "plugin = \"dot_product\"\n"},
    {"light", "plugin = \"generative_decoder\"\nform = \"light\"\n"},
    {"continue", "plugin = \"generative_decoder\"\nform = \"continue\"\n"},
    {"cross", "plugin = \"generative_decoder\"\nform = \"cross\"\nlayers = 1\n"},
    {"anchors", "plugin = \"generative_decoder\"\nform = \"anchors\"\nlayers = 1\n"},
    {"click", "plugin = \"click\"\nhidden = [8]\n"},
};

// What an illegal cell says; a cell that is not here is legal.
std::string sentence(const std::string& model, const std::string& head) {
  if (model == "din" && head != "click") return "the model attends to the target";
  if ((head == "click" || head == "continue") && model == "items_tower") return "the head has no item tower";
  if (head == "click" && model.find("bidirectional") != std::string::npos)
    return "which this bidirectional model does not";
  if ((head == "continue" || head == "anchors") && model.find("bidirectional") != std::string::npos) return "causal";
  if (head == "continue" && model != "tokens") return "one state an item, not one a token";
  if (head == "anchors" && model == "tokens") return "one state a token, not one an item";
  return "";
}

std::string configuration(const Part_& tokenizer, const Part_& model, const Part_& head, const char* policy) {
  return str(
      "name = \"cell\"\n[data]\nplugin = \"synthetic\"\nusers = 60\nitems = 40\ncategories = 4\nmin_length = "
      "4\nmax_length = 8\npositive_above = 3.0\n",
      tokenizer.toml, "[catalog]\npolicy = \"", policy, "\"\n[model]\n", model.toml, "[head]\n", head.toml,
      "[train]\nbatch_size = 16\nmax_steps = 2\nvalid_every = 0\n");
}

class SwapMatrix : public ::testing::Test {
 protected:
  SwapMatrix() : loader_(registry_) {}

  std::unique_ptr<Pipeline> prepare(const std::string& toml) {
    auto pipeline = std::make_unique<Pipeline>(Config::parse("cell.toml", toml), registry_);
    Rejects rejects;
    pipeline->load_data(rejects, context_);
    pipeline->tokenize(context_);
    pipeline->build();
    return pipeline;
  }

  void train_and_rank(Pipeline& pipeline) {
    const auto folder = std::filesystem::temp_directory_path() / str("tessera_swap_", ::getpid());
    std::filesystem::create_directories(folder);
    Trainer trainer(pipeline.model(), pipeline.head(), pipeline.data(), pipeline.train_options,
                    pipeline.evaluate_options, 1, folder.string(), "x");
    EXPECT_EQ(trainer.run(false, context_).steps, 2);
    std::filesystem::remove_all(folder);
    const Questions asked = slice(questions(pipeline.data(), tessera::Part::test, 6), 0, 5);
    RankRequest request;
    request.k = 10;
    request.excluded_offset = asked.histories.offset;
    request.excluded = asked.histories.item;
    const Ranking ranking = pipeline.head().rank(pipeline.model(), asked.histories, request);
    for (std::int64_t b = 0; b < 5; ++b) {
      std::set<std::int32_t> found;
      for (int r = 0; r < 10; ++r) {
        const auto item = ranking.item[static_cast<std::size_t>(b * 10 + r)];
        ASSERT_GE(item, 0);
        ASSERT_LT(item, pipeline.data().item_count());
        EXPECT_TRUE(found.insert(item).second) << "an item twice";
        for (auto i = asked.histories.offset[static_cast<std::size_t>(b)];
             i < asked.histories.offset[static_cast<std::size_t>(b) + 1]; ++i)
          EXPECT_NE(asked.histories.item[static_cast<std::size_t>(i)], item) << "an excluded item";
      }
    }
  }

  Registry registry_;
  Loader loader_;
  FitContext context_;
};

TEST_F(SwapMatrix, EveryCell) {
  int legal = 0, illegal = 0;
  for (const auto& tokenizer : kTokenizers)
    for (const auto& model : kModels)
      for (const auto& head : kHeads) {
        SCOPED_TRACE(str(tokenizer.name, " x ", model.name, " x ", head.name));
        const std::string expected = sentence(model.name, head.name);
        const std::string toml = configuration(tokenizer, model, head, "counter");
        if (expected.empty()) {
          const auto pipeline = prepare(toml);
          train_and_rank(*pipeline);
          ++legal;
          continue;
        }
        try {
          prepare(toml);
          ADD_FAILURE() << "accepted";
        } catch (const ConfigError& error) {
          EXPECT_NE(std::string(error.what()).find(expected), std::string::npos) << error.what();
          EXPECT_EQ(std::string(error.what()).rfind("cell.toml:", 0), 0u) << error.what();
          ++illegal;
        }
      }
  EXPECT_EQ(legal, 124);
  EXPECT_EQ(illegal, 68);
}

// MOTOR: product-quantised tokens under models of histories and of the graph, and crossed tokens in place of ids.
TEST_F(SwapMatrix, TokensInPlaceOfIds) {
  const Part_ pq{
      "pq",
      "[[featurizer]]\nplugin = \"text_hash\"\nwidth = 16\n[[featurizer]]\nplugin = "
      "\"text_hash\"\nmodality = \"topic\"\nfields = [\"category\"]\nwidth = 8\n[tokenizer]\nplugin = "
      "\"pq\"\nsubspaces = 2\ncodes = 8\nmissing = \"mean\"\nturns = 2\nfirst_rounds = 3\nfinal_rounds = 1\n"};
  const std::vector<Part_> models{
      kModels[0], kModels[2], kModels[6], {"lightgcn", "plugin = \"lightgcn\"\nwidth = 16\nlayers = 2\n"}};
  const std::vector<Part_> heads{{"tcn", "plugin = \"tcn\"\n"},
                                 {"tcn_bpr", "plugin = \"tcn\"\nvariant = \"fm\"\nloss = \"bpr\"\n"},
                                 kHeads[0],
                                 kHeads[1],
                                 kHeads[3]};
  int legal = 0, illegal = 0;
  for (const auto* tokenizer : {&pq, &kTokenizers[0]})
    for (const auto& model : models)
      for (const auto& head : heads) {
        if (tokenizer != &pq && head.name != "tcn") continue;
        SCOPED_TRACE(str(tokenizer->name, " x ", model.name, " x ", head.name));
        const std::string toml = configuration(*tokenizer, model, head, "counter");
        if (model.name != "lightgcn" || (head.name != "light" && head.name != "cross")) {
          const auto pipeline = prepare(toml);
          train_and_rank(*pipeline);
          ++legal;
          continue;
        }
        try {
          prepare(toml);
          ADD_FAILURE() << "accepted";
        } catch (const ConfigError& error) {
          EXPECT_NE(std::string(error.what()).find("it reads the interaction graph"), std::string::npos)
              << error.what();
          ++illegal;
        }
      }
  EXPECT_EQ(legal, 22);
  EXPECT_EQ(illegal, 2);
}

// Models of the graph answer through inner products, with ids and with tokens; heads of histories refuse them.
TEST_F(SwapMatrix, ModelsOfTheGraph) {
  const std::string features =
      "[[featurizer]]\nplugin = \"text_hash\"\nwidth = 16\n[[featurizer]]\nplugin = \"text_hash\"\nmodality = "
      "\"topic\"\nfields = [\"category\"]\nwidth = 8\n";
  const std::vector<Part_> tokenizers{
      {"item_id", features + "[tokenizer]\nplugin = \"item_id\"\n"},
      {"pq",
       features +
           "[tokenizer]\nplugin = \"pq\"\nmissing = \"mean\"\nsubspaces = 2\ncodes = 8\nturns = 2\nfirst_rounds = "
           "3\nfinal_rounds = 1\n"},
      {"rq_kmeans", features + "[tokenizer]\nplugin = \"rq_vae\"\nwidths = []\nlevels = 2\ncodes = 8\n"}};
  const std::vector<std::string> models{"vbpr",   "lightgcn", "bm3",  "slmrec", "freedom",  "mgcn",
                                        "lgmrec", "lattice",  "grcn", "mmgcn",  "graphsage"};
  const std::vector<std::string> own_loss{"bm3", "slmrec"};
  const std::vector<Part_> heads{{"dot_product", "plugin = \"dot_product\"\n"}, {"tcn", "plugin = \"tcn\"\n"}};
  int legal = 0, illegal = 0;
  for (const auto& name : models) {
    const bool own = std::find(own_loss.begin(), own_loss.end(), name) != own_loss.end();
    const Part_ model{name, str("plugin = \"", name, "\"\nwidth = 16\n")};
    for (const auto& tokenizer : tokenizers)
      for (const auto& head : heads) {
        SCOPED_TRACE(str(tokenizer.name, " x ", name, " x ", head.name));
        const Part_ with_loss{head.name, head.toml + (own ? "loss = \"none\"\n" : "loss = \"bpr\"\n")};
        const auto pipeline = prepare(configuration(tokenizer, model, with_loss, "none"));
        train_and_rank(*pipeline);
        ++legal;
      }
    for (const auto& head : kHeads) {
      if (head.name == "dot_product") continue;
      SCOPED_TRACE(str(name, " x ", head.name));
      const std::string said = message_of([&] { prepare(configuration(tokenizers[0], model, head, "counter")); });
      const char* sentence = "it reads the interaction graph and has no states of a history";
      if (head.name == "click") sentence = "but the model reads the graph alone";
      if (head.name == "continue" && name != "graphsage")
        sentence = "the model reads item vectors, the head has no item tower";
      EXPECT_NE(said.find(sentence), std::string::npos) << said;
      EXPECT_EQ(said.rfind("cell.toml:", 0), 0u) << said;
      ++illegal;
    }
    if (!own) {
      const Part_ silent{"none", heads[0].toml + "loss = \"none\"\n"};
      const std::string said = message_of([&] { prepare(configuration(tokenizers[0], model, silent, "none")); });
      EXPECT_NE(said.find("this model has no loss of its own"), std::string::npos) << said;
    }
  }
  EXPECT_EQ(legal, static_cast<int>(6 * models.size()));
  EXPECT_EQ(illegal, static_cast<int>(5 * models.size()));
}

// MMGRec: its tokenizer under every model and head, its encoder over every tokenizer.
TEST_F(SwapMatrix, IdentifiersOfBehaviourAndSets) {
  const Part_ graph{"graph_rq_vae",
                    "[[featurizer]]\nplugin = \"text_hash\"\nwidth = 16\n[tokenizer]\nplugin = "
                    "\"graph_rq_vae\"\nlevels = 2\ncodes = 8\nfused_width = 8\nhidden_width = 8\nvector_width = "
                    "8\ngraph_epochs = 1\n"};
  const Part_ sets{"relation_bidirectional",
                   "plugin = \"relation_transformer\"\nwidth = 16\nlayers = 1\nheads = 2\nhead_width = 8\nffn = 16\n"};
  int legal = 0, illegal = 0;
  const auto cell = [&](const Part_& tokenizer, const Part_& model, const Part_& head) {
    SCOPED_TRACE(str(tokenizer.name, " x ", model.name, " x ", head.name));
    const std::string expected = sentence(model.name, head.name);
    const std::string toml = configuration(tokenizer, model, head, "popularity");
    if (expected.empty()) {
      train_and_rank(*prepare(toml));
      ++legal;
      return;
    }
    const std::string said = message_of([&] { prepare(toml); });
    EXPECT_NE(said.find(expected), std::string::npos) << said;
    ++illegal;
  };
  for (const auto& head : kHeads) {
    for (const auto& model : kModels) cell(graph, model, head);
    cell(graph, sets, head);
    for (const auto& tokenizer : kTokenizers) cell(tokenizer, sets, head);
  }
  EXPECT_EQ(legal, 46);
  EXPECT_EQ(illegal, 32);
}

TEST_F(SwapMatrix, SharedIdentifiersAreRefusedByGenerativeHeads) {
  try {
    prepare(configuration(kTokenizers[1], kModels[0], kHeads[1], "none"));
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("the head needs unique identifiers"), std::string::npos) << error.what();
  }
}

TEST_F(SwapMatrix, MissingModalityIsNamed) {
  Part_ tokenizer{"", "[tokenizer]\nplugin = \"rq_vae\"\nmodalities = [\"sound\"]\n"};
  try {
    prepare(configuration(tokenizer, kModels[0], kHeads[1], "counter"));
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("the tokenizer reads modality 'sound', no [[featurizer]] makes it"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace tessera
