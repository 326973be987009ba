// The first virtual function of each role lives here, so that its vtable and type information exist once.
#include "framework/roles/data_source.h"
#include "framework/roles/featurizer.h"
#include "framework/roles/head.h"
#include "framework/roles/model.h"
#include "framework/roles/tokenizer.h"

namespace tessera {
namespace {

[[noreturn]] void not_offered(const char* call) {
  throw Error(str("model: ", call,
                  " is not offered by this model; its spec says so and the pipeline should have refused the pair"));
}

}  // namespace

Stopped::~Stopped() = default;
StateVisitor::~StateVisitor() = default;
DataSource::~DataSource() = default;
Featurizer::~Featurizer() = default;
ItemVectorSource::~ItemVectorSource() = default;

Tokenizer::~Tokenizer() = default;
Tensor Tokenizer::reconstruct(std::span<const std::int32_t>, int, const std::string&) const { return {}; }
Tensor Tokenizer::reconstruction_target(const Dataset&, const std::string&) const { return {}; }
Tensor Tokenizer::last_level_distances(const Dataset&) const { return {}; }

Memory::Cache::~Cache() = default;
Extension::~Extension() = default;
Model::~Model() = default;
Memory Model::encode(const Histories&) { not_offered("encode"); }
Memory Model::summarize(const Histories& histories) { return encode(histories); }
std::unique_ptr<Extension> Model::extend(const Memory&, const Candidates&, const Extension*) { not_offered("extend"); }
void Model::append(Memory&, const Histories&) { not_offered("append"); }
std::pair<Tensor, Tensor> Model::propagate(ItemVectorSource*) { not_offered("propagate"); }
Tensor Model::auxiliary_loss(const TrainBatch&) { return {}; }

Head::~Head() = default;
ItemVectorSource* Head::item_tower() { return nullptr; }

}  // namespace tessera
