#include "neighbors/lbfgs.h"

#include <algorithm>
#include <cmath>
#include <deque>

namespace kith::neighbors {
namespace {

constexpr std::size_t kMemory = 10;
constexpr int kMaxBacktracks = 8;

using Vector = std::vector<double>;

double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

Vector difference(const Vector& a, const Vector& b) {
  Vector d(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) d[i] = a[i] - b[i];
  return d;
}

/// y += factor x
void add(Vector& y, double factor, const Vector& x) {
  for (std::size_t i = 0; i < y.size(); ++i) y[i] += factor * x[i];
}

struct Pair {
  Vector step, change;  ///< of x and of the gradient.
};

/// Minus the approximate inverse Hessian times the gradient (the two-loop recursion).
Vector direction(const std::deque<Pair>& pairs, const Vector& gradient) {
  Vector d = gradient;
  Vector alpha(pairs.size());
  for (std::size_t i = pairs.size(); i-- > 0;) {
    alpha[i] = dot(pairs[i].step, d) / dot(pairs[i].step, pairs[i].change);
    add(d, -alpha[i], pairs[i].change);
  }
  if (!pairs.empty()) {
    const Pair& last = pairs.back();
    const double scale = dot(last.step, last.change) / dot(last.change, last.change);
    for (double& v : d) v *= scale;
  }
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const double beta = dot(pairs[i].change, d) / dot(pairs[i].step, pairs[i].change);
    add(d, alpha[i] - beta, pairs[i].step);
  }
  for (double& v : d) v = -v;
  return d;
}

double largest(const Vector& v) {
  double m = 0;
  for (double x : v) m = std::max(m, std::abs(x));
  return m;
}

}  // namespace

Vector minimize_lbfgs(const Differentiable& function, Vector x, const LbfgsOptions& options,
                      const std::function<bool(const Vector& x, double value)>& accepted) {
  Vector gradient(x.size());
  double value = function(x, gradient);
  std::deque<Pair> pairs;
  int small_steps = 0;
  for (int iteration = 0; iteration < options.iterations; ++iteration) {
    Vector d = direction(pairs, gradient);
    double slope = dot(d, gradient);
    if (!(slope < 0)) {
      pairs.clear();
      d = direction(pairs, gradient);
      slope = dot(d, gradient);
    }
    if (!(slope < 0)) break;
    // Without curvature yet, the gradient's length says nothing about a good step.
    const double reach = largest(d);
    const double limit = pairs.empty() ? 0.5 * options.longest_step : options.longest_step;
    double length = pairs.empty() ? limit / reach : std::min(1.0, limit / reach);

    Vector next, next_gradient(x.size());
    double next_value = value;
    bool found = false;
    for (int b = 0; b < kMaxBacktracks && !found; ++b, length *= b == 1 ? 0.5 : 0.3) {
      next = x;
      add(next, length, d);
      next_value = function(next, next_gradient);
      found = next_value <= value + 1e-4 * length * slope;
    }
    if (!found) {
      if (pairs.empty()) break;
      pairs.clear();
      continue;
    }
    Pair pair{difference(next, x), difference(next_gradient, gradient)};
    if (dot(pair.step, pair.change) >
        1e-10 * std::sqrt(dot(pair.step, pair.step) * dot(pair.change, pair.change))) {
      pairs.push_back(std::move(pair));
      if (pairs.size() > kMemory) pairs.pop_front();
    }
    small_steps = value - next_value < options.least_decrease * std::abs(value) ? small_steps + 1 : 0;
    x = std::move(next);
    gradient = std::move(next_gradient);
    value = next_value;
    if (!accepted(x, value) || small_steps >= 2) break;
  }
  return x;
}

}  // namespace kith::neighbors
