// A full metric: the distance |(x - y) A| over all coordinates together, so that directions count, not
// columns alone. Metric learning for kernel regression (Weinberger & Tesauro 2007).
#pragma once

#include <vector>

#include "neighbors/search.h"

namespace kith::neighbors {

struct Projection {
  Array<double, 2> matrix;  ///< A [coordinates, rank], for coordinates divided by their bandwidths
  double prior_log_weight = -3;
};

/// The metric that the bandwidths make.
Array<double, 2> identity(Index coordinates);

/// Rows of coordinates times the matrix, in double, to float.
Array<float, 2> project(View<const float, 2> rows, View<const double, 2> matrix);

/// The best matrix, from the identity. `problem` is encoded with them.
Projection find_projection(KeyLoss& loss, const SearchProblem& problem, double prior_log_weight,
                           Progress& progress);

/// By how much the leave-one-out error would rise without each feature, as rise_without.
std::vector<double> rise_without(KeyLoss& loss, const SearchProblem& problem, const Projection& projection,
                                 const std::vector<std::size_t>& coordinate_feature, std::size_t features);

}  // namespace kith::neighbors
