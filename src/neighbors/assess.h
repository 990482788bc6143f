// How good a finished metric is: errors, calibration and effective neighbors, all leave-one-out.
#pragma once

#include <vector>

#include "neighbors/model.h"

namespace kith::neighbors {

/// Rows to be predicted from the model's stored ones, with their truths.
struct Asked {
  View<const float, 2> query;       ///< keys of the model, [n, width]
  Index self = 0;                   ///< query i does not see stored row i + self, if there is one.
  std::vector<double> number;       ///< regression: n targets.
  std::vector<std::uint32_t> code;  ///< classification: n classes.
};

/// Sets the model's errors and, for regression, its calibration to what these rows show.
void judge(Model::Impl& model, const std::vector<Asked>& parts, int threads);

/// The stored rows, each predicted from all others: errors, calibration and effective neighbors. Where all
/// rows would take too long a sample stands for them, and a note says so.
void assess(Model::Impl& model, int threads);

/// The median of the stored rows' effective neighbors, on a sample.
void count_effective_neighbors(Model::Impl& model, int threads);

}  // namespace kith::neighbors
