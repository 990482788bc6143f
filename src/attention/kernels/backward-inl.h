// Backward: gradients of queries, keys and values from recomputed weights (Dao et al. 2022, algorithm 4).
//
//   P  = 2^(logit2 - lse2)          the weights again
//   dP = dO V^T                     dS = P (dP - delta)      delta_i = sum_c dO_ic out_ic - dlse_i
//   dV += P^T dO      dK += dX^T Q      dQ += dX K           dX = dS, or with terms dS dlogit/dx
//
// For the dot, the outer loop runs over tiles of keys, so that dK and dV of a tile stay in L1 while the
// queries pass by in blocks of 96; P and dX of a block are 18 KB each in float. dQ is added to memory: one
// load and store per tile. Other pairs: see BackwardDifferences.
//
// Re-included once per instruction set, by one file per type of number.

#if defined(KITH_BACKWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KITH_BACKWARD_INL_H_
#undef KITH_BACKWARD_INL_H_
#else
#define KITH_BACKWARD_INL_H_
#endif

#include <algorithm>

#include "attention/kernels/backward_scratch.h"
#include "attention/kernels/slopes-inl.h"
#include "attention/kernels/terms-inl.h"
#include "attention/kernels/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

static_assert(kDirectKeys % kTileKeys<float> == 0 && kDirectKeys % kTileKeys<double> == 0);

// P of R queries against one tile of keys, also to `p_rows` [R][tile], and who sees what. With terms, x and
// the logits are left in `spill`, [R][tile] each.
template <class Real, Pair kPair, bool kTerms, Index R>
HWY_INLINE void Weights(const BackwardTask<Real>& task, Index row, Index key, MaskPlan::Seen seen,
                        Real* HWY_RESTRICT spill, Real* HWY_RESTRICT p_rows, std::uint64_t (&bits)[R],
                        Vec<Real> (&p)[R][kVectors]) {
  const Tag<Real> d;
  constexpr Index kKeys = kTileKeys<Real>, kStep = kLanes<Real>;
  const Real* key_tile = task.key_tiles + key / kKeys * task.depth * kKeys;
  Accumulate<Real, kPair, R>(task.query + row * task.query_stride, task.query_stride, key_tile, task.depth,
                             task.coefficient, p);
  if constexpr (kTerms) {
    for (Index r = 0; r < R; ++r) {
      Real *x = spill + r * kKeys, *logits = spill + (R + r) * kKeys;
      for (Index v = 0; v < kVectors; ++v) hn::Store(p[r][v], d, x + v * kStep);
      ApplyTerms<Real>({*task.terms, task.factor, task.first_query + row + r, key, task.last_key}, x, logits);
      for (Index v = 0; v < kVectors; ++v) p[r][v] = hn::Load(d, logits + v * kStep);
    }
  }
  const Vec<Real> factor = hn::Set(d, kTerms ? Real{1} : task.factor);
  HWY_UNROLL(8)
  for (Index r = 0; r < R; ++r) {
    // A row that sees nothing has lse -inf; any finite number does there, its bits are all 0.
    const Real lse2 = task.lse2[row + r];
    const Vec<Real> shift = hn::Set(d, lse2 == kMinusInfinity<Real> ? Real{0} : lse2);
    bits[r] = lse2 == kMinusInfinity<Real> ? 0
              : seen == MaskPlan::Seen::all
                  ? ~std::uint64_t{0}
                  : task.mask->bits(task.sequence, task.head, task.first_query + row + r, key, kKeys);
    HWY_UNROLL(3)
    for (Index v = 0; v < kVectors; ++v) {
      // Rounding of huge logits must not lift a weight above 1. A NaN in the second operand of Min is kept.
      const Vec<Real> logit = p[r][v];
      p[r][v] = Exp2<Real>(hn::Min(hn::Zero(d), hn::MulSub(logit, factor, shift)));
      // What a term hides stays out even where the row's lse is NaN.
      if constexpr (kTerms) {
        p[r][v] = hn::IfThenZeroElse(hn::Eq(logit, hn::Set(d, kMinusInfinity<Real>)), p[r][v]);
      }
      if (bits[r] != ~std::uint64_t{0}) p[r][v] = hn::IfThenElseZero(LaneMask<Real>(bits[r], v), p[r][v]);
      hn::Store(p[r][v], d, p_rows + r * kKeys + v * kStep);
    }
  }
}

