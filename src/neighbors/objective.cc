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

Objective::Objective(std::vector<std::size_t> coordinate_feature, std::size_t features,
                     std::vector<double> frequency, int threads)
    : coordinate_feature_(std::move(coordinate_feature)),
      features_(features),
      loss_(Gaussian{}, std::move(frequency), threads) {}

std::vector<double> Objective::parameters(const Smoother& smoother) const {
  std::vector<double> p;
  for (double h : smoother.bandwidth) p.push_back(std::log(h));
  if (classifies()) p.push_back(smoother.prior_log_weight);
  return p;
}

Smoother Objective::smoother(const std::vector<double>& parameters) const {
  Smoother s;
  for (std::size_t f = 0; f < features_; ++f) {
    const double h = std::exp(parameters[f]);
    s.bandwidth.push_back(std::isinf(h) ? h : std::clamp(h, kMinBandwidth, kMaxBandwidth));
  }
  if (classifies()) s.prior_log_weight = parameters[features_];
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
  const double log_weight = classifies() ? parameters[features_] : 0;
  KeyLoss::Value found = loss_.evaluate(q, queries.value, k, keys.value, self, log_weight, gradient);
  Loss loss = std::move(found.loss);
  if (!gradient) return loss;
  loss.gradient.assign(features_, 0.0);
  add_log_bandwidth_gradient(found.by_row.query, q, active, loss.gradient);
  add_log_bandwidth_gradient(found.by_row.key, k, active, loss.gradient);
  if (classifies()) loss.gradient.push_back(found.by_prior_log_weight);
  return loss;
}

}  // namespace kith::neighbors
