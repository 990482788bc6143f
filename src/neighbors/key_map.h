// From cells to the keys that a model compares: encoding, bandwidths and what a metric makes of them.
#pragma once

#include <vector>

#include "neighbors/model.h"

namespace kith::neighbors {

/// Keys of rows, as the model's stored ones: [rows, width].
Array<float, 2> keys_of(const Model::Impl& model, const Cells& cells);

/// How far a query is from stored rows in each feature: the length of that feature's part of the difference
/// of keys, so 1 is a bandwidth apart.
class Apart {
 public:
  /// `cells`: the queries'.
  Apart(const Model::Impl& model, const Cells& cells);
  /// Of query i from stored row j, both from 0; one number a feature.
  std::vector<double> operator()(Index i, Index j) const;

 private:
  const Model::Impl& model_;
  std::vector<std::size_t> feature_of_;  // of each coordinate
  Array<float, 2> query_;                // coordinates in bandwidths
  Array<float, 2> stored_;               // likewise, where the model's keys are something else
};

}  // namespace kith::neighbors
