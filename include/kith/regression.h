// Kernel regression as a statistician uses it: local-constant or local-linear fits over mixed columns, with
// bandwidths from the data, standard errors, marginal effects, a test a column, quantiles. Everything is an
// average of the operator's weights (kith/attention.h), in double precision.
//
//     w_j(x)    = K(x, x_j) / sum_j K(x, x_j)
//     degree 0: m(x) = sum_j w_j(x) y_j                                   (Nadaraya 1964, Watson 1964)
//     degree 1: m(x) = a with a, b minimizing sum_j w_j (y_j - a - b.(x_j - x))^2 (Fan & Gijbels 1996)
//
// K is a product over the columns: Gaussian for numbers, and for categories the kernels below (Li & Racine
// 2007, chapter 4). Or it is compact and radial, over numeric columns alone.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kith/error.h"
#include "kith/similarity.h"
#include "kith/view.h"

namespace kith {

/// What a column holds. Ordered and unordered cells are numbers too: equal ones are the same level, and an
/// ordered column's levels are apart by the difference of their numbers.
struct Regressor {
  enum class Kind { numeric, ordered, unordered };
  std::string name{};  ///< for messages; empty: "column 0", ...
  Kind kind = Kind::numeric;
  /// Degree 1: whether the fit has a slope in this column. Not given: numeric columns have one. Not for
  /// unordered columns.
  std::optional<bool> slope{};
};

/// Kernels of two levels at distance d, up to a constant that cancels; the bandwidth is l. 0 keeps equal
/// levels only, where there are any: all is meant as the limit from above.
enum class OrderedKernel {
  li_racine,       ///< l^d, l in [0, 1]; 1: the column is ignored.
  wang_van_ryzin,  ///< 1 for d = 0, else l^d / 2 (Wang & van Ryzin 1981); l in [0, 1].
};
enum class UnorderedKernel {
  li_racine,         ///< 1 for equal levels, else l in [0, 1].
  aitchison_aitken,  ///< 1 - l, else l / (c - 1) with c levels (Aitchison & Aitken 1976); l in [0, (c-1)/c].
};

/// The kernel of one model, and the columns it is over.
struct KernelOptions {
  std::vector<Regressor> column{};  ///< one for each column of x; empty: all numeric.
  /// Not given: Gaussian, the bandwidth its standard deviation. Given: K(|u|), u the differences divided by
  /// the columns' bandwidths; numeric columns only, as a product of compact kernels is no function of one
  /// distance.
  std::optional<CompactKernel> compact{};
  OrderedKernel ordered = OrderedKernel::li_racine;
  UnorderedKernel unordered = UnorderedKernel::li_racine;
  /// One for each column, in the column's units (numeric, +inf: ignored) or as above. Empty: chosen.
  std::vector<double> bandwidth{};
};

enum class Selection {
  leave_one_out,  ///< least mean square of leave-one-out errors.
  corrected_aic,  ///< least AICc = log s^2 + 1 + 2 (tr L + 1) / (n - tr L - 2) (Hurvich, Simonoff & Tsai
                  ///< 1998).
};

struct RegressionOptions {
  int degree = 1;  ///< 0 or 1.
  KernelOptions kernel{};
  Selection selection = Selection::leave_one_out;
  /// Bandwidths are chosen by the errors of at most this many rows, spread over the table, each predicted
  /// from all rows.
  Index selection_rows = 2000;
  /// Degree 1: a penalty on slopes that have columns at unit deviation, relative to the mean square error.
  /// 0: none. It pulls the fit toward degree 0 where neighbors are few.
  double ridge = 0;
  /// Standard errors: one noise variance for all rows, or (false) a row's own squared residual, made unbiased
  /// for equal variances (like HC2, MacKinnon & White 1985).
  bool equal_noise = false;
  int threads = 0;
};

/// A fitted surface at some queries.
struct RegressionFit {
  std::vector<double> mean;            ///< [queries], in y's units. No neighbor in sight: the mean of y.
  std::vector<double> standard_error;  ///< [queries]: of `mean`, its bias not counted.
  /// [queries, columns], y's units by the column's: marginal effects. Degree 1: the slopes b (0 where the
  /// neighbors do not tell it); degree 0: the derivative. NaN for columns without a slope (degree 1) and for
  /// categories (degree 0).
  Array<double, 2> effect;
  Array<double, 2> effect_error;  ///< their standard errors; NaN for degree 0 with a compact kernel.
  /// [queries, columns]: the derivative of `mean` itself; NaN for categories. Only if asked for.
  Array<double, 2> gradient;
  /// [queries]: 1 / sum of squared weights w_j; 0: none in sight.
  std::vector<double> effective_neighbors;
};

/// Pointwise normal bands, mean -+ z standard errors.
struct Bands {
  std::vector<double> lower, upper;
};
/// Error: `coverage` outside (0, 1).
Bands bands(const RegressionFit& fit, double coverage);

struct FitWant {
  bool errors = true;     ///< standard errors, effective neighbors; about doubles the time.
  bool gradient = false;  ///< costs a backward pass.
};

struct PartialDependence {
  std::vector<double> at;  ///< values of the column.
  std::vector<double>
      value;  ///< the fit averaged over the rows, with the column set to `at` (Friedman 2001).
};

struct SignificanceOptions {
  int replicates = 399;
  std::uint64_t seed = 0;
};
struct Significance {
  double statistic = 0;
  double p_value = 1;               ///< (1 + replicates at or above the statistic) / (1 + replicates)
  std::vector<double> replicate{};  ///< the statistic under the null.
};

/// Rows, a target, and the kernel between them. Immutable; copies share.
class KernelRegression {
 public:
  /// x [n, d], y [n], d >= 1, n >= 2, all finite. Chooses the bandwidths that `options` lacks.
  /// Errors name the argument or the column.
  KernelRegression(View<const double, 2> x, View<const double, 1> y, const RegressionOptions& options = {});

