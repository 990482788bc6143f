// Which keys a block of queries sees, asked block by block.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kith/attention.h"

namespace kith {

/// A mask with its sizes. Kernels ask once per block whether none, some or all of it is seen, and for bits
/// only where the answer is `some`: what nobody sees is never computed, what everybody sees costs no test.
class MaskPlan {
 public:
  enum class Seen { none, some, all };

  MaskPlan(const Mask& mask, Index keys) : mask_(&mask), keys_(keys) {}

  /// One past the last key that query i of batch row b could see.
  Index key_end(Index b, Index i) const {
    Index end = mask_->key_length.empty() ? keys_ : mask_->key_length[static_cast<std::size_t>(b)];
    if (mask_->causal_offset) end = std::min(end, i + *mask_->causal_offset + 1);
    return std::clamp<Index>(end, 0, keys_);
  }

  /// Of queries [i0, i1) against keys [j0, j1); j1 may lie beyond the last key.
  Seen classify(Index b, Index i0, Index i1, Index j0, Index j1) const {
    if (j0 >= key_end(b, i1 - 1)) return Seen::none;
    if (j1 > key_end(b, i0)) return Seen::some;
    if (mask_->self_offset) {
      const Index s0 = i0 + *mask_->self_offset, s1 = i1 + *mask_->self_offset;
      if (s0 < j1 && s1 > j0) return Seen::some;
    }
    return Seen::all;
  }

  /// Bit c: query i sees key j0 + c, for c < 64.
  std::uint64_t bits(Index b, Index i, Index j0) const {
    const Index count = key_end(b, i) - j0;
    std::uint64_t seen = count <= 0 ? 0 : count >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1;
    if (mask_->self_offset) {
      const Index self = i + *mask_->self_offset - j0;
      if (self >= 0 && self < 64) seen &= ~(std::uint64_t{1} << self);
    }
    return seen;
  }

  bool visible(Index b, Index i, Index j) const { return (bits(b, i, j) & 1) != 0; }

 private:
  const Mask* mask_;
  Index keys_;
};

}  // namespace kith
