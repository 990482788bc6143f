#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "kith/attention.h"
#include "kith/regression.h"
#include "neighbors/local_kernel.h"
#include "neighbors/local_objective.h"

namespace kith {

struct ConditionalDensity::Impl {
  ConditionalOptions options;
  neighbors::MixedKernel kernel;
  std::vector<double> bandwidth;
  double y_bandwidth = 0;
  Array<double, 2> x, key;
  std::vector<double> y;
  double center = 0, deviation = 1;  ///< of y
  double log_likelihood = 0;
};

namespace {

using Impl = ConditionalDensity::Impl;

constexpr double kHalfLogTwoPi = 0.91893853320467274178;

AttentionOptions call(const Impl& m) {
  AttentionOptions options;
  options.similarity = Gaussian{};
  options.want.lse = true;
  options.threads = m.options.threads;
  return options;
}

/// The coordinates of x with y's behind them.
Array<double, 2> joint(const Array<double, 2>& x, const std::vector<double>& y, double center,
                       double bandwidth) {
  const Index n = x.shape()[0], w = x.shape()[1];
  Array<double, 2> out({n, w + 1});
  for (Index i = 0; i < n; ++i) {
    std::copy_n(x.data() + i * w, w, out.data() + i * (w + 1));
    out(i, w) = (y[static_cast<std::size_t>(i)] - center) / bandwidth;
  }
  return out;
}

/// Minus the mean log density of the first rows, each without itself, and its gradient by the kernel's free
/// numbers and log y_bandwidth: log f = lse of the joint kernel - lse of x's - log(y_bandwidth sqrt(2 pi)).
class Likelihood {
 public:
  Likelihood(const Impl& m, Array<double, 2> x, std::vector<double> y, Index queries)
      : m_(m), x_(std::move(x)), y_(std::move(y)), queries_(queries) {}

  double operator()(const std::vector<double>& free, std::vector<double>* gradient) const {
    const std::vector<double> of_x(free.begin(), free.end() - 1);
    const double log_h = free.back();
    const Array<double, 2> key = m_.kernel.coordinates(x_, m_.kernel.bandwidth(of_x));
    const Array<double, 2> both = joint(key, y_, m_.center, std::exp(log_h));
    if (gradient) {
      std::fill(gradient->begin(), gradient->end(), 0.0);
      gradient->back() = 1;
    }
    return log_h + kHalfLogTwoPi - part(both, 1, gradient) + part(key, -1, gradient);
  }

 private:
  /// The mean lse; adds -sign times its derivatives.
  double part(const Array<double, 2>& key, double sign, std::vector<double>* gradient) const {
    AttentionOptions options = call(m_);
    options.mask = exclude_self();
    View<const double, 2> query = key;
    query.shape[0] = queries_;
    const Array<double, 2> nothing({key.shape()[0], 1});
    const auto result = attend(query, key, nothing, options);
    const auto n = static_cast<double>(queries_);
    double mean = 0;
    for (Index i = 0; i < queries_; ++i) mean += result.lse(0, 0, i) / n;
    if (!gradient) return mean;
    const Array<double, 4> d_out({1, 1, queries_, 1});
    Array<double, 3> d_lse({1, 1, queries_});
    std::fill(d_lse.begin(), d_lse.end(), -sign / n);
    const Upstream<double> upstream{.out = d_out, .lse = d_lse};
    const auto back = attend_backward(query, key, nothing, result, upstream, options);
    for (const Array<double, 4>* derivative : {&back.key, &back.query}) {
      const View<const double, 2> rows = neighbors::matrix(*derivative);
      m_.kernel.add_gradient(key, rows, *gradient);
      if (sign < 0) continue;
      const Index last = key.shape()[1] - 1;
      for (Index i = 0; i < rows.shape[0]; ++i) gradient->back() -= key(i, last) * rows(i, last);
    }
    return mean;
  }

