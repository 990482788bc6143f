// Backward through the dot: five matrix products of N M d multiplications each.
//
// Blocks of 96 queries meet blocks of up to 192 keys, four tiles of 48 in float with AVX-512. Keys outside:
// packed K and V, K's rows, dK and dV of a block (5 x 48 KB at d = 64) stay in L2 while Q, dO and dQ stream
// by, 3 x 24 KB for the 370,000 FMA cycles of a block with a block. FMAs for loads in the inner loops, first
// per tile:
//
//   P    8 rows x 3 vectors of keys     Q broadcast, packed K    24 for 11
//   dX   8 rows x 3 vectors of keys     dO broadcast, packed V   24 for 11
//   dV   8 columns x 3 vectors of keys  dO broadcast, P          24 for 11, over the rows
//   dK   8 columns x 3 vectors of keys  Q broadcast, dX          24 for 11, over the rows
//   dQ   6 rows x 4 vectors of columns  dX broadcast, K's rows   24 for 10, over the keys of the block
//
// 2^x runs on P's registers before they are stored; the sums of dX begin at -delta and are multiplied by P
// before they are. A tile's two products with packed operands run one after the other over all rows, so that
// 12 KB of K, then 12 KB of V (24 KB at d = 128) want L1 and not both: alternating every 8 rows costs 1 to 2
// points of the FMA peak. P (18 KB) stays in L1 or near it, dX of the four tiles (72 KB) in L2. The other
// sums begin at zero and are added to memory at the end, whose lines are asked for at the start (2 points at
// d = 128, less at 64), as are the next 8 rows of Q and dO (1 point).
//
// On a Zen 4 (one 512-bit FMA a cycle) dV, dK and dQ run at 93 to 96 % of the FMA peak, P at about 79 and dX
// at 85 %: 2^x with its argument is 7 FMAs and products and as many other instructions a vector, 10 % of P's
// FMAs at d = 64.
//
// Tried and lost: 48 or 192 queries a block (up to 3 points, 3 to 7 at d = 128); dQ tile by tile (1 point);
// 2^x by vreduceps and vscalefps (ties); asking for the lines of P and dX before they are written (ties);
// blocks of keys of one tile (2 points at d = 128, where Q, dO and dQ come from L3 for every tile).
//
// Masks: a tile that is seen in part is looked at by groups of 8 rows. A group computes P and dX for those of
// its three vectors that one of its rows sees, under bit masks, or not at all. dV, dK and dQ skip rows and
// vectors of keys by the same bounds (Stages), so that a causal diagonal costs half a group of 8 x 16 more
// than it shows. That is all exact: what is skipped would have added zeros.
//
// Re-included once per instruction set.

#if defined(KITH_BACKWARD_PRODUCTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KITH_BACKWARD_PRODUCTS_INL_H_
#undef KITH_BACKWARD_PRODUCTS_INL_H_
#else
#define KITH_BACKWARD_PRODUCTS_INL_H_
#endif

#include "attention/kernels/backward_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

// Keys that a group of rows meets: dX of its first row, K in natural layout.
template <class Real>
struct KeySpan {
  const Real* weights;
  const Real* keys;
  Index count;
};

template <class Real>
inline constexpr Index kBlockTiles = kBackwardKeys / kTileKeys<Real>;
static_assert(kBackwardKeys % kTileKeys<float> == 0 && kBackwardKeys % kTileKeys<double> == 0);

// out[R][V vectors] = (or +=) sum over the spans' keys of dX(r, j) * key_j.
template <class Real, Index R, Index V>
HWY_INLINE void AddKeys(const KeySpan<Real>* spans, Index span_count, Index column, Index key_stride,
                        bool add, Real* HWY_RESTRICT out, Index out_stride) {
  const Tag<Real> d;
  constexpr Index kStep = kLanes<Real>;
  Vec<Real> acc[R][V];
  HWY_UNROLL(6)
  for (Index r = 0; r < R; ++r) {
    HWY_UNROLL(4)
    for (Index v = 0; v < V; ++v) {
      acc[r][v] = hn::Zero(d);
      hwy::Prefetch(out + r * out_stride + v * kStep);
    }
  }
  for (Index s = 0; s < span_count; ++s) {
    const Real* HWY_RESTRICT weights = spans[s].weights;
    const Real* HWY_RESTRICT row = spans[s].keys + column;
    for (Index j = 0; j < spans[s].count; ++j, row += key_stride) {
      Vec<Real> key[V];
      HWY_UNROLL(4)
      for (Index v = 0; v < V; ++v) key[v] = hn::LoadU(d, row + v * kStep);
      HWY_UNROLL(6)
      for (Index r = 0; r < R; ++r) {
        const Vec<Real> w = hn::Set(d, weights[r * kTileKeys<Real> + j]);
        HWY_UNROLL(4)
        for (Index v = 0; v < V; ++v) acc[r][v] = hn::MulAdd(w, key[v], acc[r][v]);
      }
    }
  }
  WriteSums<Real>(acc, add, out, out_stride);
}

