// Blocking of the backward kernels and the scratch of one task, sized once for all instruction sets.
#pragma once

#include "attention/kernels/kernels.h"

namespace kith::kernels {

constexpr Index kBackwardQueries = 96;   ///< queries of a block: P and dX of a tile are 18 KB in float
constexpr Index kBackwardKeys = 192;     ///< keys of a block for the dot
constexpr Index kDirectKeys = 960;       // With 96 queries, dS fills 370 KB in float: well inside L2.
constexpr Index kDifferenceColumns = 4;  // at most this many columns of differences at a time,
constexpr Index kDifferenceRows = 32;    // of so many queries

/// In numbers; each part is a multiple of kMaxLanes.
struct BackwardScratch {
  static constexpr Index kWeights = kBackwardQueries * kMaxTileKeys;  ///< P of a block against a tile
  static constexpr Index kSpill = Index{2} * 8 * kMaxTileKeys;        ///< x and logits of a tile's rows
  static constexpr Index kColumns = kDifferenceColumns * kDifferenceRows * kMaxLanes;
  static constexpr Index kSlopes = kBackwardQueries * kDirectKeys;  ///< dX
  static constexpr Index kTotal = kWeights + kSpill + kColumns + kSlopes;
};
static_assert(kBackwardKeys <= kDirectKeys);

}  // namespace kith::kernels
