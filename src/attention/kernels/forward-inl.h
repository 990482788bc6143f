// Forward: queries of one block against one chunk of keys.
//
// Per group of 24 queries and block of 192 keys: (1) tiles of logits, (2) 2^(logit - m) in registers, (3)
// weights to an 18 KB scratch that stays in L1, (4) weights times values, 6 rows x 4 vectors with V's rows in
// natural layout. The packed keys and the values of the block (48 KB each at d = 64) come from L2: 64 bytes
// per 8 FMAs.
//
// The reference exponent m of a row is lazy: it moves only when a logit exceeds it by kSlack, so sums are
// rarely rescaled; it is a whole number, so rescaling multiplies by a power of two and is exact. Each row
// decides alone, so its bits do not depend on its neighbors in the tile.
//
// Re-included once per instruction set, by one file per type of number.

#if defined(KITH_FORWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KITH_FORWARD_INL_H_
#undef KITH_FORWARD_INL_H_
#else
#define KITH_FORWARD_INL_H_
#endif

#include <algorithm>
#include <cmath>

#include "attention/kernels/forward_scratch.h"
#include "attention/kernels/terms-inl.h"
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
};

template <class Real>
Rows<Real> Divide(const ForwardTask<Real>& task) {
  Rows<Real> s{};
  const ForwardScratch size(task.value_depth, task.narrow);
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
  return s;
}

