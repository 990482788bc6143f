// Keys and values of a task of few queries, as they are stored: each is read from memory once, converted,
// cleaned and transposed on its way through.
//
// Reading is all that such a task can wait for, so what computes has to stay behind it. One query (or one
// whole tile of them) multiplies keys as they leave the transposition, without a tile in memory: packing into
// 24 KB first and reading it back pushed the stream out of the first-level cache (70 % of the read bandwidth,
// 94 % without). Keys are fetched kAhead bytes before they are needed, since no prefetcher follows sixteen
// rows at once; at 8 KB 80 %, from 16 KB on 94 %. Values are read a whole row at a time, eight vectors side
// by side; half a row in each of two passes costs 40 %. Re-included once per instruction set.

#if defined(KITH_STREAM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KITH_STREAM_INL_H_
#undef KITH_STREAM_INL_H_
#else
#define KITH_STREAM_INL_H_
#endif

#include <algorithm>
#include <atomic>

#include "attention/kernels/forward_rows-inl.h"
#include "attention/kernels/pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

// Calls body(rows from `first` on, in their own type).
template <class Real, class Body>
HWY_INLINE void WithStored(const StoredRows& rows, Index first, const Body& body) {
  const auto call = [&](auto type) {
    body(static_cast<const decltype(type)*>(rows.data) + first * rows.stride);
  };
  if constexpr (std::is_same_v<Real, float>) {
    if (rows.type == Dtype::bfloat16) return call(bfloat16{});
    if (rows.type == Dtype::float16) return call(float16{});
  }
  call(Real{});
}

template <class Real>
void PackStored(const StoredRows& rows, Index first, Index filled, Index depth, Real* tile) {
  WithStored<Real>(rows, first,
                   [&](const auto* from) { PackTile<true>(from, rows.stride, filled, depth, tile); });
}

// x[R][kTileKeys], the products of R queries with a whole tile of stored keys: the chains of Accumulate.
template <class Real, Pair kPair, Index R, class Stored>
HWY_INLINE void DotRows(const Real* HWY_RESTRICT query, Index query_stride, const Stored* HWY_RESTRICT keys,
                        Index stride, Index depth, Real* HWY_RESTRICT x) {
  const Tag<Real> d;
  for (Index v = 0; v < kVectors; ++v) {
    const Stored* rows = keys + v * kLanes<Real> * stride;
    Vec<Real> acc[R];
    for (Index r = 0; r < R; ++r) acc[r] = hn::Zero(d);
    Index c = 0;
#if HWY_TARGET != HWY_SCALAR
    constexpr Index kAhead = 16384;
    const Index row_bytes = depth * static_cast<Index>(sizeof(Stored));
    Prefetch<Stored> ahead(rows + std::max(kLanes<Real>, kAhead / row_bytes) * stride, stride, depth);
    for (; c + kSquare<Stored> <= depth; c += kSquare<Stored>) {
      ahead.next(kLanes<Real> * kSquare<Stored>);
      TransposeSquare(rows + c, stride, [&](Index i, Vec<Real> key) {
        for (Index r = 0; r < R; ++r) {
          acc[r] = AddProduct<kPair>(hn::Set(d, query[r * query_stride + c + i]), key, acc[r]);
        }
      });
    }
#endif
    for (; c < depth; ++c) {
      HWY_ALIGN Real column[kMaxLanes];
      for (Index j = 0; j < kLanes<Real>; ++j) column[j] = static_cast<Real>(rows[j * stride + c]);
      const Vec<Real> key = hn::Load(d, column);
      for (Index r = 0; r < R; ++r)
        acc[r] = AddProduct<kPair>(hn::Set(d, query[r * query_stride + c]), key, acc[r]);
    }
    for (Index r = 0; r < R; ++r) hn::Store(acc[r], d, x + r * kTileKeys<Real> + v * kLanes<Real>);
  }
}

// For ScoreTile: the rows of a task without a tile, from key `first` on.
template <class Real, Pair kPair, Index R>
HWY_NOINLINE void DotStored(const ForwardTask<Real>& task, const Real* query, Index first, Real* x) {
  WithStored<Real>(task.key_rows, first - task.key_begin, [&](const auto* keys) {
    DotRows<Real, kPair, R>(query, task.query_stride, keys, task.key_rows.stride, task.depth, x);
  });
}

