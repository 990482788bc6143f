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
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/kernels/forward.cc"
#include "hwy/foreach_target.h"

#include "attention/kernels/tile-inl.h"

#include <algorithm>
#include <cmath>

#ifndef KITH_FORWARD_ONCE
#define KITH_FORWARD_ONCE
namespace kith::kernels {
constexpr Index kGroup = 24;    // Queries whose weights are held at once: a multiple of 8, 6 and 4.
constexpr float kSlack = 8.0f;  // Weights stay below 2^8, sums of a chunk far from overflow.
constexpr Index kMaxTileKeys = 3 * kMaxLanes;

inline std::size_t Floats(Index n) { return static_cast<std::size_t>(round_up(n, kMaxLanes)); }
}  // namespace kith::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

struct Rows {
  float* m;          // [kQueryBlock] reference exponent; 0 until `threshold` is set
  float* threshold;  // [kQueryBlock] a logit - m above this moves m; -inf until the row has seen a key
  float* sum;        // [kQueryBlock][kMaxLanes]
  float* out;        // wide values: [kQueryBlock][padded]; narrow: [kQueryBlock][value_depth][kMaxLanes]
  Index out_stride;
  float* weights;  // [kGroup][kKeyBlock]
  float* spill;    // [kTileRows][kTileKeys]
};

inline Rows Divide(const ForwardTask& task) {
  Rows s{};
  const bool narrow = task.value_depth <= kNarrowValue;
  s.out_stride = narrow ? task.value_depth * kMaxLanes : round_up(task.value_depth, kMaxLanes);
  float* p = task.scratch;
  const auto take = [&p](Index n) {
    float* taken = p;
    p += Floats(n);
    return taken;
  };
  s.m = take(kQueryBlock);
  s.threshold = take(kQueryBlock);
  s.sum = take(kQueryBlock * kMaxLanes);
  s.out = take(kQueryBlock * s.out_stride);
  s.weights = take(kGroup * kKeyBlock);
  s.spill = take(kTileRows * kTileKeys);
  return s;
}

// If a row's logits outgrew m: move m up to the next whole number and scale what was summed so far.
HWY_NOINLINE void RescaleIfOutgrown(const ForwardTask& task, const Rows& s, Index row, Index group_row,
                                    Index keys_done, float* HWY_RESTRICT logits) {
  float largest = kMinusInfinity;
  for (Index j = 0; j < kTileKeys; ++j) largest = std::max(largest, logits[j]);
  if (!(largest > s.threshold[row])) return;
  const float rise = std::ceil(largest);
  const float factor = std::exp2(-rise);
  const bool first = s.threshold[row] == kMinusInfinity;
  s.m[row] += rise;
  s.threshold[row] = kSlack;
  for (Index j = 0; j < kTileKeys; ++j) logits[j] -= rise;
  if (first) return;
  for (Index l = 0; l < kLanes; ++l) s.sum[row * kMaxLanes + l] *= factor;
  for (Index c = 0; c < s.out_stride; ++c) s.out[row * s.out_stride + c] *= factor;
  if (task.value_depth > kNarrowValue) {
    for (Index j = 0; j < keys_done; ++j) s.weights[group_row * kKeyBlock + j] *= factor;
  }
}

