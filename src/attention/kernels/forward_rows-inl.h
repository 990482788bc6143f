// What the forward kernel keeps of the rows of a task, in the task's scratch. Re-included once per
// instruction set.

#if defined(KITH_FORWARD_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KITH_FORWARD_ROWS_INL_H_
#undef KITH_FORWARD_ROWS_INL_H_
#else
#define KITH_FORWARD_ROWS_INL_H_
#endif

#include <algorithm>

#include "attention/kernels/forward_scratch.h"
#include "attention/kernels/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

template <class Real>
struct Rows {
  Real* m;          // [kQueryBlock] reference exponent; 0 until `threshold` is set
  Real* threshold;  // [kQueryBlock] a logit - m above this moves m; -inf until the row has seen a key
  Real* sum;        // [kQueryBlock][kMaxLanes]
  Real* sum_logit;  // [kQueryBlock][kMaxLanes]
  Real* out;        // wide values: [kQueryBlock][padded]; narrow: [kQueryBlock][value_depth][kMaxLanes]
  Index out_stride;
  Real* weights;  // [kGroup][kKeyBlock]
  Real* spill;    // [kTileRows][kTileKeys]
  // What streams by: one tile of keys; values of a block (wide) or a tile (narrow).
  Real* key_tile;
  Real* value_block;
};

// Where in a row's sums a tile `keys_done` keys into the block adds its own: with few lanes tiles take turns,
// so that a chunk of 1,920 keys is never one long chain of additions.
template <class Real>
HWY_INLINE Index SumSlot(Index keys_done) {
  constexpr Index kSlots = kMaxLanes / kLanes<Real>;
  return keys_done / kTileKeys<Real> % kSlots * kLanes<Real>;
}
template <class Real>
HWY_INLINE Real TotalOf(const Real* HWY_RESTRICT sums) {
  const Tag<Real> d;
  Vec<Real> total = hn::Load(d, sums);
  for (Index l = kLanes<Real>; l < kMaxLanes; l += kLanes<Real>)
    total = hn::Add(total, hn::Load(d, sums + l));
  return hn::GetLane(hn::SumOfLanes(d, total));
}

template <class Real>
Rows<Real> Divide(const ForwardTask<Real>& task) {
  Rows<Real> s{};
  const ForwardScratch size(task.value_depth, task.narrow,
                            task.key_tiles == nullptr ? std::max<Index>(task.depth, 1) : 0);
  s.out_stride = size.out;
  Real* p = task.scratch;
  const auto take = [&p](Index n) {
    Real* taken = p;
    p += round_up(n, kMaxLanes);
    return taken;
  };
  s.m = take(kQueryBlock);
  s.threshold = take(kQueryBlock);
  s.sum = take(kQueryBlock * kMaxLanes);
  s.sum_logit = take(kQueryBlock * kMaxLanes);
  s.out = take(kQueryBlock * s.out_stride);
  s.weights = take(kGroup * kKeyBlock);
  s.spill = take(kTileRows * kTileKeys<Real>);
  s.key_tile = take(size.key_tile);
  s.value_block = take(size.value_block);
  return s;
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#endif  // KITH_FORWARD_ROWS_INL_H_
