#include "neighbors/local_regression.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kith/attention.h"

namespace kith {
namespace neighbors {
namespace {

void check(View<const double, 2> x, View<const double, 1> y, const RegressionOptions& options) {
  if (x.shape[0] != y.shape[0]) {
    throw Error(fmt::format("y: {} numbers for the {} rows of x", y.shape[0], x.shape[0]));
  }
  if (x.shape[0] < 2) throw Error(fmt::format("x: {} rows; a fit needs 2", x.shape[0]));
  for (Index i = 0; i < y.shape[0]; ++i) {
    if (!(std::abs(y(i)) <= 1e150)) {
      throw Error(fmt::format("y, row {}: {}; numbers up to 1e150 can be averaged", i, y(i)));
    }
  }
  if (options.degree != 0 && options.degree != 1) {
    throw Error(fmt::format("degree: {}; 0 and 1 are known", options.degree));
  }
  if (!(options.ridge >= 0 && std::isfinite(options.ridge))) {
    throw Error(fmt::format("ridge: {}; it is not negative", options.ridge));
  }
  if (options.selection_rows < 1) {
    throw Error(fmt::format("selection_rows: {}; at least 1 is needed", options.selection_rows));
  }
}

AttentionOptions call(const Impl& m) {
  AttentionOptions options;
  options.similarity = m.kernel.similarity();
  options.want.lse = true;
  options.threads = m.options.threads;
  return options;
}

/// Squared weights of a compact kernel are no weights of another; they come from the weights themselves.
SquaredMoments squared_from_weights(const Impl& m, View<const double, 2> query, View<const double, 2> k,
                                    const std::vector<double>& s) {
  const MomentLayout layout{.columns = k.shape[1], .targets = 0};
  const Index n = query.shape[0], rows = m.rows.count(), size = 1 + layout.size();
  SquaredMoments out{.sum = Array<double, 2>({n, size}),
                     .count = std::vector<double>(static_cast<std::size_t>(n))};
  const Index block = std::max<Index>(1, (Index{1} << 22) / rows);
  for (Index first = 0; first < n; first += block) {
    View<const double, 2> part = query;
    part.data += first * query.stride[0];
    part.shape[0] = std::min(block, n - first);
    const Array<double, 4> weight = attention_weights(part, m.key, call(m));
    for (Index i = 0; i < part.shape[0]; ++i) {
      double* sum = out.sum.data() + (first + i) * size;
      for (Index j = 0; j < rows; ++j) {
        const double w = weight(0, 0, i, j), square = w * w;
        if (square == 0) continue;
        out.count[static_cast<std::size_t>(first + i)] += square;
        const double ws = square * s[static_cast<std::size_t>(j)];
        sum[0] += ws;
        for (Index a = 0; a < layout.columns; ++a) {
          sum[1 + a] += ws * k(j, a);
          for (Index b = a; b < layout.columns; ++b) sum[1 + layout.pair(a, b)] += ws * k(j, a) * k(j, b);
        }
      }
    }
  }
  return out;
}

}  // namespace

SquaredMoments squared_moments(const Impl& m, View<const double, 2> query, const Array<double, 3>& lse,
                               View<const double, 2> k, const std::vector<double>& s) {
  if (!m.kernel.gaussian()) return squared_from_weights(m, query, k, s);
  // Squared weights are weights at twice the logits: w^2 = exp(lse(2 logits) - 2 lse(logits)) w(2 logits).
  const Index n = query.shape[0], rows = m.rows.count(), p = k.shape[1];
  Array<double, 2> s_column({rows, 1});
  std::copy(s.begin(), s.end(), s_column.data());
  // (s, k s, products): the layout of columns, products and one target, with s for a weight.
  const MomentLayout layout{.columns = p, .targets = 0};
  const Index size = 1 + layout.size();
  Array<double, 2> value({rows, size});
  for (Index j = 0; j < rows; ++j) {
    const double weight = s[static_cast<std::size_t>(j)];
    value(j, 0) = weight;
    for (Index a = 0; a < p; ++a) {
      value(j, 1 + a) = weight * k(j, a);
      for (Index b = a; b < p; ++b) value(j, 1 + layout.pair(a, b)) = weight * k(j, a) * k(j, b);
    }
  }
  AttentionOptions options = call(m);
  options.similarity = m.kernel.squared();
  const auto twice = attend(query, m.key, value, options);
  SquaredMoments out{.sum = Array<double, 2>({n, size}),
                     .count = std::vector<double>(static_cast<std::size_t>(n))};
  for (Index i = 0; i < n; ++i) {
    const double factor = std::exp(twice.lse(0, 0, i) - 2 * lse(0, 0, i));
    out.count[static_cast<std::size_t>(i)] = factor;
    for (Index v = 0; v < size; ++v) out.sum(i, v) = factor * twice.out(0, 0, i, v);
  }
  return out;
}

double quadratic(const double* sum, const std::vector<double>& lever) {
  const MomentLayout layout{.columns = static_cast<Index>(lever.size()) - 1, .targets = 0};
  double total = lever[0] * lever[0] * sum[0];
  for (Index a = 0; a < layout.columns; ++a) {
    const double la = lever[static_cast<std::size_t>(a) + 1];
    total += 2 * lever[0] * la * sum[1 + a] + la * la * sum[1 + layout.pair(a, a)];
    for (Index b = a + 1; b < layout.columns; ++b) {
      total += 2 * la * lever[static_cast<std::size_t>(b) + 1] * sum[1 + layout.pair(a, b)];
    }
  }
  // A sum of squares; rounding may leave less than nothing.
  return std::max(0.0, total);
}

std::vector<std::size_t> effect_columns(const Impl& m) {
  if (m.options.degree == 1) return m.slope_column;
  std::vector<std::size_t> columns;
  for (std::size_t c = 0; c < m.kernel.columns(); ++c) {
    if (m.kernel.numeric(c)) columns.push_back(c);
  }
  return columns;
}

namespace {

/// The bandwidths given, or the best.
std::vector<double> choose(const Impl& m, Index queries) {
  const std::vector<double>& given = m.options.kernel.bandwidth;
  if (!given.empty()) {
    m.kernel.check_bandwidth(given);
    return given;
  }
  const std::vector<Index> order = spread_order(m.rows.count(), queries);
  const LocalObjective objective(
      m.kernel, {take(m.rows.x, order), take(m.rows.k, order), take(m.rows.y, order)}, queries, m.options);
  const Criterion criterion = [&](const std::vector<double>& free, std::vector<double>* gradient) {
    return objective(free, gradient);
  };
  return m.kernel.bandwidth(least(criterion, search_starts(m.kernel), m.kernel.gaussian()));
}

/// The fit at the rows themselves, and what follows from its hat matrix.
void fit_rows(Impl& m) {
  const Index n = m.rows.count(), p = m.rows.k.shape()[1];
  const MomentLayout layout{.columns = p};
  const Array<double, 2> value = layout.values(m.rows.k, m.rows.y);
  const auto result = attend(m.key, m.key, value, call(m));
  const SquaredMoments squared =
      squared_moments(m, m.key, result.lse, m.rows.k, std::vector<double>(static_cast<std::size_t>(n), 1.0));
  LocalLine line(layout, m.options.ridge);
  std::vector<double> slope;
  double residual_squares = 0, room = 0, mean_of_fit = 0, total = 0, of_fit = 0, both = 0;
  for (Index i = 0; i < n; ++i) {
    line.prepare(result.out.data() + i * layout.size(), m.rows.k.data() + i * p);
    const double fitted = line.solve(0, slope);
    const double own = std::exp(-result.lse(0, 0, i)) * line.own();
    const double length = quadratic(squared.sum.data() + i * squared.sum.shape()[1], line.lever());
    const double error = m.rows.y(i, 0) - fitted;
    m.mean.push_back(m.center + fitted);
    m.own.push_back(own);
    m.length.push_back(length);
    m.trace += own;
    room += 1 - 2 * own + length;
    residual_squares += error * error;
    mean_of_fit += fitted / static_cast<double>(n);
  }
  // A fit that goes through every row leaves no errors to learn the noise from.
  constexpr double kNoRoom = 1e-9;
  m.noise = room > kNoRoom * static_cast<double>(n) ? residual_squares / room : kNaN;
  for (Index i = 0; i < n; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const double y = m.rows.y(i, 0), fitted = m.mean[at] - m.center;
    const double row_room = 1 - 2 * m.own[at] + m.length[at];
    const bool told = !m.options.equal_noise && row_room > 1e-6;
    m.variance.push_back(told ? (y - fitted) * (y - fitted) / row_room : m.noise);
    total += y * y;
    of_fit += (fitted - mean_of_fit) * (fitted - mean_of_fit);
    both += y * (fitted - mean_of_fit);
  }
  m.r_squared = total > 0 && of_fit > 0 ? both * both / (total * of_fit) : 0;
}

}  // namespace

std::shared_ptr<const Impl> learn(View<const double, 2> x, View<const double, 1> y,
                                  const RegressionOptions& options) {
  check(x, y, options);
  auto impl = std::make_shared<Impl>(options, MixedKernel(x, options.kernel));
  Impl& m = *impl;
  const Index n = x.shape[0];
  for (Index i = 0; i < n; ++i) {
    m.y.push_back(y(i));
    m.center += y(i) / static_cast<double>(n);
  }
  std::vector<Index> all;
  for (Index i = 0; i < n; ++i) all.push_back(i);
  m.rows.x = take(x, all);
  m.rows.k = slope_columns(m.kernel, x, options.degree);
  m.rows.y = Array<double, 2>({n, 1});
  for (Index i = 0; i < n; ++i) m.rows.y(i, 0) = y(i) - m.center;
  for (std::size_t c = 0; c < m.kernel.columns() && options.degree == 1; ++c) {
    if (m.kernel.slope(c)) m.slope_column.push_back(c);
  }
  m.bandwidth = choose(m, std::min(n, options.selection_rows));
  m.key = m.kernel.coordinates(m.rows.x, m.bandwidth);
  fit_rows(m);
  return impl;
}

namespace {

/// Writes the fit at rows [first, first + count) of x.
class PartFit {
 public:
  PartFit(const Impl& m, const FitWant& want, RegressionFit& fit)
      : m_(m),
        want_(want),
        fit_(fit),
        layout_{.columns = m.rows.k.shape()[1]},
        line_(layout_, m.options.ridge) {
    value_ = layout_.values(m.rows.k, m.rows.y);
  }

