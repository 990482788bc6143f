// Kernel regression on points of few dimensions, without a mask: the task that every method faster than the
// sum over all pairs solves.
#pragma once

#include "kith/view.h"

namespace kith::points {

/// K(r), r = |q - k|, bandwidth h. Constants cancel in the average and are left out of the sum too.
enum class Kernel {
  gaussian,      ///< exp(-r^2 / (2 h^2))
  laplace,       ///< exp(-r / h)
  boxcar,        ///< 1 for r < h, else 0; so the next four, with u = r / h < 1
  epanechnikov,  ///< 1 - u^2
  triangular,    ///< 1 - u
  biweight,      ///< (1 - u^2)^2
  tricube,       ///< (1 - u^3)^3
};

/// Rows in natural order, `stride` numbers apart.
struct Rows {
  const float* data = nullptr;
  Index stride = 0;
  const float* operator[](Index i) const { return data + i * stride; }
};

/// Every number that goes in is finite, and the bandwidth positive. A method writes, for each query,
///
///   lse = log sum_j K(|q - k_j|)          average = sum_j K v_j / sum_j K
///
/// or -inf and zeros where no key is within a compact kernel's reach. Errors are at most 1e-6 of the sum and of
/// the largest |v|, wherever the query lies. A row's bits depend on the keys, the values, the kernel and the
/// query itself: not on the other queries, their number or the threads.
struct Task {
  Kernel kernel = Kernel::gaussian;
  double bandwidth = 1;
  Index depth = 1, queries = 0, keys = 0, value_depth = 1;
  Rows query{}, key{}, value{};
  int threads = 1;
  double* lse = nullptr;      ///< [queries]
  double* average = nullptr;  ///< [queries][value_depth]
};

}  // namespace kith::points
