// Queries that the expansion in the plane cannot bound: a direct sum over the boxes in reach.
#pragma once

#include <vector>

#include "attention/points/plane_boxes.h"
#include "attention/points/points.h"

namespace kith::points {

/// What a row may cost: keys looked at to find the nearest, and again keys summed; lines of boxes looked
/// through. A direct sum of one row costs 3 ns a key, so that more is better left to a method that shares
/// work among rows; it has to be decided by the row alone, for its bits not to depend on others.
constexpr Index kPlaneFarKeys = 2048;
constexpr Index kPlaneFarLines = 512;

/// Writes the rows among `far` that cost no more than that and leaves the others in it. Keys at squared
/// distance d^2 > nearest^2 + 2 log(10^8 n) bandwidths^2 are left out: n of them are 1e-8 of the sum. The
/// rest is double arithmetic, relative to the nearest key, so that it holds at any distance.
void sum_far(const Task& task, const PlaneGrid& grid, const PlaneBoxes& keys,
             const std::vector<PlaneLine>& lines, std::vector<Index>& far);

}  // namespace kith::points
