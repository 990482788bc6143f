#include "attention/cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numbers>
#include <span>
#include <sstream>
#include <stdexcept>

namespace kith::test {
namespace {

// Names in the order of the enumerators.
constexpr const char* kSimilarityNames[] = {
    "dot",          "dot_scale",   "cosine",     "gaussian", "euclidean", "laplace",
    "epanechnikov", "boxcar",      "triangular", "biweight", "tricube",   "inverse_1",
    "inverse_2",    "inverse_3_5", "bilinear",   "additive", "uniform"};
constexpr const char* kMetricNames[] = {"none", "columns", "matrix"};
constexpr const char* kAdaptiveNames[] = {"none", "query", "key", "both"};
constexpr const char* kRotaryNames[] = {"none",   "half",      "interleaved", "partial",
                                        "scaled", "frequency", "positions"};
constexpr const char* kMaskNames[] = {
    "causal",    "causal_end", "causal_early", "window",     "key_length",   "query_length", "ragged",
    "documents", "prefix",     "self",         "groups",     "times",        "blocks",       "dilated",
    "global",    "array",      "array_rows",   "array_keys", "array_strided"};
constexpr const char* kBiasNames[] = {"array",        "array_rows", "array_heads",    "array_column",
                                      "array_hidden", "relative",   "relative_heads", "t5",
                                      "t5_causal",    "alibi",      "alibi_heads"};
constexpr const char* kSinkNames[] = {"none", "one", "heads"};
constexpr const char* kOutputNames[] = {"lse", "entropy", "largest", "top", "received", "position", "moment"};
constexpr const char* kLayoutNames[] = {"dense", "rows", "heads", "unaligned"};
constexpr const char* kDataNames[] = {"normal",   "shifted", "large", "duplicate",
                                      "denormal", "spread",  "giant"};

using Names = std::span<const char* const>;

std::size_t find(Names names, std::string_view name) {
  for (std::size_t n = 0; n < names.size(); ++n) {
    if (name == names[n]) return n;
  }
  throw std::invalid_argument(fmt::format("no such name in a case: {}", name));
}

template <class Kind>
const char* one(Names names, Kind kind) {
  return names[static_cast<std::size_t>(kind)];
}

template <class Kind>
std::string several(Names names, const std::vector<Kind>& kinds, char between) {
  std::string text;
  for (const Kind kind : kinds) {
    if (!text.empty()) text.push_back(between);
    text.append(one(names, kind));
  }
  return text.empty() ? "none" : text;
}

std::string set(unsigned outputs) {
  std::vector<int> bits;
  for (int bit = 0; bit < 7; ++bit) {
    if ((outputs >> bit & 1U) != 0) bits.push_back(bit);
  }
  return several(kOutputNames, bits, '+');
}

template <class Kind>
std::vector<Kind> parse_several(Names names, std::string_view text, char between) {
  std::vector<Kind> kinds;
  if (text == "none") return kinds;
  while (true) {
    const std::size_t end = std::min(text.find(between), text.size());
    kinds.push_back(static_cast<Kind>(find(names, text.substr(0, end))));
    if (end == text.size()) return kinds;
    text.remove_prefix(end + 1);
  }
}

/// Part of a word, e.g. "N33": its key and what follows the '='.
std::pair<std::string, std::string> split(const std::string& word) {
  const std::size_t at = word.find('=');
  if (at == std::string::npos) throw std::invalid_argument(fmt::format("not KEY=VALUE in a case: {}", word));
  return {word.substr(0, at), word.substr(at + 1)};
}

void assign(Case& c, const std::string& key, const std::string& value) {
  const auto number = [&] { return static_cast<Index>(std::stoll(value)); };
  if (key == "B")
    c.batch = number();
  else if (key == "Hq")
    c.query_heads = number();
  else if (key == "Hk")
    c.key_heads = number();
  else if (key == "N")
    c.queries = number();
  else if (key == "M")
    c.keys = number();
  else if (key == "D")
    c.depth = number();
  else if (key == "Dv")
    c.value_depth = number();
  else if (key == "similarity")
    c.similarity = static_cast<SimilarityKind>(find(kSimilarityNames, value));
  else if (key == "metric")
    c.metric = static_cast<MetricKind>(find(kMetricNames, value));
  else if (key == "adaptive")
    c.adaptive = static_cast<AdaptiveKind>(find(kAdaptiveNames, value));
  else if (key == "rotary")
    c.rotary = static_cast<RotaryKind>(find(kRotaryNames, value));
  else if (key == "cap")
    c.soft_cap = std::stod(value);
  else if (key == "bias")
    c.bias = parse_several<BiasPart>(kBiasNames, value, '+');
  else if (key == "sink")
    c.sink = static_cast<SinkKind>(find(kSinkNames, value));
  else if (key == "mask")
    c.mask = parse_several<MaskPart>(kMaskNames, value, '&');
  else if (key == "dropout")
    c.dropout = std::stod(value);
  else if (key == "outputs" || key == "upstream") {
    unsigned bits = 0;
    for (const int bit : parse_several<int>(kOutputNames, value, '+')) bits |= 1U << bit;
    (key == "outputs" ? c.outputs : c.upstream) = bits;
  } else if (key == "dtype") {
    const auto* found =
        std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](Dtype d) { return kith::name(d) == value; });
    if (found == std::end(kDtypes))
      throw std::invalid_argument(fmt::format("no such dtype in a case: {}", value));
    c.dtype = *found;
  } else if (key == "layout")
    c.layout = static_cast<Layout>(find(kLayoutNames, value));
  else if (key == "data")
    c.data = static_cast<Data>(find(kDataNames, value));
  else if (key == "threads")
    c.threads = static_cast<int>(number());
  else if (key == "seed")
    c.seed = std::stoull(value);
  else
    throw std::invalid_argument(fmt::format("no such key in a case: {}", key));
}

}  // namespace

