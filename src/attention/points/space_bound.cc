#include "attention/points/space_bound.h"

#include <algorithm>
#include <cstdlib>

#include "array/threads.h"

namespace kith::points {
namespace {

constexpr Index kBlocksATask = 64;
constexpr Index kSide = kSpaceCoarseSide, kCells = kSpaceCoarseCells;

/// Of the axes so far, a cell: the sum over the keys of the largest weights, and of their errors.
struct Part {
  double largest = 0, error = 0;
};
using Parts = std::vector<Part>;  // [blocks][kCells]

/// A product of two factors is wrong by at most e1 (g2 + e2) + g1 e2; `largest` is g + e.
void add_axis(int axis, const SpaceTable& table, const Part* from, Index offset, Part* to) {
  const Index stride = axis == 0 ? kSide * kSide : axis == 1 ? kSide : 1;
  for (Index cell = 0; cell < kCells; ++cell) {
    const Index at = cell / stride % kSide, first = cell - at * stride;
    for (Index k = 0; k < kSide; ++k) {
      const Index apart = std::abs(offset * kSide + at - k);
      const Part& p = from[first + k * stride];
      to[cell].error += p.error * table.largest[apart] + p.largest * table.error[apart];
      to[cell].largest += p.largest * table.largest[apart];
    }
  }
}

Parts along(const SpaceGrid& grid, int axis, const SpaceSet& sources, const Parts& from,
            const SpaceSet& targets, int threads) {
  const SpaceTable& table = space_table();
  Parts to(static_cast<std::size_t>(targets.size() * kCells));
  parallel_for(threads, (targets.size() + kBlocksATask - 1) / kBlocksATask, [&](Index task) {
    for (Index i = task * kBlocksATask; i < std::min(targets.size(), (task + 1) * kBlocksATask); ++i) {
      for (Index offset = -kSpaceBoundReach; offset <= kSpaceBoundReach; ++offset) {
        const Index source = sources.find(targets[i] - offset * grid.stride(axis));
        if (source < 0) continue;
        add_axis(axis, table, from.data() + source * kCells, offset, to.data() + i * kCells);
      }
    }
  });
  return to;
}

SpaceSet codes_of(const SpaceSorted& points) {
  std::vector<Index> codes;
  for (const CellRun& b : points.runs) codes.push_back(b.cell);
  return SpaceSet(std::move(codes));
}

}  // namespace

std::vector<double> space_bound(const SpaceGrid& grid, const SpaceSorted& keys, const SpaceSorted& targets,
                                int threads) {
  // What is needed of each stage, from the last to the first; blocks that no key reaches are left out.
  const SpaceSet last = codes_of(targets), sources = codes_of(keys);
  const SpaceSet after_y = last.spread(grid.stride(0), kSpaceBoundReach),
                 after_z = after_y.spread(grid.stride(1), kSpaceBoundReach);
  const SpaceSet z = sources.spread_into(grid.stride(2), kSpaceBoundReach, after_z),
                 y = z.spread_into(grid.stride(1), kSpaceBoundReach, after_y);
  Parts parts(static_cast<std::size_t>(sources.size() * kCells));
  for (std::size_t i = 0; i < parts.size(); ++i) parts[i].largest = keys.counts[i];
  parts = along(grid, 2, sources, parts, z, threads);
  parts = along(grid, 1, z, parts, y, threads);
  parts = along(grid, 0, y, parts, last, threads);
  const double beyond = space_table().beyond * static_cast<double>(keys.outside);
  std::vector<double> bound;
  bound.reserve(parts.size());
  for (const Part& p : parts) bound.push_back(p.error + beyond);
  return bound;
}

}  // namespace kith::points
