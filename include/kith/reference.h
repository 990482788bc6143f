// The operator written plainly in double precision. It decides in every test; it is not fast.
#pragma once

#include "kith/attention.h"

namespace kith::reference {

struct Result {
  Array<double, 4> out;     ///< [B, Hq, N, Dv]
  Array<double, 3> lse;     ///< [B, Hq, N]
  Array<double, 4> weight;  ///< [B, Hq, N, M]: the reference keeps the full weights.
};

struct Gradients {
  Array<double, 4> query, key, value;
  double parameter = 0;
};

/// Same semantics as kith::attend, on doubles.
Result attend(View<const double, 4> query, View<const double, 4> key, View<const double, 4> value,
              const Similarity& similarity = Dot{}, const Mask& mask = {});

/// Same semantics as kith::attend_backward, on doubles.
Gradients attend_backward(View<const double, 4> query, View<const double, 4> key, View<const double, 4> value,
                          const Result& result, View<const double, 4> d_out, const Similarity& similarity,
                          const Mask& mask, View<const double, 3> d_lse = {});

/// Whether query i of batch row b sees key j.
bool visible(const Mask& mask, Index b, Index i, Index j);

}  // namespace kith::reference
