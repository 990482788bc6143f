// Backward: gradients of queries, keys and values from recomputed weights (Dao et al. 2022, algorithm 4).
//
//   P  = 2^(logit2 - lse2)          the weights again
//   dP = dO V^T                     dS = P (dP - delta)      delta_i = sum_c dO_ic out_ic - dlse_i
//   dV += P^T dO      dK += dS^T Q      dQ += dS K           (times the similarity's own factors, by the
//   caller)
//
// For the dot, the outer loop runs over tiles of keys, so that dK and dV of a tile stay in L1 while the
// queries pass by in blocks of 96; P and dS of a block are 18 KB each. dQ is added to memory: one load and
// store per 48 keys. Distances: see BackwardDifferences.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/kernels/backward.cc"
#include "hwy/foreach_target.h"

#include "attention/kernels/tile-inl.h"

#include <algorithm>

#ifndef KITH_BACKWARD_ONCE
#define KITH_BACKWARD_ONCE
namespace kith::kernels {
constexpr Index kDirectKeys = 960;  // With 96 queries, dS fills 370 KB: well inside L2.
}  // namespace kith::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

static_assert(kDirectKeys % kTileKeys == 0);

// P and dS of R queries against one tile of keys.
template <Logit kLogit, Index R>
void WeightTile(const BackwardTask& task, Index row, Index key, const float* HWY_RESTRICT key_tile,
                const float* HWY_RESTRICT value_tile, MaskPlan::Seen seen, float* HWY_RESTRICT p_rows,
                float* HWY_RESTRICT ds_rows) {
  const Tag d;
  Vec p[R][kVectors];
  Accumulate<kLogit, R>(task.query + row * task.query_stride, task.query_stride, key_tile, task.depth, p);
  const Vec factor = hn::Set(d, task.factor);
  std::uint64_t bits[R];
  HWY_UNROLL(8)
  for (Index r = 0; r < R; ++r) {
    // A row that sees nothing has lse -inf; any finite number does there, its bits are all 0.
    const float lse2 = task.lse2[row + r];
    const Vec shift = hn::Set(d, lse2 == kMinusInfinity ? 0.0f : lse2);
    bits[r] = lse2 == kMinusInfinity        ? 0
              : seen == MaskPlan::Seen::all ? ~std::uint64_t{0}
                                            : task.mask->bits(task.batch, task.first_query + row + r, key);
    HWY_UNROLL(3)
    for (Index v = 0; v < kVectors; ++v) {
      // Rounding of huge logits must not lift a weight above 1. A NaN in the second operand of Min is kept.
      p[r][v] = Exp2(hn::Min(hn::Zero(d), hn::MulSub(p[r][v], factor, shift)));
      if (bits[r] != ~std::uint64_t{0}) p[r][v] = hn::IfThenElseZero(LaneMask(bits[r], v), p[r][v]);
      hn::Store(p[r][v], d, p_rows + (row + r) * kTileKeys + v * kLanes);
    }
  }

  Vec ds[R][kVectors];
  Accumulate<Logit::dot, R>(task.d_out + row * task.d_out_stride, task.d_out_stride, value_tile,
                            task.value_depth, ds);
  HWY_UNROLL(8)
  for (Index r = 0; r < R; ++r) {
    const Vec delta = hn::Set(d, task.delta[row + r]);
    HWY_UNROLL(3)
    for (Index v = 0; v < kVectors; ++v) {
      float* at = ds_rows + (row + r) * kTileKeys + v * kLanes;
      Vec x = hn::Mul(hn::Load(d, p_rows + (row + r) * kTileKeys + v * kLanes), hn::Sub(ds[r][v], delta));
      if (bits[r] != ~std::uint64_t{0}) x = hn::IfThenElseZero(LaneMask(bits[r], v), x);
      hn::Store(x, d, at);
    }
  }
}

// dlogit/d|q-k| has 1/|q-k|: divides dS of a block by the distances; at distance 0 the (sub)gradient is 0. On
// the way it returns the sum of dS |q-k|.
double DivideByDistance(const BackwardTask& task, Index rows, const float* HWY_RESTRICT key_tile,
                        float* HWY_RESTRICT ds_rows) {
  const Tag d;
  double sum = 0;
  for (Index r = 0; r < rows; ++r) {
    Vec x[1][kVectors];
    Accumulate<Logit::distance, 1>(task.query + r * task.query_stride, task.query_stride, key_tile,
                                   task.depth, x);
    Vec product = hn::Zero(d);
    for (Index v = 0; v < kVectors; ++v) {
      float* at = ds_rows + r * kTileKeys + v * kLanes;
      const Vec ds = hn::Load(d, at);
      const auto none = hn::Or(hn::Eq(x[0][v], hn::Zero(d)), hn::Eq(ds, hn::Zero(d)));
      product = hn::Add(product, hn::IfThenZeroElse(none, hn::Mul(ds, x[0][v])));
      hn::Store(hn::IfThenZeroElse(none, hn::Div(ds, x[0][v])), d, at);
    }
    sum += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, product)));
  }
  return sum;
}

