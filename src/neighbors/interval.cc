#include "neighbors/interval.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace kith::neighbors {
namespace {

/// Residuals stored at most; between them quantiles are interpolated.
constexpr std::size_t kMaxResiduals = 4001;

double distance(double lse) { return std::sqrt(std::max(0.0, -2 * lse)); }

}  // namespace

double Calibration::scale(const Neighborhood& at) const {
  const double excess = -2 * at.lse - usual_distance * usual_distance;
  const double far = excess > 0 ? -std::expm1(-0.5 * excess) : 0.0;
  return std::sqrt(factor * factor * (at.variance + floor * floor) + far);
}

Calibration Calibration::learn(const std::vector<Neighborhood>& rows, const std::vector<double>& truth) {
  Calibration c;
  const std::size_t n = rows.size();
  c.rows = n;
  std::vector<double> distances(n), error(n);
  double squares = 0;
  for (std::size_t i = 0; i < n; ++i) {
    distances[i] = distance(rows[i].lse);
    error[i] = truth[i] - rows[i].mean;
    squares += error[i] * error[i];
  }
  std::sort(distances.begin(), distances.end());
  c.usual_distance = distances[std::min(n - 1, static_cast<std::size_t>(0.99 * static_cast<double>(n)))];
  const double rmse = std::sqrt(squares / static_cast<double>(n));

  // Normal likelihood; for each floor the best factor is the standardized residuals' deviation.
  double best = std::numeric_limits<double>::infinity();
  for (double share : {0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.5, 5.0}) {
    const double at_floor = std::max(share * rmse, 1e-6);
    double log_scale = 0, standardized = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const double square = rows[i].variance + at_floor * at_floor;
      log_scale += 0.5 * std::log(square);
      standardized += error[i] * error[i] / square;
    }
    const double at_factor = std::max(std::sqrt(standardized / static_cast<double>(n)), 1e-6);
    const double cost = log_scale / static_cast<double>(n) + std::log(at_factor);
    if (cost < best) {
      best = cost;
      c.floor = at_floor;
      c.factor = at_factor;
    }
  }

  std::vector<double> residual(n);
  for (std::size_t i = 0; i < n; ++i) residual[i] = error[i] / c.scale(rows[i]);
  std::sort(residual.begin(), residual.end());
  if (n > kMaxResiduals) {
    std::vector<double> kept(kMaxResiduals);
    for (std::size_t i = 0; i < kMaxResiduals; ++i) {
      const double rank =
          static_cast<double>(i) * static_cast<double>(n - 1) / static_cast<double>(kMaxResiduals - 1);
      kept[i] = residual[static_cast<std::size_t>(std::llround(rank))];
    }
    residual = std::move(kept);
  }
  c.residual = std::move(residual);
  c.prepare();
  return c;
}

void Calibration::prepare() {
  const std::size_t m = residual.size();
  sum_before_.assign(m + 1, 0.0);
  double spread = 0;
  for (std::size_t i = 0; i < m; ++i) {
    sum_before_[i + 1] = sum_before_[i] + residual[i];
    // Sorted: each pair's distance once, sum_i residual_i (2 i - m + 1).
    spread += residual[i] * (2 * static_cast<double>(i) - static_cast<double>(m) + 1);
  }
  half_spread_ = spread / (static_cast<double>(m) * static_cast<double>(m));
}

double Calibration::quantile(double probability) const {
  const double n = static_cast<double>(rows);
  // The rank among all n residuals, counted from 0, and from there the position among those kept.
  const double rank = std::clamp((n + 1) * probability - 1, 0.0, n - 1);
  const double position = n > 1 ? rank * static_cast<double>(residual.size() - 1) / (n - 1) : 0;
  const auto below = std::min(static_cast<std::size_t>(position), residual.size() - 1);
  const std::size_t above = std::min(below + 1, residual.size() - 1);
  const double t = position - static_cast<double>(below);
  return residual[below] + t * (residual[above] - residual[below]);
}

std::pair<double, double> Calibration::ends(double coverage) const {
  return {quantile((1 - coverage) / 2), quantile((1 + coverage) / 2)};
}

bool Calibration::too_few(double coverage) const {
  return static_cast<double>(rows + 1) * (1 - coverage) / 2 < 1 - 1e-9;
}

double Calibration::crps(double z) const {
  const auto m = static_cast<double>(residual.size());
  const auto below =
      static_cast<std::size_t>(std::upper_bound(residual.begin(), residual.end(), z) - residual.begin());
  const double left = z * static_cast<double>(below) - sum_before_[below];
  const double right = sum_before_.back() - sum_before_[below] - z * (m - static_cast<double>(below));
  return (left + right) / m - half_spread_;
}

}  // namespace kith::neighbors
