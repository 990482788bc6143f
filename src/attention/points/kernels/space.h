// The inner loops of the fast Gauss transform in space, behind plain functions.
//
// A block of nodes is [x][y][z] of kSpaceSide each. Keys of one cell are spread together: the kSpaceWindow^2
// rows of their stencil along z take 10 numbers each, a vector of 8 and one of 2 (with AVX2 4 + 4 + 2), of
// which five rows stay in registers while all keys of the cell are added. Queries are evaluated one by one,
// five planes of the stencil at a time.
//
// Cost, in FMAs of one vector of 8 doubles, where the one of 2 counts half: a key or a query 150 to 170 a
// column and 41 for its weights; a block 7,700 a column for the three convolutions.
#pragma once

#include "attention/points/space_table.h"
#include "kith/view.h"

namespace kith::points {

constexpr Index kSpaceGroup = 32;       ///< points of one cell taken together, at most
constexpr Index kSpaceMostColumns = 2;  ///< columns taken together, at most
/// Nodes an axis that the points of a block touch, from kSpaceBefore before it on.
constexpr Index kSpaceLocal = kSpaceSide + kSpaceWindow - 1;
/// Of the buffer of such nodes, [column][x][y][z]: z in rows of an even length.
constexpr Index kSpaceLocalRow = kSpaceLocal + 1, kSpaceLocalPlane = kSpaceLocal * kSpaceLocalRow,
                kSpaceLocalSize = kSpaceLocal * kSpaceLocalPlane;
constexpr Index kSpaceBlock = kSpaceSide * kSpaceSide * kSpaceSide;

/// Points of one cell.
struct SpacePoints {
  Index count = 0, columns = 0;  ///< at most kSpaceGroup, kSpaceMostColumns
  const double* place[3] = {};   ///< 2 f - 1 an axis, f the place in the cell
  double* scratch = nullptr;     ///< [kSpaceScratch], aligned
  double* nodes = nullptr;       ///< the buffer from the stencil's first node on; spread() adds to it
  double* column = nullptr;      ///< [columns][kSpaceGroup]: values of keys, or what evaluate() finds
};
constexpr Index kSpaceScratch = 3 * kSpaceGroup * kSpacePadded + kSpaceGroup * kSpaceWindow * kSpacePadded;

void space_spread(const SpacePoints& keys);
void space_evaluate(const SpacePoints& queries);

/// to += or = the sum over the sources: the taps along an axis (0: x), block by block. `offset` is target
/// less source, from -kSpaceReach on.
struct SpaceSource {
  const double* block;
  int offset;
};
void space_convolve(int axis, const SpaceSource* source, Index count, double* to);

/// Keys around the one nearest to a query, in bandwidths: a weight relative to the nearest's is
/// exp(-(|s|^2 / 2 + s . p)), s = key - nearest, p = nearest - query, which cancels nothing however far p is.
struct SpaceFarKeys {
  double p[3] = {};
  const double* s = nullptr;  ///< [3][kSpaceFarBlock]
  Index count = 0;
  double* weight = nullptr;  ///< [kSpaceFarBlock]; whole vectors are read and written
};
constexpr Index kSpaceFarBlock = 256;
void space_far_weights(const SpaceFarKeys& keys);

}  // namespace kith::points
