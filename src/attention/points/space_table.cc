#include "attention/points/space_table.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <numbers>
#include <vector>

namespace kith::points {
namespace {

constexpr double kBeta = 2.5 * kSpaceWindow;
/// Chebyshev nodes of an axis in a pair of cells, for the error: coefficients fall below 1e-16 before that.
constexpr int kNodes = 16;
/// Roundings of two windows, three convolutions and an evaluation relative to the sum, all of whose terms are
/// positive: chains of a few hundred operations. (Those of a node's sum over keys: space.h.)
constexpr double kRounding = 0x1p-42;

double bessel(double x) {
  double term = 1, sum = 1;
  for (int k = 1; term > sum * 1e-18; ++k) {
    term *= x * x / 4 / (static_cast<double>(k) * k);
    sum += term;
  }
  return sum;
}

/// w(x); its values beyond its ends continue it analytically, as interpolation there wants.
double window(double x) {
  const double u = 2 * x / kSpaceWindow;
  return bessel(kBeta * std::sqrt(std::max(0.0, 1 - u * u))) / bessel(kBeta);
}

/// Nodes of interpolation on [0, 1], ascending, and the coefficients of what is given there.
double chebyshev_node(int i, int count) { return (1 - std::cos(std::numbers::pi * (i + 0.5) / count)) / 2; }
std::vector<double> chebyshev_coefficients(const std::vector<double>& value) {
  const auto count = static_cast<int>(value.size());
  std::vector<double> c(value.size());
  for (int a = 0; a < count; ++a) {
    double sum = 0;
    for (int i = 0; i < count; ++i) {
      // T_a at 2 f - 1 = -cos(theta)
      sum += value[static_cast<std::size_t>(i)] * std::cos(a * std::numbers::pi * (1 - (i + 0.5) / count));
    }
    c[static_cast<std::size_t>(a)] = sum * (a == 0 ? 1 : 2) / count;
  }
  return c;
}
/// The same polynomial in powers.
std::vector<double> in_powers(const std::vector<double>& c) {
  const std::size_t n = c.size();
  std::vector<double> result(n), before(n), now(n);
  before[0] = 1;
  now[1] = 1;
  for (std::size_t k = 0; k < n; ++k) result[k] = c[0] * before[k] + c[1] * now[k];
  for (std::size_t a = 2; a < n; ++a) {
    std::vector<double> next(n);
    for (std::size_t k = 0; k < n; ++k) next[k] = (k > 0 ? 2 * now[k - 1] : 0) - before[k];
    for (std::size_t k = 0; k < n; ++k) result[k] += c[a] * next[k];
    before = now;
    now = next;
  }
  return result;
}

double gauss(double steps) {
  const double x = steps / kSpaceSteps;
  return std::exp(-x * x / 2);
}

/// (1 / pi) int_0^pi g^(k) / w^(k)^2 cos(d k) dk, k in radians a step.
double tap_at(int d) {
  constexpr int kFrequencies = 512;
  const double a = kSpaceWindow / 2.0;
  double sum = 0;
  for (int n = 0; n < kFrequencies; ++n) {
    const double k = (n + 0.5) / kFrequencies * std::numbers::pi, at = k * kSpaceSteps;
    const double g = std::sqrt(2 * std::numbers::pi) * kSpaceSteps * std::exp(-at * at / 2);
    const double q = std::sqrt(kBeta * kBeta - a * a * k * k), w = 2 * a * std::sinh(q) / (q * bessel(kBeta));
    sum += g / (w * w) * std::cos(d * k);
  }
  return sum / kFrequencies;
}

/// e(D) of cells D apart.
double cell_error(const SpaceTable& table, int apart) {
  using Row = std::array<double, kSpaceWindow>;
  std::array<Row, kNodes> weights{};
  std::array<double, kNodes> place{};
  for (std::size_t n = 0; n < kNodes; ++n) {
    place[n] = chebyshev_node(static_cast<int>(n), kNodes);
    const double xi = 2 * place[n] - 1;
    for (std::size_t i = 0; i < kSpaceWindow; ++i) {
      double w = 0;
      for (int k = kSpaceDegree; k >= 0; --k) w = w * xi + table.window[k][i];
      weights[n][i] = w;
    }
  }
  double absolute = 0;
  std::vector<std::vector<double>> rows;
  for (std::size_t x = 0; x < kNodes; ++x) {
    std::vector<double> wrong;
    for (std::size_t y = 0; y < kNodes; ++y) {
      double sum = 0, positive = 0;
      for (int i = 0; i < kSpaceWindow; ++i) {
        for (int j = 0; j < kSpaceWindow; ++j) {
          const int d = std::abs(apart + i - j);
          if (d > kSpaceTaps) continue;
          const double term = weights[x][static_cast<std::size_t>(i)] * table.tap[d] *
                              weights[y][static_cast<std::size_t>(j)];
          sum += term;
          positive += std::abs(term);
        }
      }
      absolute = std::max(absolute, positive);
      wrong.push_back(sum - gauss(apart + place[x] - place[y]));
    }
    rows.push_back(chebyshev_coefficients(wrong));
  }
  double error = 0;
  for (std::size_t b = 0; b < kNodes; ++b) {
    std::vector<double> column;
    for (const auto& row : rows) column.push_back(row[b]);
    for (const double c : chebyshev_coefficients(column)) error += std::abs(c);
  }
  return error + kRounding * absolute;
}

}  // namespace

SpaceTable::SpaceTable() {
  constexpr int kCount = kSpaceDegree + 1;
  for (auto& row : window) std::fill(std::begin(row), std::end(row), 0.0);
  for (int i = 0; i < kSpaceWindow; ++i) {
    std::vector<double> value;
    for (int n = 0; n < kCount; ++n) {
      value.push_back(points::window(chebyshev_node(n, kCount) - (i - kSpaceBefore)));
    }
    const std::vector<double> powers = in_powers(chebyshev_coefficients(value));
    for (int k = 0; k < kCount; ++k) window[k][i] = powers[static_cast<std::size_t>(k)];
  }
  for (int d = 0; d <= kSpaceTaps; ++d) tap[d] = tap_at(d);
  for (int offset = -kSpaceReach; offset <= kSpaceReach; ++offset) {
    for (int from = 0; from < kSpaceSide; ++from) {
      for (int to = 0; to < kSpaceSide; ++to) {
        const int d = std::abs(offset * kSpaceSide + to - from);
        matrix[offset + kSpaceReach][from][to] = d <= kSpaceTaps ? tap[d] : 0;
      }
    }
  }
  std::vector<double> cell;
  for (int d = 0; d < kSpaceCoarse * (kSpaceBoundOffsets + 1); ++d) cell.push_back(cell_error(*this, d));
  for (int offset = 0; offset <= kSpaceBoundOffsets; ++offset) {
    error[offset] = 0;
    for (int d = offset * kSpaceCoarse - kSpaceCoarse + 1; d < (offset + 1) * kSpaceCoarse; ++d) {
      error[offset] = std::max(error[offset], cell[static_cast<std::size_t>(std::abs(d))]);
    }
    largest[offset] = gauss(std::max(0, offset - 1) * kSpaceCoarse) + error[offset];
  }
  beyond = gauss(kSpaceBoundReach * kSpaceSide);
}

const SpaceTable& space_table() {
  static const SpaceTable table;
  return table;
}

}  // namespace kith::points
