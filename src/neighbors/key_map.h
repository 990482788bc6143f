// From cells to the keys that a model compares: encoding, bandwidths and what a metric makes of them.
#pragma once

#include <vector>

#include "neighbors/model.h"

namespace kith::neighbors {

/// Keys of rows, as the model's stored ones: [rows, width].
Array<float, 2> keys_of(const Model::Impl& model, const Cells& cells, int threads = 0);

/// Which coordinates of the encoded rows are numbers, for an encoder; the others tell categories and blanks.
std::vector<bool> number_coordinates(const std::vector<Encoding>& encodings);

/// How far a query is from stored rows in each feature: the length of that feature's part of the difference
/// of keys. In bandwidths for the metrics that have them, else in units of the logit.
class Apart {
 public:
  /// `cells`: the queries'.
  Apart(const Model::Impl& model, const Cells& cells);
  /// Of query i from stored row j, both from 0; one number a feature.
  std::vector<double> operator()(Index i, Index j) const;

 private:
  const Model::Impl& model_;
  std::vector<std::size_t> feature_of_;  // of each column of `query_`
  Array<float, 2> query_;                // what the last linear map gets
  Array<double, 2> matrix_;              // that map; empty: none
};

}  // namespace kith::neighbors
