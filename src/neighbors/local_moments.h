// A local-linear fit from averages: the operator's value columns, and the small system they form at a query.
#pragma once

#include <vector>

#include "kith/view.h"

namespace kith::neighbors {

/// Which averages: of p columns k, their products, t targets y, and products k y. p = 0: of the targets.
struct MomentLayout {
  Index columns = 0, targets = 1;

  Index pairs() const { return columns * (columns + 1) / 2; }
  /// Where the product of columns a <= b stands.
  Index pair(Index a, Index b) const { return columns + a * columns - a * (a - 1) / 2 + b - a; }
  Index target(Index t) const { return columns + pairs() + t * (1 + columns); }
  Index size() const { return target(targets); }

  /// [n, size] of k [n, p] and y [n, t].
  Array<double, 2> values(View<const double, 2> k, View<const double, 2> y) const;
};

/// The weighted least-squares line at a query. With C the weighted covariance of the columns, plus a ridge,
///     slope = C^-1 cov(k, y),  mean = E y + slope.(q - E k),
/// the weight of row j in the mean is w_j (1 + u.(k_j - E k)), u = C^-1 (q - E k). Columns that do not vary
/// among the neighbors, or follow from columns before them there, have slope 0.
class LocalLine {
 public:
  LocalLine(const MomentLayout& layout, double ridge) : layout_(layout), ridge_(ridge) {}

  /// From the averages at query `q` [p]; both are read later too.
  void prepare(const double* moments, const double* q);

  /// Fills in `slope` [p] of target t; returns its mean.
  double solve(Index t, std::vector<double>& slope) const;
  /// Row j's weight in the mean over w_j is lever[0] + lever[1 ...].k_j.
  std::vector<double> lever() const;
  /// Likewise its weight in slope c.
  std::vector<double> slope_lever(Index c) const;
  /// At a row's own point: its weight in its own mean over its w.
  double own() const;

  /// Adds to `upstream` [layout.size] the derivatives of the mean of target t, times `g`, by the averages.
  void add_mean_derivatives(Index t, double g, double* upstream) const;
  /// Likewise of own().
  void add_own_derivatives(double g, double* upstream) const;

 private:
  /// C x = b in place, by the factors.
  void solve_in_place(std::vector<double>& b) const;

  MomentLayout layout_;
  double ridge_;
  const double* moment_ = nullptr;
  const double* query_ = nullptr;
  std::vector<double> factor_;  ///< [p, p]: L below, D on the diagonal; D = 0: the column is left out.
  std::vector<double> u_;
};

}  // namespace kith::neighbors
