#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {

struct GenerativeOptions {
  std::string form = "light";
  std::string search = "beam", vocabulary = "level", activation = "gelu", norm = "layer", positions = "learned",
              init = "normal";
  int beam = 0, layers = 2, heads = 2, head_width = 0, ffn = 0, buckets = 32;
  std::vector<std::int64_t> input_prefixes, output_prefixes;
  bool legal = false, tie = true, output_bias = true, bias = true, normalize = false, from_summary = false;
  double temperature = 1.0, label_smoothing = 0.0, dropout = 0.0, state_dropout = 0.0, token_dropout = 0.0,
         deviation = 0.02, dense = 0.0;

  template <class V>
  void describe(V& v) {
    v("form", form,
      "light: a small network a level on each state; continue: the causal model over flattened tokens itself; cross: a "
      "decoder with cross-attention; anchors: a decoder behind every state, which sees the earlier ones",
      {"light", "continue", "cross", "anchors"});
    v("search", search,
      "beam: beam search under the trie; exact: every identifier is followed; free: beam search over all codes, where "
      "identifiers that belong to no item take places too",
      {"beam", "exact", "free"});
    v("beam", beam, "prefixes kept a level; 0: the larger of k and 50", 0, 1000000);
    v("dense", dense,
      "order of generated items: log-likelihood plus this times the inner product of the tokenizer's vectors of user "
      "and item, for users that it knows; 0: log-likelihood alone",
      0.0, 1000.0);
    v("vocabulary", vocabulary, "softmax over the codes of a level, or over the codes of all levels",
      {"level", "shared"});
    v("legal", legal,
      "softmax over the codes that continue the prefix to an item, in training and in search; else over the whole "
      "vocabulary");
    v("input_prefixes", input_prefixes,
      "lengths of prefixes that have a vector of their own in the item tower; the full length: one vector an item", 1,
      64);
    v("output_prefixes", output_prefixes,
      "lengths of prefixes that have a vector of their own beside the vector of their newest code (needs legal)", 2,
      64);
    v("tie", tie, "codes read and codes written share their vectors");
    v("output_bias", output_bias, "a bias for each code");
    v("normalize", normalize, "cosine of query and code vector (then set temperature; no bias)");
    v("temperature", temperature, "logits are divided by it", 0.001, 1000.0);
    v("label_smoothing", label_smoothing, "share of the target spread over the vocabulary", 0.0, 0.9);
    v("state_dropout", state_dropout, "drop probability on the states that are read", 0.0, 0.95);
    v("token_dropout", token_dropout,
      "probability that a token is left out of an item's vector in training (item tower)", 0.0, 0.95);
    v("ffn", ffn,
      "light: hidden width of the network of a level, 0: linear; cross, anchors: of the feed-forward part, 0: 4 x "
      "width",
      0, 65536);
    v("activation", activation, "of the hidden layer", {"relu", "gelu", "silu"});
    v("dropout", dropout, "light: on the hidden layer; cross, anchors: on each residual branch", 0.0, 0.95);
    v("layers", layers, "cross, anchors: blocks", 1, 128);
    v("heads", heads, "cross, anchors: attention heads", 1, 256);
    v("head_width", head_width, "cross, anchors: width of a head; 0: width / heads", 0, 1024);
    v("norm", norm, "cross, anchors: layer norm or RMS norm", {"layer", "rms"});
    v("bias", bias, "cross, anchors: biases in linear layers and layer norms");
    v("positions", positions,
      "cross: positions of the levels: learned table, sinusoidal, rotary, relative bias (T5), or none",
      {"learned", "sinusoidal", "rope", "relative", "none"});
    v("from_summary", from_summary,
      "cross: queries begin at the model's summary of the user, through a map that begins as the identity; the "
      "decoder's own part begins at zero");
    v("buckets", buckets, "cross, relative: distances told apart", 4, 1024);
    v("deviation", deviation, "standard deviation of the first weights", 0.0, 10.0);
    v("init", init,
      "codes and prefixes begin at random, or at the means of the tokenizer's item vectors (deviation: that of their "
      "entries)",
      {"normal", "vectors"});
  }
};

}  // namespace tessera
