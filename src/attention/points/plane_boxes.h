// Points of the plane sorted into square boxes.
#pragma once

#include <cstdint>
#include <vector>

#include "attention/points/points.h"

namespace kith::points {

/// Boxes of one width laid from the smallest coordinates of the keys on: a point lies in box
/// (floor((x - x0) / width), floor((y - y0) / width)).
struct PlaneGrid {
  double x0 = 0, y0 = 0;
  double inverse = 1;     ///< 1 / width
  Index nx = 0, ny = 0;   ///< boxes an axis that hold the keys
  bool countable = true;  ///< false: too many boxes an axis, or a width that has no inverse

  double along_x(const float* row) const { return (static_cast<double>(row[0]) - x0) * inverse; }
  double along_y(const float* row) const { return (static_cast<double>(row[1]) - y0) * inverse; }
};
PlaneGrid lay_grid(Rows keys, Index count, double width, int threads);

/// Rows order[begin], ..., order[end - 1] of what was sorted, ascending.
struct PlaneBox {
  Index x, y;
  Index begin, end;
};
struct PlaneBoxes {
  std::vector<std::uint32_t> order;
  std::vector<PlaneBox> boxes;  ///< those with points
  Index outside = 0;            ///< order[outside], ... are out of every box's reach
};

/// boxes[begin], ..., boxes[end - 1], all in row y of the grid.
struct PlaneLine {
  Index y, begin, end;
};
/// Of boxes ordered by rows.
std::vector<PlaneLine> lines_of(const PlaneBoxes& boxes);

/// Boxes from -margin to nx + margin - 1, and likewise in y, in strips of `strip` columns: by strip, then
/// row, then column. strip >= nx + 2 margin orders by rows. O(points) while there are not many more boxes in
/// the grid than points, else O(points log points); memory is O(points) always.
PlaneBoxes sort_into_boxes(const PlaneGrid& grid, Rows points, Index count, Index margin, Index strip,
                           int threads);

/// About how many boxes hold a point, from a hash of 2^20 bits: 1 % of error up to 10^6 boxes, too few beyond
/// 10^7.
double estimate_boxes(const PlaneGrid& grid, Rows points, Index count, int threads);

}  // namespace kith::points