  void run(View<const double, 2> x, Index first) {
    const Array<double, 2> query = m_.kernel.coordinates(x, m_.bandwidth);
    const Array<double, 2> k = slope_columns(m_.kernel, x, m_.options.degree);
    const auto result = attend(query, m_.key, value_, call(m_));
    SquaredMoments squared;
    if (want_.errors) squared = squared_moments(m_, query, result.lse, m_.rows.k, m_.variance);
    const Index p = layout_.columns;
    std::vector<double> slope;
    for (Index i = 0; i < x.shape[0]; ++i) {
      const auto at = static_cast<std::size_t>(first + i);
      line_.prepare(result.out.data() + i * layout_.size(), k.data() + i * p);
      fit_.mean[at] = m_.center + line_.solve(0, slope);
      const bool seen = std::isfinite(result.lse(0, 0, i));
      for (Index a = 0; a < p; ++a) {
        const std::size_t c = m_.slope_column[static_cast<std::size_t>(a)];
        fit_.effect(first + i, static_cast<Index>(c)) =
            seen ? slope[static_cast<std::size_t>(a)] / m_.kernel.deviation(c) : kNaN;
      }
      if (!want_.errors) continue;
      fit_.effective_neighbors[at] = seen ? 1 / squared.count[static_cast<std::size_t>(i)] : 0;
      const double* sum = squared.sum.data() + i * squared.sum.shape()[1];
      fit_.standard_error[at] = seen ? std::sqrt(quadratic(sum, line_.lever())) : kNaN;
      for (Index a = 0; a < p; ++a) {
        const std::size_t c = m_.slope_column[static_cast<std::size_t>(a)];
        const double error = std::sqrt(quadratic(sum, line_.slope_lever(a))) / m_.kernel.deviation(c);
        fit_.effect_error(first + i, static_cast<Index>(c)) = seen ? error : kNaN;
      }
    }
    if (m_.options.degree == 0) constant_effects(x, query, result, first);
    if (want_.gradient || (m_.options.degree == 0 && !m_.kernel.gaussian()))
      derivative(query, k, result, first);
  }

