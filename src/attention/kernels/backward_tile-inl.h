// P, dX and dV of a block of queries against one tile of keys: what the backward kernels of all pairs share.
// Re-included once per instruction set.

#if defined(KITH_BACKWARD_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KITH_BACKWARD_TILE_INL_H_
#undef KITH_BACKWARD_TILE_INL_H_
#else
#define KITH_BACKWARD_TILE_INL_H_
#endif

#include <algorithm>

#include "attention/kernels/backward_scratch.h"
#include "attention/kernels/slopes-inl.h"
#include "attention/kernels/terms-inl.h"
#include "attention/kernels/tile-inl.h"
#include "hwy/cache_control.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

constexpr std::uint64_t kAllSeen = ~std::uint64_t{0};

/// Bits of the keys that a row sees; none where its lse is -inf.
template <class Real>
HWY_INLINE std::uint64_t SeenBits(const BackwardTask<Real>& task, Index row, Index key, MaskPlan::Seen seen) {
  if (task.lse2[row] == kMinusInfinity<Real>) return 0;
  if (seen == MaskPlan::Seen::all) return kAllSeen;
  return task.mask->bits(task.sequence, task.head, task.first_query + row, key, kTileKeys<Real>);
}

/// Rows of a block that meet each vector of a tile's keys, as the bounds of five stages: rows [at[0], at[1])
/// meet vector 0, up to at[2] 0 and 1, up to at[3] all, up to at[4] 1 and 2, up to at[5] vector 2. That is
/// what an interval of keys that moves on with the queries leaves; other masks have the middle stage alone.
struct Stages {
  Index at[6] = {0, 0, 0, 0, 0, 0};

  static Stages all(Index first, Index last) { return {{first, first, first, last, last, last}}; }
  bool empty() const { return at[0] == at[5]; }
  Index begin(Index vector) const { return at[vector]; }
  Index end(Index vector) const { return at[vector + 3]; }
};

/// Collects who sees what from groups of rows in ascending order.
class StageFinder {
 public:
  void add(Index row, Index rows, Index first_vector, Index last_vector) {
    for (Index v = first_vector; v < last_vector; ++v) {
      begin_[v] = std::min(begin_[v], row);
      end_[v] = row + rows;
    }
  }
  Stages stages() const {
    const Index first = std::min({begin_[0], begin_[1], begin_[2]}),
                last = std::max({end_[0], end_[1], end_[2]});
    if (last == 0) return {};
    Stages s{{begin_[0], begin_[1], begin_[2], end_[0], end_[1], end_[2]}};
    // The keys of the last tiles may end before its last vectors do.
    for (int v = 1; v < 3; ++v) {
      if (end_[v] == 0) s.at[v] = s.at[v + 3] = s.at[v + 2];
    }
    return std::is_sorted(s.at, s.at + 6) ? s : Stages::all(first, last);
  }

 private:
  Index begin_[3] = {kBackwardQueries, kBackwardQueries, kBackwardQueries};
  Index end_[3] = {0, 0, 0};
};
static_assert(kVectors == 3);

/// Asks for the rows of the next group while this one is at work: the first 256 bytes of each, from where the
/// hardware follows.
template <class Real>
HWY_INLINE void PrefetchRows(const Real* rows, Index stride, Index depth) {
  for (Index r = 0; r < kTileRows; ++r) {
    for (Index c = 0; c < std::min(depth, static_cast<Index>(256 / sizeof(Real)));
         c += static_cast<Index>(64 / sizeof(Real))) {
      hwy::Prefetch(rows + r * stride + c);
    }
  }
}

/// P of R queries against V vectors of a tile; `bits` say who sees what if kMasked.
template <class Real, Pair kPair, Index R, Index V, bool kMasked>
HWY_INLINE void WeighRows(const BackwardTask<Real>& block, Index row, const Real* HWY_RESTRICT key_tile,
                          Index first_vector, const std::uint64_t* bits, Real* HWY_RESTRICT p_rows) {
  const Tag<Real> d;
  constexpr Index kKeys = kTileKeys<Real>, kStep = kLanes<Real>;
  const Real* rows = block.query + row * block.query_stride;
  if (R == kTileRows) PrefetchRows(rows + R * block.query_stride, block.query_stride, block.depth);
  Vec<Real> p[R][V];
  Accumulate<Real, kPair, R, V>(rows, block.query_stride, key_tile + first_vector * kStep, block.depth,
                                block.coefficient, p);
  const Vec<Real> factor = hn::Set(d, block.factor), zero = hn::Zero(d);
  HWY_UNROLL(8)
  for (Index r = 0; r < R; ++r) {
    const Vec<Real> shift = hn::Set(d, block.lse2[row + r]);
    HWY_UNROLL(3)
    for (Index v = 0; v < V; ++v) {
      // Rounding of huge logits must not lift a weight above 1. A NaN in the second operand of Min is kept.
      p[r][v] = Exp2<Real>(hn::Min(zero, hn::MulSub(p[r][v], factor, shift)));
      if constexpr (kMasked) {
        p[r][v] = hn::IfThenElseZero(LaneMask<Real>(bits[row + r], first_vector + v), p[r][v]);
      }
      hn::Store(p[r][v], d, p_rows + (row + r) * kKeys + (first_vector + v) * kStep);
    }
  }
}

