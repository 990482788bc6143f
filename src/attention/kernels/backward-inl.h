// Backward: gradients of queries, keys and values from recomputed weights (Dao et al. 2022, algorithm 4).
//
//   P  = 2^(logit2 - lse2)          the weights again
//   dP = dO V^T                     dS = P (dP - delta)      delta_i = sum_c dO_ic out_ic - dlse_i
//   dV += P^T dO      dK += dX^T Q      dQ += dX K           dX = dS, or with terms dS dlogit/dx
//
// What is common to all pairs is in backward_tile-inl.h, the dot in backward_products-inl.h. Here the other
// pairs, and the choice among them.
//
// Re-included once per instruction set, by one file per type of number.

#if defined(KITH_BACKWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KITH_BACKWARD_INL_H_
#undef KITH_BACKWARD_INL_H_
#else
#define KITH_BACKWARD_INL_H_
#endif

#include "attention/kernels/backward_products-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

static_assert(kDirectKeys % kTileKeys<float> == 0 && kDirectKeys % kTileKeys<double> == 0);

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

// C columns of sum_j dX slope for `rows` queries, kept in lanes [C][kDifferenceRows][kLanes], and of sum_i dX
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
      Real* lane = lanes + (c * kDifferenceRows + r) * kStep;
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

// to[c] += the sum of the lanes of sums[c * step], for C columns.
template <class Real, Index C>
HWY_INLINE void AddLaneSums(const Real* HWY_RESTRICT sums, Index step, Real* HWY_RESTRICT to) {
  const Tag<Real> d;
#if HWY_TARGET != HWY_SCALAR
  if constexpr (C == 4 && std::is_same_v<Real, float> && kLanes<Real> == 16) {
    // Two transpositions inside blocks of four lanes, whose sums the halves then add.
    const hn::Repartition<std::uint64_t, Tag<Real>> du;
    Vec<Real> x[4];
    for (Index c = 0; c < 4; ++c) x[c] = hn::Load(d, sums + c * step);
    const Vec<Real> a = hn::Add(hn::InterleaveLower(d, x[0], x[1]), hn::InterleaveUpper(d, x[0], x[1]));
    const Vec<Real> b = hn::Add(hn::InterleaveLower(d, x[2], x[3]), hn::InterleaveUpper(d, x[2], x[3]));
    const auto a64 = hn::BitCast(du, a), b64 = hn::BitCast(du, b);
    const Vec<Real> blocks = hn::Add(hn::BitCast(d, hn::InterleaveLower(du, a64, b64)),
                                     hn::BitCast(d, hn::InterleaveUpper(du, a64, b64)));
    const hn::Half<Tag<Real>> half;
    const hn::Half<decltype(half)> quarter;
    const auto two = hn::Add(hn::LowerHalf(half, blocks), hn::UpperHalf(half, blocks));
    const auto one = hn::Add(hn::LowerHalf(quarter, two), hn::UpperHalf(quarter, two));
    hn::StoreU(hn::Add(hn::LoadU(quarter, to), one), quarter, to);
    return;
  }
#endif
  for (Index c = 0; c < C; ++c) to[c] += hn::GetLane(hn::SumOfLanes(d, hn::Load(d, sums + c * step)));
}

// The same C columns for one block of queries and the keys whose dX are at hand, some rows at a time: their
// sums in lanes (8 KB) stay in L1 while the keys pass by.
template <class Real, Pair kPair, Index C>
void AddDifferenceColumns(const BackwardTask<Real>& task, const BackwardTask<Real>& block, Index rows,
                          Index column, Index first_key, Index last_key, const Real* ds_rows, Real* lanes) {
  constexpr Index kKeys = kTileKeys<Real>, kStep = kLanes<Real>;
  for (Index row = 0; row < rows; row += kDifferenceRows) {
    const Index count = std::min(kDifferenceRows, rows - row);
    std::fill_n(lanes, C * kDifferenceRows * kStep, Real{0});
    for (Index key = first_key; key < last_key; key += kKeys) {
      AddDifferences<Real, kPair, C>(
          block.query_rows + row * block.query_rows_stride + column, block.query_rows_stride,
          task.finite_key_tiles + ((key - task.key_base) / kKeys * task.depth + column) * kKeys,
          task.coefficient == nullptr ? nullptr : task.coefficient + column,
          ds_rows + (key - first_key) * kBackwardQueries + row * kKeys, count, lanes,
          task.d_key_tiles + ((key - task.first_key) / kKeys * task.depth + column) * kKeys,
          task.d_coefficient == nullptr ? nullptr : task.d_coefficient + column);
    }
    for (Index r = 0; r < count; ++r) {
      AddLaneSums<Real, C>(lanes + r * kStep, kDifferenceRows * kStep,
                           block.d_query + (row + r) * task.d_query_stride + column);
    }
  }
}