// C columns of sum_j dS (q - k) for `rows` queries, kept in lanes [C][kQueryBlock][kLanes], and of sum_i dS
// (q - k) for a tile of keys.
template <Index C>
HWY_INLINE void AddDifferences(const float* HWY_RESTRICT query, Index query_stride,
                               const float* HWY_RESTRICT key_tile, const float* HWY_RESTRICT ds, Index rows,
                               float* HWY_RESTRICT lanes, float* HWY_RESTRICT d_key_tile) {
  const Tag d;
  Vec key[C][kVectors], d_key[C][kVectors];
  HWY_UNROLL(4)
  for (Index c = 0; c < C; ++c) {
    HWY_UNROLL(3)
    for (Index v = 0; v < kVectors; ++v) {
      key[c][v] = hn::Load(d, key_tile + c * kTileKeys + v * kLanes);
      d_key[c][v] = hn::Zero(d);
    }
  }
  for (Index r = 0; r < rows; ++r) {
    Vec weight[kVectors];
    HWY_UNROLL(3)
    for (Index v = 0; v < kVectors; ++v) weight[v] = hn::Load(d, ds + r * kTileKeys + v * kLanes);
    HWY_UNROLL(4)
    for (Index c = 0; c < C; ++c) {
      const Vec q = hn::Set(d, query[r * query_stride + c]);
      float* lane = lanes + (c * kQueryBlock + r) * kLanes;
      Vec sum = hn::Load(d, lane);
      HWY_UNROLL(3)
      for (Index v = 0; v < kVectors; ++v) {
        const Vec t = hn::Sub(q, key[c][v]);
        sum = hn::MulAdd(weight[v], t, sum);
        d_key[c][v] = hn::MulAdd(weight[v], t, d_key[c][v]);
      }
      hn::Store(sum, d, lane);
    }
  }
  HWY_UNROLL(4)
  for (Index c = 0; c < C; ++c) {
    HWY_UNROLL(3)
    for (Index v = 0; v < kVectors; ++v) {
      float* at = d_key_tile + c * kTileKeys + v * kLanes;
      hn::Store(hn::Add(hn::Load(d, at), d_key[c][v]), d, at);
    }
  }
}

// tile[columns][keys] += sum over rows of left[row][column] * right[row][keys].
void AddOuterColumns(const float* left, Index left_stride, Index columns, const float* right, Index rows,
                     float* tile) {
  Index c = 0;
  for (; c + kTileRows <= columns; c += kTileRows) {
    AddWeightedBlock<kTileRows, kVectors>(left + c, 1, left_stride, right, kTileKeys, rows,
                                          tile + c * kTileKeys, kTileKeys);
  }
  for (; c < columns; ++c) {
    AddWeightedBlock<1, kVectors>(left + c, 1, left_stride, right, kTileKeys, rows, tile + c * kTileKeys,
                                  kTileKeys);
  }
}

// The task's queries from `begin` on: their data start at row 0, as scratch rows do.
BackwardTask From(const BackwardTask& task, Index begin) {
  const Index row = begin - task.first_query;
  BackwardTask block = task;
  block.first_query = begin;
  block.query += row * task.query_stride;
  block.d_out += row * task.d_out_stride;
  block.lse2 += row;
  block.delta += row;
  block.query_rows += row * task.query_rows_stride;
  block.d_out_rows += row * task.d_out_rows_stride;
  block.d_query += row * task.d_query_stride;
  return block;
}

// P, dS and dV of up to kQueryBlock queries against one tile of keys; dS is divided by the distances where
// they ask for it.
template <Logit kLogit>
void WeighBlock(const BackwardTask& block, Index rows, Index key, MaskPlan::Seen seen, float* p_rows,
                float* ds_rows) {
  const Index tile = key / kTileKeys, own_tile = (key - block.first_key) / kTileKeys;
  const float* key_tile = block.key_tiles + tile * block.depth * kTileKeys;
  const float* value_tile = block.value_tiles + tile * block.value_depth * kTileKeys;
  Index row = 0;
  for (; row + kTileRows <= rows; row += kTileRows) {
    WeightTile<kLogit, kTileRows>(block, row, key, key_tile, value_tile, seen, p_rows, ds_rows);
  }
  for (; row < rows; ++row)
    WeightTile<kLogit, 1>(block, row, key, key_tile, value_tile, seen, p_rows, ds_rows);
  AddOuterColumns(block.d_out_rows, block.d_out_rows_stride, block.value_depth, p_rows, rows,
                  block.d_value_tiles + own_tile * block.value_depth * kTileKeys);
  if constexpr (kLogit == Logit::distance)
    *block.d_factor += DivideByDistance(block, rows, key_tile, ds_rows);
}

