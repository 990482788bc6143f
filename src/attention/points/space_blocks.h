// Points of three dimensions sorted into cubic blocks, and sets of blocks.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "attention/points/cells.h"
#include "attention/points/points.h"
#include "attention/points/space_table.h"

namespace kith::points {

/// Cells of one step an axis laid from the smallest coordinates of the keys on, kSpaceSide an axis to a
/// block. A block's code counts blocks from kMargin before the first one with keys, z fastest.
struct SpaceGrid {
  static constexpr Index kMargin = 5;      ///< what a key's sums reach, and one, so that neighbors have codes
  static constexpr Index kMost = 1 << 16;  ///< blocks an axis: places keep 2^-33 of a cell, codes fit

  std::array<double, 3> low{};
  double inverse = 1;             ///< 1 / step
  std::array<Index, 3> blocks{};  ///< an axis, with the margins
  bool countable = true;          ///< false: too many, or a step without an inverse

  /// In cells.
  double along(int axis, const float* row) const {
    return (static_cast<double>(row[axis]) - low[static_cast<std::size_t>(axis)]) * inverse;
  }
  Index stride(int axis) const { return axis == 2 ? 1 : axis == 1 ? blocks[2] : blocks[1] * blocks[2]; }
  Index codes() const { return blocks[0] * blocks[1] * blocks[2]; }
  /// codes() for a point outside of what keys may reach.
  Index code(const float* row) const;
  /// Block coordinates of a code, from the first block with keys on.
  std::array<Index, 3> place(Index code) const;
};
SpaceGrid lay_space(Rows keys, Index count, double bandwidth, int threads);

/// A block's cell is its code.
CellOrder sort_into_space(const SpaceGrid& grid, Rows points, Index count, int threads);

/// About how many blocks hold a point, from a hash of 2^18 bits.
double estimate_space(const SpaceGrid& grid, Rows points, Index count, int threads);

/// Codes, ascending, and the place of each by hash.
class SpaceSet {
 public:
  SpaceSet() = default;
  /// Any order, any number of times each.
  explicit SpaceSet(std::vector<Index> codes);
  Index size() const { return static_cast<Index>(codes_.size()); }
  Index operator[](Index i) const { return codes_[static_cast<std::size_t>(i)]; }
  /// -1: not in the set.
  Index find(Index code) const {
    for (std::size_t at = slot(code);; at = (at + 1) & mask_) {
      const std::int32_t i = table_[at];
      if (i < 0 || codes_[static_cast<std::size_t>(i)] == code) return i;
    }
  }
  bool has(Index code) const { return find(code) >= 0; }
  /// The codes up to `reach` strides from one of these.
  SpaceSet spread(Index stride, Index reach) const;
  /// Those of `spread(stride, reach)` that are in `others`.
  SpaceSet spread_into(Index stride, Index reach, const SpaceSet& others) const;

 private:
  std::size_t slot(Index code) const {
    return static_cast<std::size_t>((static_cast<std::uint64_t>(code) * 0x9e3779b97f4a7c15u) >> 32) & mask_;
  }
  std::vector<Index> codes_;
  std::vector<std::int32_t> table_ = {-1};
  std::size_t mask_ = 0;
};

}  // namespace kith::points
