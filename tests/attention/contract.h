// One computation of everything, and rows of it, for the tests of the contract.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "attention/cases.h"
#include "attention/check.h"

namespace kith::test {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

struct Computed {
  AttentionResult result;
  AttentionGradients gradients;
};

inline Computed compute(const Inputs& in, const Case& c, int threads = 1) {
  const int top = static_cast<int>(std::min<Index>(c.keys, 4));
  const AttentionOptions options{
      .similarity = c.similarity, .mask = c.mask, .want = {.lse = true, .top = top}, .threads = threads};
  Computed computed{attend(in.query, in.key, in.value, options), {}};
  computed.gradients =
      attend_backward(in.query, in.key, in.value, computed.result, in.d_out, options, in.d_lse);
  return computed;
}

/// Runs `body` for every similarity and every kind of mask, on shapes that span several blocks.
inline void for_each(const std::function<void(Case)>& body, Index queries = 130, Index keys = 300) {
  for (int similarity = 0; similarity < kSimilarityKinds; ++similarity) {
    for (int mask = 0; mask < kMaskKinds; ++mask) {
      Case c;
      c.batch = 2, c.query_heads = 2, c.key_heads = 1, c.queries = queries, c.keys = keys;
      c.depth = mask % 2 == 0 ? 5 : 20;
      c.value_depth = mask % 3 == 0 ? 3 : 18;
      c.similarity = make_similarity(similarity, c.depth);
      c.mask = make_mask(mask, c.batch, queries, keys);
      c.seed = static_cast<std::uint64_t>(1 + similarity + 10 * mask);
      SCOPED_TRACE(describe(c));
      body(c);
    }
  }
}

template <class T>
bool row_is(const Array<T, 4>& a, Index b, Index h, Index i, T expected) {
  for (Index c = 0; c < a.shape()[3]; ++c) {
    if (a(b, h, i, c) != expected) return false;
  }
  return true;
}
inline bool row_is_nan(const Array<float, 4>& a, Index b, Index h, Index i) {
  for (Index c = 0; c < a.shape()[3]; ++c) {
    if (!std::isnan(a(b, h, i, c))) return false;
  }
  return true;
}
template <class T>
bool same_row(const Array<T, 4>& a, const Array<T, 4>& b, Index x, Index h, Index i) {
  return same_bits(&a(x, h, i, 0), &b(x, h, i, 0), a.shape()[3]);
}
inline bool same_row_numbers(const Array<float, 4>& a, const Array<float, 4>& b, Index x, Index h, Index i) {
  for (Index c = 0; c < a.shape()[3]; ++c) {
    if (a(x, h, i, c) != b(x, h, i, c)) return false;
  }
  return true;
}
inline void fill_row(Array<float, 4>& a, Index b, Index h, Index i, float x) {
  for (Index c = 0; c < a.shape()[3]; ++c) a(b, h, i, c) = x;
}

}  // namespace kith::test
