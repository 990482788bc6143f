// How good bandwidths are, by leave-one-out errors or the corrected AIC, with the gradient; and the search.
#pragma once

#include <functional>
#include <vector>

#include "kith/regression.h"
#include "neighbors/local_kernel.h"
#include "neighbors/local_moments.h"

namespace kith::neighbors {

/// Rows as fits use them.
struct LocalRows {
  Array<double, 2> x;  ///< [n, d], as given.
  Array<double, 2> k;  ///< [n, p]: columns with a slope, centered, at unit deviation; p = 0 for degree 0.
  Array<double, 2> y;  ///< [n, 1], centered.

  Index count() const { return x.shape()[0]; }
};

/// The columns of `kernel` with a slope, centered and divided by their deviation.
Array<double, 2> slope_columns(const MixedKernel& kernel, View<const double, 2> x, int degree);
/// Rows in an order whose first `most` are spread over the table.
std::vector<Index> spread_order(Index rows, Index most);
/// [1, 1, n, d] read as [n, d].
View<const double, 2> matrix(const Array<double, 4>& array);
/// The rows in that order.
Array<double, 2> take(View<const double, 2> rows, const std::vector<Index>& order);

class LocalObjective {
 public:
  /// The criterion is over the first `queries` rows.
  LocalObjective(const MixedKernel& kernel, LocalRows rows, Index queries, const RegressionOptions& options);

  /// At the free numbers of MixedKernel; the gradient may be null.
  double operator()(const std::vector<double>& free, std::vector<double>* gradient) const;

 private:
  const MixedKernel& kernel_;
  LocalRows rows_;
  Index queries_;
  Selection selection_;
  double ridge_;
  int threads_;
  MomentLayout layout_;
  Array<double, 2> value_;
};

/// A criterion of free numbers, and its gradient unless that is null.
using Criterion = std::function<double(const std::vector<double>& free, std::vector<double>* gradient)>;

/// The least of a criterion, from several starts. `smooth`: by gradients, else by trying steps. Error: it is
/// finite nowhere.
std::vector<double> least(const Criterion& criterion, const std::vector<std::vector<double>>& starts,
                          bool smooth);
/// Where to start: the reference bandwidths times a few factors.
std::vector<std::vector<double>> search_starts(const MixedKernel& kernel);

}  // namespace kith::neighbors
