// The loss of predictions by the rows whose keys are nearest, and its gradient with respect to the keys: what
// every metric is learned by.
#pragma once

#include <optional>
#include <vector>

#include "kith/attention.h"

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

struct Loss {
  double mean = 0;
  std::vector<double> row;       ///< each query's.
  std::vector<double> gradient;  ///< of `mean` with respect to the parameters, if asked for.
};

/// Mean loss of the operator's predictions: squared error in units of the target's variance, or log loss.
class KeyLoss {
 public:
  /// `frequency`: of the classes; empty for regression.
  KeyLoss(Similarity similarity, std::vector<double> frequency, int threads)
      : similarity_(std::move(similarity)), frequency_(std::move(frequency)), threads_(threads) {}

  struct Value {
    Loss loss;                       ///< without `gradient`
    AttentionGradients by_row;       ///< query and key: [1, 1, rows, width], if asked for
    double by_prior_log_weight = 0;  ///< classification
  };

  /// Queries [n, w] with truths [n, values] predicted from keys [m, w] with values [m, values]: values are
  /// [.., 1] with (target - mean) / deviation, or [.., classes] with 1 at the row's class. `self`: query i is
  /// key i + *self, which it then does not see (leave-one-out). `metric`: rows are multiplied by it first;
  /// by_row.metric is then its gradient.
  Value evaluate(View<const float, 2> query, View<const float, 2> truth, View<const float, 2> key,
                 View<const float, 2> value, std::optional<Index> self, double prior_log_weight,
                 bool gradient, View<const double, 2> metric = {});

  bool classifies() const { return !frequency_.empty(); }
  int threads() const { return threads_; }

 private:
  Similarity similarity_;
  std::vector<double> frequency_;
  int threads_;
  AttentionResult result_;
  Workspace workspace_;
};

}  // namespace kith::neighbors
