#include "neighbors/objective.h"

#include <algorithm>
#include <cmath>

#include "neighbors/encoding.h"

namespace kith::neighbors {

Rows Rows::slice(Index first, Index n) const {
  Rows part = *this;
  part.key.data += first * key.stride[0];
  part.value.data += first * value.stride[0];
  part.key.shape[0] = part.value.shape[0] = n;
  return part;
}

namespace {

/// The prior's least share, which bounds the log loss.
constexpr double kLeastPrior = 3e-3;

/// The neighbors' part of the answer: their sum of weights against the prior's.
double neighbors_share(double lse, double log_weight) { return 1 / (1 + std::exp(log_weight - lse)); }

/// The coordinates that count, each with the inverse of its bandwidth.
struct Active {
  std::vector<std::size_t> coordinate, feature;
  std::vector<float> inverse;

  Index width() const { return static_cast<Index>(coordinate.size()); }
};

Array<float, 2> scale_rows(View<const float, 2> rows, const Active& active) {
  Array<float, 2> out({rows.shape[0], active.width()});
  for (Index i = 0; i < rows.shape[0]; ++i) {
    const float* from = rows.data + i * rows.stride[0];
    float* to = out.data() + i * active.width();
    for (std::size_t a = 0; a < active.inverse.size(); ++a) {
      to[a] = scaled(from[active.coordinate[a]], active.inverse[a]);
    }
  }
  return out;
}

/// A coordinate is x / h, so its derivative by log h is -x / h: minus itself.
void add_log_bandwidth_gradient(const Array<float, 4>& by_coordinate, const Array<float, 2>& coordinates,
                                const Active& active, std::vector<double>& gradient) {
  std::vector<double> sum(active.inverse.size(), 0.0);
  for (Index i = 0; i < coordinates.shape()[0]; ++i) {
    const float* a = by_coordinate.data() + i * active.width();
    const float* b = coordinates.data() + i * active.width();
    for (std::size_t c = 0; c < sum.size(); ++c)
      sum[c] -= static_cast<double>(a[c]) * static_cast<double>(b[c]);
  }
  for (std::size_t c = 0; c < sum.size(); ++c) gradient[active.feature[c]] += sum[c];
}

}  // namespace

void mix_in(const Prior& prior, const float* share, double lse, double* probability) {
  const std::size_t classes = prior.frequency.size();
  double sum = 0;
  for (std::size_t c = 0; c < classes; ++c) sum += static_cast<double>(share[c]);
  const double kept = sum > 0 ? (1 - kLeastPrior) * neighbors_share(lse, prior.log_weight) : 0.0;
  for (std::size_t c = 0; c < classes; ++c) {
    probability[c] =
        (1 - kept) * prior.frequency[c] + (sum > 0 ? kept / sum * static_cast<double>(share[c]) : 0.0);
  }
}

Objective::Objective(std::vector<std::size_t> coordinate_feature, std::size_t features,
                     std::vector<double> frequency, int threads)
    : coordinate_feature_(std::move(coordinate_feature)),
      features_(features),
      frequency_(std::move(frequency)),
      threads_(threads) {}

std::vector<double> Objective::parameters(const Smoother& smoother) const {
  std::vector<double> p;
  for (double h : smoother.bandwidth) p.push_back(std::log(h));
  if (!frequency_.empty()) p.push_back(smoother.prior_log_weight);
  return p;
}

Smoother Objective::smoother(const std::vector<double>& parameters) const {
  Smoother s;
  for (std::size_t f = 0; f < features_; ++f) {
    const double h = std::exp(parameters[f]);
    s.bandwidth.push_back(std::isinf(h) ? h : std::clamp(h, kMinBandwidth, kMaxBandwidth));
  }
  if (!frequency_.empty()) s.prior_log_weight = parameters[features_];
  return s;
}

Loss Objective::evaluate(const Rows& keys, const Rows& queries, std::optional<Index> self,
                         const std::vector<double>& parameters, bool gradient) {
  Active active;
  for (std::size_t c = 0; c < coordinate_feature_.size(); ++c) {
    const double log_h = parameters[coordinate_feature_[c]];
    if (std::isinf(log_h)) continue;
    active.coordinate.push_back(c);
    active.feature.push_back(coordinate_feature_[c]);
    active.inverse.push_back(static_cast<float>(std::exp(-log_h)));
  }
  const Array<float, 2> k = scale_rows(keys.key, active);
  const Array<float, 2> q = scale_rows(queries.key, active);
  AttentionOptions options;
  options.similarity = Gaussian{};
  if (self) options.mask = exclude_self(*self);
  options.want.lse = true;
  options.threads = threads_;
  attend(q, k, keys.value, options, result_, workspace_);

  const Index n = queries.count(), values = queries.value.shape[1];
  Loss loss;
  loss.row.resize(static_cast<std::size_t>(n));
  Array<float, 2> d_out({n, values});
  Array<float, 3> d_lse({1, 1, n});
  Prior prior{.frequency = frequency_};
  if (!frequency_.empty()) prior.log_weight = parameters[features_];
  double d_log_weight = 0;
  std::vector<double> probability(frequency_.size());
  for (Index i = 0; i < n; ++i) {
    const float* out = result_.out.data() + i * values;
    const float* truth = queries.value.data + i * queries.value.stride[0];
    double& row = loss.row[static_cast<std::size_t>(i)];
    if (frequency_.empty()) {
      const double error = static_cast<double>(out[0]) - static_cast<double>(truth[0]);
      row = error * error;
      d_out(i, 0) = static_cast<float>(2 * error / static_cast<double>(n));
    } else {
      const Index c = std::max_element(truth, truth + values) - truth;
      const double lse = static_cast<double>(result_.lse(0, 0, i));
      mix_in(prior, out, lse, probability.data());
      const double p = probability[static_cast<std::size_t>(c)];
      row = -std::log(p);
      // p = kept share + (1 - kept) frequency, where kept = (1 - least) sigmoid(lse - log_weight).
      const double d_p = -1 / (p * static_cast<double>(n));
      const double sigmoid = neighbors_share(lse, prior.log_weight);
      const double d_kept =
          d_p * (static_cast<double>(out[c]) - prior.frequency[static_cast<std::size_t>(c)]);
      const double d_logit = d_kept * (1 - kLeastPrior) * sigmoid * (1 - sigmoid);
      d_out(i, c) = static_cast<float>(d_p * (1 - kLeastPrior) * sigmoid);
      d_lse(0, 0, i) = static_cast<float>(d_logit);
      d_log_weight -= d_logit;
    }
    loss.mean += row;
  }
  loss.mean /= static_cast<double>(std::max<Index>(1, n));
  if (!gradient) return loss;

  const AttentionGradients g = attend_backward(q, k, keys.value, result_, d_out, options,
                                               frequency_.empty() ? View<const float, 3>{} : d_lse.view());
  loss.gradient.assign(features_, 0.0);
  add_log_bandwidth_gradient(g.query, q, active, loss.gradient);
  add_log_bandwidth_gradient(g.key, k, active, loss.gradient);
  if (!frequency_.empty()) loss.gradient.push_back(d_log_weight);
  return loss;
}

}  // namespace kith::neighbors