 private:
  /// The derivative of a Gaussian average: cov(k, y) / h^2, and its weights w_j (k_j - E k) / h^2.
  void constant_effects(View<const double, 2> x, const Array<double, 2>& query,
                        const BasicAttentionResult<double>& plain, Index first) {
    if (!m_.kernel.gaussian()) return;
    for (const std::size_t c : effect_columns(m_)) {
      const auto column = static_cast<Index>(c);
      const Index n = m_.rows.count();
      // About the column's center, in units of its deviation.
      const double center = m_.kernel.center(c), deviation = m_.kernel.deviation(c);
      const double narrow = deviation / m_.bandwidth[c], factor = narrow * narrow / deviation;
      Array<double, 2> k({n, 1}), value({n, 2});
      for (Index j = 0; j < n; ++j) {
        k(j, 0) = (m_.rows.x(j, column) - center) / deviation;
        value(j, 0) = k(j, 0);
        value(j, 1) = k(j, 0) * m_.rows.y(j, 0);
      }
      const auto result = attend(query, m_.key, value, call(m_));
      SquaredMoments squared;
      if (want_.errors) squared = squared_moments(m_, query, plain.lse, k, m_.variance);
      for (Index i = 0; i < x.shape[0]; ++i) {
        const double mean_k = result.out(0, 0, i, 0);
        const double covariance = result.out(0, 0, i, 1) - mean_k * plain.out(0, 0, i, 0);
        const bool seen = std::isfinite(plain.lse(0, 0, i));
        fit_.effect(first + i, column) = seen ? factor * covariance : kNaN;
        if (!want_.errors) continue;
        const double* sum = squared.sum.data() + i * squared.sum.shape()[1];
        fit_.effect_error(first + i, column) =
            seen ? factor * std::sqrt(quadratic(sum, {-mean_k, 1.0})) : kNaN;
      }
    }
  }

