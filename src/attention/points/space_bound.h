// The bound of the errors of the fast Gauss transform in space: itself a sum of products.
#pragma once

#include <vector>

#include "attention/points/space_points.h"

namespace kith::points {

/// By how much the sum of the weights at any point of a cell of the bound may be wrong, in units where a key
/// at distance 0 counts 1: [targets' blocks][kSpaceCoarseCells]. Keys alone decide it.
std::vector<double> space_bound(const SpaceGrid& grid, const SpaceSorted& keys, const SpaceSorted& targets,
                                int threads);

}  // namespace kith::points