// The same for all columns, `width` of them, a multiple of the vector.
template <class Real, Index R>
HWY_NOINLINE void AddKeyColumns(const KeySpan<Real>* spans, Index span_count, Index key_stride, bool add,
                                Index width, Real* out, Index out_stride) {
  constexpr Index kStep = kLanes<Real>, kMost = HWY_TARGET <= HWY_AVX3 ? 4 : 2;
  for (Index c = 0; c < width;) {
    const Index left = (width - c) / kStep;
    if constexpr (kMost == 4) {
      if (left == 4 || left > 5) {
        AddKeys<Real, R, 4>(spans, span_count, c, key_stride, add, out + c, out_stride);
        c += 4 * kStep;
        continue;
      }
      if (left == 5 || left == 3) {
        AddKeys<Real, R, 3>(spans, span_count, c, key_stride, add, out + c, out_stride);
        c += 3 * kStep;
        continue;
      }
    }
    if (left >= 2) {
      AddKeys<Real, R, 2>(spans, span_count, c, key_stride, add, out + c, out_stride);
      c += 2 * kStep;
    } else {
      AddKeys<Real, R, 1>(spans, span_count, c, key_stride, add, out + c, out_stride);
      c += kStep;
    }
  }
}

// dQ of a block of queries from dX of a block of keys.
template <class Real>
void PullQueries(const BackwardTask<Real>& block, Index rows, Index key, Index key_end, bool add,
                 const Stages* stages, const Real* ds_rows) {
  constexpr Index kKeys = kTileKeys<Real>, kStep = kLanes<Real>, kRows = 6;
  const Index width = round_up(block.pull_depth, kStep);
  for (Index row = 0; row < rows;) {
    const Index count = rows - row >= kRows ? kRows : 1;
    KeySpan<Real> spans[kBlockTiles<Real>];
    Index span_count = 0;
    for (Index t = 0; key + t * kKeys < key_end; ++t) {
      Index first = kVectors, last = 0;
      for (Index v = 0; v < kVectors; ++v) {
        if (stages[t].begin(v) >= row + count || stages[t].end(v) <= row) continue;
        first = std::min(first, v);
        last = v + 1;
      }
      if (last == 0) continue;
      const Index begin = first * kStep, end = std::min(last * kStep, key_end - key - t * kKeys);
      spans[span_count++] = {
          ds_rows + (t * kBackwardQueries + row) * kKeys + begin,
          block.key_rows + (key - block.key_base + t * kKeys + begin) * block.key_rows_stride, end - begin};
    }
    Real* out = block.d_query + row * block.d_query_stride;
    if (span_count == 0 && add) {
    } else if (count == kRows) {
      AddKeyColumns<Real, kRows>(spans, span_count, block.key_rows_stride, add, width, out,
                                 block.d_query_stride);
    } else {
      AddKeyColumns<Real, 1>(spans, span_count, block.key_rows_stride, add, width, out, block.d_query_stride);
    }
    row += count;
  }
}

template <class Real, bool kTerms>
void BackwardProducts(const BackwardTask<Real>& task) {
  constexpr Index kKeys = kTileKeys<Real>;
  Real* p_rows = task.scratch;
  Real* spill = p_rows + BackwardScratch::kWeights;
  Real* ds_rows = spill + BackwardScratch::kSpill;  // [tile][kBackwardQueries][kKeys]
  for (Index key = task.first_key; key < task.last_key; key += kBackwardKeys) {
    const Index key_end = std::min(key + kBackwardKeys, task.last_key);
    const bool add = task.add_query || key > task.first_key;
    bool started[kBlockTiles<Real>];
    std::fill_n(started, kBlockTiles<Real>, task.add_key);
    for (Index begin = task.first_query; begin < task.last_query; begin += kBackwardQueries) {
      const Index rows = std::min(kBackwardQueries, task.last_query - begin);
      const BackwardTask<Real> block = From(task, begin);
      Stages stages[kBlockTiles<Real>];
      const auto seen = task.mask->classify(task.sequence, task.head, begin, begin + rows, key, key_end);
      for (Index t = 0; key + t * kKeys < key_end && seen != MaskPlan::Seen::none; ++t) {
        const Index first = key + t * kKeys;
        const auto tile_seen =
            seen == MaskPlan::Seen::all && first + kKeys <= key_end
                ? seen
                : task.mask->classify(task.sequence, task.head, begin, begin + rows, first, first + kKeys);
        if (tile_seen == MaskPlan::Seen::none) continue;
        Real* ds = ds_rows + t * kBackwardQueries * kKeys;
        stages[t] =
            WeighBlock<Real, Pair::dot, kTerms>(block, rows, first, tile_seen, started[t], spill, p_rows, ds);
        if (stages[t].empty()) continue;
        AddOuter<Real>(block.query_rows, block.query_rows_stride, block.pull_depth, ds, stages[t], started[t],
                       task.d_key_tiles + (first - task.first_key) / kKeys * task.pull_depth * kKeys);
        started[t] = true;
      }
      if (task.skip_unseen && seen == MaskPlan::Seen::none) continue;
      if (task.pull_depth > 0) PullQueries(block, rows, key, key_end, add, stages, ds_rows);
    }
    for (Index t = 0; key + t * kKeys < key_end; ++t) {
      if (started[t]) continue;
      const Index own_tile = (key - task.first_key) / kKeys + t;
      std::fill_n(task.d_key_tiles + own_tile * task.pull_depth * kKeys, task.pull_depth * kKeys, Real{0});
      std::fill_n(task.d_value_tiles + own_tile * task.value_depth * kKeys, task.value_depth * kKeys,
                  Real{0});
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#endif  // KITH_BACKWARD_PRODUCTS_INL_H_