  /// The derivative of the mean: through the weights (the operator's backward pass) and through the line.
  void derivative(const Array<double, 2>& query, const Array<double, 2>& k,
                  const BasicAttentionResult<double>& result, Index first) {
    const Index n = query.shape()[0], p = layout_.columns;
    Array<double, 4> d_out({1, 1, n, layout_.size()});
    Array<double, 2> by_line({n, p});
    std::vector<double> slope;
    for (Index i = 0; i < n; ++i) {
      line_.prepare(result.out.data() + i * layout_.size(), k.data() + i * p);
      line_.solve(0, slope);
      std::copy(slope.begin(), slope.end(), by_line.data() + i * p);
      line_.add_mean_derivatives(0, 1, d_out.data() + i * layout_.size());
    }
    const auto back =
        attend_backward(query, m_.key, value_, result, Upstream<double>{.out = d_out}, call(m_));
    const std::vector<Index> coordinate = m_.kernel.numeric_coordinates();
    for (Index i = 0; i < n; ++i) {
      const bool seen = std::isfinite(result.lse(0, 0, i));
      std::vector<double> total(m_.kernel.columns(), kNaN);
      for (std::size_t c = 0; c < total.size(); ++c) {
        if (m_.kernel.numeric(c) && seen) total[c] = back.query(0, 0, i, coordinate[c]) / m_.bandwidth[c];
      }
      for (Index a = 0; a < p; ++a) {
        const std::size_t c = m_.slope_column[static_cast<std::size_t>(a)];
        total[c] += by_line(i, a) / m_.kernel.deviation(c);
      }
      for (std::size_t c = 0; c < total.size(); ++c) {
        if (want_.gradient) fit_.gradient(first + i, static_cast<Index>(c)) = total[c];
        if (m_.options.degree == 0 && !m_.kernel.gaussian())
          fit_.effect(first + i, static_cast<Index>(c)) = total[c];
      }
    }
  }

