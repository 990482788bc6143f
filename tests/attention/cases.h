// The one list of cases that every check of the operator reads: the reference, finite differences, the
// contract, the table of what is supported.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kith/attention.h"

namespace kith::test {

enum class SimilarityKind {
  dot,
  dot_scale,
  cosine,
  gaussian,
  euclidean,
  laplace,
  epanechnikov,
  boxcar,
  triangular,
  biweight,
  tricube,
  inverse_1,
  inverse_2,
  inverse_3_5,
  bilinear,
  additive,
  uniform,
};
enum class MetricKind { none, columns, matrix };
enum class AdaptiveKind { none, query, key, both };
enum class RotaryKind { none, half, interleaved, partial, scaled, frequency, positions };
/// One part of a mask; its numbers follow from the sizes and the seed.
enum class MaskPart {
  causal,        ///< offset 0
  causal_end,    ///< offset M - N: the last query sees all
  causal_early,  ///< offset -2: the first queries see nothing
  window,
  key_length,
  query_length,
  ragged,
  documents,
  prefix,
  self,
  groups,
  times,
  blocks,  ///< a random block map
  dilated,
  global,
  array,          ///< [B, Hq, N, M]
  array_rows,     ///< [1, 1, N, M]
  array_keys,     ///< [B, 1, 1, M]
  array_strided,  ///< [1, Hq, N, M] with the axes in another order in memory
};
enum class BiasPart {
  array,         ///< [B, Hq, N, M]
  array_rows,    ///< [1, 1, N, M]
  array_heads,   ///< [1, Hq, 1, M]
  array_column,  ///< [B, 1, N, 1], which softmax ignores
  array_hidden,  ///< [1, Hq, N, M] with a third of -inf
  relative,
  relative_heads,
  t5,
  t5_causal,
  alibi,
  alibi_heads,
};
enum class SinkKind { none, one, heads };
/// Bits of Case::outputs.
enum Output : unsigned {
  kLse = 1,
  kEntropy = 2,
  kLargest = 4,
  kTop = 8,
  kReceived = 16,
  kPosition = 32,
  kMoment = 64,
  kAll = 127
};
enum class Layout {
  dense,
  rows,       ///< gaps between rows
  heads,      ///< [B, N, H, D] in memory, as networks keep it
  unaligned,  ///< gaps and a first element that lies at no vector's boundary
};
enum class Data {
  normal,     ///< N(0, 1)
  shifted,    ///< N(0, 1) + 1000 in query and key: expanding |q - k|^2 would cancel
  large,      ///< logits of the order 10^4
  duplicate,  ///< few distinct small integers: equal keys, queries that hit a key exactly, zero vectors
  denormal,   ///< values of the order 10^-40
  spread,     ///< distances so different that most weights underflow
  giant,      ///< one huge key among normal ones
};

/// What a check is told; every number follows from it.
struct Case {
  Index batch = 1, query_heads = 1, key_heads = 1;
  Index queries = 1, keys = 1, depth = 1, value_depth = 1;
  SimilarityKind similarity = SimilarityKind::dot;
  MetricKind metric = MetricKind::none;
  AdaptiveKind adaptive = AdaptiveKind::none;
  RotaryKind rotary = RotaryKind::none;
  double soft_cap = 0;
  std::vector<BiasPart> bias{};
  SinkKind sink = SinkKind::none;
  std::vector<MaskPart> mask{};
  double dropout = 0;
  Dtype dtype = Dtype::float32;
  unsigned outputs = kLse;
  /// What a backward pass is fed beside d_out: bits kLse, kEntropy and kMoment.
  unsigned upstream = 0;
  Layout layout = Layout::dense;
  Data data = Data::normal;
  int threads = 1;
  std::uint64_t seed = 1;

  bool operator==(const Case&) const = default;
};

/// One line that replays it; std::invalid_argument if `text` is no such line.
std::string line(const Case& c);
Case parse(std::string_view text);

// The names in such a line.
std::string name(SimilarityKind kind);
std::string name(const std::vector<MaskPart>& parts);  ///< "none", "causal&window"
std::string name(const std::vector<BiasPart>& parts);  ///< "none", "array+alibi"

// What the axes take in turn.
constexpr std::size_t kSimilarityKinds = 17;
const std::vector<std::vector<MaskPart>>& mask_kinds();
const std::vector<std::vector<BiasPart>>& bias_kinds();
const std::vector<unsigned>& output_kinds();
constexpr Dtype kDtypes[] = {Dtype::float32, Dtype::float64, Dtype::bfloat16, Dtype::float16};

// Which options go with which similarity.
bool takes_metric(SimilarityKind kind);
bool takes_adaptive(SimilarityKind kind);
bool compact(SimilarityKind kind);

bool has(const std::vector<MaskPart>& mask, MaskPart part);
bool has(const std::vector<BiasPart>& bias, BiasPart part);

/// The first `count` cases of the list, which has no end. Every similarity meets every mask in the first 700.
std::vector<Case> make_cases(std::size_t count);
/// What the tests walk: 2,500 cases, or as many as the environment variable KITH_CASES says, or the one that
/// KITH_CASE spells.
const std::vector<Case>& cases();

/// Repeatable on any platform, unlike the distributions of <random>.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t bits();
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  Index below(Index n) { return static_cast<Index>(bits() % static_cast<std::uint64_t>(n)); }
  bool chance(double p) { return uniform() < p; }
  double normal();
  template <class T, std::size_t N>
  T of(const T (&list)[N]) {
    return list[below(static_cast<Index>(N))];
  }

 private:
  std::uint64_t state_;
};

}  // namespace kith::test
