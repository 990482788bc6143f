#include "kith/reference.h"

#include <cmath>
#include <limits>

#include "attention/geometry.h"

namespace kith::reference {
namespace {

constexpr double kNothing = -std::numeric_limits<double>::infinity();

double dot(const double* a, const double* b, Index n) {
  double sum = 0;
  for (Index c = 0; c < n; ++c) sum += a[c] * b[c];
  return sum;
}

double squared_distance(const double* a, const double* b, Index n) {
  double sum = 0;
  for (Index c = 0; c < n; ++c) sum += (a[c] - b[c]) * (a[c] - b[c]);
  return sum;
}

double length(const double* a, Index n) { return std::sqrt(dot(a, a, n)); }

/// a . b / (|a| |b|); zero vectors stay zero. Divided one after the other: the product of lengths could
/// overflow.
double cosine(const double* a, const double* b, Index n) {
  const double a_length = length(a, n), b_length = length(b, n);
  if (a_length == 0 || b_length == 0) return dot(a, b, n);  // 0, or NaN where the other one holds a NaN
  double sum = 0;
  for (Index c = 0; c < n; ++c) sum += (a[c] / a_length) * (b[c] / b_length);
  return sum;
}

double scale_of(const Dot& s, Index depth) {
  return s.scale.value_or(1.0 / std::sqrt(static_cast<double>(depth)));
}

// Per similarity: the logit of one pair, and `pull`, which adds d_logit's share to the gradients of the query
// row, the key row and the parameter.

double logit(const Dot& s, const double* q, const double* k, Index depth) {
  return scale_of(s, depth) * dot(q, k, depth);
}
void pull(const Dot& s, const double* q, const double* k, Index depth, double d_logit, double* d_q,
          double* d_k, double& d_scale) {
  const double scale = scale_of(s, depth);
  for (Index c = 0; c < depth; ++c) {
    d_q[c] += d_logit * scale * k[c];
    d_k[c] += d_logit * scale * q[c];
  }
  d_scale += d_logit * dot(q, k, depth);
}

double logit(const Cosine& s, const double* q, const double* k, Index depth) {
  return cosine(q, k, depth) / s.temperature;
}
void pull(const Cosine& s, const double* q, const double* k, Index depth, double d_logit, double* d_q,
          double* d_k, double& d_temperature) {
  const double q_length = length(q, depth), k_length = length(k, depth);
  if (q_length == 0 || k_length == 0) return;
  // With u = q/|q|, w = k/|k|: d cos/d q = (w - cos u) / |q|, and the same with the roles exchanged.
  const double cos = cosine(q, k, depth), d_cos = d_logit / s.temperature;
  for (Index c = 0; c < depth; ++c) {
    const double u = q[c] / q_length, w = k[c] / k_length;
    d_q[c] += d_cos * (w - cos * u) / q_length;
    d_k[c] += d_cos * (u - cos * w) / k_length;
  }
  d_temperature -= d_cos * cos / s.temperature;
}

double logit(const Gaussian& s, const double* q, const double* k, Index depth) {
  return -squared_distance(q, k, depth) / (2 * s.bandwidth * s.bandwidth);
}
void pull(const Gaussian& s, const double* q, const double* k, Index depth, double d_logit, double* d_q,
          double* d_k, double& d_bandwidth) {
  const double h = s.bandwidth;
  for (Index c = 0; c < depth; ++c) {
    const double share = d_logit * (q[c] - k[c]) / (h * h);
    d_q[c] -= share;
    d_k[c] += share;
  }
  d_bandwidth += d_logit * squared_distance(q, k, depth) / (h * h * h);
}

double logit(const Euclidean& s, const double* q, const double* k, Index depth) {
  return -std::sqrt(squared_distance(q, k, depth)) / s.temperature;
}
void pull(const Euclidean& s, const double* q, const double* k, Index depth, double d_logit, double* d_q,
          double* d_k, double& d_temperature) {
  const double distance = std::sqrt(squared_distance(q, k, depth));
  if (distance == 0) return;  // the cone's tip: 0 is a subgradient
  for (Index c = 0; c < depth; ++c) {
    const double share = d_logit * (q[c] - k[c]) / (distance * s.temperature);
    d_q[c] -= share;
    d_k[c] += share;
  }
  d_temperature += d_logit * distance / (s.temperature * s.temperature);
}

double logit(const Uniform&, const double*, const double*, Index) { return 0; }
void pull(const Uniform&, const double*, const double*, Index, double, double*, double*, double&) {}

template <class T>
T* row(const View<T, 4>& view, Index b, Index h, Index i) {
  return &view(b, h, i, 0);
}

}  // namespace

bool visible(const Mask& mask, Index b, Index i, Index j) {
  if (mask.causal_offset && j > i + *mask.causal_offset) return false;
  if (mask.self_offset && j == i + *mask.self_offset) return false;
  return mask.key_length.empty() || j < mask.key_length[static_cast<std::size_t>(b)];
}

Result attend(View<const double, 4> query, View<const double, 4> key, View<const double, 4> value,
              const Similarity& similarity, const Mask& mask) {
  const Geometry n = check(query, key, value, similarity, mask);

  // query [B, Hq, N, D], key [B, Hk, M, D], value [B, Hk, M, Dv]; row by row:
  Result result{Array<double, 4>({n.batch, n.heads, n.queries, n.value_depth}),
                Array<double, 3>({n.batch, n.heads, n.queries}),
                Array<double, 4>({n.batch, n.heads, n.queries, n.keys})};
  for (Index b = 0; b < n.batch; ++b) {
    for (Index h = 0; h < n.heads; ++h) {
      for (Index i = 0; i < n.queries; ++i) {
        const Index g = h / n.group();

        // 1. logit [M] of the visible keys, kept where the weights will be, and their maximum. A NaN stays
        // it.
        double max = kNothing;
        for (Index j = 0; j < n.keys; ++j) {
          if (!visible(mask, b, i, j)) continue;
          const double l = std::visit(
              [&](const auto& s) { return logit(s, row(query, b, h, i), row(key, b, g, j), n.depth); },
              similarity);
          result.weight(b, h, i, j) = l;
          if (std::isnan(l) || l > max) max = l;
        }

        // 2. lse; a row that sees nothing, or logits of -inf alone, is done: all its weights are 0.
        if (max == kNothing) {
          for (Index j = 0; j < n.keys; ++j) result.weight(b, h, i, j) = 0;
          result.lse(b, h, i) = kNothing;
          continue;
        }
        double sum = 0;
        for (Index j = 0; j < n.keys; ++j) {
          if (visible(mask, b, i, j)) sum += std::exp(result.weight(b, h, i, j) - max);
        }
        result.lse(b, h, i) = max + std::log(sum);

        // 3. weight [M] and out [Dv]
        for (Index j = 0; j < n.keys; ++j) {
          if (!visible(mask, b, i, j)) continue;
          double& weight = result.weight(b, h, i, j);
          weight = std::exp(weight - max) / sum;
          for (Index c = 0; c < n.value_depth; ++c) result.out(b, h, i, c) += weight * value(b, g, j, c);
        }
      }
    }
  }
  return result;
}

Gradients attend_backward(View<const double, 4> query, View<const double, 4> key, View<const double, 4> value,
                          const Result& result, View<const double, 4> d_out, const Similarity& similarity,
                          const Mask& mask, View<const double, 3> d_lse) {
  const Geometry n = check(query, key, value, similarity, mask);
  if (d_out.shape != result.out.shape()) throw Error("d_out: its shape needs to be result.out's");
  if (!d_lse.empty() && d_lse.shape != result.lse.shape()) {
    throw Error("d_lse: its shape needs to be result.lse's");
  }

  Gradients gradients{Array<double, 4>(query.shape), Array<double, 4>(key.shape),
                      Array<double, 4>(value.shape), 0};
  for (Index b = 0; b < n.batch; ++b) {
    for (Index h = 0; h < n.heads; ++h) {
      for (Index i = 0; i < n.queries; ++i) {
        if (result.lse(b, h, i) == kNothing) continue;
        const Index g = h / n.group();
        const double* d_out_row = row(d_out, b, h, i);

        // 1. delta = sum_j w_j (d_out . v_j) = d_out . out, what softmax subtracts. Since d lse/d logit_j is
        //    w_j too, d_lse joins it.
        const double delta =
            dot(d_out_row, &result.out(b, h, i, 0), n.value_depth) - (d_lse.empty() ? 0.0 : d_lse(b, h, i));

        for (Index j = 0; j < n.keys; ++j) {
          if (!visible(mask, b, i, j)) continue;
          const double weight = result.weight(b, h, i, j);
          const double* q = row(query, b, h, i);
          const double* k = row(key, b, g, j);

          // 2. d_value += w d_out [Dv]
          for (Index c = 0; c < n.value_depth; ++c) gradients.value(b, g, j, c) += weight * d_out_row[c];

          // 3. d_logit, and through the similarity to d_query [D], d_key [D] and the parameter. A logit of
          //    -inf has weight 0 whatever its neighborhood: nothing flows, where the formula would say 0
          //    times infinity.
          const double d_logit = weight * (dot(d_out_row, row(value, b, g, j), n.value_depth) - delta);
          std::visit(
              [&](const auto& s) {
                if (logit(s, q, k, n.depth) == kNothing) return;
                pull(s, q, k, n.depth, d_logit, &gradients.query(b, h, i, 0), &gradients.key(b, g, j, 0),
                     gradients.parameter);
              },
              similarity);
        }
      }
    }
  }
  return gradients;
}

}  // namespace kith::reference
