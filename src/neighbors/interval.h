// Intervals: how far the truth may lie from a weighted mean, learned from leave-one-out residuals.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace kith::neighbors {

/// What one query's neighbors say, in units of the target's deviation.
struct Neighborhood {
  double mean = 0;
  double variance = 0;  ///< of the weighted neighbors' targets.
  double lse = 0;       ///< of the Gaussian logits: low where all rows are far.
};

/// Split-conformal intervals (Lei et al. 2018) whose residuals are leave-one-out and standardized by a scale
/// that grows where the neighbors disagree and where there are none:
///     scale(x)^2 = factor^2 (variance(x) + floor^2) + far(x)
/// `factor` makes the residuals' mean square 1. far(x) is 0 within the distances met among the rows and tends
/// to the target's variance beyond, like the variance of a Gaussian process.
class Calibration {
 public:
  /// From each row's neighborhood without itself and its true target. Chooses `floor` and `factor` by
  /// likelihood.
  static Calibration learn(const std::vector<Neighborhood>& rows, const std::vector<double>& truth);

  double scale(const Neighborhood& at) const;
  /// Lower and upper end, as multiples of scale(x), of the interval that covers `coverage`; with n residuals
  /// the quantiles are those of ranks (n + 1) p, and never beyond the largest residual.
  std::pair<double, double> ends(double coverage) const;
  /// Whether so few rows were seen that the ranks of `coverage` lie beyond the largest residual.
  bool too_few(double coverage) const;

  /// Continuous ranked probability score of the predictive distribution (the standardized residuals at scale
  /// 1) for a truth at `z`: E|R - z| - E|R - R'| / 2.
  double crps(double z) const;

  double floor = 0;
  double factor = 1;
  double usual_distance = 0;     ///< sqrt(-2 lse) that 99 % of the rows do not exceed.
  std::uint64_t rows = 0;        ///< residuals learned from; `residual` may hold fewer.
  std::vector<double> residual;  ///< standardized, ascending, at equally spaced ranks.
  /// To be called once `residual` is filled.
  void prepare();

 private:
  double quantile(double probability) const;

  std::vector<double> sum_before_;  ///< sum of residual[0 ... i).
  double half_spread_ = 0;          ///< E|R - R'| / 2.
};

}  // namespace kith::neighbors