/// dX of the same: P (dP - delta), the sum of dP beginning at -delta.
template <class Real, Index R, Index V, bool kMasked>
HWY_INLINE void PullRows(const BackwardTask<Real>& block, Index row, const Real* HWY_RESTRICT value_tile,
                         Index first_vector, const std::uint64_t* bits, const Real* HWY_RESTRICT p_rows,
                         Real* HWY_RESTRICT ds_rows) {
  const Tag<Real> d;
  constexpr Index kKeys = kTileKeys<Real>, kStep = kLanes<Real>;
  const Real* rows = block.d_out + row * block.d_out_stride;
  if (R == kTileRows) PrefetchRows(rows + R * block.d_out_stride, block.d_out_stride, block.value_depth);
  Vec<Real> ds[R][V];
  HWY_UNROLL(8)
  for (Index r = 0; r < R; ++r) {
    const Vec<Real> start = hn::Set(d, -block.delta[row + r]);
    HWY_UNROLL(3)
    for (Index v = 0; v < V; ++v) ds[r][v] = start;
  }
  AddDots<Real, Pair::dot, R, V>(rows, block.d_out_stride, value_tile + first_vector * kStep,
                                 block.value_depth, ds);
  HWY_UNROLL(8)
  for (Index r = 0; r < R; ++r) {
    HWY_UNROLL(3)
    for (Index v = 0; v < V; ++v) {
      const Index at = (row + r) * kKeys + (first_vector + v) * kStep;
      Vec<Real> x = hn::Mul(hn::Load(d, p_rows + at), ds[r][v]);
      if constexpr (kMasked) x = hn::IfThenElseZero(LaneMask<Real>(bits[row + r], first_vector + v), x);
      hn::Store(x, d, ds_rows + at);
    }
  }
}

/// Both where a gradient of the entropy flows: dX = P (dP - delta - d_entropy log2 P). Where that gradient is
/// 0 the bits are those of WeighRows and PullRows.
template <class Real, Pair kPair, Index R>
HWY_NOINLINE void EntropyRows(const BackwardTask<Real>& block, Index row, const Real* key_tile,
                              const Real* value_tile, const std::uint64_t* bits, Real* HWY_RESTRICT spill,
                              Real* HWY_RESTRICT p_rows, Real* HWY_RESTRICT ds_rows) {
  const Tag<Real> d;
  constexpr Index kKeys = kTileKeys<Real>, kStep = kLanes<Real>;
  {
    Vec<Real> x[R][kVectors];
    Accumulate<Real, kPair, R, kVectors>(block.query + row * block.query_stride, block.query_stride, key_tile,
                                         block.depth, block.coefficient, x);
    for (Index r = 0; r < R; ++r) {
      const Vec<Real> shift = hn::Set(d, block.lse2[row + r]);
      for (Index v = 0; v < kVectors; ++v) {
        hn::Store(hn::MulSub(x[r][v], hn::Set(d, block.factor), shift), d, spill + r * kKeys + v * kStep);
      }
    }
  }
  Vec<Real> ds[R][kVectors];
  for (Index r = 0; r < R; ++r) {
    for (Index v = 0; v < kVectors; ++v) ds[r][v] = hn::Set(d, -block.delta[row + r]);
  }
  AddDots<Real, Pair::dot, R, kVectors>(block.d_out + row * block.d_out_stride, block.d_out_stride,
                                        value_tile, block.value_depth, ds);
  for (Index r = 0; r < R; ++r) {
    const Vec<Real> d_entropy = hn::Set(d, block.d_entropy[row + r]);
    for (Index v = 0; v < kVectors; ++v) {
      const Index at = (row + r) * kKeys + v * kStep;
      const Vec<Real> log2_weight = hn::Load(d, spill + r * kKeys + v * kStep);
      Vec<Real> p = Exp2<Real>(hn::Min(hn::Zero(d), log2_weight));
      Vec<Real> x = hn::Mul(p, hn::NegMulAdd(d_entropy, log2_weight, ds[r][v]));
      x = hn::IfThenZeroElse(hn::Eq(log2_weight, hn::Set(d, kMinusInfinity<Real>)), x);
      if (bits[row + r] != kAllSeen) {
        p = hn::IfThenElseZero(LaneMask<Real>(bits[row + r], v), p);
        x = hn::IfThenElseZero(LaneMask<Real>(bits[row + r], v), x);
      }
      hn::Store(p, d, p_rows + at);
      hn::Store(x, d, ds_rows + at);
    }
  }
}

