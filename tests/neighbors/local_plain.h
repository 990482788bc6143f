// Tables for tests of kernel regression, and the estimators written plainly from their definitions.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "kith/regression.h"
#include "neighbors/tables.h"

namespace kith::test {

using Kind = Regressor::Kind;

struct Data {
  Array<double, 2> x;
  std::vector<double> y;

  View<const double, 1> target() const { return {y.data(), {static_cast<Index>(y.size())}}; }
  Index rows() const { return x.shape()[0]; }
};

/// Two numbers, an ordered column with steps of 1 and 2.5, an unordered one with levels 2, 3, 7.
inline Data mixed_data(Index n, std::uint64_t seed) {
  Random random(seed);
  Data data{.x = Array<double, 2>({n, 4}), .y = {}};
  for (Index i = 0; i < n; ++i) {
    data.x(i, 0) = 5 + random.normal();
    data.x(i, 1) = 20 * random.uniform();
    data.x(i, 2) = std::vector{1.0, 2.0, 4.5}[static_cast<std::size_t>(3 * random.uniform())];
    data.x(i, 3) = std::vector{2.0, 3.0, 7.0}[static_cast<std::size_t>(3 * random.uniform())];
    data.y.push_back(std::sin(data.x(i, 0)) + 0.05 * data.x(i, 1) + 0.3 * data.x(i, 2) +
                     (data.x(i, 3) == 3 ? 1.0 : 0.0) + 0.2 * random.normal());
  }
  return data;
}

/// The first columns alone.
inline Data numeric_data(Index n, Index columns, std::uint64_t seed) {
  const Data all = mixed_data(n, seed);
  Data data{.x = Array<double, 2>({n, columns}), .y = all.y};
  for (Index i = 0; i < n; ++i) {
    for (Index c = 0; c < columns; ++c) data.x(i, c) = all.x(i, c);
  }
  return data;
}

inline KernelOptions mixed_kernel(bool textbook) {
  KernelOptions kernel;
  kernel.column = {{"a"}, {"b"}, {"steps", Kind::ordered, true}, {"kinds", Kind::unordered}};
  kernel.ordered = textbook ? OrderedKernel::wang_van_ryzin : OrderedKernel::li_racine;
  kernel.unordered = textbook ? UnorderedKernel::aitchison_aitken : UnorderedKernel::li_racine;
  kernel.bandwidth = {0.8, 4.0, 0.6, 0.3};
  return kernel;
}

// The same written plainly from the kernels' definitions, in double.

inline double plain_compact(CompactKernel kernel, double u) {
  if (u >= 1) return 0;
  switch (kernel) {
    case CompactKernel::epanechnikov:
      return 1 - u * u;
    case CompactKernel::boxcar:
      return 1;
    case CompactKernel::triangular:
      return 1 - u;
    case CompactKernel::biweight:
      return (1 - u * u) * (1 - u * u);
    case CompactKernel::tricube:
      return std::pow(1 - u * u * u, 3);
  }
  return 0;
}

struct Plain {
  const Data& data;
  RegressionOptions options;

  std::size_t columns() const { return static_cast<std::size_t>(data.x.shape()[1]); }
  Regressor column(std::size_t c) const {
    return options.kernel.column.empty() ? Regressor{} : options.kernel.column[c];
  }

  double kernel(const std::vector<double>& q, Index j) const {
    double product = 1, square = 0;
    for (std::size_t c = 0; c < columns(); ++c) {
      const double h = options.kernel.bandwidth[c], d = std::abs(q[c] - data.x(j, static_cast<Index>(c)));
      if (column(c).kind == Kind::numeric) {
        square += d * d / (h * h);
      } else if (column(c).kind == Kind::ordered) {
        const bool halved = options.kernel.ordered == OrderedKernel::wang_van_ryzin && d > 0;
        product *= std::pow(h, d) * (halved ? 0.5 : 1.0);
      } else if (options.kernel.unordered == UnorderedKernel::li_racine) {
        product *= d > 0 ? h : 1;
      } else {
        product *= d > 0 ? h / 2 : 1 - h;  // three levels
      }
    }
    return product * (options.kernel.compact ? plain_compact(*options.kernel.compact, std::sqrt(square))
                                             : std::exp(-square / 2));
  }

  std::vector<double> weights(const std::vector<double>& q, Index without = -1) const {
    std::vector<double> w;
    double sum = 0;
    for (Index j = 0; j < data.rows(); ++j) w.push_back(j == without ? 0.0 : kernel(q, j));
    for (const double v : w) sum += v;
    for (double& v : w) v /= sum;
    return w;
  }

  std::vector<std::size_t> slopes() const {
    std::vector<std::size_t> used;
    for (std::size_t c = 0; c < columns() && options.degree == 1; ++c) {
      if (column(c).slope.value_or(column(c).kind == Kind::numeric)) used.push_back(c);
    }
    return used;
  }

  /// Intercept and slopes by the normal equations at q.
  std::vector<double> line(const std::vector<double>& q, const std::vector<double>& y,
                           Index without = -1) const {
    const std::vector<double> w = weights(q, without);
    const std::vector<std::size_t> used = slopes();
    const std::size_t m = used.size() + 1;
    std::vector<std::vector<double>> a(m, std::vector<double>(m + 1, 0.0));
    for (Index j = 0; j < data.rows(); ++j) {
      std::vector<double> z(1, 1.0);
      for (const std::size_t c : used) z.push_back(data.x(j, static_cast<Index>(c)) - q[c]);
      z.push_back(y[static_cast<std::size_t>(j)]);
      for (std::size_t r = 0; r < m; ++r) {
        for (std::size_t s = 0; s <= m; ++s) a[r][s] += w[static_cast<std::size_t>(j)] * z[r] * z[s];
      }
    }
    for (std::size_t r = 0; r < m; ++r) {
      for (std::size_t other = 0; other < m; ++other) {
        if (other == r) continue;
        const double factor = a[other][r] / a[r][r];
        for (std::size_t s = r; s <= m; ++s) a[other][s] -= factor * a[r][s];
      }
    }
    std::vector<double> out;
    for (std::size_t r = 0; r < m; ++r) out.push_back(a[r][m] / a[r][r]);
    return out;
  }

  std::vector<double> row(Index i) const {
    std::vector<double> q;
    for (std::size_t c = 0; c < columns(); ++c) q.push_back(data.x(i, static_cast<Index>(c)));
    return q;
  }

  /// What each y adds to entry `which` of the line at q: the fit of unit targets.
  std::vector<double> influence(const std::vector<double>& q, std::size_t which) const {
    std::vector<double> out;
    for (std::size_t j = 0; j < data.y.size(); ++j) {
      std::vector<double> unit(data.y.size(), 0.0);
      unit[j] = 1;
      out.push_back(line(q, unit)[which]);
    }
    return out;
  }
};

inline Array<double, 2> queries() {
  Array<double, 2> q({4, 4});
  const double numbers[] = {5.2, 3.0,  2.0, 3.0, 4.1, 14.0, 1.0, 7.0,
                            6.5, 10.0, 4.5, 2.0, 5.0, 19.0, 2.0, 7.0};
  std::copy(std::begin(numbers), std::end(numbers), q.data());
  return q;
}

}  // namespace kith::test
