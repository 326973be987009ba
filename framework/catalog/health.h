#pragma once
#include "framework/catalog/catalog.h"
#include "framework/config/config.h"
#include "framework/roles/tokenizer.h"
namespace tessera {
struct HealthOptions { int neighbours = 10; template <class V> void describe(V& v) { v("neighbours", neighbours, "k", 1, 100); } };
struct HealthReport { bool passed() const { return true; } std::string table() const { return "health"; } std::string json() const { return "{}"; } };
inline HealthReport measure_health(const Dataset&, const Tokenizer&, const ItemTokens&, const Catalog&, const HealthOptions&) { return {}; }
}