/// P of R queries with terms, also to `p_rows`; x and the logits are left in `spill`, [R][tile] each.
template <class Real, Pair kPair, Index R>
HWY_INLINE void WeighTermRows(const BackwardTask<Real>& task, Index row, Index key, const std::uint64_t* bits,
                              Real* HWY_RESTRICT spill, Real* HWY_RESTRICT p_rows) {
  const Tag<Real> d;
  constexpr Index kKeys = kTileKeys<Real>, kStep = kLanes<Real>;
  const Real* key_tile = task.key_tiles + (key - task.key_base) / kKeys * task.depth * kKeys;
  {
    Vec<Real> acc[R][kVectors];
    Accumulate<Real, kPair, R, kVectors>(task.query + row * task.query_stride, task.query_stride, key_tile,
                                         task.depth, task.coefficient, acc);
    // Unrolled, here and below, so that sums stay in registers: an array that a loop goes through lies in
    // memory.
    HWY_UNROLL(8)
    for (Index r = 0; r < R; ++r) {
      HWY_UNROLL(3)
      for (Index v = 0; v < kVectors; ++v) hn::Store(acc[r][v], d, spill + r * kKeys + v * kStep);
    }
  }
  for (Index r = 0; r < R; ++r) {
    Real *x = spill + r * kKeys, *logits = spill + (R + r) * kKeys;
    ApplyTerms<Real>({*task.terms, task.factor, task.first_query + row + r, key, task.last_key}, x, logits);
    const Vec<Real> shift = hn::Set(d, task.lse2[row + r]);
    for (Index v = 0; v < kVectors; ++v) {
      const Vec<Real> logit = hn::Load(d, logits + v * kStep);
      Vec<Real> p = Exp2<Real>(hn::Min(hn::Zero(d), hn::Sub(logit, shift)));
      // What a term hides stays out even where the row's lse is NaN.
      p = hn::IfThenZeroElse(hn::Eq(logit, hn::Set(d, kMinusInfinity<Real>)), p);
      if (bits[r] != kAllSeen) p = hn::IfThenElseZero(LaneMask<Real>(bits[r], v), p);
      hn::Store(p, d, p_rows + r * kKeys + v * kStep);
    }
  }
}

/// P and dX of R queries with terms.
template <class Real, Pair kPair, Index R>
HWY_NOINLINE void TermRows(const BackwardTask<Real>& task, Index row, Index key, const Real* value_tile,
                           const std::uint64_t* bits, Real* HWY_RESTRICT spill, Real* HWY_RESTRICT p_rows,
                           Real* HWY_RESTRICT ds_rows) {
  const Tag<Real> d;
  constexpr Index kKeys = kTileKeys<Real>, kStep = kLanes<Real>;
  WeighTermRows<Real, kPair, R>(task, row, key, bits + row, spill, p_rows + row * kKeys);
  {
    Vec<Real> ds[R][kVectors];
    Accumulate<Real, Pair::dot, R, kVectors>(task.d_out + row * task.d_out_stride, task.d_out_stride,
                                             value_tile, task.value_depth, nullptr, ds);
    HWY_UNROLL(8)
    for (Index r = 0; r < R; ++r) {
      HWY_UNROLL(3)
      for (Index v = 0; v < kVectors; ++v) hn::Store(ds[r][v], d, ds_rows + (row + r) * kKeys + v * kStep);
    }
  }
  for (Index r = 0; r < R; ++r) {
    PullRow<Real>(task, row + r, key, bits[row + r], spill + r * kKeys, spill + (R + r) * kKeys,
                  p_rows + (row + r) * kKeys, ds_rows + (row + r) * kKeys);
  }
}

