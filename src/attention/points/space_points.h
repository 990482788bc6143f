// Points sorted into blocks of cells: their coordinates in that order, and the points of one cell after the
// other, as the kernels take them.
#pragma once

#include <array>
#include <utility>
#include <vector>

#include "attention/points/kernels/space.h"
#include "attention/points/space_blocks.h"
#include "hwy/aligned_allocator.h"

namespace kith::points {

using SpaceNumbers = hwy::AlignedFreeUniquePtr<double[]>;
inline SpaceNumbers space_numbers(Index count) {
  return hwy::AllocateAligned<double>(static_cast<std::size_t>(count));
}

/// Cells of a block, from the lowest to the highest that hold a point.
struct SpaceTouched {
  std::array<int, 3> low, high;
};

struct SpaceSorted : CellOrder {
  std::vector<std::array<float, 3>> point;  ///< in the order of `order`, without those outside
  std::vector<SpaceTouched> touched;        ///< [blocks]
  /// Keys in each cell of the bound: [blocks][kSpaceCoarseCells]. Empty for queries.
  std::vector<std::uint32_t> counts;

  SpaceSorted(const SpaceGrid& grid, Rows rows, Index count, bool counted, int threads);
  /// Codes of the blocks of nodes that block b's points touch.
  template <class Each>
  void for_touched(const SpaceGrid& grid, Index b, Each&& each) const {
    const SpaceTouched& t = touched[static_cast<std::size_t>(b)];
    const auto below = [](int cell) { return cell < kSpaceBefore ? -1 : 0; };
    const auto above = [](int cell) { return cell + kSpaceAfter >= kSpaceSide ? 1 : 0; };
    for (int x = below(t.low[0]); x <= above(t.high[0]); ++x) {
      for (int y = below(t.low[1]); y <= above(t.high[1]); ++y) {
        for (int z = below(t.low[2]); z <= above(t.high[2]); ++z) {
          each(x, y, z, runs[static_cast<std::size_t>(b)].cell + x * grid.stride(0) + y * grid.stride(1) + z);
        }
      }
    }
  }
  SpaceSet nodes(const SpaceGrid& grid) const;
};

constexpr Index kSpaceCoarseCells = kSpaceCoarseSide * kSpaceCoarseSide * kSpaceCoarseSide;

/// Some points of a block, by cell.
class SpaceCells {
 public:
  static constexpr Index kMost = 2048;
  SpaceCells();
  /// Points [begin, end) of the order, all in block b; at most kMost.
  void load(const SpaceGrid& grid, const SpaceSorted& sorted, Index b, Index begin, Index end);
  /// each(cell x, y, z, places [3], rows, count): at most kSpaceGroup points of one cell; rows count from
  /// begin on.
  template <class Each>
  void for_groups(Each&& each) const {
    for (Index cell = 0; cell < kSpaceBlock; ++cell) {
      const Index end = ends_[static_cast<std::size_t>(cell)];
      for (Index i = cell == 0 ? 0 : ends_[static_cast<std::size_t>(cell - 1)]; i < end; i += kSpaceGroup) {
        const std::array<const double*, 3> place{place_.get() + i, place_.get() + kMost + i,
                                                 place_.get() + 2 * kMost + i};
        each(cell / (kSpaceSide * kSpaceSide), cell / kSpaceSide % kSpaceSide, cell % kSpaceSide, place,
             row_.data() + i, std::min(kSpaceGroup, end - i));
      }
    }
  }

 private:
  SpaceNumbers place_ = space_numbers(3 * kMost);  // 2 f - 1 an axis, by cell
  std::vector<std::uint32_t> row_;
  std::vector<std::uint16_t> cell_;
  std::vector<Index> ends_;
};

/// Where a point lies in its block along an axis: the cell, and the place in it.
inline std::pair<int, double> space_cell(const SpaceGrid& grid, int axis, const float* row, Index block) {
  const double at = grid.along(axis, row) - static_cast<double>(block * kSpaceSide);
  const int cell = std::clamp(static_cast<int>(at), 0, kSpaceSide - 1);
  return {cell, at - cell};
}

}  // namespace kith::points