// P and dX of R queries against one tile of keys.
template <class Real, Pair kPair, bool kTerms, Index R>
void WeightTile(const BackwardTask<Real>& task, Index row, Index key, const Real* HWY_RESTRICT value_tile,
                MaskPlan::Seen seen, Real* HWY_RESTRICT spill, Real* HWY_RESTRICT p_rows,
                Real* HWY_RESTRICT ds_rows) {
  const Tag<Real> d;
  constexpr Index kKeys = kTileKeys<Real>, kStep = kLanes<Real>;
  std::uint64_t bits[R];
  {
    Vec<Real> p[R][kVectors];
    Weights<Real, kPair, kTerms, R>(task, row, key, seen, spill, p_rows + row * kKeys, bits, p);
  }
  Vec<Real> ds[R][kVectors];
  Accumulate<Real, Pair::dot, R>(task.d_out + row * task.d_out_stride, task.d_out_stride, value_tile,
                                 task.value_depth, nullptr, ds);
  if constexpr (kTerms) {
    for (Index r = 0; r < R; ++r) {
      Real* ds_row = ds_rows + (row + r) * kKeys;
      for (Index v = 0; v < kVectors; ++v) hn::Store(ds[r][v], d, ds_row + v * kStep);
      PullRow<Real>(task, row + r, key, bits[r], spill + r * kKeys, spill + (R + r) * kKeys,
                    p_rows + (row + r) * kKeys, ds_row);
    }
    return;
  }
  HWY_UNROLL(8)
  for (Index r = 0; r < R; ++r) {
    const Vec<Real> delta = hn::Set(d, task.delta[row + r]);
    HWY_UNROLL(3)
    for (Index v = 0; v < kVectors; ++v) {
      const Index at = (row + r) * kKeys + v * kStep;
      Vec<Real> x = hn::Mul(hn::Load(d, p_rows + at), hn::Sub(ds[r][v], delta));
      if (bits[r] != ~std::uint64_t{0}) x = hn::IfThenElseZero(LaneMask<Real>(bits[r], v), x);
      hn::Store(x, d, ds_rows + at);
    }
  }
}

// tile[columns][keys] += sum over rows of left[row][column] * right[row][keys].
template <class Real>
void AddOuterColumns(const Real* left, Index left_stride, Index columns, const Real* right, Index rows,
                     Real* tile) {
  constexpr Index kKeys = kTileKeys<Real>;
  Index c = 0;
  for (; c + kTileRows <= columns; c += kTileRows) {
    AddWeightedBlock<Real, kTileRows, kVectors>(left + c, 1, left_stride, right, kKeys, rows,
                                                tile + c * kKeys, kKeys);
  }
  for (; c < columns; ++c) {
    AddWeightedBlock<Real, 1, kVectors>(left + c, 1, left_stride, right, kKeys, rows, tile + c * kKeys,
                                        kKeys);
  }
}

// The task's queries from `begin` on: their data start at row 0, as scratch rows do.
template <class Real>
BackwardTask<Real> From(const BackwardTask<Real>& task, Index begin) {
  const Index row = begin - task.first_query;
  BackwardTask<Real> block = task;
  block.first_query = begin;
  block.query += row * task.query_stride;
  block.lse2 += row;
  block.d_out += row * task.d_out_stride;
  block.delta += row;
  block.query_rows += row * task.query_rows_stride;
  block.d_out_rows += row * task.d_out_rows_stride;
  block.d_query += row * task.d_query_stride;
  if (task.d_entropy != nullptr) block.d_entropy += row;
  if (task.d_query_scale != nullptr) block.d_query_scale += row;
  if (task.d_bias != nullptr) block.d_bias += row * task.d_bias_query_stride;
  return block;
}

// P, dX and dV of up to kQueryBlock queries against one tile of keys.
template <class Real, Pair kPair, bool kTerms>
void WeighBlock(const BackwardTask<Real>& block, Index rows, Index key, MaskPlan::Seen seen, Real* spill,
                Real* p_rows, Real* ds_rows) {
  constexpr Index kKeys = kTileKeys<Real>;
  const Index tile = key / kKeys, own_tile = (key - block.first_key) / kKeys;
  const Real* value_tile = block.value_tiles + tile * block.value_depth * kKeys;
  Index row = 0;
  for (; row + kTileRows <= rows; row += kTileRows) {
    WeightTile<Real, kPair, kTerms, kTileRows>(block, row, key, value_tile, seen, spill, p_rows, ds_rows);
  }
  for (; row < rows; ++row)
    WeightTile<Real, kPair, kTerms, 1>(block, row, key, value_tile, seen, spill, p_rows, ds_rows);
  AddOuterColumns<Real>(block.d_out_rows, block.d_out_rows_stride, block.value_depth, p_rows, rows,
                        block.d_value_tiles + own_tile * block.value_depth * kKeys);
}