  const Impl& m_;
  const FitWant& want_;
  RegressionFit& fit_;
  MomentLayout layout_;
  LocalLine line_;
  Array<double, 2> value_;
};

Array<double, 2> all_nan(Index rows, Index columns) {
  Array<double, 2> out({rows, columns});
  std::fill(out.begin(), out.end(), kNaN);
  return out;
}

}  // namespace

RegressionFit fit_at(const Impl& m, View<const double, 2> x, const FitWant& want) {
  const Index n = x.shape[0], d = x.shape[1];
  RegressionFit fit;
  fit.mean.resize(static_cast<std::size_t>(n));
  fit.effect = all_nan(n, d);
  if (want.errors) {
    fit.standard_error.resize(static_cast<std::size_t>(n));
    fit.effective_neighbors.resize(static_cast<std::size_t>(n));
    fit.effect_error = all_nan(n, d);
  }
  if (want.gradient) fit.gradient = all_nan(n, d);
  PartFit part(m, want, fit);
  // Averages take memory by query; this many at a time.
  constexpr Index kBlock = 8192;
  for (Index first = 0; first < n; first += kBlock) {
    View<const double, 2> rows = x;
    rows.data += first * x.stride[0];
    rows.shape[0] = std::min(kBlock, n - first);
    part.run(rows, first);
  }
  return fit;
}

ManyFits fit_many(const Impl& m, View<const double, 2> x, View<const double, 2> y,
                  const std::vector<std::size_t>& effects) {
  const bool linear = m.options.degree == 1;
  const Index n = x.shape[0], targets = y.shape[1];
  const Array<double, 2> query = m.kernel.coordinates(x, m.bandwidth);
  // Degree 0: the columns that effects are in, for their covariances with the targets.
  Array<double, 2> key_k, query_k;
  if (linear) {
    query_k = slope_columns(m.kernel, x, 1);
  } else {
    key_k = Array<double, 2>({m.rows.count(), static_cast<Index>(effects.size())});
    for (Index j = 0; j < m.rows.count(); ++j) {
      for (std::size_t e = 0; e < effects.size(); ++e) {
        const std::size_t c = effects[e];
        key_k(j, static_cast<Index>(e)) =
            (m.rows.x(j, static_cast<Index>(c)) - m.kernel.center(c)) / m.kernel.deviation(c);
      }
    }
  }
  const Array<double, 2>& k = linear ? m.rows.k : key_k;
  const MomentLayout layout{.columns = k.shape()[1], .targets = targets};
  const auto result = attend(query, m.key, layout.values(k, y), call(m));
  ManyFits out{.mean = Array<double, 2>({n, targets})};
  for (std::size_t e = 0; e < effects.size(); ++e) out.effect.emplace_back(Shape<2>{n, targets});
  LocalLine line(layout, m.options.ridge);
  std::vector<double> slope;
  for (Index i = 0; i < n; ++i) {
    const double* moments = result.out.data() + i * layout.size();
    if (linear) line.prepare(moments, query_k.data() + i * layout.columns);
    for (Index t = 0; t < targets; ++t) {
      const double* of_target = moments + layout.target(t);
      out.mean(i, t) = linear ? line.solve(t, slope) : of_target[0];
      for (std::size_t e = 0; e < effects.size(); ++e) {
        const std::size_t c = effects[e];
        if (linear) {
          const auto found = std::find(m.slope_column.begin(), m.slope_column.end(), c);
          const auto a = static_cast<std::size_t>(found - m.slope_column.begin());
          out.effect[e](i, t) = slope[a] / m.kernel.deviation(c);
        } else {
          const double narrow = m.kernel.deviation(c) / m.bandwidth[c];
          const auto a = static_cast<Index>(e);
          out.effect[e](i, t) =
              narrow * narrow / m.kernel.deviation(c) * (of_target[1 + a] - moments[a] * of_target[0]);
        }
      }
    }
  }
  return out;
}

}  // namespace neighbors

using neighbors::Impl;

KernelRegression::KernelRegression(View<const double, 2> x, View<const double, 1> y,
                                   const RegressionOptions& options) {
  auto impl = std::const_pointer_cast<Impl>(neighbors::learn(x, y, options));
  const Index n = impl->rows.count();
  const neighbors::LocalObjective objective(impl->kernel, impl->rows, n, options);
  impl->criterion = objective(impl->kernel.free(impl->bandwidth), nullptr);
  impl_ = std::move(impl);
}

const std::vector<double>& KernelRegression::bandwidth() const { return impl_->bandwidth; }
double KernelRegression::criterion() const { return impl_->criterion; }
double KernelRegression::trace() const { return impl_->trace; }
double KernelRegression::noise() const { return impl_->noise; }
double KernelRegression::r_squared() const { return impl_->r_squared; }

RegressionFit KernelRegression::fit(View<const double, 2> query, const FitWant& want) const {
  impl_->kernel.check_rows(query, "query");
  return neighbors::fit_at(*impl_, query, want);
}

RegressionFit KernelRegression::fit(const FitWant& want) const { return fit(impl_->rows.x, want); }

std::vector<double> KernelRegression::leave_one_out() const {
  const Impl& m = *impl_;
  const Index n = m.rows.count(), p = m.rows.k.shape()[1];
  const neighbors::MomentLayout layout{.columns = p};
  AttentionOptions options = neighbors::call(m);
  options.mask = exclude_self();
  const auto result = attend(m.key, m.key, layout.values(m.rows.k, m.rows.y), options);
  neighbors::LocalLine line(layout, m.options.ridge);
  std::vector<double> mean, slope;
  for (Index i = 0; i < n; ++i) {
    line.prepare(result.out.data() + i * layout.size(), m.rows.k.data() + i * p);
    mean.push_back(m.center + line.solve(0, slope));
  }
  return mean;
}

}  // namespace kith