// Gradients through the dot, as matrix products. Keys outside: dK and dV of a tile stay in L1 while the
// queries pass by.
void BackwardProducts(const BackwardTask& task) {
  float* p_rows = task.scratch;
  float* ds_rows = task.scratch + kQueryBlock * kTileKeys;
  for (Index key = task.first_key; key < task.last_key; key += kTileKeys) {
    const Index keys = std::min(kTileKeys, task.last_key - key);
    for (Index begin = task.first_query; begin < task.last_query; begin += kQueryBlock) {
      const Index rows = std::min(kQueryBlock, task.last_query - begin);
      const auto seen = task.mask->classify(task.batch, begin, begin + rows, key, key + kTileKeys);
      if (seen == MaskPlan::Seen::none) continue;
      const BackwardTask block = From(task, begin);
      WeighBlock<Logit::dot>(block, rows, key, seen, p_rows, ds_rows);
      if (task.pull_depth == 0) continue;
      AddOuterColumns(block.query_rows, block.query_rows_stride, block.pull_depth, ds_rows, rows,
                      task.d_key_tiles + (key - task.first_key) / kTileKeys * task.pull_depth * kTileKeys);
      AddWeightedRows(ds_rows, kTileKeys, rows, task.key_rows + key * task.key_rows_stride,
                      task.key_rows_stride, keys, round_up(task.pull_depth, kLanes), block.d_query,
                      block.d_query_stride);
    }
  }
}

// The same C columns for one block of queries and the keys whose dS are at hand.
template <Index C>
void AddDifferenceColumns(const BackwardTask& task, const BackwardTask& block, Index rows, Index column,
                          Index first_key, Index last_key, const float* ds_rows, float* lanes) {
  const Tag d;
  std::fill_n(lanes, C * kQueryBlock * kLanes, 0.0f);
  for (Index key = first_key; key < last_key; key += kTileKeys) {
    AddDifferences<C>(
        block.query_rows + column, block.query_rows_stride,
        task.finite_key_tiles + (key / kTileKeys * task.depth + column) * kTileKeys,
        ds_rows + (key - first_key) * kQueryBlock, rows, lanes,
        task.d_key_tiles + ((key - task.first_key) / kTileKeys * task.depth + column) * kTileKeys);
  }
  for (Index c = 0; c < C; ++c) {
    for (Index r = 0; r < rows; ++r) {
      block.d_query[r * task.d_query_stride + column + c] +=
          hn::GetLane(hn::SumOfLanes(d, hn::Load(d, lanes + (c * kQueryBlock + r) * kLanes)));
    }
  }
}

// Gradients through distances, as sums of differences pair by pair: products would have to subtract q sum dS
// from sum dS k, which loses digits far from the origin and where a query nearly hits a key. dS of a block of
// queries and kDirectKeys keys is kept, since every few columns read it again.
template <Logit kLogit>
void BackwardDifferences(const BackwardTask& task) {
  constexpr Index kColumns = HWY_TARGET <= HWY_AVX3 ? 4 : 1;
  float* p_rows = task.scratch;
  float* lanes = p_rows + kQueryBlock * kTileKeys;
  float* ds_rows = lanes + kColumns * kQueryBlock * kLanes;  // [tile][kQueryBlock][kTileKeys]
  for (Index begin = task.first_query; begin < task.last_query; begin += kQueryBlock) {
    const Index rows = std::min(kQueryBlock, task.last_query - begin);
    const BackwardTask block = From(task, begin);
    for (Index first = task.first_key; first < task.last_key; first += kDirectKeys) {
      const Index last = std::min(first + kDirectKeys, task.last_key);
      bool any = false;
      for (Index key = first; key < last; key += kTileKeys) {
        const auto seen = task.mask->classify(task.batch, begin, begin + rows, key, key + kTileKeys);
        float* ds = ds_rows + (key - first) * kQueryBlock;
        if (seen == MaskPlan::Seen::none) {
          std::fill_n(ds, rows * kTileKeys, 0.0f);
        } else {
          any = true;
          WeighBlock<kLogit>(block, rows, key, seen, p_rows, ds);
        }
      }
      if (!any) continue;
      Index c = 0;
      for (; c + kColumns <= task.depth; c += kColumns) {
        AddDifferenceColumns<kColumns>(task, block, rows, c, first, last, ds_rows, lanes);
      }
      for (; c < task.depth; ++c) AddDifferenceColumns<1>(task, block, rows, c, first, last, ds_rows, lanes);
    }
  }
}

void BackwardTarget(const BackwardTask& task) {
  switch (task.logit) {
    case Logit::dot:
      return BackwardProducts(task);
    case Logit::squared_distance:
      return BackwardDifferences<Logit::squared_distance>(task);
    case Logit::distance:
      return BackwardDifferences<Logit::distance>(task);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kith::kernels {

HWY_EXPORT(BackwardTarget);

void backward(const BackwardTask& task) { HWY_DYNAMIC_DISPATCH(BackwardTarget)(task); }

std::size_t backward_scratch() {
  return static_cast<std::size_t>(kQueryBlock * ((2 * 3 + 4) * kMaxLanes + kDirectKeys));
}

}  // namespace kith::kernels
#endif