// Gradients through the dot, as matrix products. Keys outside: dK and dV of a tile stay in L1 while the
// queries pass by.
template <class Real, bool kTerms>
void BackwardProducts(const BackwardTask<Real>& task) {
  constexpr Index kKeys = kTileKeys<Real>;
  Real* p_rows = task.scratch;
  Real* spill = p_rows + BackwardScratch::kWeights;
  Real* ds_rows = spill + BackwardScratch::kSpill;
  for (Index key = task.first_key; key < task.last_key; key += kKeys) {
    const Index keys = std::min(kKeys, task.last_key - key);
    for (Index begin = task.first_query; begin < task.last_query; begin += kQueryBlock) {
      const Index rows = std::min(kQueryBlock, task.last_query - begin);
      const auto seen = task.mask->classify(task.sequence, task.head, begin, begin + rows, key, key + kKeys);
      if (seen == MaskPlan::Seen::none) continue;
      const BackwardTask<Real> block = From(task, begin);
      WeighBlock<Real, Pair::dot, kTerms>(block, rows, key, seen, spill, p_rows, ds_rows);
      if (task.pull_depth == 0) continue;
      AddOuterColumns<Real>(block.query_rows, block.query_rows_stride, block.pull_depth, ds_rows, rows,
                            task.d_key_tiles + (key - task.first_key) / kKeys * task.pull_depth * kKeys);
      AddWeightedRows<Real>(ds_rows, kKeys, rows, task.key_rows + key * task.key_rows_stride,
                            task.key_rows_stride, keys, round_up(task.pull_depth, kLanes<Real>),
                            block.d_query, block.d_query_stride);
    }
  }
}

// What a column of a pair contributes to the gradient of its query and key, up to the caller's constant.
// `tanh` is additive's, for the gradient of its coefficient.
template <class Real, Pair kPair>
HWY_INLINE Vec<Real> PairSlope(Vec<Real> q, Vec<Real> k, Vec<Real> coefficient, Vec<Real>& tanh) {
  const Tag<Real> d;
  if constexpr (kPair == Pair::additive) {
    const Vec<Real> one = hn::Set(d, Real{1});
    tanh = Tanh<Real>(hn::Add(q, k));
    return hn::Mul(coefficient, hn::Mul(hn::Sub(one, tanh), hn::Add(one, tanh)));
  } else {
    const Vec<Real> difference = hn::Sub(q, k);
    if constexpr (kPair == Pair::squared) return difference;
    const Vec<Real> sign = hn::CopySign(hn::Set(d, Real{1}), difference);
    return hn::IfThenZeroElse(hn::Eq(difference, hn::Zero(d)), sign);
  }
}

