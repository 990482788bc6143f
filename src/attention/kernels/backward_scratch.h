// The scratch of a backward task, sized once for all instruction sets.
#pragma once

#include "attention/kernels/kernels.h"

namespace kith::kernels {

constexpr Index kDirectKeys = 960;       // With 96 queries, dS fills 370 KB in float: well inside L2.
constexpr Index kDifferenceColumns = 4;  // at most this many columns of differences at a time

/// In numbers; each part is a multiple of kMaxLanes.
struct BackwardScratch {
  static constexpr Index kWeights = kQueryBlock * kMaxTileKeys;  ///< P of a block against a tile
  static constexpr Index kSpill = 2 * 8 * kMaxTileKeys;          ///< x and logits of a tile's rows
  static constexpr Index kColumns = kDifferenceColumns * kQueryBlock * kMaxLanes;
  static constexpr Index kSlopes = kQueryBlock * kDirectKeys;  ///< dX
  static constexpr Index kTotal = kWeights + kSpill + kColumns + kSlopes;
};

}  // namespace kith::kernels
