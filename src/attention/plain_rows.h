// What happens to a row of queries or keys before it is compared: rotation, then the metric, then the
// similarity's projection; and the way back for gradients. In any scalar: double, long double or Dual.
#pragma once

#include <cmath>
#include <vector>

#include "kith/attention.h"

namespace kith::plain {

enum class Side { query, key };

/// Gradients of the parameters that act on rows; the shapes of the parameters, empty where there are none.
template <class T>
struct RowSums {
  Array<T, 1> column_bandwidth;
  Array<T, 2> metric, bilinear, query_weight, key_weight;
};

template <class T>
View<T, 2> transposed(const View<T, 2>& m) {
  return {m.data, {m.shape[1], m.shape[0]}, {m.stride[1], m.stride[0]}};
}

/// x M
template <class T>
std::vector<T> times(const std::vector<T>& x, const View<const double, 2>& m) {
  std::vector<T> y(static_cast<std::size_t>(m.shape[1]));
  for (Index r = 0; r < m.shape[1]; ++r) {
    for (Index c = 0; c < m.shape[0]; ++c)
      y[static_cast<std::size_t>(r)] += x[static_cast<std::size_t>(c)] * m(c, r);
  }
  return y;
}

/// From y = x M: d_x = M d_y, and d_M += x^T d_y.
template <class T>
std::vector<T> times_back(const std::vector<T>& x, const View<const double, 2>& m, const std::vector<T>& d_y,
                          const View<T, 2>& d_m) {
  for (Index c = 0; c < m.shape[0]; ++c) {
    for (Index r = 0; r < m.shape[1]; ++r) {
      d_m(c, r) += x[static_cast<std::size_t>(c)] * d_y[static_cast<std::size_t>(r)];
    }
  }
  return times(d_y, transposed(m));
}

/// The row turned as at `position` or, with `back`, by the opposite angles.
template <class T, class Base>
std::vector<T> rotated(const Rotary& rotary, Base position, bool back, std::vector<T> x) {
  const Index columns = rotary.columns == 0 ? static_cast<Index>(x.size()) : rotary.columns;
  for (Index p = 0; p < columns / 2; ++p) {
    const Base frequency =
        rotary.frequency.empty()
            ? std::pow(Base{rotary.base}, -2 * static_cast<Base>(p) / static_cast<Base>(columns))
            : Base{rotary.frequency[static_cast<std::size_t>(p)]};
    const Base angle = position / Base{rotary.scaling} * frequency;
    const Base cos = std::cos(angle), sin = back ? -std::sin(angle) : std::sin(angle);
    T& first = x[static_cast<std::size_t>(rotary.interleaved ? 2 * p : p)];
    T& second = x[static_cast<std::size_t>(rotary.interleaved ? 2 * p + 1 : p + columns / 2)];
    const T x1 = first, x2 = second;
    first = x1 * cos - x2 * sin;
    second = x2 * cos + x1 * sin;
  }
  return x;
}

template <class T>
std::vector<T> measured(const LearnedMetric& metric, std::vector<T> x) {
  if (metric.matrix.data != nullptr) return times(x, metric.matrix);
  for (std::size_t c = 0; c < metric.column_bandwidth.size(); ++c) x[c] = x[c] / metric.column_bandwidth[c];
  return x;
}

template <class T>
std::vector<T> measured_back(const LearnedMetric& metric, const std::vector<T>& x, std::vector<T> d_y,
                             RowSums<T>& sums) {
  if (metric.matrix.data != nullptr) return times_back(x, metric.matrix, d_y, sums.metric.view());
  for (std::size_t c = 0; c < metric.column_bandwidth.size(); ++c) {
    const double h = metric.column_bandwidth[c];
    sums.column_bandwidth(static_cast<Index>(c)) -= d_y[c] * x[c] / (h * h);
    d_y[c] = d_y[c] / h;
  }
  return d_y;
}

/// q W, Wq q or Wk k.
template <class T>
std::vector<T> projected(const Similarity& similarity, Side side, const std::vector<T>& x) {
  const auto* bilinear = std::get_if<Bilinear>(&similarity);
  if (bilinear != nullptr && side == Side::query) return times(x, bilinear->matrix);
  if (const auto* s = std::get_if<Additive>(&similarity)) {
    const View<const double, 2>& weight = side == Side::query ? s->query_weight : s->key_weight;
    return times(x, transposed(weight));
  }
  return x;
}

template <class T>
std::vector<T> projected_back(const Similarity& similarity, Side side, const std::vector<T>& x,
                              const std::vector<T>& d_y, RowSums<T>& sums) {
  if (const auto* s = std::get_if<Bilinear>(&similarity)) {
    return side == Side::query ? times_back(x, s->matrix, d_y, sums.bilinear.view()) : d_y;
  }
  if (const auto* s = std::get_if<Additive>(&similarity)) {
    const bool query = side == Side::query;
    return times_back(x, transposed(query ? s->query_weight : s->key_weight), d_y,
                      transposed((query ? sums.query_weight : sums.key_weight).view()));
  }
  return d_y;
}

/// Columns of the rows that the similarity compares, and the depth that Dot's default scale counts.
inline Index compared_depth(const AttentionOptions& options, Index query_depth) {
  if (const auto* s = std::get_if<Bilinear>(&options.similarity)) return s->matrix.shape[1];
  if (const auto* s = std::get_if<Additive>(&options.similarity)) return s->query_weight.shape[0];
  return options.metric.matrix.data != nullptr ? options.metric.matrix.shape[1] : query_depth;
}

}  // namespace kith::plain