// Whether `rows` queries take a whole tile by DotStored: more would transpose it again and again.
constexpr bool dots_stored(Pair pair, Index rows) {
  return (pair == Pair::dot || pair == Pair::dot_halves) && (rows <= 2 || rows == kTileRows);
}

// 0 in place of what is not finite.
template <class Real>
void Clean(Real* x, Index count, unsigned char* not_finite) {
  const Tag<Real> d;
  auto bad = hn::FirstN(d, 0);
  for (Index i = 0; i < count; i += kLanes<Real>) {
    const Vec<Real> v = hn::Load(d, x + i);
    const auto finite = hn::Eq(hn::Sub(v, v), hn::Zero(d));
    bad = hn::Or(bad, hn::Not(finite));
    hn::Store(hn::IfThenElseZero(finite, v), d, x + i);
  }
  if (!hn::AllFalse(d, bad)) std::atomic_ref(*not_finite).store(1, std::memory_order_relaxed);
}

// Values [first, last) of a task to s.value_block: finite, padded to whole vectors.
template <class Real>
HWY_NOINLINE void CopyValues(const ForwardTask<Real>& task, const Rows<Real>& s, Index first, Index last) {
  const Tag<Real> d;
  const Index columns = task.value_depth, whole = columns / kLanes<Real> * kLanes<Real>;
  WithStored<Real>(task.value_rows, first - task.key_begin, [&](const auto* rows) {
    for (Index j = 0; j < last - first; ++j) {
      const auto* from = rows + j * task.value_rows.stride;
      Real* to = s.value_block + j * s.out_stride;
      for (Index c = 0; c < whole; c += kLanes<Real>) hn::Store(LoadAs(d, from + c), d, to + c);
      for (Index c = whole; c < s.out_stride; ++c) to[c] = c < columns ? static_cast<Real>(from[c]) : Real{0};
    }
  });
  Clean(s.value_block, (last - first) * s.out_stride, task.not_finite);
}

// Weights of a group's rows, and where their weighted values go.
template <class Real>
struct WeightedRows {
  const Real* weights;  // [count][kKeyBlock]
  Index count;
  Real* out;  // [count][s.out_stride]
};

// AddWeightedBlock from stored rows. False, and nothing is added, if a result is not finite: a value is not,
// or its product with a weight of 0.
template <class Real, Index R, Index V, class Stored>
HWY_INLINE bool AddStoredBlock(const Real* HWY_RESTRICT weights, const Stored* HWY_RESTRICT rows,
                               Index stride, Index count, Real* HWY_RESTRICT out, Index out_stride) {
  const Tag<Real> d;
  Vec<Real> acc[R][V];
  for (Index r = 0; r < R; ++r) {
    for (Index v = 0; v < V; ++v) acc[r][v] = hn::Zero(d);
  }
  constexpr Index kAhead = 4096, kLine = static_cast<Index>(64 / sizeof(Stored));
  constexpr Index kRowBytes = V * kLanes<Real> * static_cast<Index>(sizeof(Stored));
  const Stored* HWY_RESTRICT ahead = rows + kAhead / kRowBytes * stride;
  for (Index j = 0; j < count; ++j) {
    for (Index c = 0; c < V * kLanes<Real>; c += kLine) __builtin_prefetch(ahead + j * stride + c, 0, 2);
    Vec<Real> w[R];
    for (Index r = 0; r < R; ++r) w[r] = hn::Set(d, weights[r * kKeyBlock + j]);
    HWY_UNROLL(8)
    for (Index v = 0; v < V; ++v) {
      const Vec<Real> row = LoadAs(d, rows + j * stride + v * kLanes<Real>);
      HWY_UNROLL(3)
      for (Index r = 0; r < R; ++r) acc[r][v] = hn::MulAdd(w[r], row, acc[r][v]);
    }
  }
  Vec<Real> defect = hn::Zero(d);
  for (Index r = 0; r < R; ++r) {
    for (Index v = 0; v < V; ++v) defect = hn::Add(defect, hn::Sub(acc[r][v], acc[r][v]));
  }
  if (!hn::AllTrue(d, hn::Eq(defect, hn::Zero(d)))) return false;
  WriteSums<Real>(acc, true, out, out_stride);
  return true;
}

