// Which rows can stand for all: prototypes.
#pragma once

#include <vector>

#include "neighbors/model.h"

namespace kith::neighbors {

/// Positions of `count` stored rows, ascending; 2 <= count <= rows. Rows are alike where their keys are and
/// where their neighbors say the same.
///  - Regression: k-means clusters (Lloyd 1982), and of each the row that is nearest to its center and whose
///  target
///    is nearest to what its neighbors say, so that noise stays behind.
///  - Classification: cells of equally many rows, by median splits, and of each the row near its center whose
///  class
///    keeps the classes' shares, over the cells one after the other, what they are among all rows. (Clusters
///    keep the typical label of each, and predictions become too sure of themselves.)
std::vector<Index> choose_prototypes(const Model::Impl& model, Index count, int threads);

}  // namespace kith::neighbors
