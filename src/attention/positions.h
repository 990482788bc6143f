// Relative biases lowered to one row of numbers a head: all of them depend on j - i alone.
#pragma once

#include "attention/geometry.h"

namespace kith {

/// The biases of `bias` that depend on j - i, for one query head and a sequence of `queries` and `keys`:
/// to[d + queries - 1] for d = j - i from -(queries - 1) to keys - 1, times `unit` (log2 e for the kernels).
/// Computed in double. 0 + padding: to[queries + keys - 1 ... + padding) are set to 0.
template <class Real>
void relative_terms(const Bias& bias, Index head, Index queries, Index keys, double unit, Real* to,
                    Index padding);

/// The way back: sums[d + queries - 1] = dL/d(term) of one head and sequence, added to the gradients of the
/// tables and slopes, which have their shapes already.
template <class Real>
void relative_terms_backward(const Bias& bias, Index head, Index queries, Index keys, const double* sums,
                             BasicAttentionGradients<Real>& gradients);

}  // namespace kith
