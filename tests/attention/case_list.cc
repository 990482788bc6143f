// Which cases there are: the axes, and how they are walked so that every pair that matters occurs.
#include <algorithm>

#include "attention/cases.h"

namespace kith::test {
namespace {

constexpr Index kSizes[] = {0, 1, 2, 3, 7, 23, 24, 25, 47, 48, 49, 95, 97, 191, 192, 193, 385};
constexpr Index kManyKeys[] = {1919, 1920, 1921, 4000};
constexpr Index kDepths[] = {1, 2, 3, 5, 8, 9, 16, 17, 31, 33, 64, 65, 128, 200, 512};
constexpr struct {
  Index batch, query, key;
} kHeads[] = {{1, 1, 1}, {1, 1, 1}, {2, 1, 1}, {1, 4, 2}, {2, 3, 1},
              {3, 2, 2}, {1, 2, 1}, {1, 3, 3}, {2, 4, 1}};

bool has_many_keys(std::size_t n) { return n % 50 == 49; }
/// The work of a check, in multiplications: every eighth case may be larger, and those of many keys; every
/// two hundredth large.
double most_work(std::size_t n) {
  return n % 200 == 199 ? 4e6 : n % 8 == 7 || has_many_keys(n) ? 6e5 : 1.2e5;
}
double work(const Case& c) {
  double columns = static_cast<double>(c.depth + c.value_depth) + 20;
  if (c.similarity == SimilarityKind::additive) columns += 10 * static_cast<double>(c.depth);
  return columns * static_cast<double>(c.batch * c.query_heads * c.queries * c.keys);
}

/// Sizes are drawn until they fit the work.
void draw_sizes(Case& c, std::size_t n, Random& random) {
  const auto heads = random.of(kHeads);
  c.batch = heads.batch, c.query_heads = heads.query, c.key_heads = heads.key;
  if (has(c.mask, MaskPart::ragged)) c.batch = 1;  // which is what a pack needs
  do {
    c.queries = random.of(kSizes);
    c.keys = has_many_keys(n) ? random.of(kManyKeys) : random.of(kSizes);
    c.depth = random.of(kDepths);
    c.value_depth = random.of(kDepths);
    if (random.chance(0.2)) c.keys = c.queries;
    // What has no keys or no queries says little: a few are enough.
  } while (work(c) > most_work(n) || ((c.queries == 0 || c.keys == 0) && !random.chance(0.1)));
}

void draw_options(Case& c, std::size_t n, Random& random) {
  if (takes_metric(c.similarity)) {
    c.metric = random.chance(0.6) ? MetricKind::none : static_cast<MetricKind>(1 + random.below(2));
  }
  if (takes_adaptive(c.similarity)) {
    c.adaptive = random.chance(0.6) ? AdaptiveKind::none : static_cast<AdaptiveKind>(1 + random.below(3));
  }
  // Every other case is rotated; rotation wants pairs of columns.
  const auto rotary = static_cast<Index>(n / 2 % 7);
  if (c.depth > 1 && n % 2 == 0)
    c.rotary = c.depth % 2 == 1 ? RotaryKind::partial : static_cast<RotaryKind>(rotary);
  if (random.chance(0.2)) c.soft_cap = 1.5;
  if (random.chance(0.25)) c.sink = static_cast<SinkKind>(1 + random.below(2));
  if (random.chance(0.15)) c.dropout = 0.3;
  constexpr unsigned kUpstreams[] = {0, kLse, kEntropy, kMoment, kLse | kEntropy | kMoment};
  c.upstream = kUpstreams[n % 5];
  c.layout = static_cast<Layout>(random.below(4));
  c.threads = 1 + static_cast<int>(random.below(3));
  if (n % 6 == 5) c.data = static_cast<Data>(1 + n / 6 % 6);
}

}  // namespace

const std::vector<std::vector<MaskPart>>& mask_kinds() {
  using enum MaskPart;
  static const std::vector<std::vector<MaskPart>> kinds = {
      {},
      {causal},
      {causal_end},
      {causal_early},
      {window},
      {key_length},
      {query_length},
      {ragged},
      {documents},
      {prefix},
      {self},
      {groups},
      {times},
      {blocks},
      {dilated},
      {global},
      {array},
      {array_rows},
      {array_keys},
      {array_strided},
      {causal, window},
      {causal_end, key_length},
      {causal, self},
      {window, documents},
      {ragged, causal},
      {ragged, window, key_length},
      {ragged, prefix, query_length},
      {blocks, causal, key_length},
      {array, causal_end},
      {prefix, key_length, self},
      {groups, times},
      {documents, causal, query_length},
      {times, array_rows},
      {global, key_length, query_length},
  };
  return kinds;
}

const std::vector<std::vector<BiasPart>>& bias_kinds() {
  using enum BiasPart;
  static const std::vector<std::vector<BiasPart>> kinds = {
      {},
      {array},
      {array_rows},
      {},
      {array_heads},
      {array_column},
      {array_hidden},
      {},
      {relative},
      {relative_heads},
      {t5},
      {t5_causal},
      {alibi},
      {alibi_heads},
      {array, alibi},
      {relative, t5, alibi_heads},
      {array_hidden, relative_heads},
  };
  return kinds;
}

const std::vector<unsigned>& output_kinds() {
  static const std::vector<unsigned> kinds = {kLse,      0,         kEntropy, kLargest, kTop,
                                              kReceived, kPosition, kMoment,  kAll};
  return kinds;
}

std::vector<Case> make_cases(std::size_t count) {
  const auto& masks = mask_kinds();
  const auto& biases = bias_kinds();
  const auto& outputs = output_kinds();
  std::vector<Case> list;
  list.reserve(count);
  for (std::size_t n = 0; n < count; ++n) {
    // Every similarity with every mask, round after round; the biases turn with them, the rest is drawn.
    const std::size_t similarity = n % kSimilarityKinds, mask = n / kSimilarityKinds % masks.size(),
                      round = n / kSimilarityKinds / masks.size();
    Random random(n + 1);
    Case c;
    c.seed = n + 1;
    c.similarity = static_cast<SimilarityKind>(similarity);
    c.mask = masks[mask];
    c.bias = biases[(similarity + 3 * mask + 5 * round) % biases.size()];
    c.outputs = outputs[static_cast<std::size_t>(random.below(static_cast<Index>(outputs.size())))];
    c.dtype = random.of(kDtypes);
    draw_sizes(c, n, random);
    draw_options(c, n, random);
    list.push_back(c);
  }
  return list;
}

}  // namespace kith::test
