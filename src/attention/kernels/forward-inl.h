// Forward: queries of one block against one chunk of keys.
//
// Per group of 24 queries and block of 192 keys: (1) tiles of logits, (2) 2^(logit - m) in registers, (3)
// weights to an 18 KB scratch that stays in L1, (4) weights times values, 6 rows x 4 vectors with V's rows in
// natural layout. The packed keys and the values of the block (48 KB each at d = 64) come from L2: 64 bytes
// per 8 FMAs.
//
// Re-included once per instruction set, by one file per type of number.

#if defined(KITH_FORWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KITH_FORWARD_INL_H_
#undef KITH_FORWARD_INL_H_
#else
#define KITH_FORWARD_INL_H_
#endif

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "attention/kernels/row_state-inl.h"
#include "attention/kernels/stream-inl.h"
#include "attention/kernels/terms-inl.h"
#include "attention/kernels/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

// Which query a row is.
struct RowPlace {
  Index head, query;  // from the task's first head; of the sequence
};
template <class Real>
HWY_INLINE RowPlace PlaceOf(const ForwardTask<Real>& task, Index row) {
  if (row < task.per_head) return {0, task.first_query + row};
  return {row / task.per_head, task.first_query + row % task.per_head};
}

// What rows [row, row_end) see of keys [key, key_end).
template <class Real>
MaskPlan::Seen Classify(const ForwardTask<Real>& task, Index row, Index row_end, Index key, Index key_end) {
  MaskPlan::Seen seen = MaskPlan::Seen::none;
  for (Index from = row; from < row_end;) {
    const RowPlace place = PlaceOf(task, from);
    const Index next = std::min(row_end, (place.head + 1) * task.per_head);
    const MaskPlan::Seen part = task.mask->classify(task.sequence, task.head + place.head, place.query,
                                                    place.query + next - from, key, key_end);
    seen = from == row || seen == part ? part : MaskPlan::Seen::some;
    from = next;
  }
  return seen;
}

template <class Real>
HWY_INLINE TilePlace<Real> TermsPlace(const ForwardTask<Real>& task, Index row, Index first_key) {
  const RowPlace place = PlaceOf(task, row);
  return {task.terms[place.head], task.factor, place.query, first_key, task.key_end};
}

// Logits of R rows, in units of log 2, in place of their x.
template <class Real, Index R>
HWY_INLINE void TermLogits(const ForwardTask<Real>& task, const Rows<Real>& s, Index row, Index first_key,
                           Vec<Real> (&acc)[R][kVectors]) {
  const Tag<Real> d;
  constexpr Index kKeys = kTileKeys<Real>;
  if (OnlyAdds(task.terms[0])) {
    HWY_UNROLL(8)
    for (Index r = 0; r < R; ++r) AddTerms<Real>(TermsPlace(task, row + r, first_key), acc[r]);
    return;
  }
  for (Index r = 0; r < R; ++r) {
    for (Index v = 0; v < kVectors; ++v) hn::Store(acc[r][v], d, s.spill + r * kKeys + v * kLanes<Real>);
  }
  for (Index r = 0; r < R; ++r) {
    Real* logits = s.spill + r * kKeys;
    ApplyTerms<Real>(TermsPlace(task, row + r, first_key), logits, logits);
  }
  for (Index r = 0; r < R; ++r) {
    for (Index v = 0; v < kVectors; ++v) acc[r][v] = hn::Load(d, s.spill + r * kKeys + v * kLanes<Real>);
  }
}

// What R queries' pairs with the first V vectors of a tile sum to.
template <class Real, Pair kPair, Index R, Index V>
HWY_INLINE void PairSums(const ForwardTask<Real>& task, const Rows<Real>& s, Index row,
                         const KeyTile<Real>& tile, Vec<Real> (&acc)[R][V]) {
  const Real* query = task.query + row * task.query_stride;
  if constexpr (kIsDot<kPair> && V == kVectors) {
    if (tile.keys == nullptr) {
      const Tag<Real> d;
      DotStored<Real, kPair, R>(task, query, tile.first_key, s.spill);
      HWY_UNROLL(8)
      for (Index r = 0; r < R; ++r) {
        for (Index v = 0; v < V; ++v) {
          acc[r][v] = hn::Load(d, s.spill + r * kTileKeys<Real> + v * kLanes<Real>);
        }
      }
      return;
    }
  }
  // Sums of its own, which stay in registers: where loops that are not unrolled read `acc`, GCC keeps it in
  // memory and stores every step of the sums there.
  Vec<Real> sum[R][V];
  Accumulate<Real, kPair, R>(query, task.query_stride, tile.keys, task.depth, task.coefficient, sum);
  HWY_UNROLL(8)
  for (Index r = 0; r < R; ++r) {
    HWY_UNROLL(3)
    for (Index v = 0; v < V; ++v) acc[r][v] = sum[r][v];
  }
}

