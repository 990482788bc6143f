// From a similarity to what the kernels know: a dot product or a distance, times a factor.
#pragma once

#include <numbers>

#include "attention/kernels/kernels.h"
#include "kith/attention.h"

namespace kith {

struct Lowered {
  kernels::Logit logit = kernels::Logit::dot;
  double factor = 1;       ///< natural logit = factor * map(q, k)
  Index depth = 0;         ///< columns of query and key that matter; 0 for uniform
  bool normalize = false;  ///< rows of query and key are divided by their norms first (cosine)

  bool differences() const { return logit != kernels::Logit::dot; }
  float factor2() const { return static_cast<float>(factor * std::numbers::log2e); }
};

Lowered lower(const Similarity& similarity, Index depth);

/// Rows of one head in natural order.
struct HeadRows {
  const float* data = nullptr;
  Index stride = 0;
};

inline HeadRows head_rows(const View<const float, 4>& x, Index b, Index h) {
  return {x.data + b * x.stride[0] + h * x.stride[1], x.stride[2]};
}

/// to[i] = from[i] / |from[i]|, dense; norms in double; a zero row stays zero.
void normalize_rows(HeadRows from, Index rows, Index depth, float* to);

bool all_finite(HeadRows from, Index rows, Index depth);

/// A copy with rows `stride` apart, zeros beyond `depth`, and 0 in place of what is not finite.
void copy_finite(HeadRows from, Index rows, Index depth, float* to, Index stride);

}  // namespace kith
