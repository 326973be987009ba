#include "plugins/synthetic/words.h"

#include <array>

namespace tessera::synthetic {
namespace {

struct Top {
  const char* name;
  std::array<const char*, 8> things;
};
constexpr std::array<Top, 12> kTops = {{
    {"Kitchen", {"Kettle", "Pan", "Teapot", "Grater", "Knife", "Bowl", "Toaster", "Jar"}},
    {"Garden", {"Rake", "Planter", "Hose", "Lantern", "Spade", "Trellis", "Bench", "Shears"}},
    {"Music", {"Guitar", "Drum", "Flute", "Metronome", "Piano", "Violin", "Harmonica", "Stand"}},
    {"Sports", {"Racket", "Helmet", "Ball", "Glove", "Kayak", "Skate", "Mat", "Bottle"}},
    {"Toys", {"Puzzle", "Train", "Kite", "Doll", "Robot", "Block", "Marble", "Yo-yo"}},
    {"Beauty", {"Lotion", "Brush", "Lipstick", "Soap", "Perfume", "Mirror", "Comb", "Serum"}},
    {"Office", {"Pen", "Notebook", "Lamp", "Stapler", "Folder", "Desk", "Ruler", "Clock"}},
    {"Travel", {"Backpack", "Suitcase", "Pillow", "Tent", "Map", "Adapter", "Wallet", "Umbrella"}},
    {"Pets", {"Leash", "Aquarium", "Perch", "Feeder", "Basket", "Collar", "Harness", "Tunnel"}},
    {"Tools", {"Hammer", "Drill", "Saw", "Wrench", "Level", "Clamp", "Chisel", "Pliers"}},
    {"Home", {"Rug", "Vase", "Curtain", "Cushion", "Shelf", "Candle", "Frame", "Blanket"}},
    {"Photo", {"Camera", "Tripod", "Lens", "Album", "Flash", "Strap", "Filter", "Projector"}},
}};
constexpr std::array<const char*, 24> kVariants = {"Folding", "Electric", "Classic", "Mini",     "Heavy",   "Silent",
                                                   "Wooden",  "Steel",    "Outdoor", "Magnetic", "Ceramic", "Compact",
                                                   "Solar",   "Woven",    "Smart",   "Antique",  "Rapid",   "Giant",
                                                   "Padded",  "Organic",  "Modular", "Portable", "Gentle",  "Deluxe"};
constexpr std::array<const char*, kStyles> kStyleNames = {"floral", "neon", "rustic", "minimal", "striped", "pastel"};
constexpr std::array<const char*, 16> kFillers = {"with", "for", "daily", "use", "quality", "new",  "gift", "set",
                                                  "made", "and", "easy",  "by",  "long",    "life", "care", "the"};

// A made-up word of two or three syllables for a number.
std::string word(std::uint64_t seed, const char* purpose, std::uint64_t number) {
  constexpr std::array<const char*, 16> kOnsets = {"b", "d", "f", "g", "k", "l", "m",  "n",
                                                   "p", "r", "s", "t", "v", "z", "st", "br"};
  constexpr std::array<const char*, 8> kVowels = {"a", "e", "i", "o", "u", "ai", "ea", "ou"};
  constexpr std::array<const char*, 8> kCodas = {"", "n", "r", "l", "s", "", "m", "x"};
  Random random(seed, stream_of(purpose) + number);
  std::string text;
  for (std::int64_t syllables = 2 + random.below(2); syllables > 0; --syllables) {
    text += kOnsets[static_cast<std::size_t>(random.below(16))];
    text += kVowels[static_cast<std::size_t>(random.below(8))];
    if (syllables == 1) text += kCodas[static_cast<std::size_t>(random.below(8))];
  }
  return text;
}

std::string capital(std::string text) {
  text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return text;
}

}  // namespace

ItemText describe(const World& world, std::int32_t item) {
  const auto seed = static_cast<std::uint64_t>(world.options().seed);
  const std::int32_t category = world.category(item);
  const Leaf leaf = world.leaf(category);
  const Top& top = kTops[static_cast<std::size_t>(leaf.top)];
  const std::string thing = top.things[static_cast<std::size_t>(leaf.middle)];
  std::string variant = kVariants[static_cast<std::size_t>(leaf.variant) % kVariants.size()];
  if (const auto round = static_cast<std::size_t>(leaf.variant) / kVariants.size(); round > 0)
    variant += str(" ", round + 1);

  Random random(seed, stream_of("synthetic/text") + static_cast<std::uint64_t>(item));
  ItemText text;
  text.category = str(top.name, ", ", thing, "s, ", variant);
  text.brand = capital(word(seed, "synthetic/brand", static_cast<std::uint64_t>(8 * leaf.top + random.below(8))));
  text.title = str(text.brand, " ", variant, " ", thing, " ",
                   capital(word(seed, "synthetic/model", static_cast<std::uint64_t>(item))));
  // Words of the category's own vocabulary first of all, some of the nodes above it, of the style, and of no meaning.
  const auto own = [&](const char* purpose, std::int64_t node) {
    return word(seed, purpose, static_cast<std::uint64_t>(16 * node + random.below(12)));
  };
  for (std::int64_t n = 14 + random.below(12); n > 0; --n) {
    const double u = random.uniform();
    if (!text.description.empty()) text.description += ' ';
    if (u < 0.40) text.description += own("synthetic/leaf", category);
    else if (u < 0.55) text.description += own("synthetic/thing", 8 * leaf.top + leaf.middle);
    else if (u < 0.62) text.description += own("synthetic/top", leaf.top);
    else if (u < 0.70) text.description += kStyleNames[static_cast<std::size_t>(world.style(item))];
    else if (u < 0.78)
      text.description += word(seed, "synthetic/own", static_cast<std::uint64_t>(4 * item + random.below(4)));
    else text.description += kFillers[static_cast<std::size_t>(random.below(kFillers.size()))];
  }
  return text;
}

}  // namespace tessera::synthetic