// The same with terms, to memory, [R][tile]; zeros in the other vectors.
template <class Real, Pair kPair, bool kTerms, Index R, Index V>
HWY_NOINLINE void ScoreAgain(const ForwardTask<Real>& task, const Rows<Real>& s, Index row,
                             const KeyTile<Real>& tile, Real* HWY_RESTRICT x) {
  const Tag<Real> d;
  Vec<Real> acc[R][V];
  PairSums<Real, kPair, R, V>(task, s, row, tile, acc);
  if constexpr (kTerms) {
    if (!task.terms->scales_only()) TermLogits<Real, R>(task, s, row, tile.first_key, acc);
  }
  std::fill_n(x, R * kTileKeys<Real>, Real{0});
  for (Index r = 0; r < R; ++r) {
    for (Index v = 0; v < V; ++v) hn::Store(acc[r][v], d, x + r * kTileKeys<Real> + v * kLanes<Real>);
  }
}

// Weights of R queries for the first V vectors of a tile of keys: into `weights` (wide values) or straight
// into the sums (narrow). A `bits` of all ones: the row sees the tile whole.
template <class Real, Pair kPair, bool kTerms, bool kNarrow, Index R, Index V>
void ScoreTile(const ForwardTask<Real>& task, const Rows<Real>& s, Index row, Index group_row,
               const KeyTile<Real>& tile, MaskPlan::Seen seen, const std::uint64_t (&bits)[R]) {
  static_assert(V == kVectors || !(kTerms || kNarrow));
  const Tag<Real> d;
  constexpr Index kKeys = kTileKeys<Real>, kStep = kLanes<Real>;
  const Index first_key = tile.first_key, keys_done = tile.keys_done, slot = SumSlot<Real>(keys_done);
  Vec<Real> acc[R][V];
  PairSums<Real, kPair, R, V>(task, s, row, tile, acc);

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
      for (Index v = 0; v < V; ++v) {
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
    for (Index v = 0; v < V; ++v) acc[r][v] = hn::MulSub(acc[r][v], factor, m);
  }
  if (seen == MaskPlan::Seen::some) {
    const Vec<Real> none = hn::Set(d, kMinusInfinity<Real>);
    HWY_UNROLL(8)
    for (Index r = 0; r < R; ++r) {
      HWY_UNROLL(3)
      for (Index v = 0; v < V; ++v) {
        acc[r][v] = hn::IfThenElse(LaneMask<Real>(bits[r], v), acc[r][v], none);
      }
    }
  }
  HWY_UNROLL(8)
  for (Index r = 0; r < R; ++r) {
    Vec<Real> largest = acc[r][0];
    for (Index v = 1; v < V; ++v) largest = hn::Max(largest, acc[r][v]);
    outgrown = hn::Or(outgrown, hn::Gt(largest, hn::Set(d, s.threshold[row + r])));
  }
  if (HWY_UNLIKELY(!hn::AllFalse(d, outgrown))) {
    HWY_ALIGN Real tile_logits[R * kMaxTileKeys];  // ScoreAgain has its own use for s.spill
    HWY_UNROLL(8)
    for (Index r = 0; r < R; ++r) {
      HWY_UNROLL(3)
      for (Index v = 0; v < V; ++v) hn::Store(acc[r][v], d, tile_logits + r * kKeys + v * kStep);
    }
    for (Index r = 0; r < R; ++r) {
      Real* logits = tile_logits + r * kKeys;
      std::fill(logits + V * kStep, logits + kKeys, kMinusInfinity<Real>);
      if (RescaleIfOutgrown<Real>(task, s, row + r, group_row + r, keys_done, nullptr, left, logits))
        continue;
      HWY_ALIGN Real x[R * kMaxTileKeys];
      ScoreAgain<Real, kPair, kTerms, R, V>(task, s, row, tile, x);
      RescaleIfOutgrown<Real>(task, s, row + r, group_row + r, keys_done, x + r * kKeys, left, logits);
    }
    HWY_UNROLL(8)
    for (Index r = 0; r < R; ++r) {
      HWY_UNROLL(3)
      for (Index v = 0; v < V; ++v) acc[r][v] = hn::Load(d, tile_logits + r * kKeys + v * kStep);
    }
  }

  HWY_UNROLL(8)
  for (Index r = 0; r < R; ++r) {
    if constexpr (kTerms) {
      if (task.sum_logit != nullptr) {
        Real* sum_logit = s.sum_logit + (row + r) * kMaxLanes + slot;
        Vec<Real> total = hn::Load(d, sum_logit);
        for (Index v = 0; v < V; ++v) {
          // A weight of 0 may stand beside a logit of -inf.
          const Vec<Real> weight = Exp2<Real>(acc[r][v]);
          total = hn::Add(total, hn::IfThenZeroElse(hn::Eq(weight, hn::Zero(d)), hn::Mul(weight, acc[r][v])));
        }
        hn::Store(total, d, sum_logit);
      }
    }
    HWY_UNROLL(3)
    for (Index v = 0; v < V; ++v) acc[r][v] = Exp2<Real>(acc[r][v]);
    Real* sum = s.sum + (row + r) * kMaxLanes + slot;
    Vec<Real> total = acc[r][0];
    for (Index v = 1; v < V; ++v) total = hn::Add(total, acc[r][v]);
    hn::Store(hn::Add(hn::Load(d, sum), total), d, sum);
  }
  if constexpr (kTerms) {
    if (task.terms[0].drop_below > 0) {
      HWY_ALIGN Real keep[kMaxTileKeys];
      for (Index r = 0; r < R; ++r) {
        DropoutFactors<Real>(TermsPlace(task, row + r, first_key), keep);
        for (Index v = 0; v < V; ++v) acc[r][v] = hn::Mul(acc[r][v], hn::Load(d, keep + v * kStep));
      }
    }
  }
  if constexpr (kNarrow) {
    for (Index c = 0; c < task.value_depth; ++c) {
      Vec<Real> value[kVectors];
      for (Index v = 0; v < V; ++v) value[v] = hn::Load(d, tile.values + c * kKeys + v * kStep);
      HWY_UNROLL(8)
      for (Index r = 0; r < R; ++r) {
        Real* out = s.out + (row + r) * s.out_stride + c * kMaxLanes + slot;
        Vec<Real> total = hn::Mul(acc[r][0], value[0]);
        total = hn::MulAdd(acc[r][1], value[1], total);
        total = hn::MulAdd(acc[r][2], value[2], total);
        hn::Store(hn::Add(hn::Load(d, out), total), d, out);
      }
    }
  } else {
    HWY_UNROLL(8)
    for (Index r = 0; r < R; ++r) {
      Real* weights = WeightsAt(task, s, group_row + r, keys_done);
      if constexpr (kPair == Pair::dot_halves) {
        if (task.rounded) {
          for (Index v = 0; v < V; ++v) {
            StoreRounded(acc[r][v], reinterpret_cast<std::uint16_t*>(weights) + v * kStep);
          }
          continue;
        }
      }
      HWY_UNROLL(3)
      for (Index v = 0; v < V; ++v) hn::Store(acc[r][v], d, weights + v * kStep);
    }
  }
}

