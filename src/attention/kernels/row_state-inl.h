// How a tile's logits change what the forward kernel holds of a row: its reference exponent, its largest
// logits and its weights.
//
// The reference exponent m of a row is lazy: it moves only when a logit exceeds it by kSlack, so sums are
// rarely rescaled; it is a whole number, so rescaling multiplies by a power of two and is exact. Each row
// decides alone, so its bits do not depend on its neighbors in the tile.
//
// Re-included once per instruction set.

#if defined(KITH_ROW_STATE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KITH_ROW_STATE_INL_H_
#undef KITH_ROW_STATE_INL_H_
#else
#define KITH_ROW_STATE_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstring>

#include "attention/kernels/forward_rows-inl.h"
#include "attention/kernels/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

// A row's weights from the block's key `first` on; two share a number where they are rounded.
template <class Real>
HWY_INLINE Real* WeightsAt(const ForwardTask<Real>& task, const Rows<Real>& s, Index group_row, Index first) {
  return s.weights + group_row * kKeyBlock + (task.rounded ? first / 2 : first);
}
// By vectors: compilers make a string instruction of std::fill_n, whose start alone costs more.
template <class Real>
HWY_INLINE void ClearTile(const ForwardTask<Real>& task, const Rows<Real>& s, Index group_row, Index first) {
  const Tag<Real> d;
  Real* to = WeightsAt(task, s, group_row, first);
  if (task.rounded) {
    std::memset(to, 0, static_cast<std::size_t>(kTileKeys<Real> / 2) * sizeof(Real));
    return;
  }
  for (Index v = 0; v < kVectors; ++v) hn::StoreU(hn::Zero(d), d, to + v * kLanes<Real>);
}

template <class Real>
void ScaleHalves(Real* words, Index count, Real factor) {
  auto* halves = reinterpret_cast<unsigned char*>(words);
  for (Index j = 0; j < count; ++j, halves += sizeof(bfloat16)) {
    bfloat16 weight;
    std::memcpy(&weight, halves, sizeof(weight));
    weight = static_cast<bfloat16>(static_cast<float>(weight) * static_cast<float>(factor));
    std::memcpy(halves, &weight, sizeof(weight));
  }
}

// If a row's logits outgrew m: move m up to the next whole number and scale what was summed so far. Returns
// false, and nothing is changed, if `logits` have lost their digits beside an m far below, as of keys under a
// bias of -10^9, and `x` is not given: what `factor` makes them of.
template <class Real>
HWY_NOINLINE bool RescaleIfOutgrown(const ForwardTask<Real>& task, const Rows<Real>& s, Index row,
                                    Index group_row, Index keys_done, const Real* HWY_RESTRICT x, Real factor,
                                    Real* HWY_RESTRICT logits) {
  const Tag<Real> d;
  const Vec<Real> none = hn::Set(d, kMinusInfinity<Real>);
  const auto largest_logit = [&] {
    Vec<Real> most = none;
    for (Index j = 0; j < kTileKeys<Real>; j += kLanes<Real>) {
      const Vec<Real> logit = hn::Load(d, logits + j);
      most = hn::IfThenElse(hn::Gt(logit, most), logit, most);  // a NaN is passed over
    }
    return hn::GetLane(hn::MaxOfLanes(d, most));
  };
  Real rise = largest_logit();
  if (!(rise > s.threshold[row])) return true;
  rise = std::ceil(rise);
  const bool first = s.threshold[row] == kMinusInfinity<Real>;
  // They were rounded as numbers of the size of `rise`; their own size is that of the new m.
  if (!first && rise > 2 * std::fabs(s.m[row] + rise) + kSlack) {
    if (x == nullptr) return false;
    for (Index j = 0; j < kTileKeys<Real>; j += kLanes<Real>) {
      const Vec<Real> logit = hn::Mul(hn::Load(d, x + j), hn::Set(d, factor));
      hn::Store(hn::IfThenElse(hn::Eq(hn::Load(d, logits + j), none), none, logit), d, logits + j);
    }
    const Real m = std::ceil(largest_logit());
    rise = m - s.m[row];
    for (Index j = 0; j < kTileKeys<Real>; j += kLanes<Real>) {
      hn::Store(hn::Sub(hn::Load(d, logits + j), hn::Set(d, m)), d, logits + j);
    }
    s.m[row] = m;
  } else {
    for (Index j = 0; j < kTileKeys<Real>; j += kLanes<Real>) {
      hn::Store(hn::Sub(hn::Load(d, logits + j), hn::Set(d, rise)), d, logits + j);
    }
    s.m[row] += rise;
  }
  s.threshold[row] = kSlack;
  if (first) return true;
  const Real scale = std::exp2(-rise);
  if (task.sum_logit != nullptr) {
    for (Index l = 0; l < kMaxLanes; ++l) {
      Real& sum_logit = s.sum_logit[row * kMaxLanes + l];
      sum_logit = (sum_logit - rise * s.sum[row * kMaxLanes + l]) * scale;
    }
  }
  for (Index l = 0; l < kMaxLanes; ++l) s.sum[row * kMaxLanes + l] *= scale;
  for (Index c = 0; c < s.out_stride; ++c) s.out[row * s.out_stride + c] *= scale;
  if (task.rounded) {
    ScaleHalves(s.weights + group_row * kKeyBlock, keys_done, scale);
  } else if (!task.narrow) {
    for (Index j = 0; j < keys_done; ++j) s.weights[group_row * kKeyBlock + j] *= scale;
  }
  return true;
}

// Offers a row's logits of one tile to its list of largest. Ties keep the earlier key.
template <class Real>
HWY_NOINLINE void OfferTop(const ForwardTask<Real>& task, Index row, Index first_key, std::uint64_t seen,
                           const Real* HWY_RESTRICT logits) {
  const int top = task.top.top;
  Real* best = task.top.logit + row * top;
  Index* key = task.top.key + row * top;
  for (Index j = 0; j < kTileKeys<Real>; ++j) {
    if (!(seen >> j & 1) || !(logits[j] > best[top - 1])) continue;
    int at = top - 1;
    for (; at > 0 && logits[j] > best[at - 1]; --at) {
      best[at] = best[at - 1];
      key[at] = key[at - 1];
    }
    best[at] = logits[j];
    key[at] = first_key + j;
  }
}

// Raises each row's largest logit. A NaN becomes the largest.
template <class Real, Index R>
HWY_INLINE void OfferLargest(const ForwardTask<Real>& task, Index row, Real factor,
                             const std::uint64_t (&bits)[R], const Vec<Real> (&acc)[R][kVectors]) {
  const Tag<Real> d;
  HWY_ALIGN Real logits[kMaxTileKeys];
  for (Index r = 0; r < R; ++r) {
    for (Index v = 0; v < kVectors; ++v) {
      hn::Store(hn::Mul(acc[r][v], hn::Set(d, factor)), d, logits + v * kLanes<Real>);
    }
    Real& largest = task.largest[row + r];
    for (Index j = 0; j < kTileKeys<Real>; ++j) {
      if ((bits[r] >> j & 1) != 0 && !(logits[j] <= largest)) largest = logits[j];
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#endif  // KITH_ROW_STATE_INL_H_