// If a row's logits outgrew m: move m up to the next whole number and scale what was summed so far.
template <class Real>
HWY_NOINLINE void RescaleIfOutgrown(const ForwardTask<Real>& task, const Rows<Real>& s, Index row,
                                    Index group_row, Index keys_done, Real* HWY_RESTRICT logits) {
  Real largest = kMinusInfinity<Real>;
  for (Index j = 0; j < kTileKeys<Real>; ++j) largest = std::max(largest, logits[j]);
  if (!(largest > s.threshold[row])) return;
  const Real rise = std::ceil(largest);
  const Real factor = std::exp2(-rise);
  const bool first = s.threshold[row] == kMinusInfinity<Real>;
  s.m[row] += rise;
  s.threshold[row] = kSlack;
  for (Index j = 0; j < kTileKeys<Real>; ++j) logits[j] -= rise;
  if (first) return;
  if (task.sum_logit != nullptr) {
    for (Index l = 0; l < kLanes<Real>; ++l) {
      Real& sum_logit = s.sum_logit[row * kMaxLanes + l];
      sum_logit = (sum_logit - rise * s.sum[row * kMaxLanes + l]) * factor;
    }
  }
  for (Index l = 0; l < kLanes<Real>; ++l) s.sum[row * kMaxLanes + l] *= factor;
  for (Index c = 0; c < s.out_stride; ++c) s.out[row * s.out_stride + c] *= factor;
  if (!task.narrow) {
    for (Index j = 0; j < keys_done; ++j) s.weights[group_row * kKeyBlock + j] *= factor;
  }
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

// Logits of R rows, in units of log 2, in place of their x.
template <class Real, Index R>
HWY_INLINE void TermLogits(const ForwardTask<Real>& task, const Rows<Real>& s, Index row, Index first_key,
                           Vec<Real> (&acc)[R][kVectors]) {
  const Tag<Real> d;
  constexpr Index kKeys = kTileKeys<Real>;
  for (Index r = 0; r < R; ++r) {
    for (Index v = 0; v < kVectors; ++v) hn::Store(acc[r][v], d, s.spill + r * kKeys + v * kLanes<Real>);
  }
  for (Index r = 0; r < R; ++r) {
    Real* logits = s.spill + r * kKeys;
    ApplyTerms<Real>({*task.terms, task.factor, task.first_query + row + r, first_key, task.key_end}, logits,
                     logits);
  }
  for (Index r = 0; r < R; ++r) {
    for (Index v = 0; v < kVectors; ++v) acc[r][v] = hn::Load(d, s.spill + r * kKeys + v * kLanes<Real>);
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

// Weights of R queries for one tile of keys: into `weights` (wide values) or straight into the sums (narrow).
template <class Real, Pair kPair, bool kTerms, bool kNarrow, Index R>
void ScoreTile(const ForwardTask<Real>& task, const Rows<Real>& s, Index row, Index group_row,
               Index first_key, Index keys_done, MaskPlan::Seen seen) {
  const Tag<Real> d;
  constexpr Index kKeys = kTileKeys<Real>, kStep = kLanes<Real>;
  Vec<Real> acc[R][kVectors];
  const Index tile = first_key / kKeys;
  Accumulate<Real, kPair, R>(task.query + row * task.query_stride, task.query_stride,
                             task.key_tiles + tile * task.depth * kKeys, task.depth, task.coefficient, acc);

  std::uint64_t bits[R];
  for (Index r = 0; r < R; ++r) {
    bits[r] = seen == MaskPlan::Seen::all
                  ? ~std::uint64_t{0}
                  : task.mask->bits(task.sequence, task.head, task.first_query + row + r, first_key, kKeys);
  }
  Real left = task.factor;
  if constexpr (kTerms) {
    // Asking for an output must not move the bits of the others: without terms the factor is left to the
    // fused product below, as on the path that has none.
    if (!task.terms->scales_only()) {
      TermLogits<Real, R>(task, s, row, first_key, acc);
      left = 1;
    }
    if (task.largest != nullptr) OfferLargest<Real, R>(task, row, left, bits, acc);
  }
  const Vec<Real> factor = hn::Set(d, left);
  if (task.top.top > 0) {
    HWY_UNROLL(8)
    for (Index r = 0; r < R; ++r) {
      const Vec<Real> bar = hn::Set(d, task.top.logit[(row + r) * task.top.top + task.top.top - 1]);
      bool above = false;
      HWY_UNROLL(3)
      for (Index v = 0; v < kVectors; ++v) {
        const Vec<Real> logit = hn::Mul(acc[r][v], factor);
        above |= !hn::AllFalse(d, hn::Gt(logit, bar));
        hn::Store(logit, d, s.spill + r * kKeys + v * kStep);
      }
      if (above) OfferTop(task, row + r, first_key, bits[r], s.spill + r * kKeys);
    }
  }

  auto outgrown = hn::FirstN(d, 0);
  HWY_UNROLL(8)
  for (Index r = 0; r < R; ++r) {
    const Vec<Real> m = hn::Set(d, s.m[row + r]);
    HWY_UNROLL(3)
    for (Index v = 0; v < kVectors; ++v) acc[r][v] = hn::MulSub(acc[r][v], factor, m);
  }
  if (seen == MaskPlan::Seen::some) {
    const Vec<Real> none = hn::Set(d, kMinusInfinity<Real>);
    HWY_UNROLL(8)
    for (Index r = 0; r < R; ++r) {
      HWY_UNROLL(3)
      for (Index v = 0; v < kVectors; ++v) {
        acc[r][v] = hn::IfThenElse(LaneMask<Real>(bits[r], v), acc[r][v], none);
      }
    }
  }
  HWY_UNROLL(8)
  for (Index r = 0; r < R; ++r) {
    const Vec<Real> largest = hn::Max(hn::Max(acc[r][0], acc[r][1]), acc[r][2]);
    outgrown = hn::Or(outgrown, hn::Gt(largest, hn::Set(d, s.threshold[row + r])));
  }
  if (HWY_UNLIKELY(!hn::AllFalse(d, outgrown))) {
    HWY_UNROLL(8)
    for (Index r = 0; r < R; ++r) {
      HWY_UNROLL(3)
      for (Index v = 0; v < kVectors; ++v) hn::Store(acc[r][v], d, s.spill + r * kKeys + v * kStep);
    }
    for (Index r = 0; r < R; ++r) {
      RescaleIfOutgrown(task, s, row + r, group_row + r, keys_done, s.spill + r * kKeys);
    }
    HWY_UNROLL(8)
    for (Index r = 0; r < R; ++r) {
      HWY_UNROLL(3)
      for (Index v = 0; v < kVectors; ++v) acc[r][v] = hn::Load(d, s.spill + r * kKeys + v * kStep);
    }
  }

  HWY_UNROLL(8)
  for (Index r = 0; r < R; ++r) {
    if constexpr (kTerms) {
      if (task.sum_logit != nullptr) {
        Real* sum_logit = s.sum_logit + (row + r) * kMaxLanes;
        Vec<Real> total = hn::Load(d, sum_logit);
        for (Index v = 0; v < kVectors; ++v) {
          // A weight of 0 may stand beside a logit of -inf.
          const Vec<Real> weight = Exp2<Real>(acc[r][v]);
          total = hn::Add(total, hn::IfThenZeroElse(hn::Eq(weight, hn::Zero(d)), hn::Mul(weight, acc[r][v])));
        }
        hn::Store(total, d, sum_logit);
      }
    }
    HWY_UNROLL(3)
    for (Index v = 0; v < kVectors; ++v) acc[r][v] = Exp2<Real>(acc[r][v]);
    Real* sum = s.sum + (row + r) * kMaxLanes;
    hn::Store(hn::Add(hn::Load(d, sum), hn::Add(hn::Add(acc[r][0], acc[r][1]), acc[r][2])), d, sum);
  }
  if constexpr (kTerms) {
    if (task.terms->drop_below > 0) {
      HWY_ALIGN Real keep[kMaxTileKeys];
      for (Index r = 0; r < R; ++r) {
        DropoutFactors<Real>({*task.terms, task.factor, task.first_query + row + r, first_key, task.key_end},
                             keep);
        for (Index v = 0; v < kVectors; ++v) acc[r][v] = hn::Mul(acc[r][v], hn::Load(d, keep + v * kStep));
      }
    }
  }
  if constexpr (kNarrow) {
    const Real* values = task.value_tiles + tile * task.value_depth * kKeys;
    for (Index c = 0; c < task.value_depth; ++c) {
      Vec<Real> value[kVectors];
      for (Index v = 0; v < kVectors; ++v) value[v] = hn::Load(d, values + c * kKeys + v * kStep);
      HWY_UNROLL(8)
      for (Index r = 0; r < R; ++r) {
        Real* out = s.out + (row + r) * s.out_stride + c * kMaxLanes;
        Vec<Real> total = hn::Mul(acc[r][0], value[0]);
        total = hn::MulAdd(acc[r][1], value[1], total);
        total = hn::MulAdd(acc[r][2], value[2], total);
        hn::Store(hn::Add(hn::Load(d, out), total), d, out);
      }
    }
  } else {
    HWY_UNROLL(8)
    for (Index r = 0; r < R; ++r) {
      Real* weights = s.weights + (group_row + r) * kKeyBlock + keys_done;
      HWY_UNROLL(3)
      for (Index v = 0; v < kVectors; ++v) hn::Store(acc[r][v], d, weights + v * kStep);
    }
  }
}

template <class Real, Pair kPair, bool kTerms, bool kNarrow>
void Forward(const ForwardTask<Real>& task) {
  const Tag<Real> d;
  constexpr Index kKeys = kTileKeys<Real>;
  const Rows<Real> s = Divide(task);
  for (Index r = 0; r < task.rows; ++r) {
    s.m[r] = 0;
    s.threshold[r] = kMinusInfinity<Real>;
  }
  std::fill_n(s.sum, task.rows * kMaxLanes, Real{0});
  std::fill_n(s.sum_logit, task.rows * kMaxLanes, Real{0});
  std::fill_n(s.out, task.rows * s.out_stride, Real{0});
  if (task.largest != nullptr) std::fill_n(task.largest, task.rows, kMinusInfinity<Real>);

  const auto classify = [&](Index row, Index row_end, Index key, Index key_end) {
    return task.mask->classify(task.sequence, task.head, task.first_query + row, task.first_query + row_end,
                               key, key_end);
  };
  for (Index block = task.key_begin; block < task.key_end; block += kKeyBlock) {
    const Index block_end = std::min(block + kKeyBlock, round_up(task.key_end, kKeys));
    const Index block_keys = std::min(block_end, task.key_end) - block;
    for (Index group = 0; group < task.rows; group += kGroup) {
      const Index group_end = std::min(group + kGroup, task.rows);
      const auto block_seen = classify(group, group_end, block, block_end);
      if (block_seen == MaskPlan::Seen::none) continue;
      ++*task.visited;

      for (Index row = group; row < group_end;) {
        const Index rows = group_end - row >= kTileRows ? kTileRows : 1;
        for (Index key = block; key < block_end; key += kKeys) {
          const auto seen =
              block_seen == MaskPlan::Seen::all ? block_seen : classify(row, row + rows, key, key + kKeys);
          if (seen == MaskPlan::Seen::none) {
            if (!kNarrow) {
              for (Index r = 0; r < rows; ++r) {
                std::fill_n(s.weights + (row - group + r) * kKeyBlock + (key - block), kKeys, Real{0});
              }
            }
            continue;
          }
          if (rows == kTileRows) {
            ScoreTile<Real, kPair, kTerms, kNarrow, kTileRows>(task, s, row, row - group, key, key - block,
                                                               seen);
          } else {
            ScoreTile<Real, kPair, kTerms, kNarrow, 1>(task, s, row, row - group, key, key - block, seen);
          }
        }
        row += rows;
      }
      if (!kNarrow) {
        AddWeightedRows(s.weights, kKeyBlock, group_end - group, task.value + block * task.value_stride,
                        task.value_stride, block_keys, round_up(task.value_depth, kLanes<Real>),
                        s.out + group * s.out_stride, s.out_stride);
      }
    }
  }

  const auto total = [&](const Real* lanes) { return hn::GetLane(hn::SumOfLanes(d, hn::Load(d, lanes))); };
  for (Index r = 0; r < task.rows; ++r) {
    const Real sum = total(s.sum + r * kMaxLanes);
    // A sum of 0: no visible key. A NaN is not 0: it is passed on.
    task.max[r] = sum == 0 ? -std::numeric_limits<double>::infinity() : static_cast<double>(s.m[r]);
    task.sum[r] = static_cast<double>(sum);
    if (task.sum_logit != nullptr)
      task.sum_logit[r] = static_cast<double>(total(s.sum_logit + r * kMaxLanes));
    Real* out = task.weighted + r * task.value_depth;
    for (Index c = 0; c < task.value_depth; ++c) {
      out[c] = kNarrow ? total(s.out + r * s.out_stride + c * kMaxLanes) : s.out[r * s.out_stride + c];
    }
  }
}

template <class Real, Pair kPair, bool kTerms>
void ForwardPair(const ForwardTask<Real>& task) {
  return task.narrow ? Forward<Real, kPair, kTerms, true>(task) : Forward<Real, kPair, kTerms, false>(task);
}

// Without terms only the two pairs that most calls are made of have a path of their own, in float.
template <class Real>
void ForwardAny(const ForwardTask<Real>& task) {
  if constexpr (std::is_same_v<Real, float>) {
    if (task.terms == nullptr && task.pair == Pair::dot) return ForwardPair<Real, Pair::dot, false>(task);
    if (task.terms == nullptr && task.pair == Pair::squared) {
      return ForwardPair<Real, Pair::squared, false>(task);
    }
  }
  const Terms<Real> none;
  ForwardTask<Real> full = task;
  if (full.terms == nullptr) full.terms = &none;
  switch (task.pair) {
    case Pair::dot:
      return ForwardPair<Real, Pair::dot, true>(full);
    case Pair::squared:
      return ForwardPair<Real, Pair::squared, true>(full);
    case Pair::absolute:
      return ForwardPair<Real, Pair::absolute, true>(full);
    case Pair::additive:
      return ForwardPair<Real, Pair::additive, true>(full);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#endif  // KITH_FORWARD_INL_H_
