#include "neighbors/answer.h"

#include <algorithm>
#include <cmath>

namespace kith::neighbors {

Answers answer(const Similarity& similarity, View<const float, 2> key, View<const float, 2> value,
               const Prior& prior, View<const float, 2> query, std::optional<Index> self, int top,
               int threads, bool received) {
  AttentionOptions options;
  options.similarity = similarity;
  if (self) options.mask = exclude_self(*self);
  options.want.lse = true;
  options.want.top = top;
  options.want.received = received;
  options.threads = threads;
  AttentionResult result = attend(query, key, value, options);

  const Index n = query.shape[0], values = value.shape[1];
  Answers answers;
  answers.top_weight = std::move(result.top_weight);
  answers.top_key = std::move(result.top_key);
  answers.received = std::move(result.received);
  if (!prior.frequency.empty()) {
    answers.probability = Array<double, 2>({n, values});
    for (Index i = 0; i < n; ++i) {
      mix_in(prior, result.out.data() + i * values, static_cast<double>(result.lse(0, 0, i)),
             answers.probability.data() + i * values);
    }
    return answers;
  }
  // E[y^2] - E[y]^2 in float: below this share of E[y^2] nothing but rounding is left.
  constexpr double kRounding = 1e-6;
  answers.neighborhood.resize(static_cast<std::size_t>(n));
  for (Index i = 0; i < n; ++i) {
    Neighborhood& at = answers.neighborhood[static_cast<std::size_t>(i)];
    at.mean = static_cast<double>(result.out(0, 0, i, 0));
    const double square = static_cast<double>(result.out(0, 0, i, 1));
    const double variance = square - at.mean * at.mean;
    at.variance = variance > kRounding * square ? variance : 0.0;
    at.lse = static_cast<double>(result.lse(0, 0, i));
  }
  return answers;
}

std::vector<double> effective_neighbors(const Similarity& similarity, View<const float, 2> key,
                                        View<const float, 2> query, Index self, int threads) {
  AttentionOptions options;
  options.mask = exclude_self(self);
  options.want.lse = true;
  options.threads = threads;
  const Array<float, 2> nothing({key.shape[0], 1});
  // Squared weights are weights at twice the logits: sum w^2 = exp(lse(2 logits) - 2 lse(logits)).
  options.similarity = similarity;
  const AttentionResult once = attend(query, key, nothing, options);
  if (std::holds_alternative<Euclidean>(similarity)) {
    options.similarity = Euclidean{.temperature = 0.5};
  } else {
    options.similarity = Gaussian{.bandwidth = std::sqrt(0.5)};
  }
  const AttentionResult twice = attend(query, key, nothing, options);
  std::vector<double> effective(static_cast<std::size_t>(query.shape[0]));
  for (std::size_t i = 0; i < effective.size(); ++i) {
    const auto at = static_cast<Index>(i);
    const double log_effective =
        2 * static_cast<double>(once.lse(0, 0, at)) - static_cast<double>(twice.lse(0, 0, at));
    effective[i] = std::isfinite(log_effective) ? std::max(1.0, std::exp(log_effective)) : 0.0;
  }
  return effective;
}

}  // namespace kith::neighbors
