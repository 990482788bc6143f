// The inner loops of skipping, behind plain functions: no vector type passes this header.
#pragma once

#include <cstdint>

#include "attention/points/points.h"

namespace kith::kernels {

constexpr Index kSkipLeaf = 16;    ///< keys a leaf: one AVX-512 vector.
constexpr Index kSkipFanout = 16;  ///< children whose boxes are tested at once.
constexpr Index kSkipRows = 64;    ///< queries that share a walk over the tree: one task.
constexpr int kSkipLevels = 9;     ///< enough for 2^36 keys.
constexpr Index kSkipDepth = 16;   ///< the most columns.
/// Squared distances to boxes are computed in float; they are off by less than this part of themselves: 2^-23
/// for each difference, 2^-24 for each of the 2 d steps after it.
constexpr double kSkipRounding = 4e-6;

/// Keys in the order of a tree. A group is up to 16 siblings; group g at level l holds the boxes of nodes 16
/// g
/// ... 16 g + 15 of that level (level 0: leaves), whose children are the groups of the same numbers a level
/// below. Boxes that do not exist are empty (+inf, -inf): at an infinite distance from everything.
struct SkipTree {
  Index depth = 0, value_depth = 0, groups = 0, count = 0;  ///< of leaves
  const float* leaves = nullptr;         ///< [leaf][depth + value_depth][16]; a missing key is at +inf.
                                         ///< One more leaf follows, all missing
  int levels = 0;                        ///< at least 2; the last has one group
  const float* boxes[kSkipLevels] = {};  ///< [group][depth][low, high][16]
};

/// How the weight follows from x = |q - k|^2.
struct SkipWeight {
  points::Kernel kernel = points::Kernel::gaussian;
  /// In units of log 2: gaussian exponent -x rate, laplace -sqrt(x) rate. Compact: u^2 = x rate.
  double rate = 1;
  double reach = 0;  ///< compact: h^2, weights are 0 from there on
};

/// One walk over the tree for a tile of rows. Row r adds the leaves whose squared distance (as computed in
/// float by the chain of operations in skip.cc) lies in (from[r], to[r]], in ascending order: rounding is
/// monotonic, so a box inside another is never nearer, and the set follows from the row and the tree alone.
struct SkipPass {
  const SkipTree* tree = nullptr;
  SkipWeight weight{};
  Index rows = 0;                ///< at most kSkipRows
  const float* query = nullptr;  ///< [rows][depth]
  const float* from = nullptr;   ///< [rows]; -1: from the first on
  const float* to = nullptr;     ///< [rows]; -1: nothing
  /// Exact: differences, squares and their comparison in double; x - shift[r] takes x's place in the exponent
  /// (laplace: sqrt(x) - shift[r]).
  bool exact = false;
  const double* shift = nullptr;  ///< [rows]
  double* sums = nullptr;         ///< [rows][1 + value_depth][16] lane sums of w and w v, added to
  float* scratch = nullptr;       ///< kSkipScratch numbers, 64-byte aligned
};

constexpr Index kSkipScratch = (64 + 4) * kSkipLeaf;
void skip_pass(const SkipPass& pass);

/// A squared distance, at most `outermost`, such that the weights of all leaves between it and `outermost`
/// sum to at most `budget` (16 keys a leaf, each at the leaf's nearest point). Gaussian and laplace.
float skip_cut(const SkipTree& tree, const SkipWeight& weight, const float* query, float outermost,
               double budget);

/// The smallest |q - k|^2 of all keys, in double.
double skip_nearest(const SkipTree& tree, const float* query);

}  // namespace kith::kernels