// Lanes of a tile, or keys, from the first that is seen to one past the last; empty where first >= last.
struct Span {
  Index first, last;

  void join(const Span& other) {
    first = std::min(first, other.first);
    last = std::max(last, other.last);
  }
};
// Of a group's rows, kTileRows at a time.
using GroupSpans = std::array<Span, kGroup / kTileRows>;

// Of R rows. Returns what any of them sees of the tile.
template <class Real, Pair kPair, bool kTerms, bool kNarrow, Index R>
HWY_INLINE Span ScoreRows(const ForwardTask<Real>& task, const Rows<Real>& s, Index row, Index group_row,
                          const KeyTile<Real>& tile, MaskPlan::Seen seen) {
  std::uint64_t bits[R], any = 0;
  for (Index r = 0; r < R; ++r) {
    bits[r] = ~std::uint64_t{0};
    if (seen == MaskPlan::Seen::all) continue;
    const RowPlace place = PlaceOf(task, row + r);
    bits[r] =
        task.mask->bits(task.sequence, task.head + place.head, place.query, tile.first_key, kTileKeys<Real>);
    any |= bits[r];
  }
  if (seen == MaskPlan::Seen::all) {
    ScoreTile<Real, kPair, kTerms, kNarrow, R, kVectors>(task, s, row, group_row, tile, seen, bits);
    return {0, kTileKeys<Real>};
  }
  if (any == 0) any = 1;
  const auto reach = static_cast<Index>(std::bit_width(any)),
             from = static_cast<Index>(std::countr_zero(any));
  // On the edges of what is seen most of a tile may be hidden. One path for all but the commonest pair: build
  // time.
  if constexpr (kIsDot<kPair> && !kTerms && !kNarrow && R > 1) {
    const Index skip = from / kLanes<Real>, vectors = (reach + kLanes<Real> - 1) / kLanes<Real> - skip;
    if (vectors < kVectors && tile.keys != nullptr) {
      for (Index r = 0; r < R; ++r) {
        ClearTile(task, s, group_row + r, tile.keys_done);
        bits[r] >>= static_cast<unsigned>(skip * kLanes<Real>);
      }
      const Index lanes = skip * kLanes<Real>;
      const KeyTile<Real> part{tile.keys + lanes, nullptr, tile.first_key + lanes, tile.keys_done + lanes};
      if (vectors == 1) {
        ScoreTile<Real, kPair, kTerms, kNarrow, R, 1>(task, s, row, group_row, part, seen, bits);
      } else {
        ScoreTile<Real, kPair, kTerms, kNarrow, R, 2>(task, s, row, group_row, part, seen, bits);
      }
      return {from, reach};
    }
  }
  ScoreTile<Real, kPair, kTerms, kNarrow, R, kVectors>(task, s, row, group_row, tile, seen, bits);
  return {from, reach};
}

