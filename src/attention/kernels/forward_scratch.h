// The scratch of a forward task, sized once for all instruction sets.
#pragma once

#include "attention/kernels/kernels.h"

namespace kith::kernels {

struct ForwardScratch {
  ForwardScratch(Index value_depth, bool narrow)
      : out(narrow ? value_depth * kMaxLanes : round_up(value_depth, kMaxLanes)) {}

  /// In numbers; each part is rounded up to whole vectors.
  Index total() const {
    return 2 * kQueryBlock + 2 * kQueryBlock * kMaxLanes + kQueryBlock * out + kGroup * kKeyBlock +
           8 * kMaxTileKeys;
  }

  Index out;  ///< of a row's weighted values
};

static_assert(kQueryBlock % kMaxLanes == 0 && kGroup * kKeyBlock % kMaxLanes == 0);
constexpr float kSlack = 8.0f;  // Weights stay below 2^8, sums of a chunk far from overflow.

}  // namespace kith::kernels
