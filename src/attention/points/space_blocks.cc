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

// Stable counting sort: the order does not depend on the number of chunks.
void sort_by_counting(const SpaceGrid& grid, Rows points, Index count, int threads, SpaceBlocks& out) {
  const Index cells = grid.codes();
  const Index chunks = std::clamp<Index>(std::min<Index>(threads, 4 * count / (cells + 1)), 1, 64);
  const auto first = [&](Index chunk) { return chunk * count / chunks; };
  const auto width = static_cast<std::size_t>(cells + 1);
  std::vector<std::uint32_t> codes(static_cast<std::size_t>(count));
  std::vector<std::uint32_t> place(width * static_cast<std::size_t>(chunks));  // [chunk][cell]
  parallel_for(threads, chunks, [&](Index chunk) {
    std::uint32_t* counts = place.data() + width * static_cast<std::size_t>(chunk);
    for (Index i = first(chunk); i < first(chunk + 1); ++i) {
      const auto c = static_cast<std::uint32_t>(grid.code(points[i]));
      codes[static_cast<std::size_t>(i)] = c;
      ++counts[c];
    }
  });
  std::uint32_t at = 0;
  for (Index cell = 0; cell <= cells; ++cell) {
    const std::uint32_t begin = at;
    for (Index chunk = 0; chunk < chunks; ++chunk) {
      std::uint32_t& slot = place[width * static_cast<std::size_t>(chunk) + static_cast<std::size_t>(cell)];
      const std::uint32_t n = slot;
      slot = at;
      at += n;
    }
    if (cell == cells) {
      out.outside = begin;
    } else if (at > begin) {
      out.blocks.push_back({cell, begin, at});
    }
  }
  parallel_for(threads, chunks, [&](Index chunk) {
    std::uint32_t* to = place.data() + width * static_cast<std::size_t>(chunk);
    for (Index i = first(chunk); i < first(chunk + 1); ++i) {
      out.order[to[codes[static_cast<std::size_t>(i)]]++] = static_cast<std::uint32_t>(i);
    }
  });
}

void sort_by_comparing(const SpaceGrid& grid, Rows points, Index count, SpaceBlocks& out) {
  std::vector<std::pair<Index, std::uint32_t>> codes(static_cast<std::size_t>(count));
  for (Index i = 0; i < count; ++i) {
    codes[static_cast<std::size_t>(i)] = {grid.code(points[i]), static_cast<std::uint32_t>(i)};
  }
  std::sort(codes.begin(), codes.end());
  out.outside = count;
  for (Index i = 0; i < count;) {
    const Index c = codes[static_cast<std::size_t>(i)].first, begin = i;
    for (; i < count && codes[static_cast<std::size_t>(i)].first == c; ++i) {
      out.order[static_cast<std::size_t>(i)] = codes[static_cast<std::size_t>(i)].second;
    }
    if (c == grid.codes()) {
      out.outside = begin;
    } else {
      out.blocks.push_back({c, begin, i});
    }
  }
}

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

SpaceBlocks sort_into_space(const SpaceGrid& grid, Rows points, Index count, int threads) {
  SpaceBlocks result;
  result.order.resize(static_cast<std::size_t>(count));
  if (grid.codes() <= std::max<Index>(4 * count, 65536)) {
    sort_by_counting(grid, points, count, threads, result);
  } else {
    sort_by_comparing(grid, points, count, result);
  }
  return result;
}

double estimate_space(const SpaceGrid& grid, Rows points, Index count, int threads) {
  // Bits of all chunks are joined with or: the estimate does not depend on the threads.
  constexpr unsigned kBits = 18;
  const Index chunks = std::clamp<Index>(std::min<Index>(threads, count / kChunk), 1, 64);
  std::vector<std::vector<std::uint64_t>> seen(static_cast<std::size_t>(chunks),
                                               std::vector<std::uint64_t>((1u << kBits) / 64));
  parallel_for(threads, chunks, [&](Index chunk) {
    std::vector<std::uint64_t>& bits = seen[static_cast<std::size_t>(chunk)];
    for (Index i = chunk * count / chunks; i < (chunk + 1) * count / chunks; ++i) {
      std::uint64_t z = static_cast<std::uint64_t>(grid.code(points[i])) * 0x9e3779b97f4a7c15u;
      z = (z ^ z >> 32) * 0xd6e8feb86659fd93u >> (64 - kBits);
      bits[z >> 6] |= std::uint64_t{1} << (z & 63);
    }
  });
  double filled = 0;
  for (std::size_t i = 0; i < seen[0].size(); ++i) {
    std::uint64_t all = 0;
    for (const auto& bits : seen) all |= bits[i];
    filled += std::popcount(all);
  }
  constexpr double kAll = 1u << kBits;
  return -kAll * std::log1p(-std::min(filled, kAll - 1) / kAll);
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
