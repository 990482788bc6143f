// Keys ordered in space: the tree that lets a query skip those too far away to matter.
//
// A k-d order: the points are halved across the widest side of their bounding box, again and again, down to
// leaves of 16. A Hilbert curve visits as few leaves (measured) but spends its fixed number of bits on the
// whole bounding box, so that a single outlier takes the order away from all others; halving adapts itself.
// Every left part holds a power of two of leaves, so leaf i's ancestors are i / 16, i / 256, ..., no
// pointers.
#pragma once

#include <cstdint>
#include <vector>

#include "array/threads.h"
#include "attention/points/kernels/skip_kernels.h"
#include "attention/points/points.h"
#include "kith/view.h"

namespace kith::points {

/// Rows in k-d order: an aligned run of 2^i leaves of `leaf` rows is one cell of the tree.
std::vector<std::uint32_t> spatial_order(const Rows& rows, Index count, Index depth, Index leaf, int threads);

/// Owns what the kernels' SkipTree points into: (depth + value_depth) * 4 bytes a key, boxes 1/8 of that.
class KeyTree {
 public:
  explicit KeyTree(const Task& task);
  const kernels::SkipTree& view() const { return view_; }

 private:
  Array<float, 1> leaves_;  // Array's memory is aligned for vector loads
  std::vector<Array<float, 1>> boxes_;
  kernels::SkipTree view_;
};

}  // namespace kith::points
