// The operator written plainly in double precision. It decides in every test; it is not fast.
#pragma once

#include "kith/attention.h"

namespace kith::reference {

/// Every output, in a scalar of one's choice.
template <class Scalar>
struct BasicResult {
  Array<Scalar, 4> out;            ///< [B, Hq, N, Dv]
  Array<Scalar, 3> lse;            ///< [B, Hq, N]
  Array<Scalar, 4> weight;         ///< [B, Hq, N, M], before dropout: the reference keeps the full weights.
  Array<Scalar, 3> entropy;        ///< [B, Hq, N]
  Array<Scalar, 3> largest;        ///< [B, Hq, N]
  Array<Scalar, 3> received;       ///< [B, Hq, M]
  Array<Scalar, 3> position;       ///< [B, Hq, N]
  Array<Scalar, 4> second_moment;  ///< [B, Hq, N, Dv]
};
using Result = BasicResult<double>;
using Gradients = BasicAttentionGradients<double>;

/// Same semantics as kith::attend, on doubles.
Result attend(View<const double, 4> query, View<const double, 4> key, View<const double, 4> value,
              const AttentionOptions& options);
Result attend(View<const double, 4> query, View<const double, 4> key, View<const double, 4> value,
              const Similarity& similarity = Dot{}, const Mask& mask = {});

/// The same computed in long double, for what double itself has to be measured against.
BasicResult<long double> attend_long(View<const double, 4> query, View<const double, 4> key,
                                     View<const double, 4> value, const AttentionOptions& options);

/// Same semantics as kith::attend_backward, on doubles.
Gradients attend_backward(View<const double, 4> query, View<const double, 4> key, View<const double, 4> value,
                          const Result& result, const Upstream<double>& upstream,
                          const AttentionOptions& options);
Gradients attend_backward(View<const double, 4> query, View<const double, 4> key, View<const double, 4> value,
                          const Result& result, View<const double, 4> d_out, const Similarity& similarity,
                          const Mask& mask, View<const double, 3> d_lse = {});

/// Whether query i of batch row b and query head h sees key j, by the mask alone. With `ragged`, i and j are
/// packed indices.
bool visible(const Mask& mask, Index b, Index i, Index j, Index h = 0);

/// Whether the pair's weight is dropped; i and j count from the start of their batch row (or sequence), b is
/// the batch row (or sequence) plus first_batch.
bool dropped(const Dropout& dropout, Index b, Index h, Index i, Index j);

}  // namespace kith::reference
