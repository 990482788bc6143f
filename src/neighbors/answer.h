// What the stored rows say about queries: one call of the operator.
#pragma once

#include <optional>
#include <vector>

#include "kith/attention.h"
#include "kith/neighbors.h"
#include "neighbors/interval.h"
#include "neighbors/objective.h"

namespace kith::neighbors {

struct Answers {
  std::vector<Neighborhood> neighborhood;  ///< regression.
  Array<double, 2> probability;            ///< classification: [queries, classes].
  Array<float, 4> top_weight;              ///< [1, 1, queries, top]
  Array<Index, 4> top_key;
  Array<float, 3> received;  ///< [1, 1, keys]: the sum of the weights each got, if asked for.
};

/// `key` and `query` are as `similarity` compares them, `value` as in Model::Impl. `self`: query i is key i +
/// *self and does not see it. `prior`: without frequencies for regression.
Answers answer(const Similarity& similarity, View<const float, 2> key, View<const float, 2> value,
               const Prior& prior, View<const float, 2> query, std::optional<Index> self, int top,
               int threads, bool received = false);

/// Each query's effective number of neighbors, 1 / sum of squared weights, without itself. A Gaussian of
/// bandwidth 1 or Euclidean of temperature 1.
std::vector<double> effective_neighbors(const Similarity& similarity, View<const float, 2> key,
                                        View<const float, 2> query, Index self, int threads);

}  // namespace kith::neighbors