// Offers a row's logits of one tile to its list of largest. Ties keep the earlier key.
HWY_NOINLINE void OfferTop(const ForwardTask& task, Index row, Index first_key, std::uint64_t seen,
                           const float* HWY_RESTRICT logits) {
  const int top = task.top.top;
  float* best = task.top.logit + row * top;
  Index* key = task.top.key + row * top;
  for (Index j = 0; j < kTileKeys; ++j) {
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

// Weights of R queries for one tile of keys: into `weights` (wide values) or straight into the sums (narrow).
template <Logit kLogit, Index R, bool kNarrow>
void ScoreTile(const ForwardTask& task, const Rows& s, Index row, Index group_row, Index first_key,
               Index keys_done, MaskPlan::Seen seen) {
  const Tag d;
  Vec acc[R][kVectors];
  const Index tile = first_key / kTileKeys;
  Accumulate<kLogit, R>(task.query + row * task.query_stride, task.query_stride,
                        task.key_tiles + tile * task.depth * kTileKeys, task.depth, acc);

  std::uint64_t bits[R];
  for (Index r = 0; r < R; ++r) {
    bits[r] = seen == MaskPlan::Seen::all
                  ? ~std::uint64_t{0}
                  : task.mask->bits(task.batch, task.first_query + row + r, first_key);
  }
  const Vec factor = hn::Set(d, task.factor);
  if (task.top.top > 0) {
    HWY_UNROLL(8)
    for (Index r = 0; r < R; ++r) {
      const Vec bar = hn::Set(d, task.top.logit[(row + r) * task.top.top + task.top.top - 1]);
      bool above = false;
      HWY_UNROLL(3)
      for (Index v = 0; v < kVectors; ++v) {
        const Vec logit = hn::Mul(acc[r][v], factor);
        above |= !hn::AllFalse(d, hn::Gt(logit, bar));
        hn::Store(logit, d, s.spill + r * kTileKeys + v * kLanes);
      }
      if (above) OfferTop(task, row + r, first_key, bits[r], s.spill + r * kTileKeys);
    }
  }

  auto outgrown = hn::FirstN(d, 0);
  HWY_UNROLL(8)
  for (Index r = 0; r < R; ++r) {
    const Vec m = hn::Set(d, s.m[row + r]);
    HWY_UNROLL(3)
    for (Index v = 0; v < kVectors; ++v) acc[r][v] = hn::MulSub(acc[r][v], factor, m);
  }
  if (seen == MaskPlan::Seen::some) {
    const Vec none = hn::Set(d, kMinusInfinity);
    HWY_UNROLL(8)
    for (Index r = 0; r < R; ++r) {
      HWY_UNROLL(3)
      for (Index v = 0; v < kVectors; ++v) acc[r][v] = hn::IfThenElse(LaneMask(bits[r], v), acc[r][v], none);
    }
  }
  HWY_UNROLL(8)
  for (Index r = 0; r < R; ++r) {
    const Vec largest = hn::Max(hn::Max(acc[r][0], acc[r][1]), acc[r][2]);
    outgrown = hn::Or(outgrown, hn::Gt(largest, hn::Set(d, s.threshold[row + r])));
  }
  if (HWY_UNLIKELY(!hn::AllFalse(d, outgrown))) {
    HWY_UNROLL(8)
    for (Index r = 0; r < R; ++r) {
      HWY_UNROLL(3)
      for (Index v = 0; v < kVectors; ++v) hn::Store(acc[r][v], d, s.spill + r * kTileKeys + v * kLanes);
    }
    for (Index r = 0; r < R; ++r) {
      RescaleIfOutgrown(task, s, row + r, group_row + r, keys_done, s.spill + r * kTileKeys);
    }
    HWY_UNROLL(8)
    for (Index r = 0; r < R; ++r) {
      HWY_UNROLL(3)
      for (Index v = 0; v < kVectors; ++v) acc[r][v] = hn::Load(d, s.spill + r * kTileKeys + v * kLanes);
    }
  }

  HWY_UNROLL(8)
  for (Index r = 0; r < R; ++r) {
    HWY_UNROLL(3)
    for (Index v = 0; v < kVectors; ++v) acc[r][v] = Exp2(acc[r][v]);
    float* sum = s.sum + (row + r) * kMaxLanes;
    hn::Store(hn::Add(hn::Load(d, sum), hn::Add(hn::Add(acc[r][0], acc[r][1]), acc[r][2])), d, sum);
  }
  if constexpr (kNarrow) {
    const float* values = task.value_tiles + tile * task.value_depth * kTileKeys;
    for (Index c = 0; c < task.value_depth; ++c) {
      Vec value[kVectors];
      for (Index v = 0; v < kVectors; ++v) value[v] = hn::Load(d, values + c * kTileKeys + v * kLanes);
      HWY_UNROLL(8)
      for (Index r = 0; r < R; ++r) {
        float* out = s.out + (row + r) * s.out_stride + c * kMaxLanes;
        Vec total = hn::Mul(acc[r][0], value[0]);
        total = hn::MulAdd(acc[r][1], value[1], total);
        total = hn::MulAdd(acc[r][2], value[2], total);
        hn::Store(hn::Add(hn::Load(d, out), total), d, out);
      }
    }
  } else {
    HWY_UNROLL(8)
    for (Index r = 0; r < R; ++r) {
      float* weights = s.weights + (group_row + r) * kKeyBlock + keys_done;
      HWY_UNROLL(3)
      for (Index v = 0; v < kVectors; ++v) hn::Store(acc[r][v], d, weights + v * kLanes);
    }
  }
}

template <Logit kLogit, bool kNarrow>
void Forward(const ForwardTask& task) {
  const Tag d;
  const Rows s = Divide(task);
  for (Index r = 0; r < task.rows; ++r) {
    s.m[r] = 0;
    s.threshold[r] = kMinusInfinity;
  }
  std::fill_n(s.sum, task.rows * kMaxLanes, 0.0f);
  std::fill_n(s.out, task.rows * s.out_stride, 0.0f);

  for (Index block = task.key_begin; block < task.key_end; block += kKeyBlock) {
    const Index block_end = std::min(block + kKeyBlock, round_up(task.key_end, kTileKeys));
    const Index block_keys = std::min(block_end, task.key_end) - block;
    for (Index group = 0; group < task.rows; group += kGroup) {
      const Index group_end = std::min(group + kGroup, task.rows);
      const Index query = task.first_query;
      const auto block_seen =
          task.mask->classify(task.batch, query + group, query + group_end, block, block_end);
      if (block_seen == MaskPlan::Seen::none) continue;

      for (Index row = group; row < group_end;) {
        const Index rows = group_end - row >= kTileRows ? kTileRows : 1;
        for (Index key = block; key < block_end; key += kTileKeys) {
          const auto seen =
              block_seen == MaskPlan::Seen::all
                  ? block_seen
                  : task.mask->classify(task.batch, query + row, query + row + rows, key, key + kTileKeys);
          if (seen == MaskPlan::Seen::none) {
            if (!kNarrow) {
              for (Index r = 0; r < rows; ++r) {
                std::fill_n(s.weights + (row - group + r) * kKeyBlock + (key - block), kTileKeys, 0.0f);
              }
            }
            continue;
          }
          if (rows == kTileRows) {
            ScoreTile<kLogit, kTileRows, kNarrow>(task, s, row, row - group, key, key - block, seen);
          } else {
            ScoreTile<kLogit, 1, kNarrow>(task, s, row, row - group, key, key - block, seen);
          }
        }
        row += rows;
      }
      if (!kNarrow) {
        AddWeightedRows(s.weights, kKeyBlock, group_end - group, task.value + block * task.value_stride,
                        task.value_stride, block_keys, round_up(task.value_depth, kLanes),
                        s.out + group * s.out_stride, s.out_stride);
      }
    }
  }

  for (Index r = 0; r < task.rows; ++r) {
    const float sum = hn::GetLane(hn::SumOfLanes(d, hn::Load(d, s.sum + r * kMaxLanes)));
    // A sum of 0: no visible key. A NaN is not 0: it is passed on.
    task.max[r] = sum == 0.0f ? -std::numeric_limits<double>::infinity() : static_cast<double>(s.m[r]);
    task.sum[r] = static_cast<double>(sum);
    float* out = task.weighted + r * task.value_depth;
    for (Index c = 0; c < task.value_depth; ++c) {
      out[c] = kNarrow ? hn::GetLane(hn::SumOfLanes(d, hn::Load(d, s.out + r * s.out_stride + c * kMaxLanes)))
                       : s.out[r * s.out_stride + c];
    }
  }
}

void ForwardTarget(const ForwardTask& task) {
  const bool narrow = task.value_depth <= kNarrowValue;
  switch (task.logit) {
    case Logit::dot:
      return narrow ? Forward<Logit::dot, true>(task) : Forward<Logit::dot, false>(task);
    case Logit::squared_distance:
      return narrow ? Forward<Logit::squared_distance, true>(task)
                    : Forward<Logit::squared_distance, false>(task);
    case Logit::distance:
      return narrow ? Forward<Logit::distance, true>(task) : Forward<Logit::distance, false>(task);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kith::kernels {

HWY_EXPORT(ForwardTarget);

void forward(const ForwardTask& task) { HWY_DYNAMIC_DISPATCH(ForwardTarget)(task); }

std::size_t forward_scratch(Index value_depth) {
  const Index out = value_depth <= kNarrowValue ? value_depth * kMaxLanes : round_up(value_depth, kMaxLanes);
  return 2 * Floats(kQueryBlock) + Floats(kQueryBlock * kMaxLanes) + Floats(kQueryBlock * out) +
         Floats(kGroup * kKeyBlock) + Floats(8 * kMaxTileKeys);
}

}  // namespace kith::kernels
#endif