  const Impl& m_;
  Array<double, 2> x_;
  std::vector<double> y_;
  Index queries_;
};

void check(View<const double, 2> x, View<const double, 1> y, const ConditionalOptions& options) {
  if (x.shape[0] != y.shape[0]) {
    throw Error(fmt::format("y: {} numbers for the {} rows of x", y.shape[0], x.shape[0]));
  }
  if (x.shape[0] < 2) throw Error(fmt::format("x: {} rows; a density needs 2", x.shape[0]));
  for (Index i = 0; i < y.shape[0]; ++i) {
    if (!(std::abs(y(i)) <= 1e150))
      throw Error(fmt::format("y, row {}: {}; numbers up to 1e150 can be used", i, y(i)));
  }
  if (options.kernel.compact) {
    throw Error(
        "kernel.compact: a conditional density needs the Gaussian, or rows may have no density at all");
  }
  if (!(options.y_bandwidth >= 0 && std::isfinite(options.y_bandwidth))) {
    throw Error(fmt::format("y_bandwidth: {}; a positive number is needed, or 0 to have it chosen",
                            options.y_bandwidth));
  }
  if ((options.y_bandwidth == 0) != options.kernel.bandwidth.empty()) {
    throw Error("y_bandwidth: it is given together with kernel.bandwidth, or neither is");
  }
  if (options.selection_rows < 1) {
    throw Error(fmt::format("selection_rows: {}; at least 1 is needed", options.selection_rows));
  }
}

void choose(Impl& m) {
  const Index n = m.x.shape()[0], queries = std::min(n, m.options.selection_rows);
  const std::vector<Index> order = neighbors::spread_order(n, queries);
  std::vector<double> y;
  for (const Index i : order) y.push_back(m.y[static_cast<std::size_t>(i)]);
  const Likelihood likelihood(m, neighbors::take(m.x, order), std::move(y), queries);
  const neighbors::Criterion criterion = [&](const std::vector<double>& free, std::vector<double>* gradient) {
    return likelihood(free, gradient);
  };
  std::vector<std::vector<double>> starts;
  const double reference = 1.06 * m.deviation * std::pow(static_cast<double>(n), -0.2);
  for (const std::vector<double>& start : neighbors::search_starts(m.kernel)) {
    for (const double factor : {0.3, 1.0}) {
      starts.push_back(start);
      starts.back().push_back(std::log(factor * reference));
    }
  }
  std::vector<double> free = neighbors::least(criterion, starts, true);
  m.y_bandwidth = std::exp(free.back());
  free.pop_back();
  m.bandwidth = m.kernel.bandwidth(free);
}

/// The average over a query's neighbors of function(y - y_j), for each y of the grid.
template <class F>
Array<double, 2> average(const Impl& m, View<const double, 2> query, const std::vector<double>& grid,
                         F function) {
  m.kernel.check_rows(query, "query");
  const Array<double, 2> asked = m.kernel.coordinates(query, m.bandwidth);
  const Index n = query.shape[0], rows = m.x.shape()[0], count = static_cast<Index>(grid.size());
  Array<double, 2> out({n, count});
  constexpr Index kTogether = 64;
  for (Index first = 0; first < count; first += kTogether) {
    const Index columns = std::min(kTogether, count - first);
    Array<double, 2> value({rows, columns});
    for (Index j = 0; j < rows; ++j) {
      for (Index g = 0; g < columns; ++g) {
        value(j, g) = function(grid[static_cast<std::size_t>(first + g)] - m.y[static_cast<std::size_t>(j)]);
      }
    }
    const auto result = attend(asked, m.key, value, call(m));
    for (Index i = 0; i < n; ++i) {
      for (Index g = 0; g < columns; ++g) out(i, first + g) = result.out(0, 0, i, g);
    }
  }
  return out;
}

}  // namespace

ConditionalDensity::ConditionalDensity(View<const double, 2> x, View<const double, 1> y,
                                       const ConditionalOptions& options) {
  check(x, y, options);
  auto impl = std::make_shared<Impl>(Impl{.options = options,
                                          .kernel = neighbors::MixedKernel(x, options.kernel),
                                          .bandwidth = {},
                                          .x = {},
                                          .key = {},
                                          .y = {}});
  Impl& m = *impl;
  const Index n = x.shape[0];
  const auto count = static_cast<double>(n);
  for (Index i = 0; i < n; ++i) {
    m.y.push_back(y(i));
    m.center += y(i) / count;
  }
  double variance = 0;
  for (const double v : m.y) variance += (v - m.center) * (v - m.center) / count;
  if (!(variance > 0)) throw Error("y: all its numbers are equal; there is no density");
  m.deviation = std::sqrt(variance);
  m.x = neighbors::take(x, neighbors::spread_order(n, n));
  if (options.kernel.bandwidth.empty()) {
    choose(m);
  } else {
    m.kernel.check_bandwidth(options.kernel.bandwidth);
    m.bandwidth = options.kernel.bandwidth;
    m.y_bandwidth = options.y_bandwidth;
  }
  m.key = m.kernel.coordinates(m.x, m.bandwidth);
  std::vector<double> free = m.kernel.free(m.bandwidth);
  free.push_back(std::log(m.y_bandwidth));
  m.log_likelihood = -Likelihood(m, m.x, m.y, n)(free, nullptr);
  impl_ = std::move(impl);
}

const std::vector<double>& ConditionalDensity::bandwidth() const { return impl_->bandwidth; }
double ConditionalDensity::y_bandwidth() const { return impl_->y_bandwidth; }
double ConditionalDensity::log_likelihood() const { return impl_->log_likelihood; }

Array<double, 2> ConditionalDensity::density(View<const double, 2> query,
                                             const std::vector<double>& y) const {
  const double h = impl_->y_bandwidth;
  return average(*impl_, query, y, [h](double apart) {
    return std::exp(-0.5 * (apart / h) * (apart / h) - kHalfLogTwoPi) / h;
  });
}

Array<double, 2> ConditionalDensity::distribution(View<const double, 2> query,
                                                  const std::vector<double>& y) const {
  const double h = impl_->y_bandwidth;
  return average(*impl_, query, y,
                 [h](double apart) { return 0.5 * std::erfc(-apart / h * std::sqrt(0.5)); });
}

std::vector<double> ConditionalDensity::log_density(View<const double, 2> query,
                                                    View<const double, 1> y) const {
  const Impl& m = *impl_;
  m.kernel.check_rows(query, "query");
  if (y.shape[0] != query.shape[0]) {
    throw Error(fmt::format("y: {} numbers for {} queries", y.shape[0], query.shape[0]));
  }
  std::vector<double> asked_y;
  for (Index i = 0; i < y.shape[0]; ++i) asked_y.push_back(y(i));
  const Array<double, 2> asked = m.kernel.coordinates(query, m.bandwidth);
  const Array<double, 2> nothing({m.x.shape()[0], 1});
  const auto of_x = attend(asked, m.key, nothing, call(m));
  const auto of_both = attend(joint(asked, asked_y, m.center, m.y_bandwidth),
                              joint(m.key, m.y, m.center, m.y_bandwidth), nothing, call(m));
  std::vector<double> out;
  for (Index i = 0; i < y.shape[0]; ++i) {
    out.push_back(of_both.lse(0, 0, i) - of_x.lse(0, 0, i) - std::log(m.y_bandwidth) - kHalfLogTwoPi);
  }
  return out;
}

}  // namespace kith
