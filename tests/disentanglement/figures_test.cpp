#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "tests/disentanglement/measure.h"

// The figures of plugins/dst/README.md: what codes tell of the causes, with parts of the loss taken out.
namespace tessera::disentanglement {

namespace {

const std::string kBase =
    "widths = [128]\nwidth = 24\nshared_codes = 24\nmodality_codes = 24\nwarmup_epochs = 10\nepochs = 80\nbatch_size = "
    "512\nlearning_rate = 2e-3\nmi_learning_rate = 2e-3\nmi_hidden = 64\n";

double figure(const Accuracy& found, const std::string& name) {
  for (const HealthFigure& one : found.figures)
    if (one.name == name) return one.value;
  ADD_FAILURE() << "no figure '" << name << "'";
  return 0.0;
}

void print(const std::string& setting, const Accuracy& found) {
  for (const std::string& name : kModalities)
    std::printf("| %s | %s | %.3f | %.3f | %.3f | %.3f | %.3f | %.3f | %.2f |\n", setting.c_str(), name.c_str(),
                found.category, found.own.at(name), found.other.at(name), found.leak.at(name),
                figure(found, name + ": probe R2 of the private part from the shared part"),
                figure(found, name + ": probe R2 of the shared part from the private part"),
                figure(found, name + ": mutual information of the two, nats"));
  std::fflush(stdout);
}

}  // namespace

TEST(DisentanglementFigures, OfEachPartOfTheLoss) {
  if (std::getenv("TESSERA_SLOW_TESTS") == nullptr) GTEST_SKIP() << "minutes; set TESSERA_SLOW_TESTS=1";
  const TemporaryFolder folder;
  const World world(folder, 2000, 12, 6, "");
  std::printf(
      "| setting | modality | category from shared codes | own kind | other's kind | category (leak) | R2 private from "
      "shared | R2 shared from private | information, nats |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- "
      "|\n");
  const std::vector<std::pair<std::string, std::string>> settings{{"defaults", ""},
                                                                  {"no mutual information", "mi_weight = 0.0\n"},
                                                                  {"mi_form = sampled", "mi_form = 'sampled'\n"},
                                                                  {"no alignment", "align = 'none'\n"},
                                                                  {"align = gram", "align = 'gram'\n"},
                                                                  {"residual = plain", "residual = 'plain'\n"}};
  for (const auto& [name, more] : settings) {
    const Accuracy found = measure(world, kBase + more);
    print(name, found);
    if (name != "defaults") continue;
    EXPECT_GE(found.category, 0.95);
    for (const std::string& modality : kModalities) {
      EXPECT_GE(found.own.at(modality), 0.9) << modality;
      EXPECT_LE(found.other.at(modality), found.kind_chance + 0.05) << modality;
    }
  }
  std::printf("chance: %.3f of the kinds, %.3f of the categories\n", 1.0 / world.kinds, 1.0 / world.categories);
}

}  // namespace tessera::disentanglement
