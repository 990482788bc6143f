// The loss as a function of bandwidths, and its gradient.
#pragma once

#include <optional>
#include <vector>

#include "kith/neighbors.h"
#include "neighbors/key_loss.h"

namespace kith::neighbors {

/// What a search finds.
struct Smoother {
  std::vector<double> bandwidth;  ///< per feature; +inf: ignored.
  double prior_log_weight = -3;   ///< classification.
};

/// Rows that answer (keys, values) or ask (queries, truths). `key` [n, w] is encoded with bandwidth 1;
/// `value` is [n, 1] with (target - mean) / deviation, or [n, classes] with 1 at the row's class.
struct Rows {
  View<const float, 2> key;
  View<const float, 2> value;

  Index count() const { return key.shape[0]; }
  Rows slice(Index first, Index n) const;
};

/// KeyLoss of a Gaussian whose parameters are the features' log bandwidths (+inf: ignored) and, for
/// classification, the prior's log weight.
class Objective {
 public:
  /// `coordinate_feature`: the feature of each of the w coordinates. `frequency`: of the classes; empty for
  /// regression.
  Objective(std::vector<std::size_t> coordinate_feature, std::size_t features, std::vector<double> frequency,
            int threads);

  /// `queries` predicted from `keys` by a Gaussian. `self`: query i is key i + *self, which it then does not
  /// see (leave-one-out).
  Loss evaluate(const Rows& keys, const Rows& queries, std::optional<Index> self,
                const std::vector<double>& parameters, bool gradient);

  bool classifies() const { return loss_.classifies(); }
  std::vector<double> parameters(const Smoother& smoother) const;
  Smoother smoother(const std::vector<double>& parameters) const;

 private:
  std::vector<std::size_t> coordinate_feature_;
  std::size_t features_;
  KeyLoss loss_;
};

}  // namespace kith::neighbors
