#include "neighbors/local_moments.h"

#include <algorithm>
#include <cmath>

namespace kith::neighbors {

Array<double, 2> MomentLayout::values(View<const double, 2> k, View<const double, 2> y) const {
  const Index n = y.shape[0];
  Array<double, 2> out({n, size()});
  for (Index i = 0; i < n; ++i) {
    double* row = out.data() + i * size();
    for (Index a = 0; a < columns; ++a) {
      row[a] = k(i, a);
      for (Index b = a; b < columns; ++b) row[pair(a, b)] = k(i, a) * k(i, b);
    }
    for (Index t = 0; t < targets; ++t) {
      double* of_target = row + target(t);
      of_target[0] = y(i, t);
      for (Index a = 0; a < columns; ++a) of_target[1 + a] = k(i, a) * y(i, t);
    }
  }
  return out;
}

void LocalLine::prepare(const double* moments, const double* q) {
  moment_ = moments;
  query_ = q;
  const Index p = layout_.columns;
  const auto at = [&](Index a, Index b) -> double& { return factor_[static_cast<std::size_t>(a * p + b)]; };
  factor_.assign(static_cast<std::size_t>(p * p), 0.0);
  for (Index a = 0; a < p; ++a) {
    // Below these shares a variance is rounding: of the mean square it is a difference of, of the column's
    // own variance before what other columns explain is taken off.
    constexpr double kRounding = 1e-13, kCollinear = 1e-10;
    const double square = moments[layout_.pair(a, a)];
    const double variance = square - moments[a] * moments[a];
    double pivot = variance + ridge_;
    for (Index c = 0; c < a; ++c) {
      const double d = at(c, c);
      if (d > 0) pivot -= at(a, c) * at(a, c) * d;
    }
    const bool varies = variance > kRounding * square || ridge_ > 0;
    if (!varies || !(pivot > kCollinear * (variance + ridge_))) continue;
    at(a, a) = pivot;
    for (Index b = a + 1; b < p; ++b) {
      double sum = moments[layout_.pair(a, b)] - moments[a] * moments[b];
      for (Index c = 0; c < a; ++c) {
        if (at(c, c) > 0) sum -= at(a, c) * at(b, c) * at(c, c);
      }
      at(b, a) = sum / pivot;
    }
  }
  u_.resize(static_cast<std::size_t>(p));
  for (Index a = 0; a < p; ++a) u_[static_cast<std::size_t>(a)] = q[a] - moments[a];
  solve_in_place(u_);
}

void LocalLine::solve_in_place(std::vector<double>& b) const {
  const Index p = layout_.columns;
  const auto at = [&](Index r, Index c) { return factor_[static_cast<std::size_t>(r * p + c)]; };
  const auto x = [&](Index i) -> double& { return b[static_cast<std::size_t>(i)]; };
  for (Index a = 0; a < p; ++a) {
    if (at(a, a) > 0) {
      for (Index c = 0; c < a; ++c) x(a) -= at(a, c) * x(c);
    } else {
      x(a) = 0;
    }
  }
  for (Index a = p; a-- > 0;) {
    if (!(at(a, a) > 0)) continue;
    x(a) /= at(a, a);
    for (Index r = a + 1; r < p; ++r) x(a) -= at(r, a) * x(r);
  }
}

double LocalLine::solve(Index t, std::vector<double>& slope) const {
  const double* of_target = moment_ + layout_.target(t);
  slope.resize(static_cast<std::size_t>(layout_.columns));
  for (Index a = 0; a < layout_.columns; ++a) {
    slope[static_cast<std::size_t>(a)] = of_target[1 + a] - moment_[a] * of_target[0];
  }
  solve_in_place(slope);
  double mean = of_target[0];
  for (Index a = 0; a < layout_.columns; ++a)
    mean += slope[static_cast<std::size_t>(a)] * (query_[a] - moment_[a]);
  return mean;
}

std::vector<double> LocalLine::lever() const {
  std::vector<double> out(1, 1.0);
  for (Index a = 0; a < layout_.columns; ++a) {
    const double u = u_[static_cast<std::size_t>(a)];
    out[0] -= u * moment_[a];
    out.push_back(u);
  }
  return out;
}

std::vector<double> LocalLine::slope_lever(Index c) const {
  std::vector<double> row(static_cast<std::size_t>(layout_.columns), 0.0);
  row[static_cast<std::size_t>(c)] = 1;
  solve_in_place(row);
  double constant = 0;
  for (Index a = 0; a < layout_.columns; ++a) constant -= row[static_cast<std::size_t>(a)] * moment_[a];
  row.insert(row.begin(), constant);
  return row;
}

double LocalLine::own() const {
  double sum = 1;
  for (Index a = 0; a < layout_.columns; ++a)
    sum += u_[static_cast<std::size_t>(a)] * (query_[a] - moment_[a]);
  return sum;
}

void LocalLine::add_mean_derivatives(Index t, double g, double* upstream) const {
  const Index p = layout_.columns, first = layout_.target(t);
  std::vector<double> slope;
  solve(t, slope);
  const auto u = [&](Index a) { return u_[static_cast<std::size_t>(a)]; };
  const auto s = [&](Index a) { return slope[static_cast<std::size_t>(a)]; };
  double u_k = 0, s_k = 0;
  for (Index a = 0; a < p; ++a) {
    u_k += u(a) * moment_[a];
    s_k += s(a) * moment_[a];
  }
  // d mean = d E y + u.d cov(k, y) - s.d E k - u' dC s
  upstream[first] += g * (1 - u_k);
  for (Index a = 0; a < p; ++a) {
    upstream[first + 1 + a] += g * u(a);
    upstream[a] += g * (u(a) * (s_k - moment_[first]) + s(a) * (u_k - 1));
    upstream[layout_.pair(a, a)] -= g * u(a) * s(a);
    for (Index b = a + 1; b < p; ++b) upstream[layout_.pair(a, b)] -= g * (u(a) * s(b) + u(b) * s(a));
  }
}

void LocalLine::add_own_derivatives(double g, double* upstream) const {
  const Index p = layout_.columns;
  const auto u = [&](Index a) { return u_[static_cast<std::size_t>(a)]; };
  double u_k = 0;
  for (Index a = 0; a < p; ++a) u_k += u(a) * moment_[a];
  // d own = -2 u.d E k - u' dC u
  for (Index a = 0; a < p; ++a) {
    upstream[a] += g * 2 * u(a) * (u_k - 1);
    upstream[layout_.pair(a, a)] -= g * u(a) * u(a);
    for (Index b = a + 1; b < p; ++b) upstream[layout_.pair(a, b)] -= g * 2 * u(a) * u(b);
  }
}

}  // namespace kith::neighbors
