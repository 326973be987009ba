#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {

struct DstOptions {
  std::vector<std::string> modalities;
  std::string normalize = "standardize";
  std::int64_t components = 0;
  double whiten = 0.0;
  std::string items = "all";
  std::vector<std::int64_t> widths{512, 256};
  std::int64_t width = 64;
  int shared_levels = 2, shared_codes = 256;
  int modality_levels = 1, modality_codes = 256;
  std::string residual = "private";
  std::string align = "infonce";
  double align_weight = 0.5, temperature = 0.07, uniformity = 0.1;
  double quantizer_weight = 1.0, commitment = 0.25;
  double shared_reconstruction = 0.25;
  double mi_weight = 0.05, mi_delay = 0.1, mi_ramp = 0.1;
  int mi_steps = 5;
  std::int64_t mi_hidden = 128;
  double mi_learning_rate = 1e-3;
  std::string mi_form = "mean";
  bool mi_between = false;
  double decay = 0.99;
  int revive_after = 300;
  int kmeans_iterations = 50;
  double balance = 1.2;
  int warmup_epochs = 10, epochs = 200;
  std::int64_t batch_size = 1024;
  double learning_rate = 1e-3;
  std::string schedule = "cosine";
  double weight_decay = 1e-4;
  double clip_norm = 1.0;

  template <class V>
  void describe(V& v) {
    v("modalities", modalities, "two to four features, in the order of their codes; empty: all that the data has");
    v("normalize", normalize, "what is done to each modality's vectors first",
      {"none", "center", "standardize", "l2", "pca"});
    v("components", components, "pca: principal directions that are kept; 0: all", 0, 65536);
    v("whiten", whiten, "pca: 0 keeps distances, 1 makes every direction count the same", 0.0, 1.0);
    v("items", items, "learn from all items of the catalogue, or from those with training interactions",
      {"all", "trained"});
    v("widths", widths, "hidden layers of each modality's encoder; its decoder mirrors them", 1, 65536);
    v("width", width, "numbers of a code", 2, 4096);
    v("shared_levels", shared_levels, "codes of what the modalities share", 1, 8);
    v("shared_codes", shared_codes, "size of each shared codebook", 2, 65536);
    v("modality_levels", modality_levels, "codes of what each modality holds alone", 1, 8);
    v("modality_codes", modality_codes, "size of each modality's codebooks", 2, 65536);
    v("residual", residual,
      "what a modality's codebooks quantise: its own head less what the shared part explains, or the aligned vector "
      "less the shared part",
      {"private", "plain"});
    v("align", align, "how the modalities are brought together", {"infonce", "gram", "none"});
    v("align_weight", align_weight, "weight of the alignment", 0.0, 100.0);
    v("temperature", temperature, "of the alignment's logits", 1e-3, 10.0);
    v("uniformity", uniformity, "weight of the spread of mean directions, within the alignment", 0.0, 100.0);
    v("quantizer_weight", quantizer_weight, "weight of the quantisers' terms; all are means", 0.0, 1000.0);
    v("commitment", commitment, "within them, of the terms that keep vectors near their codes", 0.0, 100.0);
    v("shared_reconstruction", shared_reconstruction, "weight of rebuilding each modality from the shared codes alone",
      0.0, 100.0);
    v("mi_weight", mi_weight, "weight of the mutual information of shared and private parts at its full; 0: none", 0.0,
      100.0);
    v("mi_delay", mi_delay, "share of the steps before that weight leaves 0", 0.0, 1.0);
    v("mi_ramp", mi_ramp, "share of the steps over which it then grows to its full", 0.0, 1.0);
    v("mi_steps", mi_steps, "steps of the estimator a batch", 1, 1000);
    v("mi_hidden", mi_hidden, "hidden width of the estimator's networks", 1, 65536);
    v("mi_learning_rate", mi_learning_rate, "AdamW's learning rate for the estimator", 1e-9, 10.0);
    v("mi_form", mi_form, "pairs that the estimate is compared with: the mean of all, or one drawn at random",
      {"mean", "sampled"});
    v("mi_between", mi_between, "also the mutual information of the private parts of two modalities");
    v("decay", decay, "decay of the codebooks' moving average", 0.0, 0.9999);
    v("revive_after", revive_after, "batches without use after which a code moves to a random row; 0: never", 0,
      1000000);
    v("kmeans_iterations", kmeans_iterations, "rounds of k-means a level, for the first codebooks", 1, 10000);
    v("balance", balance, "k-means: largest cluster while learning, as a multiple of the mean; 0: no bound", 0.0,
      1000.0);
    v("warmup_epochs", warmup_epochs, "epochs without codes before the codebooks start", 0, 1000000);
    v("epochs", epochs, "passes over the items with codes", 1, 1000000);
    v("batch_size", batch_size, "items a step, at most", 2, 1000000);
    v("learning_rate", learning_rate, "AdamW's learning rate at its peak", 1e-9, 10.0);
    v("schedule", schedule, "learning rate over the epochs", {"constant", "cosine"});
    v("weight_decay", weight_decay, "AdamW's decoupled decay of the network's weights", 0.0, 10.0);
    v("clip_norm", clip_norm, "largest gradient norm of a step; 0: no bound", 0.0, 1e9);
  }
};

}  // namespace tessera
