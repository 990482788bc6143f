// Queries that the transform in space cannot bound: a direct sum over the blocks in reach.
#pragma once

#include <vector>

#include "attention/points/space_points.h"

namespace kith::points {

/// What a row may cost: keys looked at to find the nearest, and again keys summed. A direct sum of one row
/// costs 6 ns a key; more is better left to a method that shares work among rows, though that one has to sort
/// all keys anew. It has to be decided by the row and the keys alone, for its bits not to depend on others.
constexpr Index space_far_keys(Index keys) { return keys / 64 > 4096 ? keys / 64 : 4096; }
/// Blocks to either side that are looked at; half as many again where the nearest key is almost as far.
constexpr Index kSpaceFarReach = 4;

/// Writes the rows among `far` that cost no more than that and leaves the others in it. Keys are left out
/// that weigh 1e-8 of the sum together. The rest is double arithmetic, relative to the nearest key.
void sum_space_far(const Task& task, const SpaceGrid& grid, const SpaceSorted& keys, std::vector<Index>& far);

}  // namespace kith::points
