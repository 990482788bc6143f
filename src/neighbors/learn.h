// The ladder of metrics: each rung starts from the one before.
#pragma once

#include "neighbors/model.h"
#include "neighbors/search.h"

namespace kith::neighbors {

/// Finds what options.metric asks for: the features' bandwidths, rises and importances, the projection or the
/// encoder, the prior's weight, and one_bandwidth on the way. `model` has its rows, encodings and targets. A
/// search that `progress` stops leaves the best so far.
void learn_metric(Model::Impl& model, const FitOptions& options, Progress& progress);

/// At most so many steps of progress.
int most_steps(const Model::Impl& model, const FitOptions& options);

}  // namespace kith::neighbors