// The query heads of a group that see something of a block.
template <class Real>
Index VisitedHeads(const ForwardTask<Real>& task, Index group, Index group_end, Index block,
                   Index block_end) {
  if (group_end <= task.per_head) return 1;
  Index count = 0;
  for (Index row = group; row < group_end;) {
    const Index next = std::min(group_end, (row / task.per_head + 1) * task.per_head);
    if (Classify(task, row, next, block, block_end) != MaskPlan::Seen::none) ++count;
    row = next;
  }
  return count;
}

// Weights of a group's rows for one tile of keys that some of them may see, and what they see of it to
// `spans`.
template <class Real, Pair kPair, bool kTerms, bool kNarrow>
void ScoreGroup(const ForwardTask<Real>& task, const Rows<Real>& s, Index group, Index group_end, Index key,
                Index block, MaskPlan::Seen group_seen, GroupSpans& spans) {
  constexpr Index kKeys = kTileKeys<Real>;
  const KeyTile<Real> tile =
      TileAt<Real, kNarrow>(task, s, key, block, dots_stored(kPair, group_end - group));
  for (Index row = group; row < group_end;) {
    const Index rows = group_end - row >= kTileRows ? kTileRows : 1;
    const auto seen =
        group_seen == MaskPlan::Seen::all ? group_seen : Classify(task, row, row + rows, key, key + kKeys);
    if (seen == MaskPlan::Seen::none) {
      for (Index r = 0; !kNarrow && r < rows; ++r) {
        ClearTile(task, s, row - group + r, key - block);
      }
    } else {
      const Span part =
          rows == kTileRows
              ? ScoreRows<Real, kPair, kTerms, kNarrow, kTileRows>(task, s, row, row - group, tile, seen)
              : ScoreRows<Real, kPair, kTerms, kNarrow, 1>(task, s, row, row - group, tile, seen);
      spans[static_cast<std::size_t>((row - group) / kTileRows)].join({key + part.first, key + part.last});
    }
    row += rows;
  }
}

// The same for a block that some of them see. Of tiles that none of them sees, only what lies
// between keys that are seen has weights to be read: zeros.
template <class Real, Pair kPair, bool kTerms, bool kNarrow>
HWY_INLINE void ScoreBlock(const ForwardTask<Real>& task, const Rows<Real>& s, Index group, Index group_end,
                           Index block, Index block_end, MaskPlan::Seen block_seen, GroupSpans& spans) {
  constexpr Index kKeys = kTileKeys<Real>;
  Index done = block_end;  // up to here weights are written, once there are any
  for (Index key = block; key < block_end; key += kKeys) {
    const auto seen =
        block_seen == MaskPlan::Seen::all ? block_seen : Classify(task, group, group_end, key, key + kKeys);
    if (seen == MaskPlan::Seen::none) continue;
    for (Index hidden = done; !kNarrow && hidden < key; hidden += kKeys) {
      for (Index r = 0; r < group_end - group; ++r) ClearTile(task, s, r, hidden - block);
    }
    ScoreGroup<Real, kPair, kTerms, kNarrow>(task, s, group, group_end, key, block, seen, spans);
    done = key + kKeys;
  }
}