// Gradients through differences, as sums pair by pair: products would have to subtract q sum dS from sum dS
// k, which loses digits far from the origin and where a query nearly hits a key; and what is no product has
// no other way. dX of a block of queries and kDirectKeys keys is kept, since every few columns read it again.
//
// A row and 4 columns x 3 vectors of keys are 12 subtractions, which have pipes of their own on Zen, and 24
// FMAs for 7 loads and broadcasts and 4 loads and stores of sums in lanes. With all 96 queries of a block at
// once those sums (24 KB) and dX (18 KB) went through L2 for every tile; 32 at a time, and the lanes of 4
// columns added together, gained 5 points of the FMA peak. Prefetching the next tile's dX gained nothing.
template <class Real, Pair kPair, bool kTerms>
void BackwardDifferences(const BackwardTask<Real>& task) {
  constexpr Index kKeys = kTileKeys<Real>;
  constexpr Index kColumns = HWY_TARGET <= HWY_AVX3 ? kDifferenceColumns : 1;
  Real* p_rows = task.scratch;
  Real* spill = p_rows + BackwardScratch::kWeights;
  Real* lanes = spill + BackwardScratch::kSpill;
  Real* ds_rows = lanes + BackwardScratch::kColumns;  // [tile][kBackwardQueries][kKeys]
  if (!task.add_key) {
    const Index keys = round_up(task.last_key - task.first_key, kKeys);
    std::fill_n(task.d_key_tiles, keys * task.pull_depth, Real{0});
    std::fill_n(task.d_value_tiles, keys * task.value_depth, Real{0});
  }
  for (Index begin = task.first_query; begin < task.last_query; begin += kBackwardQueries) {
    const Index rows = std::min(kBackwardQueries, task.last_query - begin);
    const BackwardTask<Real> block = From(task, begin);
    if (!task.add_query) std::fill_n(block.d_query, rows * task.d_query_stride, Real{0});
    for (Index first = task.first_key; first < task.last_key; first += kDirectKeys) {
      const Index last = std::min(first + kDirectKeys, task.last_key);
      bool any = false;
      for (Index key = first; key < last; key += kKeys) {
        const auto seen =
            task.mask->classify(task.sequence, task.head, begin, begin + rows, key, key + kKeys);
        Real* ds = ds_rows + (key - first) * kBackwardQueries;
        if (seen == MaskPlan::Seen::none) {
          std::fill_n(ds, rows * kKeys, Real{0});
        } else {
          any = true;
          WeighBlock<Real, kPair, kTerms>(block, rows, key, seen, true, spill, p_rows, ds);
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

// Without terms only the pairs that most calls are made of have a path of their own.
template <class Real>
void BackwardAny(const BackwardTask<Real>& task) {
  if (task.terms == nullptr && task.pair == Pair::dot) return BackwardProducts<Real, false>(task);
  if constexpr (std::is_same_v<Real, float>) {
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
    case Pair::dot_halves:
      return;  // forward alone
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
  for (Index r = 0; r < R; ++r) bits[r] = SeenBits(task, row + r, key, seen);
  WeighTermRows<Real, kPair, R>(task, row, key, bits, p_rows + BackwardScratch::kWeights, p_rows);
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
    case Pair::dot_halves:
      return;  // forward alone
    case Pair::additive:
      return WeighPair<Real, Pair::additive>(full, weights, stride);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#endif  // KITH_BACKWARD_INL_H_
