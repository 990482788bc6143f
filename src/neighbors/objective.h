// The loss that fitting lowers, and its gradient: the operator forward and backward.
#pragma once

#include <optional>
#include <vector>

#include "kith/attention.h"
#include "kith/neighbors.h"

namespace kith::neighbors {

/// What classes are before any neighbor is asked. It answers along with the stored rows, as one more key
/// whose logit is `log_weight` for every query and whose value is the class frequencies: near neighbors
/// outweigh it, and where all rows are far it decides. A small share of it stays in any case, so no
/// probability is 0.
struct Prior {
  std::vector<double> frequency;  ///< empty for regression.
  double log_weight = -3;
};

/// Probabilities of one row from its weighted shares of the classes and its lse.
void mix_in(const Prior& prior, const float* share, double lse, double* probability);

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

struct Loss {
  double mean = 0;
  std::vector<double> row;       ///< each query's.
  std::vector<double> gradient;  ///< of `mean` with respect to the parameters, if asked for.
};

/// Mean loss of the operator's predictions: squared error in units of the target's variance, or log loss. Its
/// parameters are the features' log bandwidths (+inf: ignored) and, for classification, the prior's log
/// weight.
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

  bool classifies() const { return !frequency_.empty(); }
  std::vector<double> parameters(const Smoother& smoother) const;
  Smoother smoother(const std::vector<double>& parameters) const;

 private:
  std::vector<std::size_t> coordinate_feature_;
  std::size_t features_;
  std::vector<double> frequency_;
  int threads_;
  AttentionResult result_;
  Workspace workspace_;
};

}  // namespace kith::neighbors
