#include "attention/plain_float.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace kith::test {
namespace {

constexpr float kNothing = -std::numeric_limits<float>::infinity();

float dot(const float* a, const float* b, Index n) {
  float sum = 0;
  for (Index c = 0; c < n; ++c) sum += a[c] * b[c];
  return sum;
}
float squared_distance(const float* a, const float* b, Index n) {
  float sum = 0;
  for (Index c = 0; c < n; ++c) sum += (a[c] - b[c]) * (a[c] - b[c]);
  return sum;
}
float dot_terms(const float* a, const float* b, Index n) {
  float sum = 0;
  for (Index c = 0; c < n; ++c) sum += std::fabs(a[c] * b[c]);
  return sum;
}

/// The logit's raw number (before scale or temperature), and the factor that makes it the logit.
struct Formula {
  enum Raw { product, angle, square, distance, zero } kind = product;
  float factor = 1;
  float parameter = 1;
};

Formula formula_of(const Similarity& similarity, Index depth) {
  if (const auto* s = std::get_if<Dot>(&similarity)) {
    const double scale = s->scale.value_or(1 / std::sqrt(static_cast<double>(depth)));
    return {Formula::product, static_cast<float>(scale), static_cast<float>(scale)};
  }
  if (const auto* s = std::get_if<Cosine>(&similarity)) {
    return {Formula::angle, static_cast<float>(1 / s->temperature), static_cast<float>(s->temperature)};
  }
  if (const auto* s = std::get_if<Gaussian>(&similarity)) {
    return {Formula::square, static_cast<float>(-0.5 / (s->bandwidth * s->bandwidth)),
            static_cast<float>(s->bandwidth)};
  }
  if (const auto* s = std::get_if<Euclidean>(&similarity)) {
    return {Formula::distance, static_cast<float>(-1 / s->temperature), static_cast<float>(s->temperature)};
  }
  return {Formula::zero, 0, 1};
}

float raw(const Formula& f, const float* q, const float* k, Index depth) {
  switch (f.kind) {
    case Formula::product:
      return dot(q, k, depth);
    case Formula::angle: {
      const float lengths = std::sqrt(dot(q, q, depth)) * std::sqrt(dot(k, k, depth));
      return lengths == 0 ? 0 : dot(q, k, depth) / lengths;
    }
    case Formula::square:
      return squared_distance(q, k, depth);
    case Formula::distance:
      return std::sqrt(squared_distance(q, k, depth));
    case Formula::zero:
      return 0;
  }
  return 0;
}

/// One element of d raw/d q, and the size of the terms it is made of. Exchange q and k for d raw/d k. The
/// lengths matter to a cosine only.
struct Slope {
  float value, terms;
};
Slope slope(const Formula& f, float q, float k, float q_length, float k_length, float x) {
  switch (f.kind) {
    case Formula::product:
      return {k, std::fabs(k)};
    case Formula::angle: {
      if (q_length == 0 || k_length == 0) return {0, 0};
      const float first = k / k_length, second = x * q / q_length;
      return {(first - second) / q_length, (std::fabs(first) + std::fabs(second)) / q_length};
    }
    case Formula::square:
      return {2 * (q - k), 2 * std::fabs(q - k)};
    case Formula::distance:
      if (x == 0) return {0, 0};
      return {(q - k) / x, std::fabs(q - k) / x};
    case Formula::zero:
      return {0, 0};
  }
  return {0, 0};
}

/// d logit/d parameter.
float parameter_slope(const Formula& f, float x) {
  switch (f.kind) {
    case Formula::product:
      return x;
    case Formula::square:
      return -2 * f.factor * x / f.parameter;
    case Formula::angle:
    case Formula::distance:
      return -f.factor * x / f.parameter;
    case Formula::zero:
      return 0;
  }
  return 0;
}

double largest(const Array<double, 4>& a) { return a.empty() ? 0 : *std::max_element(a.begin(), a.end()); }

}  // namespace