std::uint64_t Random::bits() {  // splitmix64
  std::uint64_t z = (state_ += 0x9e3779b97f4a7c15U);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31);
}

double Random::normal() {  // Box-Muller
  const double radius = std::sqrt(-2 * std::log(1 - uniform()));
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

std::string name(SimilarityKind kind) { return one(kSimilarityNames, kind); }
std::string name(const std::vector<MaskPart>& parts) { return several(kMaskNames, parts, '&'); }
std::string name(const std::vector<BiasPart>& parts) { return several(kBiasNames, parts, '+'); }

std::string line(const Case& c) {
  std::string text =
      fmt::format("B={} Hq={} Hk={} N={} M={} D={} Dv={} similarity={}", c.batch, c.query_heads, c.key_heads,
                  c.queries, c.keys, c.depth, c.value_depth, name(c.similarity));
  const auto add = [&](const char* key, const std::string& value, bool usual) {
    if (!usual) text += fmt::format(" {}={}", key, value);
  };
  add("metric", one(kMetricNames, c.metric), c.metric == MetricKind::none);
  add("adaptive", one(kAdaptiveNames, c.adaptive), c.adaptive == AdaptiveKind::none);
  add("rotary", one(kRotaryNames, c.rotary), c.rotary == RotaryKind::none);
  add("cap", fmt::format("{}", c.soft_cap), c.soft_cap == 0);
  add("bias", name(c.bias), c.bias.empty());
  add("sink", one(kSinkNames, c.sink), c.sink == SinkKind::none);
  add("mask", name(c.mask), c.mask.empty());
  add("dropout", fmt::format("{}", c.dropout), c.dropout == 0);
  add("dtype", std::string(kith::name(c.dtype)), false);
  add("outputs", set(c.outputs), false);
  add("upstream", set(c.upstream), c.upstream == 0);
  add("layout", one(kLayoutNames, c.layout), c.layout == Layout::dense);
  add("data", one(kDataNames, c.data), c.data == Data::normal);
  add("threads", fmt::format("{}", c.threads), c.threads == 1);
  add("seed", fmt::format("{}", c.seed), false);
  return text;
}

Case parse(std::string_view text) {
  Case c;
  std::istringstream words{std::string(text)};
  for (std::string word; words >> word;) {
    const auto [key, value] = split(word);
    assign(c, key, value);
  }
  return c;
}

bool takes_metric(SimilarityKind kind) {
  return kind != SimilarityKind::bilinear && kind != SimilarityKind::additive &&
         kind != SimilarityKind::uniform;
}
bool takes_adaptive(SimilarityKind kind) {
  return kind != SimilarityKind::additive && kind != SimilarityKind::uniform;
}
bool compact(SimilarityKind kind) {
  return kind >= SimilarityKind::epanechnikov && kind <= SimilarityKind::tricube;
}
bool has(const std::vector<MaskPart>& mask, MaskPart part) {
  return std::find(mask.begin(), mask.end(), part) != mask.end();
}
bool has(const std::vector<BiasPart>& bias, BiasPart part) {
  return std::find(bias.begin(), bias.end(), part) != bias.end();
}

const std::vector<Case>& cases() {
  static const std::vector<Case> list = [] {
    if (const char* text = std::getenv("KITH_CASE")) return std::vector<Case>{parse(text)};
    const char* count = std::getenv("KITH_CASES");
    return make_cases(count != nullptr ? std::stoul(count) : 2500);
  }();
  return list;
}

}  // namespace kith::test
