#include "neighbors/local_objective.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "neighbors/lbfgs.h"

namespace kith::neighbors {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

View<const double, 2> matrix(const Array<double, 4>& array) {
  return {array.data(), {array.shape()[2], array.shape()[3]}};
}

Array<double, 2> slope_columns(const MixedKernel& kernel, View<const double, 2> x, int degree) {
  std::vector<std::size_t> used;
  for (std::size_t c = 0; c < kernel.columns() && degree == 1; ++c) {
    if (kernel.slope(c)) used.push_back(c);
  }
  Array<double, 2> out({x.shape[0], static_cast<Index>(used.size())});
  for (Index i = 0; i < x.shape[0]; ++i) {
    for (std::size_t a = 0; a < used.size(); ++a) {
      const std::size_t c = used[a];
      out(i, static_cast<Index>(a)) = (x(i, static_cast<Index>(c)) - kernel.center(c)) / kernel.deviation(c);
    }
  }
  return out;
}

std::vector<Index> spread_order(Index rows, Index most) {
  std::vector<Index> order;
  std::vector<bool> taken(static_cast<std::size_t>(rows), false);
  for (Index i = 0; i < std::min(rows, most); ++i) {
    const Index row = most >= rows ? i : i * rows / most;
    order.push_back(row);
    taken[static_cast<std::size_t>(row)] = true;
  }
  for (Index i = 0; i < rows; ++i) {
    if (!taken[static_cast<std::size_t>(i)]) order.push_back(i);
  }
  return order;
}

Array<double, 2> take(View<const double, 2> rows, const std::vector<Index>& order) {
  Array<double, 2> out({static_cast<Index>(order.size()), rows.shape[1]});
  for (std::size_t i = 0; i < order.size(); ++i) {
    for (Index c = 0; c < rows.shape[1]; ++c) out(static_cast<Index>(i), c) = rows(order[i], c);
  }
  return out;
}

LocalObjective::LocalObjective(const MixedKernel& kernel, LocalRows rows, Index queries,
                               const RegressionOptions& options)
    : kernel_(kernel),
      rows_(std::move(rows)),
      queries_(queries),
      selection_(options.selection),
      ridge_(options.ridge),
      threads_(options.threads),
      layout_{.columns = rows_.k.shape()[1]},
      value_(layout_.values(rows_.k, rows_.y)) {}

double LocalObjective::operator()(const std::vector<double>& free, std::vector<double>* gradient) const {
  if (gradient) std::fill(gradient->begin(), gradient->end(), 0.0);
  const bool loo = selection_ == Selection::leave_one_out;
  const Array<double, 2> key = kernel_.coordinates(rows_.x, kernel_.bandwidth(free));
  View<const double, 2> query = key;
  query.shape[0] = queries_;
  AttentionOptions options;
  options.similarity = kernel_.similarity();
  if (loo) options.mask = exclude_self();
  options.want.lse = true;
  options.threads = threads_;
  const auto result = attend(query, key, value_, options);

  const Index size = layout_.size(), p = layout_.columns;
  const auto n = static_cast<double>(queries_);
  double squares = 0, trace = 0;
  LocalLine line(layout_, ridge_);
  std::vector<double> residual(static_cast<std::size_t>(queries_)), slope;
  for (Index i = 0; i < queries_; ++i) {
    line.prepare(result.out.data() + i * size, rows_.k.data() + i * p);
    const double error = rows_.y(i, 0) - line.solve(0, slope);
    residual[static_cast<std::size_t>(i)] = error;
    squares += error * error / n;
    if (!loo) trace += std::exp(-result.lse(0, 0, i)) * line.own();
  }
  if (!std::isfinite(squares)) return kInfinity;
  // The rows asked stand for all.
  const auto rows = static_cast<double>(rows_.count());
  trace *= rows / n;
  const double room = rows - trace - 2;
  if (!loo && !(room > 0 && squares > 0)) return kInfinity;
  const double value = loo ? squares : std::log(squares) + 1 + 2 * (trace + 1) / room;
  if (!gradient) return value;

  const double by_squares = loo ? 1 : 1 / squares;
  const double by_trace = loo ? 0 : 2 * (rows - 1) / (room * room) * rows / n;
  Array<double, 4> d_out({1, 1, queries_, size});
  Array<double, 3> d_lse({1, 1, queries_});
  for (Index i = 0; i < queries_; ++i) {
    double* upstream = d_out.data() + i * size;
    line.prepare(result.out.data() + i * size, rows_.k.data() + i * p);
    line.add_mean_derivatives(0, -2 * residual[static_cast<std::size_t>(i)] / n * by_squares, upstream);
    if (loo) continue;
    const double own_weight = std::exp(-result.lse(0, 0, i));
    line.add_own_derivatives(by_trace * own_weight, upstream);
    d_lse(0, 0, i) = -by_trace * own_weight * line.own();
  }
  const Upstream<double> upstream{.out = d_out, .lse = d_lse};
  const auto back = attend_backward(query, key, value_, result, upstream, options);
  kernel_.add_gradient(key, matrix(back.key), *gradient);
  kernel_.add_gradient(key, matrix(back.query), *gradient);
  return value;
}

namespace {

/// Steps of shrinking size along one free number after another (Hooke & Jeeves 1961 without its leaps).
std::vector<double> try_steps(const Criterion& criterion, std::vector<double> x, double& best) {
  for (double step = 0.7; step > 0.005; step *= 0.5) {
    bool better = true;
    for (int round = 0; better && round < 20; ++round) {
      better = false;
      for (std::size_t c = 0; c < x.size(); ++c) {
        for (const double by : {step, -step}) {
          std::vector<double> next = x;
          next[c] += by;
          const double value = criterion(next, nullptr);
          if (!(value < best)) continue;
          best = value;
          x = std::move(next);
          better = true;
          break;
        }
      }
    }
  }
  return x;
}

}  // namespace

std::vector<double> least(const Criterion& criterion, const std::vector<std::vector<double>>& starts,
                          bool smooth) {
  std::vector<std::pair<double, std::size_t>> order;
  for (std::size_t s = 0; s < starts.size(); ++s) {
    const double value = criterion(starts[s], nullptr);
    if (std::isfinite(value)) order.emplace_back(value, s);
  }
  if (order.empty()) {
    throw Error("kernel.bandwidth: no start of the search fits the rows; give bandwidths, or more rows");
  }
  std::sort(order.begin(), order.end());
  // The criterion may have several minima.
  constexpr std::size_t kStarts = 3;
  double lowest = kInfinity;
  std::vector<double> chosen;
  for (std::size_t s = 0; s < std::min(kStarts, order.size()); ++s) {
    std::vector<double> x = starts[order[s].second];
    double value = order[s].first;
    if (smooth) {
      const Differentiable function = [&](const std::vector<double>& at, std::vector<double>& gradient) {
        return criterion(at, &gradient);
      };
      const LbfgsOptions options{.iterations = 60, .longest_step = 1.0, .least_decrease = 1e-8};
      x = minimize_lbfgs(function, x, options, [&](const std::vector<double>&, double v) {
        value = v;
        return true;
      });
    } else {
      x = try_steps(criterion, x, value);
    }
    if (value < lowest) {
      lowest = value;
      chosen = std::move(x);
    }
  }
  return chosen;
}

std::vector<std::vector<double>> search_starts(const MixedKernel& kernel) {
  std::vector<std::vector<double>> starts;
  for (const double factor : {0.35, 0.7, 1.4, 2.8, 5.6})
    starts.push_back(kernel.free(kernel.reference(factor)));
  return starts;
}

}  // namespace kith::neighbors