PlainResult plain_attend(const Inputs& in, const Similarity& similarity, const Mask& mask) {
  const auto& shape = in.query.shape();
  const Index group = shape[1] / in.key.shape()[1], keys = in.key.shape()[2], depth = shape[3];
  const Index value_depth = in.value.shape()[3];
  const Formula f = formula_of(similarity, depth);
  PlainResult result{Array<float, 4>({shape[0], shape[1], shape[2], value_depth}),
                     Array<float, 3>({shape[0], shape[1], shape[2]})};
  std::vector<float> logit(static_cast<std::size_t>(keys));
  for (Index b = 0; b < shape[0]; ++b) {
    for (Index h = 0; h < shape[1]; ++h) {
      for (Index i = 0; i < shape[2]; ++i) {
        float max = kNothing, sum = 0;
        for (Index j = 0; j < keys; ++j) {
          float& l = logit[static_cast<std::size_t>(j)];
          l = kNothing;
          if (!reference::visible(mask, b, i, j)) continue;
          l = f.factor * raw(f, &in.query(b, h, i, 0), &in.key(b, h / group, j, 0), depth);
          max = std::max(max, l);
        }
        result.lse(b, h, i) = kNothing;
        if (max == kNothing) continue;
        for (float& l : logit) sum += (l = std::exp(l - max));
        result.lse(b, h, i) = max + std::log(sum);
        for (Index j = 0; j < keys; ++j) {
          const float weight = logit[static_cast<std::size_t>(j)] / sum;
          for (Index c = 0; c < value_depth; ++c)
            result.out(b, h, i, c) += weight * in.value(b, h / group, j, c);
        }
      }
    }
  }
  return result;
}

PlainGradients plain_backward(const Inputs& in, const PlainResult& result, const Similarity& similarity,
                              const Mask& mask) {
  const auto& shape = in.query.shape();
  const Index group = shape[1] / in.key.shape()[1], keys = in.key.shape()[2], depth = shape[3];
  const Index value_depth = in.value.shape()[3];
  const Formula f = formula_of(similarity, depth);
  PlainGradients g{Array<float, 4>(shape), Array<float, 4>(in.key.shape()),
                   Array<float, 4>(in.value.shape())};
  Array<double, 4> query_terms(shape), key_terms(in.key.shape()), value_terms(in.value.shape());
  for (Index b = 0; b < shape[0]; ++b) {
    for (Index h = 0; h < shape[1]; ++h) {
      for (Index i = 0; i < shape[2]; ++i) {
        const float lse = result.lse(b, h, i), d_lse = in.d_lse(b, h, i);
        if (lse == kNothing) continue;
        const float *q = &in.query(b, h, i, 0), *d_out = &in.d_out(b, h, i, 0),
                    *out = &result.out(b, h, i, 0);
        const float delta = dot(d_out, out, value_depth);
        const float delta_terms = dot_terms(d_out, out, value_depth) + std::fabs(d_lse);
        float parameter = 0;
        for (Index j = 0; j < keys; ++j) {
          if (!reference::visible(mask, b, i, j)) continue;
          const float *k = &in.key(b, h / group, j, 0), *v = &in.value(b, h / group, j, 0);
          const float x = raw(f, q, k, depth);
          const float q_length = std::sqrt(dot(q, q, depth)), k_length = std::sqrt(dot(k, k, depth));
          const float weight = std::exp(f.factor * x - lse);
          const float d_logit = weight * (dot(d_out, v, value_depth) - delta + d_lse);
          const double d_terms =
              static_cast<double>(weight * (dot_terms(d_out, v, value_depth) + delta_terms));
          for (Index c = 0; c < value_depth; ++c) {
            g.value(b, h / group, j, c) += weight * d_out[c];
            value_terms(b, h / group, j, c) += static_cast<double>(std::fabs(weight * d_out[c]));
          }
          for (Index c = 0; c < depth; ++c) {
            const Slope to_q = slope(f, q[c], k[c], q_length, k_length, x);
            const Slope to_k = slope(f, k[c], q[c], k_length, q_length, x);
            g.query(b, h, i, c) += d_logit * f.factor * to_q.value;
            g.key(b, h / group, j, c) += d_logit * f.factor * to_k.value;
            query_terms(b, h, i, c) += d_terms * static_cast<double>(std::fabs(f.factor) * to_q.terms);
            key_terms(b, h / group, j, c) += d_terms * static_cast<double>(std::fabs(f.factor) * to_k.terms);
          }
          parameter += d_logit * parameter_slope(f, x);
          g.parameter_terms += d_terms * static_cast<double>(std::fabs(parameter_slope(f, x)));
        }
        g.parameter += static_cast<double>(parameter);
      }
    }
  }
  g.query_terms = largest(query_terms);
  g.key_terms = largest(key_terms);
  g.value_terms = largest(value_terms);
  return g;
}

}  // namespace kith::test
