#pragma once

#include <string>

#include "framework/nn/pair_testing.h"

// For the tests of this room: each form with options that take it down other paths, over a small model.
namespace tessera {

inline Registry& plugins() { return testing::registry(TESSERA_BINARY_DIR "/lib/tessera/plugins"); }

inline const std::string kModel =
    "plugin = \"flat_transformer\"\nwidth = 16\nlayers = 1\nheads = 2\nffn = 32\nmax_items = 9\ndeviation = 0.3\n";
inline const std::string kHead = "plugin = \"generative_decoder\"\ndeviation = 0.3\n";

struct Form {
  std::string name, model, head;
};
inline const Form kForms[] = {
    {"light", kModel, kHead + "ffn = 24"},
    {"light on tokens, linear", kModel + "input = \"tokens\"", kHead},
    {"light, bidirectional", kModel + "causal = false", kHead + "normalize = true\ntemperature = 0.2"},
    {"light, legal codes, vectors of prefixes", kModel,
     kHead + "legal = true\nnormalize = true\ntemperature = 0.2\ninput_prefixes = [2, 3]\noutput_prefixes = [2, 3]"},
    {"light, legal codes", kModel + "item_input = \"tokens\"", kHead + "legal = true\nffn = 24"},
    {"continue", kModel + "input = \"tokens\"\npositions = \"rope\"",
     kHead + "form = \"continue\"\nvocabulary = \"shared\""},
    {"continue, relative", kModel + "input = \"tokens\"\npositions = \"relative\"", kHead + "form = \"continue\""},
    {"cross", kModel + "causal = false\ninput = \"tokens\"",
     kHead + "form = \"cross\"\nlayers = 2\nffn = 24\nnorm = \"rms\"\nbias = false\npositions = \"relative\"\nlegal = "
             "true\noutput_prefixes = [2]"},
    {"cross on causal items", kModel, kHead + "form = \"cross\"\nlayers = 1\ntie = false"},
    {"cross from the summary", kModel,
     kHead + "form = \"cross\"\nlayers = 1\nfrom_summary = true\nlegal = true\noutput_prefixes = [2, 3]"},
    {"anchors", kModel, kHead + "form = \"anchors\"\nlayers = 2\nffn = 24"},
    {"anchors, legal codes", kModel + "item_input = \"tokens\"",
     kHead + "form = \"anchors\"\nlayers = 1\nnorm = \"rms\"\nlegal = true\noutput_prefixes = [2, 3]"},
};

}  // namespace tessera
