#include "neighbors/key_loss.h"

#include <algorithm>
#include <cmath>

namespace kith::neighbors {
namespace {

/// The prior's least share, which bounds the log loss.
constexpr double kLeastPrior = 3e-3;

/// The neighbors' part of the answer: their sum of weights against the prior's.
double neighbors_share(double lse, double log_weight) { return 1 / (1 + std::exp(log_weight - lse)); }

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

KeyLoss::Value KeyLoss::evaluate(View<const float, 2> query, View<const float, 2> truth,
                                 View<const float, 2> key, View<const float, 2> value,
                                 std::optional<Index> self, double prior_log_weight, bool gradient,
                                 View<const double, 2> metric) {
  AttentionOptions options;
  options.metric.matrix = metric;
  options.similarity = similarity_;
  if (self) options.mask = exclude_self(*self);
  options.want.lse = true;
  options.threads = threads_;
  attend(query, key, value, options, result_, workspace_);

  const Index n = query.shape[0], values = truth.shape[1];
  Value found;
  Loss& loss = found.loss;
  loss.row.resize(static_cast<std::size_t>(n));
  Array<float, 2> d_out({n, values});
  Array<float, 3> d_lse({1, 1, n});
  const Prior prior{.frequency = frequency_, .log_weight = prior_log_weight};
  std::vector<double> probability(frequency_.size());
  for (Index i = 0; i < n; ++i) {
    const float* out = result_.out.data() + i * values;
    const float* is = truth.data + i * truth.stride[0];
    double& row = loss.row[static_cast<std::size_t>(i)];
    if (frequency_.empty()) {
      const double error = static_cast<double>(out[0]) - static_cast<double>(is[0]);
      row = error * error;
      d_out(i, 0) = static_cast<float>(2 * error / static_cast<double>(n));
    } else {
      const Index c = std::max_element(is, is + values) - is;
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
      found.by_prior_log_weight -= d_logit;
    }
    loss.mean += row;
  }
  loss.mean /= static_cast<double>(std::max<Index>(1, n));
  if (gradient) {
    found.by_row = attend_backward(query, key, value, result_, d_out, options,
                                   frequency_.empty() ? View<const float, 3>{} : d_lse.view());
  }
  return found;
}

}  // namespace kith::neighbors
