// From a similarity to what the kernels know: a sum over the columns of a pair, and a map of it.
#pragma once

#include <numbers>

#include "attention/geometry.h"
#include "attention/kernels/kernels.h"
#include "kith/attention.h"

namespace kith {

struct Lowered {
  kernels::Pair pair = kernels::Pair::dot;
  kernels::Map map = kernels::Map::linear;
  double factor = 1;  ///< of Map, natural units
  Index depth = 0;    ///< columns of mapped query and key rows; 0 for uniform

  bool linear_or_root() const { return map == kernels::Map::linear || map == kernels::Map::square_root; }
  /// As the tasks want it.
  double task_factor() const { return linear_or_root() ? factor * std::numbers::log2e : factor; }
};

/// The options are checked already. Error if the factor leaves the range of `Real`.
template <class Real>
Lowered lower(const AttentionOptions& options, const Geometry& g);

/// dL/dparameter of the similarity from what the kernels sum as d_factor.
double parameter_gradient(const AttentionOptions& options, double d_factor);

/// Rows of one head in natural order.
template <class T>
struct HeadRows {
  const T* data = nullptr;
  Index stride = 0;
};

/// Rows from `first` on of batch row b, head h.
template <class T>
HeadRows<T> head_rows(const View<const T, 4>& x, Index b, Index h, Index first = 0) {
  if (x.data == nullptr) return {nullptr, x.stride[2]};  // nothing in it, whatever its strides are
  return {x.data + b * x.stride[0] + h * x.stride[1] + first * x.stride[2], x.stride[2]};
}

template <class T>
bool all_finite(HeadRows<T> from, Index rows, Index depth);

/// A copy with rows `stride` apart, zeros beyond `depth`, and 0 in place of what is not finite.
template <class T>
void copy_finite(HeadRows<T> from, Index rows, Index depth, compute_t<T>* to, Index stride);

}  // namespace kith