// Rows [first, last) with vectors [kFirst, kLast) of the keys.
template <class Real, Index C, Index kFirst, Index kLast>
HWY_INLINE void AddOuterRows(const Real* HWY_RESTRICT left, Index left_stride, const Real* HWY_RESTRICT right,
                             Index first, Index last, Vec<Real> (&acc)[C][kVectors]) {
  const Tag<Real> d;
  for (Index row = first; row < last; ++row) {
    Vec<Real> keys[kVectors];
    HWY_UNROLL(3)
    for (Index v = kFirst; v < kLast; ++v) {
      keys[v] = hn::Load(d, right + row * kTileKeys<Real> + v * kLanes<Real>);
    }
    HWY_UNROLL(8)
    for (Index c = 0; c < C; ++c) {
      const Vec<Real> x = hn::Set(d, left[row * left_stride + c]);
      HWY_UNROLL(3)
      for (Index v = kFirst; v < kLast; ++v) acc[c][v] = hn::MulAdd(x, keys[v], acc[c][v]);
    }
  }
}

template <class Real, Index C>
HWY_NOINLINE void AddOuterBlock(const Real* left, Index left_stride, const Real* right, const Stages& stages,
                                bool add, Real* tile) {
  const Tag<Real> d;
  constexpr Index kKeys = kTileKeys<Real>, kStep = kLanes<Real>;
  Vec<Real> acc[C][kVectors];
  HWY_UNROLL(8)
  for (Index c = 0; c < C; ++c) {
    HWY_UNROLL(3)
    for (Index v = 0; v < kVectors; ++v) {
      acc[c][v] = hn::Zero(d);
      hwy::Prefetch(tile + c * kKeys + v * kStep);
    }
  }
  const auto& at = stages.at;
  AddOuterRows<Real, C, 0, 1>(left, left_stride, right, at[0], at[1], acc);
  AddOuterRows<Real, C, 0, 2>(left, left_stride, right, at[1], at[2], acc);
  AddOuterRows<Real, C, 0, 3>(left, left_stride, right, at[2], at[3], acc);
  AddOuterRows<Real, C, 1, 3>(left, left_stride, right, at[3], at[4], acc);
  AddOuterRows<Real, C, 2, 3>(left, left_stride, right, at[4], at[5], acc);
  WriteSums<Real>(acc, add, tile, kKeys);
}

/// tile[columns][keys] = (or +=) sum over the stages' rows of left[row][column] * right[row][keys].
template <class Real>
void AddOuter(const Real* left, Index left_stride, Index columns, const Real* right, const Stages& stages,
              bool add, Real* tile) {
  constexpr Index kKeys = kTileKeys<Real>;
  Index c = 0;
  for (; c + kTileRows <= columns; c += kTileRows) {
    AddOuterBlock<Real, kTileRows>(left + c, left_stride, right, stages, add, tile + c * kKeys);
  }
  for (; c + 2 <= columns; c += 2) {
    AddOuterBlock<Real, 2>(left + c, left_stride, right, stages, add, tile + c * kKeys);
  }
  if (c < columns) AddOuterBlock<Real, 1>(left + c, left_stride, right, stages, add, tile + c * kKeys);
}

/// The task's queries from `begin` on: their data start at row 0, as scratch rows do.
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

// One of the two products of a tile, for `rows` rows: first P of all, then dX of all, so that of the packed
// keys and values (12 KB each at d = 64, 24 KB at d = 128, in float) only one at a time wants to stay in L1.
template <class Real, class Whole, class Some, class Few>
HWY_INLINE void EachGroup(Index rows, bool masked, const std::uint64_t* bits, const Whole& whole,
                          const Some& some, const Few& few) {
  Index row = 0;
  for (; row + kTileRows <= rows; row += kTileRows) {
    if (masked) {
      some(row);
    } else {
      whole(row);
    }
  }
  for (; row < rows; ++row) {
    if (bits[row] != 0) few(row);
  }
}