// C columns of sum_j dX slope for `rows` queries, kept in lanes [C][kQueryBlock][kLanes], and of sum_i dX
// slope for a tile of keys.
template <class Real, Pair kPair, Index C>
HWY_INLINE void AddDifferences(const Real* HWY_RESTRICT query, Index query_stride,
                               const Real* HWY_RESTRICT key_tile, const Real* HWY_RESTRICT coefficient,
                               const Real* HWY_RESTRICT ds, Index rows, Real* HWY_RESTRICT lanes,
                               Real* HWY_RESTRICT d_key_tile, double* HWY_RESTRICT d_coefficient) {
  const Tag<Real> d;
  constexpr Index kKeys = kTileKeys<Real>, kStep = kLanes<Real>;
  Vec<Real> key[C][kVectors], d_key[C][kVectors], d_u[C], u[C];
  HWY_UNROLL(4)
  for (Index c = 0; c < C; ++c) {
    d_u[c] = u[c] = hn::Zero(d);
    if constexpr (kPair == Pair::additive) u[c] = hn::Set(d, coefficient[c]);
    HWY_UNROLL(3)
    for (Index v = 0; v < kVectors; ++v) {
      key[c][v] = hn::Load(d, key_tile + c * kKeys + v * kStep);
      d_key[c][v] = hn::Zero(d);
    }
  }
  for (Index r = 0; r < rows; ++r) {
    Vec<Real> weight[kVectors];
    HWY_UNROLL(3)
    for (Index v = 0; v < kVectors; ++v) weight[v] = hn::Load(d, ds + r * kKeys + v * kStep);
    HWY_UNROLL(4)
    for (Index c = 0; c < C; ++c) {
      const Vec<Real> q = hn::Set(d, query[r * query_stride + c]);
      Real* lane = lanes + (c * kQueryBlock + r) * kStep;
      Vec<Real> sum = hn::Load(d, lane);
      HWY_UNROLL(3)
      for (Index v = 0; v < kVectors; ++v) {
        Vec<Real> tanh;
        const Vec<Real> t = PairSlope<Real, kPair>(q, key[c][v], u[c], tanh);
        sum = hn::MulAdd(weight[v], t, sum);
        d_key[c][v] = hn::MulAdd(weight[v], t, d_key[c][v]);
        if constexpr (kPair == Pair::additive) d_u[c] = hn::MulAdd(weight[v], tanh, d_u[c]);
      }
      hn::Store(sum, d, lane);
    }
  }
  HWY_UNROLL(4)
  for (Index c = 0; c < C; ++c) {
    HWY_UNROLL(3)
    for (Index v = 0; v < kVectors; ++v) {
      Real* at = d_key_tile + c * kKeys + v * kStep;
      hn::Store(hn::Add(hn::Load(d, at), d_key[c][v]), d, at);
    }
    if constexpr (kPair == Pair::additive) {
      if (d_coefficient != nullptr)
        d_coefficient[c] += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, d_u[c])));
    }
  }
}

// The same C columns for one block of queries and the keys whose dX are at hand.
template <class Real, Pair kPair, Index C>
void AddDifferenceColumns(const BackwardTask<Real>& task, const BackwardTask<Real>& block, Index rows,
                          Index column, Index first_key, Index last_key, const Real* ds_rows, Real* lanes) {
  const Tag<Real> d;
  constexpr Index kKeys = kTileKeys<Real>, kStep = kLanes<Real>;
  std::fill_n(lanes, C * kQueryBlock * kStep, Real{0});
  for (Index key = first_key; key < last_key; key += kKeys) {
    AddDifferences<Real, kPair, C>(
        block.query_rows + column, block.query_rows_stride,
        task.finite_key_tiles + (key / kKeys * task.depth + column) * kKeys,
        task.coefficient == nullptr ? nullptr : task.coefficient + column,
        ds_rows + (key - first_key) * kQueryBlock, rows, lanes,
        task.d_key_tiles + ((key - task.first_key) / kKeys * task.depth + column) * kKeys,
        task.d_coefficient == nullptr ? nullptr : task.d_coefficient + column);
  }
  for (Index c = 0; c < C; ++c) {
    for (Index r = 0; r < rows; ++r) {
      block.d_query[r * task.d_query_stride + column + c] +=
          hn::GetLane(hn::SumOfLanes(d, hn::Load(d, lanes + (c * kQueryBlock + r) * kStep)));
    }
  }
}

// Gradients through differences, as sums pair by pair: products would have to subtract q sum dS from sum dS
// k, which loses digits far from the origin and where a query nearly hits a key; and what is no product has
// no other way. dX of a block of queries and kDirectKeys keys is kept, since every few columns read it again.
template <class Real, Pair kPair, bool kTerms>
void BackwardDifferences(const BackwardTask<Real>& task) {
  constexpr Index kKeys = kTileKeys<Real>;
  constexpr Index kColumns = HWY_TARGET <= HWY_AVX3 ? kDifferenceColumns : 1;
  Real* p_rows = task.scratch;
  Real* spill = p_rows + BackwardScratch::kWeights;
  Real* lanes = spill + BackwardScratch::kSpill;
  Real* ds_rows = lanes + BackwardScratch::kColumns;  // [tile][kQueryBlock][kKeys]
  for (Index begin = task.first_query; begin < task.last_query; begin += kQueryBlock) {
    const Index rows = std::min(kQueryBlock, task.last_query - begin);
    const BackwardTask<Real> block = From(task, begin);
    for (Index first = task.first_key; first < task.last_key; first += kDirectKeys) {
      const Index last = std::min(first + kDirectKeys, task.last_key);
      bool any = false;
      for (Index key = first; key < last; key += kKeys) {
        const auto seen =
            task.mask->classify(task.sequence, task.head, begin, begin + rows, key, key + kKeys);
        Real* ds = ds_rows + (key - first) * kQueryBlock;
        if (seen == MaskPlan::Seen::none) {
          std::fill_n(ds, rows * kKeys, Real{0});
        } else {
          any = true;
          WeighBlock<Real, kPair, kTerms>(block, rows, key, seen, spill, p_rows, ds);
        }
      }
      if (!any) continue;
      Index c = 0;
      for (; c + kColumns <= task.depth; c += kColumns) {
        AddDifferenceColumns<Real, kPair, kColumns>(task, block, rows, c, first, last, ds_rows, lanes);
      }
      for (; c < task.depth; ++c) {
        AddDifferenceColumns<Real, kPair, 1>(task, block, rows, c, first, last, ds_rows, lanes);
      }
    }
  }
}

