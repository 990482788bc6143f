#include "check.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kith/reference.h"

namespace kith::bench {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double largest(const Array<double, 4>& array) {
  double most = 0;
  for (double x : array) most = std::max(most, std::abs(x));
  return most;
}

// max() alone would pass over NaN.
double worse(double a, double b) { return std::isnan(b) ? kInfinity : std::max(a, b); }

// A few rows, both ends among them; more where there are many, since methods may differ from place to place.
std::vector<Index> sample(Index rows) {
  const Index count = std::min(rows, rows > 4096 ? Index{16} : Index{3});
  std::vector<Index> chosen;
  for (Index s = 0; s < count; ++s) chosen.push_back(count == 1 ? 0 : s * (rows - 1) / (count - 1));
  return chosen;
}

View<const double, 4> one_row(const Array<double, 4>& array, Index row) {
  View<const double, 4> view = array;
  view.data += row * view.stride[2];
  view.shape[2] = 1;
  return view;
}

// The options of a call with query `row` alone.
AttentionOptions options_of_row(const AttentionOptions& options, Index row) {
  AttentionOptions alone = options;
  if (alone.mask.causal_offset) *alone.mask.causal_offset += row;
  if (alone.mask.window) alone.mask.window->offset += row;
  alone.bias.offset += row;
  if (alone.bias.array.data != nullptr) {
    alone.bias.array.data += row * alone.bias.array.stride[2];
    alone.bias.array.shape[2] = 1;
  }
  return alone;
}

double dot(const double* a, const double* b, Index count) {
  double sum = 0;
  for (Index k = 0; k < count; ++k) sum += a[k] * b[k];
  return sum;
}

}  // namespace

double difference(const Array<double, 4>& a, const Array<double, 4>& b) {
  const Shape<4> sa = a.shape(), sb = b.shape();
  if (sa[1] != sb[1] || sa[2] > sb[2] || sa[3] != sb[3] || a.empty()) return kInfinity;
  double most = 0;
  for (Index h = 0; h < sa[1]; ++h)
    for (Index i = 0; i < sa[2]; ++i)
      for (Index c = 0; c < sa[3]; ++c) most = worse(most, std::abs(a(0, h, i, c) - b(0, h, i, c)));
  return most / largest(b);
}

double tolerance(const Problem& problem) {
  if (problem.dtype == Dtype::float64) return 1e-12;
  if (problem.round_weights) return 5e-3;  // to 8 bits of precision
  return 1e-4;
}

double peer_tolerance(Dtype dtype) {
  if (dtype == Dtype::float64) return 1e-10;
  if (dtype == Dtype::bfloat16) return 3e-2;
  return dtype == Dtype::float16 ? 5e-3 : 1e-3;
}

double check_forward(const Array<double, 4>& query, const Array<double, 4>& key,
                     const Array<double, 4>& value, const Array<double, 4>& out,
                     const AttentionOptions& options) {
  double most = 0;
  for (Index row : sample(query.shape()[2])) {
    const auto expected = reference::attend(one_row(query, row), key, value, options_of_row(options, row));
    for (Index h = 0; h < out.shape()[1]; ++h)
      for (Index c = 0; c < out.shape()[3]; ++c)
        most = worse(most, std::abs(out(0, h, row, c) - expected.out(0, h, 0, c)));
  }
  return most / largest(value);
}

// P_ij = exp(s q_i k_j - lse_i), dS_ij = P_ij (dO_i v_j - dO_i out_i):
// dV_j = sum_i P_ij dO_i, dK_j = s sum_i dS_ij q_i, dQ_i by the reference. Only the first and the last head.
double check_backward(const Exact& exact, const DoubleGradients& gradients, const AttentionOptions& options) {
  const Index heads = exact.query.shape()[1], n = exact.query.shape()[2], m = exact.key.shape()[2];
  const Index d = exact.query.shape()[3], dv = exact.value.shape()[3];
  const double scale = 1 / std::sqrt(static_cast<double>(d));
  const double dq_size = largest(gradients.query), dk_size = largest(gradients.key),
               dv_size = largest(gradients.value);
  double most = 0;
  for (Index i : sample(n)) {
    const AttentionOptions alone = options_of_row(options, i);
    const auto result = reference::attend(one_row(exact.query, i), exact.key, exact.value, alone);
    const auto expected = reference::attend_backward(one_row(exact.query, i), exact.key, exact.value, result,
                                                     Upstream<double>{.out = one_row(exact.d_out, i)}, alone);
    for (Index h = 0; h < heads; ++h)
      for (Index c = 0; c < d; ++c)
        most = worse(most, std::abs(gradients.query(0, h, i, c) - expected.query(0, h, 0, c)) / dq_size);
  }
  for (Index h = 0; h < heads; h += std::max(Index{1}, heads - 1)) {
    const auto visible = [&](Index i) { return options.mask.causal_offset ? std::min(m, i + 1) : m; };
    std::vector<double> lse(static_cast<std::size_t>(n)), logit(static_cast<std::size_t>(m));
    for (Index i = 0; i < n; ++i) {
      double max = -kInfinity, sum = 0;
      for (Index j = 0; j < visible(i); ++j) {
        logit[static_cast<std::size_t>(j)] = scale * dot(&exact.query(0, h, i, 0), &exact.key(0, h, j, 0), d);
        max = std::max(max, logit[static_cast<std::size_t>(j)]);
      }
      for (Index j = 0; j < visible(i); ++j) sum += std::exp(logit[static_cast<std::size_t>(j)] - max);
      lse[static_cast<std::size_t>(i)] = max + std::log(sum);
    }
    for (Index j : sample(m)) {
      std::vector<double> dk(static_cast<std::size_t>(d)), dvalue(static_cast<std::size_t>(dv));
      for (Index i = 0; i < n; ++i) {
        if (j >= visible(i)) continue;
        const double* d_out = &exact.d_out(0, h, i, 0);
        const double p = std::exp(scale * dot(&exact.query(0, h, i, 0), &exact.key(0, h, j, 0), d) -
                                  lse[static_cast<std::size_t>(i)]);
        const double ds =
            p * (dot(d_out, &exact.value(0, h, j, 0), dv) - dot(d_out, &exact.out(0, h, i, 0), dv));
        for (Index c = 0; c < d; ++c) dk[static_cast<std::size_t>(c)] += scale * ds * exact.query(0, h, i, c);
        for (Index c = 0; c < dv; ++c) dvalue[static_cast<std::size_t>(c)] += p * d_out[c];
      }
      for (Index c = 0; c < d; ++c)
        most = worse(most, std::abs(gradients.key(0, h, j, c) - dk[static_cast<std::size_t>(c)]) / dk_size);
      for (Index c = 0; c < dv; ++c)
        most = worse(most,
                     std::abs(gradients.value(0, h, j, c) - dvalue[static_cast<std::size_t>(c)]) / dv_size);
    }
  }
  return most;
}

}  // namespace kith::bench
