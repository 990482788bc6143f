// The scratch of a forward task, sized once for all instruction sets.
#pragma once

#include "attention/kernels/kernels.h"

namespace kith::kernels {

struct ForwardScratch {
  ForwardScratch(Index value_depth, bool narrow, Index stream_depth)
      : out(narrow ? value_depth * kMaxLanes : round_up(value_depth, kMaxLanes)),
        key_tile(stream_depth * kMaxTileKeys),
        value_block(stream_depth == 0 ? 0
                    : narrow          ? value_depth * kMaxTileKeys
                                      : kKeyBlock * out) {}

  /// In numbers; each part is rounded up to whole vectors.
  Index total() const {
    return 2 * kQueryBlock + 2 * kQueryBlock * kMaxLanes + kQueryBlock * out + kGroup * kKeyBlock +
           8 * kMaxTileKeys + key_tile + value_block;
  }

  Index out;                    ///< of a row's weighted values
  Index key_tile, value_block;  ///< of what streams by
};

static_assert(kQueryBlock % kMaxLanes == 0 && kGroup * kKeyBlock % kMaxLanes == 0);
constexpr float kSlack = 8.0f;  // Weights stay below 2^8, sums of a chunk far from overflow.

}  // namespace kith::kernels
