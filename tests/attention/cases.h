// The one list of cases that every check of the operator walks, and the data that belongs to a case.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kith/attention.h"
#include "kith/reference.h"

namespace kith::test {

enum class Data {
  normal,     ///< N(0, 1)
  shifted,    ///< N(0, 1) + 1000 in query and key: expanding |q-k|^2 would cancel
  large,      ///< logits of the order 10^4
  duplicate,  ///< few distinct small integers: equal keys, queries that hit a key exactly, zero vectors
  denormal,   ///< values (and d_out) of the order 10^-40
  spread,     ///< distances so different that most weights underflow
  giant,      ///< one key of length 10^15 among normal ones
};

/// What a check is told; everything else follows from it.
struct Case {
  Index batch = 1, query_heads = 1, key_heads = 1;
  Index queries = 1, keys = 1, depth = 1, value_depth = 1;
  Similarity similarity = Dot{};
  Mask mask{};
  Data data = Data::normal;
  std::uint64_t seed = 1;
};

/// One line to reproduce it by.
std::string describe(const Case& c);

struct Inputs {
  Array<float, 4> query, key, value, d_out;
  Array<float, 3> d_lse;
};

Inputs make_inputs(const Case& c);

constexpr int kSimilarityKinds = 6;
Similarity make_similarity(int kind, Index depth);
constexpr int kMaskKinds = 9;
Mask make_mask(int kind, Index batch, Index queries, Index keys);

/// Awkward sizes: around the widths and blocks of the kernels, empty, single, odd.
const std::vector<Case>& small_cases();
/// More keys than one chunk holds.
const std::vector<Case>& big_cases();
/// Hard numbers rather than hard sizes.
const std::vector<Case>& hard_data_cases();

template <int R>
Array<double, R> to_double(const Array<float, R>& a) {
  Array<double, R> result(a.shape());
  for (Index i = 0; i < a.size(); ++i) result.data()[i] = static_cast<double>(a.data()[i]);
  return result;
}

/// Repeatable on any platform, unlike the distributions of <random>.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t bits();
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  Index below(Index n) { return static_cast<Index>(bits() % static_cast<std::uint64_t>(n)); }
  double normal();

 private:
  std::uint64_t state_;
};

}  // namespace kith::test