// Weights of a group's rows times the values of a block that some of them see; the others need not be read.
template <class Real, Pair kPair>
void AddGroupValues(const ForwardTask<Real>& task, const Rows<Real>& s, Index group, Index group_end,
                    Index block, const GroupSpans& spans) {
  const Index width = round_up(task.value_depth, kLanes<Real>), count = group_end - group;
  // A few queries read their values once.
  const Index step = task.key_tiles == nullptr ? count : kWeightedRows;
  for (Index r = 0; r < count; r += step) {
    const Index rows = std::min(step, count - r);
    Span span = spans[static_cast<std::size_t>(r / kTileRows)];
    for (Index set = r / kTileRows + 1; set <= (r + rows - 1) / kTileRows; ++set) {
      span.join(spans[static_cast<std::size_t>(set)]);
    }
    const Index first = span.first, last = std::min(span.last, task.key_end);
    if (first >= last) continue;
    Real* out = s.out + (group + r) * s.out_stride;
    if constexpr (kPair == Pair::dot_halves) {
      if (task.rounded) {
        const Index word = first / 2;
        AddWeightedRows<Real, kPair>(s.weights + r * kKeyBlock + (word - block / 2), kKeyBlock, rows,
                                     task.value + word * task.value_stride, task.value_stride,
                                     (last + 1) / 2 - word, width, out, s.out_stride);
        continue;
      }
    }
    if (task.key_tiles == nullptr) {
      AddStoredValues(task, s, {s.weights + r * kKeyBlock + (first - block), rows, out}, first, last);
    } else {
      AddWeightedRows(s.weights + r * kKeyBlock + (first - block), kKeyBlock, rows,
                      task.value + first * task.value_stride, task.value_stride, last - first, width, out,
                      s.out_stride);
    }
  }
}

template <class Real, Pair kPair, bool kTerms, bool kNarrow>
void Forward(const ForwardTask<Real>& task) {
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

  for (Index block = task.key_begin; block < task.key_end; block += kKeyBlock) {
    const Index block_end = std::min(block + kKeyBlock, round_up(task.key_end, kKeys));
    for (Index group = 0; group < task.rows; group += kGroup) {
      const Index group_end = std::min(group + kGroup, task.rows);
      const auto block_seen = Classify(task, group, group_end, block, block_end);
      if (block_seen == MaskPlan::Seen::none) continue;
      *task.visited += VisitedHeads(task, group, group_end, block, block_end);

      GroupSpans spans;
      spans.fill({block_end, block});
      ScoreBlock<Real, kPair, kTerms, kNarrow>(task, s, group, group_end, block, block_end, block_seen,
                                               spans);
      if (!kNarrow) AddGroupValues<Real, kPair>(task, s, group, group_end, block, spans);
    }
  }

  for (Index r = 0; r < task.rows; ++r) {
    const Real sum = TotalOf(s.sum + r * kMaxLanes);
    // A sum of 0: no visible key. A NaN is not 0: it is passed on.
    task.max[r] = sum == 0 ? -std::numeric_limits<double>::infinity() : static_cast<double>(s.m[r]);
    task.sum[r] = static_cast<double>(sum);
    if (task.sum_logit != nullptr)
      task.sum_logit[r] = static_cast<double>(TotalOf(s.sum_logit + r * kMaxLanes));
    Real* out = task.weighted + r * task.value_depth;
    for (Index c = 0; c < task.value_depth; ++c) {
      out[c] = kNarrow ? TotalOf(s.out + r * s.out_stride + c * kMaxLanes) : s.out[r * s.out_stride + c];
    }
  }
}

template <class Real, Pair kPair, bool kTerms>
void ForwardPair(const ForwardTask<Real>& task) {
  return task.narrow ? Forward<Real, kPair, kTerms, true>(task) : Forward<Real, kPair, kTerms, false>(task);
}

// Without terms only what most calls are made of has a path of its own: the dot, and in float differences.
template <class Real>
void ForwardAny(const ForwardTask<Real>& task) {
  if (task.terms == nullptr && task.pair == Pair::dot) return ForwardPair<Real, Pair::dot, false>(task);
  if constexpr (std::is_same_v<Real, float>) {
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
    case Pair::dot_halves:
      return;  // forward_halves
    case Pair::additive:
      return ForwardPair<Real, Pair::additive, true>(full);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#endif  // KITH_FORWARD_INL_H_