/// P, dX and dV of up to kBackwardQueries queries against one tile of keys; rows of P and dX that the stages
/// do not name are not written. `seen`: of the whole block against the tile; `add`: dV of the tile is added
/// to.
template <class Real, Pair kPair, bool kTerms>
Stages WeighBlock(const BackwardTask<Real>& block, Index rows, Index key, MaskPlan::Seen seen, bool add,
                  Real* spill, Real* p_rows, Real* ds_rows) {
  const Tag<Real> d;
  constexpr Index kKeys = kTileKeys<Real>, kStep = kLanes<Real>;
  const Index tile = (key - block.key_base) / kKeys, own_tile = (key - block.first_key) / kKeys;
  const Real* key_tile = block.key_tiles + tile * block.depth * kKeys;
  const Real* value_tile = block.value_tiles + tile * block.value_depth * kKeys;
  Real* d_value_tile = block.d_value_tiles + own_tile * block.value_depth * kKeys;

  // Who sees what. Vectors of keys that a group of rows does not see are zeros, not computed.
  std::uint64_t bits[kBackwardQueries];
  Index first_vector[kBackwardQueries / kTileRows], last_vector[kBackwardQueries / kTileRows];
  const bool masked = seen != MaskPlan::Seen::all || std::any_of(block.lse2, block.lse2 + rows, [](Real x) {
                        return x == kMinusInfinity<Real>;
                      });
  Stages stages = Stages::all(0, rows);
  if (!masked) {
    std::fill_n(bits, rows, kAllSeen);
  } else {
    StageFinder finder;
    for (Index row = 0; row < rows;) {
      const Index count = rows - row >= kTileRows ? kTileRows : 1;
      std::uint64_t any = 0;
      for (Index r = row; r < row + count; ++r) any |= bits[r] = SeenBits(block, r, key, seen);
      Index first = 0, last = 0;
      for (Index v = 0; v < kVectors; ++v) {
        if ((any >> (v * kStep) & (~std::uint64_t{0} >> (64 - kStep))) == 0) continue;
        if (last == 0) first = v;
        last = v + 1;
      }
      if (count == kTileRows) {
        first_vector[row / kTileRows] = first;
        last_vector[row / kTileRows] = last;
      }
      finder.add(row, count, first, last);
      for (Index r = row; r < row + count; ++r) {
        for (Index v = 0; v < kVectors; ++v) {
          if (v >= first && v < last) continue;
          hn::Store(hn::Zero(d), d, p_rows + r * kKeys + v * kStep);
          hn::Store(hn::Zero(d), d, ds_rows + r * kKeys + v * kStep);
        }
      }
      row += count;
    }
    stages = finder.stages();
    if (stages.empty()) return stages;
  }

  if constexpr (kTerms) {
    const auto group = [&](Index row) {
      if (masked && last_vector[row / kTileRows] == 0) return;
      TermRows<Real, kPair, kTileRows>(block, row, key, value_tile, bits, spill, p_rows, ds_rows);
    };
    EachGroup<Real>(rows, masked, bits, group, group, [&](Index row) {
      TermRows<Real, kPair, 1>(block, row, key, value_tile, bits, spill, p_rows, ds_rows);
    });
  } else if (block.d_entropy != nullptr) {
    const auto group = [&](Index row) {
      if (masked && last_vector[row / kTileRows] == 0) return;
      EntropyRows<Real, kPair, kTileRows>(block, row, key_tile, value_tile, bits, spill, p_rows, ds_rows);
    };
    EachGroup<Real>(rows, masked, bits, group, group, [&](Index row) {
      EntropyRows<Real, kPair, 1>(block, row, key_tile, value_tile, bits, spill, p_rows, ds_rows);
    });
  } else {
    EachGroup<Real>(
        rows, masked, bits,
        [&](Index row) {
          WeighRows<Real, kPair, kTileRows, 3, false>(block, row, key_tile, 0, bits, p_rows);
        },
        [&](Index row) {
          const Index first = first_vector[row / kTileRows];
          switch (last_vector[row / kTileRows] - first) {
            case 1:
              return WeighRows<Real, kPair, kTileRows, 1, true>(block, row, key_tile, first, bits, p_rows);
            case 2:
              return WeighRows<Real, kPair, kTileRows, 2, true>(block, row, key_tile, first, bits, p_rows);
            case 3:
              return WeighRows<Real, kPair, kTileRows, 3, true>(block, row, key_tile, 0, bits, p_rows);
          }
        },
        [&](Index row) { WeighRows<Real, kPair, 1, 3, true>(block, row, key_tile, 0, bits, p_rows); });
    EachGroup<Real>(
        rows, masked, bits,
        [&](Index row) {
          PullRows<Real, kTileRows, 3, false>(block, row, value_tile, 0, bits, p_rows, ds_rows);
        },
        [&](Index row) {
          const Index first = first_vector[row / kTileRows];
          switch (last_vector[row / kTileRows] - first) {
            case 1:
              return PullRows<Real, kTileRows, 1, true>(block, row, value_tile, first, bits, p_rows, ds_rows);
            case 2:
              return PullRows<Real, kTileRows, 2, true>(block, row, value_tile, first, bits, p_rows, ds_rows);
            case 3:
              return PullRows<Real, kTileRows, 3, true>(block, row, value_tile, 0, bits, p_rows, ds_rows);
          }
        },
        [&](Index row) { PullRows<Real, 1, 3, true>(block, row, value_tile, 0, bits, p_rows, ds_rows); });
  }
  AddOuter<Real>(block.d_out_rows, block.d_out_rows_stride, block.value_depth, p_rows, stages, add,
                 d_value_tile);
  return stages;
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#endif  // KITH_BACKWARD_TILE_INL_H_