  const std::vector<double>& bandwidth() const;  ///< per column.
  double criterion() const;                      ///< of `selection`, over all rows, at these bandwidths.
  double trace() const;                          ///< of the hat matrix L: the fit's degrees of freedom.
  double noise() const;  ///< sum of squared residuals / tr((I - L)'(I - L)): the variance, in y's units^2.
  double r_squared() const;  ///< squared correlation of y and the fit at the rows.

  RegressionFit fit(View<const double, 2> query, const FitWant& want = {}) const;  ///< query [N, d]
  RegressionFit fit(const FitWant& want = {}) const;                               ///< at the rows.
  /// Each row's mean from the others.
  std::vector<double> leave_one_out() const;
  /// Quantiles of y among the neighbors: the smallest y_j with sum of weights up to it >= p. [N, p]; NaN
  /// where none is in sight. Exact, whatever the degree. Error: a probability outside [0, 1].
  Array<double, 2> quantiles(View<const double, 2> query, const std::vector<double>& probability) const;

  /// Over at most `rows` rows, spread over the table. `at` empty: the levels of a category, or 25 quantiles
  /// of a number.
  PartialDependence partial_dependence(std::size_t column, std::vector<double> at = {},
                                       Index rows = 500) const;

  /// Whether y depends on the column given the others. Statistic: the mean square of its effect in standard
  /// errors (numeric with an effect; Racine 1997), else of the differences of the fit between its levels
  /// (Racine, Hart & Li 2006), relative to the noise. Its distribution under the null: wild bootstrap around
  /// the fit without the column, with the same bandwidths. Replicates are value columns of one pass.
  Significance significance(std::size_t column, const SignificanceOptions& options = {}) const;

  struct Impl;

 private:
  std::shared_ptr<const Impl> impl_;
};

struct ConditionalOptions {
  KernelOptions kernel{};  ///< the Gaussian: no compact one.
  double y_bandwidth = 0;  ///< of the Gaussian over y, in y's units. 0: chosen with the others.
  /// Bandwidths are chosen by the leave-one-out likelihood of at most this many rows.
  Index selection_rows = 2000;
  int threads = 0;
};

/// The distribution of y given x: f(y | x) = sum_j w_j(x) N(y; y_j, y_bandwidth^2) (Rosenblatt 1969; mixed
/// columns: Hall, Racine & Li 2004).
class ConditionalDensity {
 public:
  /// As KernelRegression. Bandwidths are given for x and y, or for neither.
  ConditionalDensity(View<const double, 2> x, View<const double, 1> y,
                     const ConditionalOptions& options = {});

  const std::vector<double>& bandwidth() const;
  double y_bandwidth() const;
  double log_likelihood() const;  ///< mean over the rows of log f(y_i | x_i) without row i.

  /// f and F at every query and every y of the grid: [N, grid].
  Array<double, 2> density(View<const double, 2> query, const std::vector<double>& y) const;
  Array<double, 2> distribution(View<const double, 2> query, const std::vector<double>& y) const;
  /// [N]: log f(y_i | x_i) for each pair.
  std::vector<double> log_density(View<const double, 2> query, View<const double, 1> y) const;

  struct Impl;

 private:
  std::shared_ptr<const Impl> impl_;
};

}  // namespace kith
