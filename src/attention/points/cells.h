// Points in the order of the cells they lie in, for grids of any kind.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "array/threads.h"
#include "kith/view.h"

namespace kith::points {

/// Points order[begin], ..., order[end - 1] of a CellOrder, ascending.
struct CellRun {
  Index cell, begin, end;
};
struct CellOrder {
  std::vector<std::uint32_t> order;
  std::vector<CellRun> runs;  ///< cells with points, ascending
  Index outside = 0;          ///< order[outside], ... are in no cell
};

namespace internal {

// Stable counting sort: the order does not depend on the number of chunks.
template <class CellOf>
CellOrder sort_by_counting(const CellOf& cell_of, Index cells, Index count, int threads) {
  CellOrder result;
  result.order.resize(static_cast<std::size_t>(count));
  const Index chunks = std::clamp<Index>(std::min<Index>(threads, 4 * count / (cells + 1)), 1, 64);
  const auto first = [&](Index chunk) { return chunk * count / chunks; };
  const auto width = static_cast<std::size_t>(cells + 1);
  std::vector<std::uint32_t> found(static_cast<std::size_t>(count));
  std::vector<std::uint32_t> place(width * static_cast<std::size_t>(chunks));  // [chunk][cell]
  parallel_for(threads, chunks, [&](Index chunk) {
    std::uint32_t* counts = place.data() + width * static_cast<std::size_t>(chunk);
    for (Index i = first(chunk); i < first(chunk + 1); ++i) {
      const auto cell = static_cast<std::uint32_t>(cell_of(i));
      found[static_cast<std::size_t>(i)] = cell;
      ++counts[cell];
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
      result.outside = begin;
    } else if (at > begin) {
      result.runs.push_back({cell, begin, at});
    }
  }
  parallel_for(threads, chunks, [&](Index chunk) {
    std::uint32_t* to = place.data() + width * static_cast<std::size_t>(chunk);
    for (Index i = first(chunk); i < first(chunk + 1); ++i) {
      result.order[to[found[static_cast<std::size_t>(i)]]++] = static_cast<std::uint32_t>(i);
    }
  });
  return result;
}

template <class CellOf>
CellOrder sort_by_comparing(const CellOf& cell_of, Index cells, Index count) {
  CellOrder result;
  result.order.resize(static_cast<std::size_t>(count));
  std::vector<std::pair<Index, std::uint32_t>> found(static_cast<std::size_t>(count));
  for (Index i = 0; i < count; ++i) {
    found[static_cast<std::size_t>(i)] = {cell_of(i), static_cast<std::uint32_t>(i)};
  }
  std::sort(found.begin(), found.end());
  result.outside = count;
  for (Index i = 0; i < count;) {
    const Index cell = found[static_cast<std::size_t>(i)].first, begin = i;
    for (; i < count && found[static_cast<std::size_t>(i)].first == cell; ++i) {
      result.order[static_cast<std::size_t>(i)] = found[static_cast<std::size_t>(i)].second;
    }
    if (cell == cells) {
      result.outside = begin;
    } else {
      result.runs.push_back({cell, begin, i});
    }
  }
  return result;
}

}  // namespace internal

/// cell_of(i) of points 0, ..., count - 1 < 2^31 is below `cells`, or `cells` for a point that is in none.
/// O(points) while there are not many more cells than points and `few`, else O(points log points); memory is
/// O(points + few).
template <class CellOf>
CellOrder sort_by_cell(const CellOf& cell_of, Index cells, Index count, Index few, int threads) {
  if (cells <= std::max(4 * count, few)) return internal::sort_by_counting(cell_of, cells, count, threads);
  return internal::sort_by_comparing(cell_of, cells, count);
}

/// About how many cells hold a point, from a hash of 2^kBits bits: 1 % of error up to as many cells, too few
/// beyond ten times that.
template <unsigned kBits, class CellOf>
double estimate_cells(const CellOf& cell_of, Index count, int threads) {
  // Bits of all chunks are joined with or: the estimate does not depend on the threads.
  constexpr Index kChunk = 65536;
  const Index chunks = std::clamp<Index>(std::min<Index>(threads, count / kChunk), 1, 64);
  std::vector<std::vector<std::uint64_t>> seen(static_cast<std::size_t>(chunks),
                                               std::vector<std::uint64_t>((1u << kBits) / 64));
  parallel_for(threads, chunks, [&](Index chunk) {
    std::vector<std::uint64_t>& bits = seen[static_cast<std::size_t>(chunk)];
    for (Index i = chunk * count / chunks; i < (chunk + 1) * count / chunks; ++i) {
      std::uint64_t z = static_cast<std::uint64_t>(cell_of(i)) * 0x9e3779b97f4a7c15u;
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

}  // namespace kith::points