// Without terms only the two pairs that most calls are made of have a path of their own, in float.
template <class Real>
void BackwardAny(const BackwardTask<Real>& task) {
  if constexpr (std::is_same_v<Real, float>) {
    if (task.terms == nullptr && task.pair == Pair::dot) return BackwardProducts<Real, false>(task);
    if (task.terms == nullptr && task.pair == Pair::squared) {
      return BackwardDifferences<Real, Pair::squared, false>(task);
    }
  }
  const Terms<Real> none;
  BackwardTask<Real> full = task;
  if (full.terms == nullptr) full.terms = &none;
  switch (task.pair) {
    case Pair::dot:
      return BackwardProducts<Real, true>(full);
    case Pair::squared:
      return BackwardDifferences<Real, Pair::squared, true>(full);
    case Pair::absolute:
      return BackwardDifferences<Real, Pair::absolute, true>(full);
    case Pair::additive:
      return BackwardDifferences<Real, Pair::additive, true>(full);
  }
}

// Weights of R rows for one tile to where the caller wants them.
template <class Real, Pair kPair, Index R>
void WeighTile(const BackwardTask<Real>& task, Index row, Index key, MaskPlan::Seen seen, Real* weights,
               Index stride) {
  constexpr Index kKeys = kTileKeys<Real>;
  Real* p_rows = task.scratch;
  std::uint64_t bits[R];
  Vec<Real> p[R][kVectors];
  Weights<Real, kPair, true, R>(task, row, key, seen, p_rows + BackwardScratch::kWeights, p_rows, bits, p);
  for (Index r = 0; r < R; ++r) {
    std::copy_n(p_rows + r * kKeys, std::min(kKeys, task.last_key - key),
                weights + (row + r) * stride + (key - task.first_key));
  }
}

template <class Real, Pair kPair>
void WeighPair(const BackwardTask<Real>& task, Real* weights, Index stride) {
  constexpr Index kKeys = kTileKeys<Real>;
  const Index rows = task.last_query - task.first_query;
  for (Index row = 0; row < rows;) {
    const Index count = rows - row >= kTileRows ? kTileRows : 1, query = task.first_query + row;
    for (Index key = task.first_key; key < task.last_key; key += kKeys) {
      const auto seen = task.mask->classify(task.sequence, task.head, query, query + count, key, key + kKeys);
      if (seen == MaskPlan::Seen::none) {
        for (Index r = row; r < row + count; ++r) {
          std::fill_n(weights + r * stride + (key - task.first_key), std::min(kKeys, task.last_key - key),
                      Real{0});
        }
      } else if (count == kTileRows) {
        WeighTile<Real, kPair, kTileRows>(task, row, key, seen, weights, stride);
      } else {
        WeighTile<Real, kPair, 1>(task, row, key, seen, weights, stride);
      }
    }
    row += count;
  }
}

template <class Real>
void WeighAny(const BackwardTask<Real>& task, Real* weights, Index stride) {
  const Terms<Real> none;
  BackwardTask<Real> full = task;
  if (full.terms == nullptr) full.terms = &none;
  switch (task.pair) {
    case Pair::dot:
      return WeighPair<Real, Pair::dot>(full, weights, stride);
    case Pair::squared:
      return WeighPair<Real, Pair::squared>(full, weights, stride);
    case Pair::absolute:
      return WeighPair<Real, Pair::absolute>(full, weights, stride);
    case Pair::additive:
      return WeighPair<Real, Pair::additive>(full, weights, stride);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#endif  // KITH_BACKWARD_INL_H_
