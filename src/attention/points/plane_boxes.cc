#include "attention/points/plane_boxes.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "array/threads.h"

namespace kith::points {
namespace {

constexpr Index kMostBoxes = Index{1} << 30;  // an axis; codes then fit 64 bits with room
constexpr Index kChunk = 65536;

struct Range {
  float low_x = std::numeric_limits<float>::infinity(), high_x = -low_x;
  float low_y = low_x, high_y = -low_x;
};

// A point's place in the order of boxes.
struct Code {
  const PlaneGrid& grid;
  Index margin, strip, nx, ny;

  Code(const PlaneGrid& g, Index around, Index wanted_strip)
      : grid(g),
        margin(around),
        strip(std::min(wanted_strip, g.nx + 2 * around)),
        nx(g.nx + 2 * around),
        ny(g.ny + 2 * around) {}

  Index strips() const { return (nx + strip - 1) / strip; }
  Index cells() const { return strips() * strip * ny; }  // and the code of a point outside
  Index operator()(const float* row) const {
    const double m = static_cast<double>(margin);
    const double x = grid.along_x(row) + m, y = grid.along_y(row) + m;
    if (!(x >= 0 && x < static_cast<double>(nx) && y >= 0 && y < static_cast<double>(ny))) return cells();
    const auto column = static_cast<Index>(x), line = static_cast<Index>(y);
    const Index s = strip == nx ? 0 : column / strip;
    return (s * ny + line) * strip + (column - s * strip);
  }
  PlaneBox box(Index code, Index begin, Index end) const {
    const Index line = code / strip, s = line / ny;
    return {s * strip + code % strip - margin, line - s * ny - margin, begin, end};
  }
};

// Stable counting sort: the order does not depend on the number of chunks.
void sort_by_counting(const Code& code, Rows points, Index count, int threads, PlaneBoxes& out) {
  const Index cells = code.cells();
  const Index chunks = std::clamp<Index>(std::min<Index>(threads, 4 * count / (cells + 1)), 1, 64);
  const auto first = [&](Index chunk) { return chunk * count / chunks; };
  const auto width = static_cast<std::size_t>(cells + 1);
  std::vector<std::uint32_t> codes(static_cast<std::size_t>(count));
  std::vector<std::uint32_t> place(width * static_cast<std::size_t>(chunks));  // [chunk][cell]
  parallel_for(threads, chunks, [&](Index chunk) {
    std::uint32_t* counts = place.data() + width * static_cast<std::size_t>(chunk);
    for (Index i = first(chunk); i < first(chunk + 1); ++i) {
      const auto c = static_cast<std::uint32_t>(code(points[i]));
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
      out.boxes.push_back(code.box(cell, begin, at));
    }
  }
  parallel_for(threads, chunks, [&](Index chunk) {
    std::uint32_t* to = place.data() + width * static_cast<std::size_t>(chunk);
    for (Index i = first(chunk); i < first(chunk + 1); ++i) {
      out.order[to[codes[static_cast<std::size_t>(i)]]++] = static_cast<std::uint32_t>(i);
    }
  });
}

void sort_by_comparing(const Code& code, Rows points, Index count, PlaneBoxes& out) {
  std::vector<std::pair<Index, std::uint32_t>> codes(static_cast<std::size_t>(count));
  for (Index i = 0; i < count; ++i) {
    codes[static_cast<std::size_t>(i)] = {code(points[i]), static_cast<std::uint32_t>(i)};
  }
  std::sort(codes.begin(), codes.end());
  const Index cells = code.cells();
  out.outside = count;
  for (Index i = 0; i < count;) {
    const Index c = codes[static_cast<std::size_t>(i)].first, begin = i;
    for (; i < count && codes[static_cast<std::size_t>(i)].first == c; ++i) {
      out.order[static_cast<std::size_t>(i)] = codes[static_cast<std::size_t>(i)].second;
    }
    if (c == cells) {
      out.outside = begin;
    } else {
      out.boxes.push_back(code.box(c, begin, i));
    }
  }
}

}  // namespace

PlaneGrid lay_grid(Rows keys, Index count, double width, int threads) {
  const Index chunks = (count + kChunk - 1) / kChunk;
  std::vector<Range> ranges(static_cast<std::size_t>(chunks));
  parallel_for(threads, chunks, [&](Index chunk) {
    Range r;
    for (Index i = chunk * kChunk; i < std::min(count, (chunk + 1) * kChunk); ++i) {
      const float *row = keys[i], x = row[0], y = row[1];
      r.low_x = std::min(r.low_x, x);
      r.high_x = std::max(r.high_x, x);
      r.low_y = std::min(r.low_y, y);
      r.high_y = std::max(r.high_y, y);
    }
    ranges[static_cast<std::size_t>(chunk)] = r;
  });
  Range all;
  for (const Range& r : ranges) {
    all.low_x = std::min(all.low_x, r.low_x);
    all.high_x = std::max(all.high_x, r.high_x);
    all.low_y = std::min(all.low_y, r.low_y);
    all.high_y = std::max(all.high_y, r.high_y);
  }
  PlaneGrid grid;
  if (count == 0) return grid;
  grid.x0 = static_cast<double>(all.low_x);
  grid.y0 = static_cast<double>(all.low_y);
  grid.inverse = 1 / width;
  const float high[2] = {all.high_x, all.high_y};
  const double right = grid.along_x(high), top = grid.along_y(high);
  // Also false where the inverse is infinite and a product is NaN.
  grid.countable = std::isfinite(grid.inverse) && right < static_cast<double>(kMostBoxes) &&
                   top < static_cast<double>(kMostBoxes);
  if (grid.countable) {
    grid.nx = static_cast<Index>(right) + 1;
    grid.ny = static_cast<Index>(top) + 1;
  }
  return grid;
}

PlaneBoxes sort_into_boxes(const PlaneGrid& grid, Rows points, Index count, Index margin, Index strip,
                           int threads) {
  PlaneBoxes result;
  result.order.resize(static_cast<std::size_t>(count));
  const Code code(grid, margin, strip);
  if (code.cells() <= std::max<Index>(4 * count, 4096)) {
    sort_by_counting(code, points, count, threads, result);
  } else {
    sort_by_comparing(code, points, count, result);
  }
  return result;
}

std::vector<PlaneLine> lines_of(const PlaneBoxes& boxes) {
  std::vector<PlaneLine> lines;
  const auto count = static_cast<Index>(boxes.boxes.size());
  for (Index i = 0; i < count; ++i) {
    const Index y = boxes.boxes[static_cast<std::size_t>(i)].y;
    if (lines.empty() || lines.back().y != y) lines.push_back({y, i, i});
    lines.back().end = i + 1;
  }
  return lines;
}

double estimate_boxes(const PlaneGrid& grid, Rows points, Index count, int threads) {
  // Bits of all chunks are joined with or: the estimate does not depend on the threads.
  constexpr unsigned kBits = 20;
  const Code code(grid, 0, grid.nx);
  const Index chunks = std::clamp<Index>(std::min<Index>(threads, count / kChunk), 1, 64);
  std::vector<std::vector<std::uint64_t>> seen(static_cast<std::size_t>(chunks),
                                               std::vector<std::uint64_t>((1u << kBits) / 64));
  parallel_for(threads, chunks, [&](Index chunk) {
    std::vector<std::uint64_t>& bits = seen[static_cast<std::size_t>(chunk)];
    for (Index i = chunk * count / chunks; i < (chunk + 1) * count / chunks; ++i) {
      std::uint64_t z = static_cast<std::uint64_t>(code(points[i])) * 0x9e3779b97f4a7c15u;
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
