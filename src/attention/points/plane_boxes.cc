#include "attention/points/plane_boxes.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "array/threads.h"
#include "attention/points/cells.h"

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
  constexpr Index kFew = 4096;
  const Code code(grid, margin, strip);
  CellOrder cells =
      sort_by_cell([&](Index i) { return code(points[i]); }, code.cells(), count, kFew, threads);
  PlaneBoxes result{std::move(cells.order), {}, cells.outside};
  result.boxes.reserve(cells.runs.size());
  for (const CellRun& run : cells.runs) result.boxes.push_back(code.box(run.cell, run.begin, run.end));
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
  const Code code(grid, 0, grid.nx);
  return estimate_cells<20>([&](Index i) { return code(points[i]); }, count, threads);
}

}  // namespace kith::points
