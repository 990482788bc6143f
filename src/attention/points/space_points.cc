#include "attention/points/space_points.h"

#include <algorithm>

#include "array/threads.h"

namespace kith::points {
namespace {
constexpr Index kBlocksATask = 16;
constexpr Index kPrefetch = 24;  // points ahead: about the latency of memory
}  // namespace

SpaceSorted::SpaceSorted(const SpaceGrid& grid, Rows rows, Index count, bool counted, int threads)
    : CellOrder(sort_into_space(grid, rows, count, threads)) {
  const auto size = static_cast<Index>(runs.size());
  point.resize(static_cast<std::size_t>(outside));
  touched.resize(runs.size());
  if (counted) counts.resize(static_cast<std::size_t>(size * kSpaceCoarseCells));
  parallel_for(threads, (size + kBlocksATask - 1) / kBlocksATask, [&](Index task) {
    for (Index b = task * kBlocksATask; b < std::min(size, (task + 1) * kBlocksATask); ++b) {
      const CellRun& block = runs[static_cast<std::size_t>(b)];
      const std::array<Index, 3> place = grid.place(block.cell);
      SpaceTouched t{{kSpaceSide, kSpaceSide, kSpaceSide}, {-1, -1, -1}};
      for (Index i = block.begin; i < block.end; ++i) {
        if (i + kPrefetch < outside) {
          __builtin_prefetch(rows[order[static_cast<std::size_t>(i + kPrefetch)]]);
        }
        const float* row = rows[order[static_cast<std::size_t>(i)]];
        Index coarse = 0;
        for (std::size_t axis = 0; axis < 3; ++axis) {
          point[static_cast<std::size_t>(i)][axis] = row[axis];
          const int cell = space_cell(grid, static_cast<int>(axis), row, place[axis]).first;
          t.low[axis] = std::min(t.low[axis], cell);
          t.high[axis] = std::max(t.high[axis], cell);
          coarse = coarse * kSpaceCoarseSide + cell / kSpaceCoarse;
        }
        if (counted) ++counts[static_cast<std::size_t>(b * kSpaceCoarseCells + coarse)];
      }
      touched[static_cast<std::size_t>(b)] = t;
    }
  });
}

SpaceSet SpaceSorted::nodes(const SpaceGrid& grid) const {
  std::vector<Index> codes;
  for (Index b = 0; b < static_cast<Index>(runs.size()); ++b) {
    for_touched(grid, b, [&](int, int, int, Index code) { codes.push_back(code); });
  }
  return SpaceSet(std::move(codes));
}

SpaceCells::SpaceCells()
    : row_(static_cast<std::size_t>(kMost)),
      cell_(static_cast<std::size_t>(kMost)),
      ends_(static_cast<std::size_t>(kSpaceBlock)) {}

void SpaceCells::load(const SpaceGrid& grid, const SpaceSorted& sorted, Index b, Index begin, Index end) {
  const std::array<Index, 3> place = grid.place(sorted.runs[static_cast<std::size_t>(b)].cell);
  std::array<std::uint32_t, kSpaceBlock + 1> at{};
  for (Index i = begin; i < end; ++i) {
    const float* row = sorted.point[static_cast<std::size_t>(i)].data();
    int cell = 0;
    for (int axis = 0; axis < 3; ++axis) {
      cell = cell * kSpaceSide + space_cell(grid, axis, row, place[static_cast<std::size_t>(axis)]).first;
    }
    cell_[static_cast<std::size_t>(i - begin)] = static_cast<std::uint16_t>(cell);
    ++at[static_cast<std::size_t>(cell + 1)];
  }
  for (std::size_t c = 1; c <= kSpaceBlock; ++c) {
    at[c] += at[c - 1];
    ends_[c - 1] = at[c];
  }
  for (Index i = begin; i < end; ++i) {
    const float* row = sorted.point[static_cast<std::size_t>(i)].data();
    const std::uint32_t to = at[cell_[static_cast<std::size_t>(i - begin)]]++;
    row_[to] = static_cast<std::uint32_t>(i - begin);
    for (int axis = 0; axis < 3; ++axis) {
      const double f = space_cell(grid, axis, row, place[static_cast<std::size_t>(axis)]).second;
      place_[static_cast<std::size_t>(axis * kMost + to)] = 2 * f - 1;
    }
  }
}

}  // namespace kith::points
