#include <gtest/gtest.h>

#include "tests/disentanglement/measure.h"

namespace tessera::disentanglement {

namespace {

// More codes a modality than it has kinds: what is left over would be filled with the category.
const std::string kSmall =
    "widths = [64]\nwidth = 16\nshared_codes = 16\nmodality_codes = 32\nwarmup_epochs = 10\nepochs = 40\nbatch_size = "
    "256\nlearning_rate = 3e-3\nmi_hidden = 32\nmi_learning_rate = 3e-3\nmi_steps = 2\n";

double figure(const Accuracy& found, const std::string& name) {
  for (const HealthFigure& one : found.figures)
    if (one.name == name) return one.value;
  ADD_FAILURE() << "no figure '" << name << "'";
  return 0.0;
}

}  // namespace

TEST(Disentanglement, CodesTellTheirOwnCausesAndNoOthers) {
  const TemporaryFolder folder;
  const World world(folder, 1200, 8, 4, "");
  const Accuracy with = measure(world, kSmall), without = measure(world, kSmall + "mi_weight = 0.0\n");
  EXPECT_GE(with.category, 0.95);
  for (const std::string& name : kModalities) {
    SCOPED_TRACE(name);
    EXPECT_GE(with.own.at(name), 0.9);
    EXPECT_LE(with.other.at(name), with.kind_chance + 0.05);
    // Without the mutual information the private part tells the shared one.
    EXPECT_LT(with.leak.at(name), without.leak.at(name));
    const std::string back = name + ": probe R2 of the shared part from the private part";
    EXPECT_LT(2.0 * figure(with, back), figure(without, back));
    const std::string information = name + ": mutual information of the two, nats";
    EXPECT_LT(1.2 * figure(with, information), figure(without, information));
  }
}

}  // namespace tessera::disentanglement
