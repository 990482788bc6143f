// Rows in natural order to a tile with the keys in the lanes, converted from their storage type on the way.
//
// A transposition in registers: vectors are gathered 16 bytes at a time from rows four apart, so that the
// interleaving inside 16-byte blocks, which every instruction set has, puts consecutive rows side by side.
//
// Re-included once per instruction set.

#if defined(KITH_PACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KITH_PACK_INL_H_
#undef KITH_PACK_INL_H_
#else
#define KITH_PACK_INL_H_
#endif

#include <algorithm>

#include "attention/kernels/tile-inl.h"
#include "kith/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

/// Numbers in a block of 16 bytes of the type computed in: rows of a square that is transposed.
template <class Real>
inline constexpr Index kPackBlock = static_cast<Index>(16 / sizeof(Real));

template <class D>
HWY_INLINE hn::Vec<D> LoadAs(D d, const hn::TFromD<D>* p) {
  return hn::LoadU(d, p);
}
template <class D>
HWY_INLINE hn::Vec<D> LoadAs(D d, const bfloat16* p) {
  const hn::Rebind<std::uint16_t, D> narrow;
  const hn::RebindToUnsigned<D> wide;
  const auto bits = hn::LoadU(narrow, reinterpret_cast<const std::uint16_t*>(p));
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(wide, bits)));
}
template <class D>
HWY_INLINE hn::Vec<D> LoadAs(D d, const float16* p) {
#if HWY_TARGET == HWY_SCALAR
  return hn::Set(d, static_cast<float>(*p));
#else
  const hn::Rebind<std::uint16_t, D> narrow;
  const hn::Rebind<hwy::float16_t, D> half;
  return hn::PromoteTo(d, hn::BitCast(half, hn::LoadU(narrow, reinterpret_cast<const std::uint16_t*>(p))));
#endif
}

#if HWY_TARGET != HWY_SCALAR
/// Blocks of 16 bytes, `step` stored numbers apart, side by side.
template <class D, class Stored>
HWY_INLINE hn::Vec<D> LoadBlocks(D d, const Stored* p, Index step) {
  constexpr Index kBlocks = static_cast<Index>(hn::MaxLanes(D()) * sizeof(hn::TFromD<D>) / 16);
  if constexpr (kBlocks == 1) {
    return LoadAs(d, p);
  } else {
    const hn::Half<D> half;
    return hn::Combine(d, LoadBlocks(half, p + kBlocks / 2 * step, step), LoadBlocks(half, p, step));
  }
}

/// kPackBlock columns of one vector of rows: to[c * kTileKeys] for each of them.
template <class Stored>
HWY_INLINE void PackSquare(const Stored* rows, Index stride, float* to) {
  const Tag<float> d;
  const hn::Repartition<std::uint64_t, Tag<float>> du;
  const Index step = 4 * stride;
  const auto r0 = LoadBlocks(d, rows, step), r1 = LoadBlocks(d, rows + stride, step);
  const auto r2 = LoadBlocks(d, rows + 2 * stride, step), r3 = LoadBlocks(d, rows + 3 * stride, step);
  const auto a = hn::BitCast(du, hn::InterleaveLower(d, r0, r1));
  const auto b = hn::BitCast(du, hn::InterleaveLower(d, r2, r3));
  const auto c = hn::BitCast(du, hn::InterleaveUpper(d, r0, r1));
  const auto e = hn::BitCast(du, hn::InterleaveUpper(d, r2, r3));
  hn::Store(hn::BitCast(d, hn::InterleaveLower(du, a, b)), d, to);
  hn::Store(hn::BitCast(d, hn::InterleaveUpper(du, a, b)), d, to + kTileKeys<float>);
  hn::Store(hn::BitCast(d, hn::InterleaveLower(du, c, e)), d, to + 2 * kTileKeys<float>);
  hn::Store(hn::BitCast(d, hn::InterleaveUpper(du, c, e)), d, to + 3 * kTileKeys<float>);
}
HWY_INLINE void PackSquare(const double* rows, Index stride, double* to) {
  const Tag<double> d;
  const auto r0 = LoadBlocks(d, rows, 2 * stride), r1 = LoadBlocks(d, rows + stride, 2 * stride);
  hn::Store(hn::InterleaveLower(d, r0, r1), d, to);
  hn::Store(hn::InterleaveUpper(d, r0, r1), d, to + kTileKeys<double>);
}
#endif

/// One tile [depth][kTileKeys] from its first `filled` rows; the other lanes are zero. kAhead: fetches the
/// next tile's rows into the second-level cache on the way, since no prefetcher follows this many rows at a
/// time.
template <bool kAhead = false, class Real, class Stored>
HWY_INLINE void PackTile(const Stored* HWY_RESTRICT rows, Index stride, Index filled, Index depth,
                         Real* HWY_RESTRICT tile) {
  constexpr Index kKeys = kTileKeys<Real>;
  if (filled < kKeys) std::fill_n(tile, depth * kKeys, Real{0});
  Index whole = 0, columns = 0;
  [[maybe_unused]] constexpr Index kLine = static_cast<Index>(64 / sizeof(Stored));
  [[maybe_unused]] const Stored* ahead = rows + kKeys * stride;
  [[maybe_unused]] Index ahead_column = 0;
#if HWY_TARGET != HWY_SCALAR
  columns = depth / kPackBlock<Real> * kPackBlock<Real>;
  for (; whole + kLanes<Real> <= filled; whole += kLanes<Real>) {
    for (Index c = 0; c < columns; c += kPackBlock<Real>) {
      if constexpr (kAhead) {
        for (Index l = 0; l < kLanes<Real> * kPackBlock<Real>; l += kLine) {
          __builtin_prefetch(ahead + ahead_column, 0, 2);
          ahead_column += kLine;
          if (ahead_column < depth) continue;
          ahead_column = 0;
          ahead += stride;
        }
      }
      PackSquare(rows + whole * stride + c, stride, tile + c * kKeys + whole);
    }
  }
#endif
  for (Index lane = 0; lane < filled; ++lane) {
    for (Index c = lane < whole ? columns : 0; c < depth; ++c) {
      tile[c * kKeys + lane] = static_cast<Real>(rows[lane * stride + c]);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#endif  // KITH_PACK_INL_H_
