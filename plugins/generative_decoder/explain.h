#pragma once

#include <functional>

#include "framework/roles/head.h"
#include "plugins/generative_decoder/filter.h"
#include "plugins/generative_decoder/form.h"
#include "plugins/generative_decoder/search.h"

namespace tessera {

// Head::explain(): items are followed as score() follows them, and every choice on the way is put down. The weights of
// the history are the decoder's attention on its states where the form has one; else each item is left out in turn.
class Explainer {
 public:
  using Read = std::function<Memory(const Histories&)>;
  Explainer(Model& model, DecoderForm& form, const Search& search, const CountedTrie& trie, Read read)
      : model_(model), form_(form), search_(search), trie_(trie), read_(std::move(read)) {}

  Explanation explain(const Histories& histories, const RankRequest& request, std::span<const std::int64_t> offset,
                      std::span<const std::int32_t> items) const;

 private:
  // Fills the weights of the items of row b.
  void leave_out(const Histories& histories, std::int64_t b, std::span<const std::int32_t> items,
                 std::span<std::vector<LevelReason>> reasons) const;

  Model& model_;
  DecoderForm& form_;
  const Search& search_;
  const CountedTrie& trie_;
  Read read_;
};

}  // namespace tessera
