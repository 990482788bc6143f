// What a KernelRegression holds, and the passes its methods share.
#pragma once

#include <limits>
#include <optional>
#include <vector>

#include "kith/regression.h"
#include "neighbors/local_kernel.h"
#include "neighbors/local_moments.h"
#include "neighbors/local_objective.h"

namespace kith {

struct KernelRegression::Impl {
  Impl(const RegressionOptions& given, neighbors::MixedKernel over)
      : options(given), kernel(std::move(over)) {}

  RegressionOptions options;
  neighbors::MixedKernel kernel;
  std::vector<double> bandwidth;
  neighbors::LocalRows rows;
  std::vector<double> y;                  ///< as given.
  double center = 0;                      ///< its mean.
  Array<double, 2> key;                   ///< coordinates of the rows.
  std::vector<std::size_t> slope_column;  ///< the column of each slope; degree 1.
  std::vector<double> mean;               ///< the fit at the rows.
  std::vector<double> own;                ///< L_ii
  std::vector<double> length;             ///< sum_j L_ij^2
  std::vector<double> variance;           ///< of each row's noise.
  double criterion = 0, trace = 0, noise = 0, r_squared = 0;
};

namespace neighbors {

using Impl = KernelRegression::Impl;

/// Averages of squared weights: [queries, 1 + p + p (p + 1) / 2], sum_j w_j^2 s_j (1, k_j, products).
struct SquaredMoments {
  Array<double, 2> sum;
  std::vector<double> count;  ///< [queries]: sum_j w_j^2.
};
/// `query` in coordinates, `lse` [queries] of its weights, `k` [n, p], `s` [n].
SquaredMoments squared_moments(const Impl& m, View<const double, 2> query, const Array<double, 3>& lse,
                               View<const double, 2> k, const std::vector<double>& s);
/// sum_j w_j^2 s_j (lever.(1, k_j))^2, from one query's row of SquaredMoments.
double quadratic(const double* sum, const std::vector<double>& lever);

/// Columns that effects are in: slopes, or (degree 0) the numeric ones.
std::vector<std::size_t> effect_columns(const Impl& m);

/// The fits of m's kernel to several targets at once. y [n, t], each centered.
struct ManyFits {
  Array<double, 2> mean;                   ///< [queries, t]
  std::vector<Array<double, 2>> effect{};  ///< per effect column asked for: [queries, t]
};
/// `effects`: the columns, of effect_columns().
ManyFits fit_many(const Impl& m, View<const double, 2> x, View<const double, 2> y,
                  const std::vector<std::size_t>& effects);

/// As KernelRegression::fit, of checked rows.
RegressionFit fit_at(const Impl& m, View<const double, 2> x, const FitWant& want);

/// Chooses bandwidths or checks those given, then fits the rows.
std::shared_ptr<const Impl> learn(View<const double, 2> x, View<const double, 1> y,
                                  const RegressionOptions& options);

inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

}  // namespace neighbors
}  // namespace kith
