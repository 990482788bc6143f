#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "neighbors/local_regression.h"

namespace kith {
namespace neighbors {
namespace {

/// The same options and bandwidths, but for the column: ignored, and without a slope.
RegressionOptions without(const Impl& m, std::size_t column) {
  RegressionOptions options = m.options;
  options.kernel.bandwidth = m.bandwidth;
  if (options.kernel.column.empty()) options.kernel.column.resize(m.kernel.columns());
  options.kernel.column[column].slope = false;
  double& h = options.kernel.bandwidth[column];
  if (m.kernel.numeric(column)) {
    h = std::numeric_limits<double>::infinity();
  } else {
    // All levels alike: s = 0.
    std::vector<double> free(m.kernel.columns(), 0.0);
    free[column] = -std::numeric_limits<double>::infinity();
    h = m.kernel.bandwidth(free)[column];
  }
  return options;
}

/// The statistic of several targets at once, and what of it does not depend on them.
class Statistic {
 public:
  Statistic(const Impl& m, std::size_t column) : m_(m), column_(column) {
    const std::vector<std::size_t> effects = effect_columns(m);
    has_effect_ = std::find(effects.begin(), effects.end(), column) != effects.end();
    for (std::size_t i = 0; i < m.own.size(); ++i) room_ += 1 - 2 * m.own[i] + m.length[i];
    if (!has_effect_) return;
    Impl unit = m;
    std::fill(unit.variance.begin(), unit.variance.end(), 1.0);
    const RegressionFit fit = fit_at(unit, m.rows.x, {});
    for (Index i = 0; i < m.rows.count(); ++i)
      error_.push_back(fit.effect_error(i, static_cast<Index>(column)));
  }

  /// y [n, t], centered: the statistic of each.
  std::vector<double> of(const Array<double, 2>& y) const {
    const Index n = y.shape()[0], targets = y.shape()[1];
    const ManyFits rows =
        fit_many(m_, m_.rows.x, y, has_effect_ ? std::vector{column_} : std::vector<std::size_t>{});
    std::vector<double> sum(static_cast<std::size_t>(targets), 0.0);
    if (has_effect_) {
      for (Index i = 0; i < n; ++i) {
        const double error = error_[static_cast<std::size_t>(i)];
        if (!(error > 0)) continue;
        for (Index t = 0; t < targets; ++t) {
          const double ratio = rows.effect[0](i, t) / error;
          sum[static_cast<std::size_t>(t)] += ratio * ratio / static_cast<double>(n);
        }
      }
    } else {
      add_level_differences(y, sum);
    }
    for (Index t = 0; t < targets; ++t) {
      double squares = 0;
      for (Index i = 0; i < n; ++i) squares += (y(i, t) - rows.mean(i, t)) * (y(i, t) - rows.mean(i, t));
      sum[static_cast<std::size_t>(t)] /= squares / room_;
    }
    return sum;
  }

 private:
  void add_level_differences(const Array<double, 2>& y, std::vector<double>& sum) const {
    const Index n = y.shape()[0];
    Array<double, 2> x = m_.rows.x;
    Array<double, 2> base;
    for (const double level : m_.kernel.levels(column_)) {
      for (Index i = 0; i < n; ++i) x(i, static_cast<Index>(column_)) = level;
      Array<double, 2> mean = fit_many(m_, x, y, {}).mean;
      if (base.empty()) {
        base = std::move(mean);
        continue;
      }
      for (Index i = 0; i < n; ++i) {
        for (std::size_t t = 0; t < sum.size(); ++t) {
          const double d = mean(i, static_cast<Index>(t)) - base(i, static_cast<Index>(t));
          sum[t] += d * d / static_cast<double>(n);
        }
      }
    }
  }

  const Impl& m_;
  std::size_t column_;
  bool has_effect_ = false;
  double room_ = 0;            ///< tr((I - L)'(I - L))
  std::vector<double> error_;  ///< of each row's effect at noise 1.
};

}  // namespace
}  // namespace neighbors

Significance KernelRegression::significance(std::size_t column, const SignificanceOptions& options) const {
  const neighbors::Impl& m = *impl_;
  if (column >= m.kernel.columns()) {
    throw Error(fmt::format("column: {}; the model has {}", column, m.kernel.columns()));
  }
  if (options.replicates < 1) {
    throw Error(fmt::format("replicates: {}; at least 1 is needed", options.replicates));
  }
  if (m.options.degree == 0 && !m.kernel.gaussian()) {
    throw Error(
        "kernel.compact: a fit of degree 0 has no standard errors of effects to test by; take degree 1");
  }
  if (!std::isfinite(m.noise)) {
    throw Error("kernel.bandwidth: the fit goes through every row, which leaves no noise to test against");
  }
  const Index n = m.rows.count();
  const neighbors::Statistic statistic(m, column);

  // Under the null: the fit without the column, and its residuals with random signs (wild bootstrap with
  // Rademacher weights, Davidson & Flachaire 2008), made as large as the noise.
  const auto null = neighbors::learn(m.rows.x, {m.y.data(), {n}}, neighbors::without(m, column));
  std::vector<double> mean, residual;
  for (Index i = 0; i < n; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const double room = 1 - 2 * null->own[at] + null->length[at];
    mean.push_back(null->mean[at] - m.center);
    residual.push_back((m.rows.y(i, 0) - mean[at]) / std::sqrt(std::max(room, 1e-6)));
  }
  std::mt19937_64 random(options.seed);
  Significance out;
  out.statistic = statistic.of(m.rows.y).front();
  // So many value columns at a time that a block of averages stays in the cache.
  constexpr int kTogether = 32;
  int above = 0;
  for (int first = 0; first < options.replicates; first += kTogether) {
    const int count = std::min(kTogether, options.replicates - first);
    Array<double, 2> target({n, count});
    for (Index t = 0; t < count; ++t) {
      for (Index i = 0; i < n; ++i) {
        const auto at = static_cast<std::size_t>(i);
        target(i, t) = mean[at] + ((random() >> 63) != 0 ? residual[at] : -residual[at]);
      }
    }
    for (const double value : statistic.of(target)) {
      out.replicate.push_back(value);
      above += value >= out.statistic ? 1 : 0;
    }
  }
  out.p_value = (1.0 + above) / (1.0 + options.replicates);
  return out;
}

}  // namespace kith