// Weights times values [first, last) as they are stored; those that are not finite count as 0.
template <class Real>
void AddStoredValues(const ForwardTask<Real>& task, const Rows<Real>& s, const WeightedRows<Real>& to,
                     Index first, Index last) {
  const Index count = last - first, width = round_up(task.value_depth, kLanes<Real>);
  if (task.value_depth % kLanes<Real> != 0) {
    CopyValues(task, s, first, last);
    AddWeightedRows(to.weights, kKeyBlock, to.count, s.value_block, s.out_stride, count, width, to.out,
                    s.out_stride);
    return;
  }
  bool copied = false;
  WithStored<Real>(task.value_rows, first - task.key_begin, [&](const auto* rows) {
    const auto add = [&](auto height, auto vectors, Index r, Index c) {
      constexpr Index kRows = height(), kWide = vectors();
      const Real* weights = to.weights + r * kKeyBlock;
      Real* out = to.out + r * s.out_stride + c;
      if (!copied && AddStoredBlock<Real, kRows, kWide>(weights, rows + c, task.value_rows.stride, count, out,
                                                        s.out_stride)) {
        return;
      }
      if (!copied) CopyValues(task, s, first, last);
      copied = true;
      AddWeightedBlock<Real, kRows, kWide>(weights, kKeyBlock, 1, s.value_block + c, s.out_stride, count, out,
                                           s.out_stride);
    };
    const auto add_columns = [&](auto height, Index r) {
      // 3 x 8 sums leave room for a row and three weights in 32 registers; 16 hold 1 x 8 or 3 x 2.
      constexpr Index kWide = HWY_TARGET <= HWY_AVX3 || height() == 1 ? 8 : 2;
      Index c = 0;
      for (; c + kWide * kLanes<Real> <= width; c += kWide * kLanes<Real>) {
        add(height, std::integral_constant<Index, kWide>(), r, c);
      }
      for (; c + 2 * kLanes<Real> <= width; c += 2 * kLanes<Real>) {
        add(height, std::integral_constant<Index, 2>(), r, c);
      }
      if (c < width) add(height, std::integral_constant<Index, 1>(), r, c);
    };
    Index r = 0;
    for (; r + 3 <= to.count; r += 3) add_columns(std::integral_constant<Index, 3>(), r);
    for (; r < to.count; ++r) add_columns(std::integral_constant<Index, 1>(), r);
  });
}

// A tile of keys, where it is and who sees it.
template <class Real>
struct KeyTile {
  const Real* keys;    // [depth][kTileKeys]
  const Real* values;  // narrow: [value_depth][kTileKeys]
  Index first_key, keys_done;
};

// The tile from `key` on, packed on its way through if it was not before; without keys where those of a whole
// tile may be left to DotStored.
template <class Real, bool kNarrow>
KeyTile<Real> TileAt(const ForwardTask<Real>& task, const Rows<Real>& s, Index key, Index block,
                     bool may_leave = false) {
  constexpr Index kKeys = kTileKeys<Real>;
  const Index tile = key / kKeys;
  if (task.key_tiles != nullptr) {
    return {task.key_tiles + tile * task.depth * kKeys,
            kNarrow ? task.value_tiles + tile * task.value_depth * kKeys : nullptr, key, key - block};
  }
  const Index filled = std::min(kKeys, task.key_end - key);
  const bool leave = may_leave && filled == kKeys && task.depth > 0;
  if (!leave) PackStored(task.key_rows, key - task.key_begin, filled, task.depth, s.key_tile);
  if constexpr (kNarrow) {
    PackStored(task.value_rows, key - task.key_begin, filled, task.value_depth, s.value_block);
    Clean(s.value_block, task.value_depth * kKeys, task.not_finite);
  }
  return {leave ? nullptr : s.key_tile, s.value_block, key, key - block};
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#endif  // KITH_STREAM_INL_H_
