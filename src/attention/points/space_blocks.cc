#include "attention/points/space_blocks.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "array/threads.h"

namespace kith::points {
namespace {

constexpr Index kChunk = 65536;

struct Range {
  std::array<float, 3> low, high;
  Range() {
    low.fill(std::numeric_limits<float>::infinity());
    high.fill(-std::numeric_limits<float>::infinity());
  }
  void take(const std::array<float, 3>& a, const std::array<float, 3>& b) {
    for (std::size_t c = 0; c < 3; ++c) {
      low[c] = std::min(low[c], a[c]);
      high[c] = std::max(high[c], b[c]);
    }
  }
};

}  // namespace

Index SpaceGrid::code(const float* row) const {
  Index code = 0;
  for (int axis = 0; axis < 3; ++axis) {
    const Index most = blocks[static_cast<std::size_t>(axis)];
    const double at = along(axis, row) / kSpaceSide + static_cast<double>(kMargin);
    if (!(at >= 0 && at < static_cast<double>(most))) return codes();
    code = code * most + static_cast<Index>(at);
  }
  return code;
}

std::array<Index, 3> SpaceGrid::place(Index code) const {
  const Index line = code / blocks[2];
  return {line / blocks[1] - kMargin, line % blocks[1] - kMargin, code % blocks[2] - kMargin};
}

SpaceGrid lay_space(Rows keys, Index count, double bandwidth, int threads) {
  const Index chunks = (count + kChunk - 1) / kChunk;
  std::vector<Range> ranges(static_cast<std::size_t>(chunks));
  parallel_for(threads, chunks, [&](Index chunk) {
    Range r;
    for (Index i = chunk * kChunk; i < std::min(count, (chunk + 1) * kChunk); ++i) {
      const float* row = keys[i];
      const std::array<float, 3> at{row[0], row[1], row[2]};
      r.take(at, at);
    }
    ranges[static_cast<std::size_t>(chunk)] = r;
  });
  Range all;
  for (const Range& r : ranges) all.take(r.low, r.high);
  SpaceGrid grid;
  if (count == 0) return grid;
  grid.inverse = kSpaceSteps / bandwidth;
  for (std::size_t axis = 0; axis < 3; ++axis) grid.low[axis] = static_cast<double>(all.low[axis]);
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const double end = grid.along(static_cast<int>(axis), all.high.data()) / kSpaceSide;
    // Also false where the inverse is infinite and a product is NaN.
    grid.countable =
        grid.countable && std::isfinite(grid.inverse) && end < static_cast<double>(SpaceGrid::kMost);
    if (grid.countable) grid.blocks[axis] = static_cast<Index>(end) + 1 + 2 * SpaceGrid::kMargin;
  }
  return grid;
}

CellOrder sort_into_space(const SpaceGrid& grid, Rows points, Index count, int threads) {
  constexpr Index kFew = 65536;
  return sort_by_cell([&](Index i) { return grid.code(points[i]); }, grid.codes(), count, kFew, threads);
}

double estimate_space(const SpaceGrid& grid, Rows points, Index count, int threads) {
  return estimate_cells<18>([&](Index i) { return grid.code(points[i]); }, count, threads);
}

SpaceSet::SpaceSet(std::vector<Index> codes) : codes_(std::move(codes)) {
  std::sort(codes_.begin(), codes_.end());
  codes_.erase(std::unique(codes_.begin(), codes_.end()), codes_.end());
  codes_.shrink_to_fit();
  mask_ = std::bit_ceil(2 * codes_.size() + 1) - 1;
  table_.assign(mask_ + 1, -1);
  for (std::size_t i = 0; i < codes_.size(); ++i) {
    std::size_t at = slot(codes_[i]);
    while (table_[at] >= 0) at = (at + 1) & mask_;
    table_[at] = static_cast<std::int32_t>(i);
  }
}

SpaceSet SpaceSet::spread(Index stride, Index reach) const {
  std::vector<Index> codes;
  codes.reserve(codes_.size() * static_cast<std::size_t>(2 * reach + 1));
  for (Index step = -reach; step <= reach; ++step) {
    for (const Index code : codes_) codes.push_back(code + step * stride);
  }
  return SpaceSet(std::move(codes));
}

SpaceSet SpaceSet::spread_into(Index stride, Index reach, const SpaceSet& others) const {
  std::vector<Index> codes;
  for (const Index code : others.codes_) {
    for (Index step = -reach; step <= reach; ++step) {
      if (!has(code + step * stride)) continue;
      codes.push_back(code);
      break;
    }
  }
  return SpaceSet(std::move(codes));
}

}  // namespace kith::points
