// One pair's similarity and its derivatives, as the formulas in kith/similarity.h say them, in any scalar:
// double, long double or Dual.
#pragma once

#include <cmath>
#include <limits>
#include <numbers>

#include "kith/similarity.h"

namespace kith::plain {

/// A query and a key that are rotated, measured and projected already.
template <class T>
struct Pair {
  const T* q;
  const T* k;
  Index depth;
  T number;     ///< the similarity's one number
  T bandwidth;  ///< adaptive.query(i) adaptive.key(j), 1 without
};

/// Where `pull` adds its derivatives times d_logit.
template <class T>
struct PairGradients {
  T* q;
  T* k;
  T number{}, bandwidth{};
  T* score = nullptr;  ///< Additive's
};

template <class T>
T dot(const T* a, const T* b, Index n) {
  T sum{};
  for (Index c = 0; c < n; ++c) sum += a[c] * b[c];
  return sum;
}

template <class T>
T squared_distance(const T* a, const T* b, Index n) {
  T sum{};
  for (Index c = 0; c < n; ++c) sum += (a[c] - b[c]) * (a[c] - b[c]);
  return sum;
}

template <class T>
T length(const T* a, Index n) {
  using std::sqrt;
  return sqrt(dot(a, a, n));
}

template <class T>
T nothing() {
  return T(-std::numeric_limits<double>::infinity());
}

// --- Dot and, its queries being projected, bilinear: logit = number q.k / bandwidth

template <class T>
T scaled_dot(const Pair<T>& p) {
  return p.number / p.bandwidth * dot(p.q, p.k, p.depth);
}
template <class T>
void pull_scaled_dot(const Pair<T>& p, T d_logit, PairGradients<T>& to) {
  const T scale = p.number / p.bandwidth, d_scale = d_logit * dot(p.q, p.k, p.depth);
  for (Index c = 0; c < p.depth; ++c) {
    to.q[c] += d_logit * scale * p.k[c];
    to.k[c] += d_logit * scale * p.q[c];
  }
  to.number += d_scale / p.bandwidth;
  to.bandwidth -= d_scale * scale / p.bandwidth;
}

template <class T>
T logit(const Dot&, const Pair<T>& p) {
  return scaled_dot(p);
}
template <class T>
void pull(const Dot&, const Pair<T>& p, T d_logit, PairGradients<T>& to) {
  pull_scaled_dot(p, d_logit, to);
}
template <class T>
T logit(const Bilinear&, const Pair<T>& p) {
  return scaled_dot(p);
}
template <class T>
void pull(const Bilinear&, const Pair<T>& p, T d_logit, PairGradients<T>& to) {
  pull_scaled_dot(p, d_logit, to);
}

// --- Those whose number h is a bandwidth or temperature: logit = f(q, k, h) with h = number * bandwidth

template <class T>
void pull_width(const Pair<T>& p, T d_h, PairGradients<T>& to) {
  to.number += d_h * p.bandwidth;
  to.bandwidth += d_h * p.number;
}

/// Adds d times the gradient of |q - k|^2 / 2.
template <class T>
void pull_half_square(const Pair<T>& p, T d, PairGradients<T>& to) {
  for (Index c = 0; c < p.depth; ++c) {
    const T share = d * (p.q[c] - p.k[c]);
    to.q[c] += share;
    to.k[c] -= share;
  }
}

/// a . b / (|a| |b|). Divided one after the other: the product of the lengths could overflow.
template <class T>
T cosine(const Pair<T>& p) {
  const T q_length = length(p.q, p.depth), k_length = length(p.k, p.depth);
  // 0, or NaN where the other one holds a NaN
  if (q_length == T(0) || k_length == T(0)) return dot(p.q, p.k, p.depth);
  T sum{};
  for (Index c = 0; c < p.depth; ++c) sum += (p.q[c] / q_length) * (p.k[c] / k_length);
  return sum;
}

template <class T>
T logit(const Cosine&, const Pair<T>& p) {
  return cosine(p) / (p.number * p.bandwidth);
}
template <class T>
void pull(const Cosine&, const Pair<T>& p, T d_logit, PairGradients<T>& to) {
  const T q_length = length(p.q, p.depth), k_length = length(p.k, p.depth);
  if (q_length == T(0) || k_length == T(0)) return;
  // With u = q/|q|, w = k/|k|: d cos/d q = (w - cos u) / |q|, and the same with the roles exchanged.
  const T temperature = p.number * p.bandwidth, cos = cosine(p), d_cos = d_logit / temperature;
  for (Index c = 0; c < p.depth; ++c) {
    const T u = p.q[c] / q_length, w = p.k[c] / k_length;
    to.q[c] += d_cos * (w - cos * u) / q_length;
    to.k[c] += d_cos * (u - cos * w) / k_length;
  }
  pull_width(p, -d_cos * cos / temperature, to);
}

template <class T>
T logit(const Gaussian&, const Pair<T>& p) {
  const T h = p.number * p.bandwidth;
  return -squared_distance(p.q, p.k, p.depth) / (2.0 * h * h);
}
template <class T>
void pull(const Gaussian&, const Pair<T>& p, T d_logit, PairGradients<T>& to) {
  const T h = p.number * p.bandwidth;
  pull_half_square(p, -d_logit / (h * h), to);
  pull_width(p, d_logit * squared_distance(p.q, p.k, p.depth) / (h * h * h), to);
}

template <class T>
T logit(const Euclidean&, const Pair<T>& p) {
  using std::sqrt;
  return -sqrt(squared_distance(p.q, p.k, p.depth)) / (p.number * p.bandwidth);
}
template <class T>
void pull(const Euclidean&, const Pair<T>& p, T d_logit, PairGradients<T>& to) {
  using std::sqrt;
  const T distance = sqrt(squared_distance(p.q, p.k, p.depth));
  if (distance == T(0)) return;  // the cone's tip: 0 is a subgradient
  const T h = p.number * p.bandwidth;
  pull_half_square(p, -d_logit / (distance * h), to);
  pull_width(p, d_logit * distance / (h * h), to);
}

template <class T>
T absolute(T x) {
  return x < T(0) ? -x : x;
}

template <class T>
T city_block(const Pair<T>& p) {
  T sum{};
  for (Index c = 0; c < p.depth; ++c) sum += absolute<T>(p.q[c] - p.k[c]);
  return sum;
}

template <class T>
T logit(const Laplace&, const Pair<T>& p) {
  return -city_block(p) / (p.number * p.bandwidth);
}
template <class T>
void pull(const Laplace&, const Pair<T>& p, T d_logit, PairGradients<T>& to) {
  const T h = p.number * p.bandwidth;
  for (Index c = 0; c < p.depth; ++c) {
    const T difference = p.q[c] - p.k[c];
    if (difference == T(0)) continue;  // the crease: 0 is a subgradient
    const T share = difference > T(0) ? d_logit / h : -d_logit / h;
    to.q[c] -= share;
    to.k[c] += share;
  }
  pull_width(p, d_logit * city_block(p) / (h * h), to);
}

/// log K as a function of u^2 < 1.
template <class T>
T log_kernel(CompactKernel kernel, T square) {
  using std::log1p;
  using std::sqrt;
  switch (kernel) {
    case CompactKernel::epanechnikov:
      return log1p(-square);
    case CompactKernel::boxcar:
      break;
    case CompactKernel::triangular:
      return log1p(-sqrt(square));
    case CompactKernel::biweight:
      return 2.0 * log1p(-square);
    case CompactKernel::tricube:
      return 3.0 * log1p(-square * sqrt(square));
  }
  return T(0);
}

/// d log K / d u^2. The triangle's tip has slope 0, a subgradient.
template <class T>
T log_kernel_slope(CompactKernel kernel, T square) {
  using std::sqrt;
  const T u = sqrt(square);
  switch (kernel) {
    case CompactKernel::epanechnikov:
      return -1.0 / (1.0 - square);
    case CompactKernel::boxcar:
      break;
    case CompactKernel::triangular:
      return u == T(0) ? T(0) : -1.0 / (2.0 * u * (1.0 - u));
    case CompactKernel::biweight:
      return -2.0 / (1.0 - square);
    case CompactKernel::tricube:
      return -4.5 * u / (1.0 - square * u);
  }
  return T(0);
}

template <class T>
T logit(const Compact& s, const Pair<T>& p) {
  using std::isnan;
  const T h = p.number * p.bandwidth, square = squared_distance(p.q, p.k, p.depth) / (h * h);
  if (isnan(square)) return square;
  return square >= T(1) ? nothing<T>() : log_kernel(s.kernel, square);
}
template <class T>
void pull(const Compact& s, const Pair<T>& p, T d_logit, PairGradients<T>& to) {
  const T h = p.number * p.bandwidth, square = squared_distance(p.q, p.k, p.depth) / (h * h);
  const T d_square = d_logit * log_kernel_slope(s.kernel, square);
  pull_half_square(p, 2.0 * d_square / (h * h), to);
  pull_width(p, -2.0 * d_square * square / h, to);
}

// --- The others

template <class T>
T logit(const InverseDistance&, const Pair<T>& p) {
  using std::log;
  const T square = squared_distance(p.q, p.k, p.depth) / (p.bandwidth * p.bandwidth);
  if (square < T(InverseDistance::kHit)) return (74.5 * p.number + 128.0) * std::numbers::ln2;
  return -p.number * log(square) / 2.0;
}
template <class T>
void pull(const InverseDistance&, const Pair<T>& p, T d_logit, PairGradients<T>& to) {
  using std::log;
  const T distance2 = squared_distance(p.q, p.k, p.depth);
  const T square = distance2 / (p.bandwidth * p.bandwidth);
  if (square < T(InverseDistance::kHit)) {
    to.number += d_logit * (74.5 * std::numbers::ln2);
    return;
  }
  pull_half_square(p, -d_logit * p.number / distance2, to);
  to.number -= d_logit * log(square) / 2.0;
  to.bandwidth += d_logit * p.number / p.bandwidth;
}

/// The rows are projected already.
template <class T>
T logit(const Additive& s, const Pair<T>& p) {
  using std::tanh;
  T sum{};
  for (Index c = 0; c < p.depth; ++c) sum += s.score(c) * tanh(p.q[c] + p.k[c]);
  return sum;
}
template <class T>
void pull(const Additive& s, const Pair<T>& p, T d_logit, PairGradients<T>& to) {
  using std::tanh;
  for (Index c = 0; c < p.depth; ++c) {
    const T t = tanh(p.q[c] + p.k[c]), share = d_logit * s.score(c) * (1.0 - t * t);
    to.q[c] += share;
    to.k[c] += share;
    to.score[c] += d_logit * t;
  }
}

template <class T>
T logit(const Uniform&, const Pair<T>&) {
  return T(0);
}
template <class T>
void pull(const Uniform&, const Pair<T>&, T, PairGradients<T>&) {}

/// The similarity's one number; `depth` is that of the rows compared.
template <class T>
T number_of(const Similarity& similarity, Index depth) {
  using std::sqrt;
  struct Of {
    Index depth;
    T operator()(const Dot& s) const {
      return s.scale ? T(*s.scale) : T(1) / sqrt(T(static_cast<double>(depth)));
    }
    T operator()(const Cosine& s) const { return s.temperature; }
    T operator()(const Gaussian& s) const { return s.bandwidth; }
    T operator()(const Euclidean& s) const { return s.temperature; }
    T operator()(const Laplace& s) const { return s.bandwidth; }
    T operator()(const Compact& s) const { return s.bandwidth; }
    T operator()(const InverseDistance& s) const { return s.power; }
    T operator()(const Bilinear& s) const { return s.scale; }
    T operator()(const Additive&) const { return T(0); }
    T operator()(const Uniform&) const { return T(0); }
  };
  return std::visit(Of{depth}, similarity);
}

}  // namespace kith::plain
