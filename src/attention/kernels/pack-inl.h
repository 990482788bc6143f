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

/// Columns of a square that is transposed at once: what 16 bytes of a row hold.
template <class Stored>
inline constexpr Index kSquare = static_cast<Index>(16 / sizeof(Stored));

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
/// float16 in the lower halves of 32-bit words, whose upper halves are 0, as floats. Where there is no
/// instruction for it Highway's conversion knows no infinity and no NaN.
template <class Words>
HWY_INLINE Vec<float> FromHalves(Words words) {
  const Tag<float> d;
  const hn::RebindToUnsigned<Tag<float>> du;
  const auto magnitude = hn::And(words, hn::Set(du, 0x7fffU));
  const auto special = hn::Gt(magnitude, hn::Set(du, 0x7bffU));
  const auto rebias = hn::IfThenElse(special, hn::Set(du, 224U << 23), hn::Set(du, 112U << 23));
  const Vec<float> normal = hn::BitCast(d, hn::Add(hn::ShiftLeft<13>(magnitude), rebias));
  const Vec<float> whole = hn::ConvertTo(d, hn::BitCast(hn::RebindToSigned<Tag<float>>(), magnitude));
  const Vec<float> subnormal = hn::Mul(whole, hn::Set(d, 0x1p-24F));
  const auto tiny = hn::RebindMask(d, hn::Gt(hn::Set(du, 0x400U), magnitude));
  const auto sign = hn::ShiftLeft<16>(hn::Sub(words, magnitude));
  return hn::BitCast(d, hn::Or(hn::BitCast(du, hn::IfThenElse(tiny, subnormal, normal)), sign));
}
template <class D>
HWY_INLINE hn::Vec<D> LoadAs([[maybe_unused]] D d, const float16* p) {
  const hn::Rebind<std::uint16_t, D> narrow;
#if HWY_TARGET <= HWY_AVX2 && HWY_ARCH_X86
  const hn::Rebind<hwy::float16_t, D> half;
  return hn::PromoteTo(d, hn::BitCast(half, hn::LoadU(narrow, reinterpret_cast<const std::uint16_t*>(p))));
#else
  const hn::RebindToUnsigned<D> wide;
  return FromHalves(hn::PromoteTo(wide, hn::LoadU(narrow, reinterpret_cast<const std::uint16_t*>(p))));
#endif
}

#if HWY_TARGET != HWY_SCALAR
/// Blocks of 16 bytes, `step` bytes apart, side by side.
template <class D8>
HWY_INLINE hn::Vec<D8> LoadBlocks(D8 d, const std::uint8_t* p, Index step) {
  constexpr Index kBlocks = static_cast<Index>(hn::MaxLanes(D8()) / 16);
  if constexpr (kBlocks == 1) {
    return hn::LoadU(d, p);
  } else {
    const hn::Half<D8> half;
    return hn::Combine(d, LoadBlocks(half, p + kBlocks / 2 * step, step), LoadBlocks(half, p, step));
  }
}
template <class D, class Stored>
HWY_INLINE hn::Vec<D> LoadBlocks(D d, const Stored* p, Index step) {
  return hn::BitCast(d,
                     LoadBlocks(hn::Repartition<std::uint8_t, D>(), reinterpret_cast<const std::uint8_t*>(p),
                                step * static_cast<Index>(sizeof(Stored))));
}

/// each(i, 32-bit word i of one vector of rows), for the four words of a square.
template <class Stored, class Each>
HWY_INLINE void TransposeWords(const Stored* rows, Index stride, Each&& each) {
  const hn::RebindToUnsigned<Tag<float>> d;
  const hn::Repartition<std::uint64_t, Tag<float>> pairs;
  const Index step = 4 * stride;
  const auto r0 = LoadBlocks(d, rows, step), r1 = LoadBlocks(d, rows + stride, step);
  const auto r2 = LoadBlocks(d, rows + 2 * stride, step), r3 = LoadBlocks(d, rows + 3 * stride, step);
  const auto a = hn::BitCast(pairs, hn::InterleaveLower(d, r0, r1));
  const auto b = hn::BitCast(pairs, hn::InterleaveLower(d, r2, r3));
  const auto c = hn::BitCast(pairs, hn::InterleaveUpper(d, r0, r1));
  const auto e = hn::BitCast(pairs, hn::InterleaveUpper(d, r2, r3));
  each(0, hn::BitCast(d, hn::InterleaveLower(pairs, a, b)));
  each(1, hn::BitCast(d, hn::InterleaveUpper(pairs, a, b)));
  each(2, hn::BitCast(d, hn::InterleaveLower(pairs, c, e)));
  each(3, hn::BitCast(d, hn::InterleaveUpper(pairs, c, e)));
}

/// The lower halves of 32-bit words as floats, and the upper ones.
template <class Words>
HWY_INLINE Vec<float> LowerAs(bfloat16, Words words) {
  return hn::BitCast(Tag<float>(), hn::ShiftLeft<16>(words));
}
template <class Words>
HWY_INLINE Vec<float> UpperAs(bfloat16, Words words) {
  const hn::RebindToUnsigned<Tag<float>> d;
  return hn::BitCast(Tag<float>(), hn::And(words, hn::Set(d, 0xffff0000U)));
}
template <class Words>
HWY_INLINE Vec<float> LowerAs(float16, Words words) {
#if HWY_TARGET <= HWY_AVX2 && HWY_ARCH_X86
  const Tag<float> d;
  const auto halves = hn::TruncateTo(hn::Rebind<std::uint16_t, Tag<float>>(), words);
  return hn::PromoteTo(d, hn::BitCast(hn::Rebind<hwy::float16_t, Tag<float>>(), halves));
#else
  return FromHalves(hn::And(words, hn::Set(hn::RebindToUnsigned<Tag<float>>(), 0xffffU)));
#endif
}
template <class Words>
HWY_INLINE Vec<float> UpperAs(float16, Words words) {
  return LowerAs(float16{}, hn::ShiftRight<16>(words));
}

/// each(i, column i of one vector of rows), for the kSquare columns of a square.
template <class Each>
HWY_INLINE void TransposeSquare(const float* rows, Index stride, Each&& each) {
  TransposeWords(rows, stride, [&](Index i, auto words) { each(i, hn::BitCast(Tag<float>(), words)); });
}
template <class Each>
HWY_INLINE void TransposeSquare(const double* rows, Index stride, Each&& each) {
  const Tag<double> d;
  const auto r0 = LoadBlocks(d, rows, 2 * stride), r1 = LoadBlocks(d, rows + stride, 2 * stride);
  each(0, hn::InterleaveLower(d, r0, r1));
  each(1, hn::InterleaveUpper(d, r0, r1));
}
#if HWY_TARGET <= HWY_AVX2 && HWY_ARCH_X86
// float16 by halves of words, which conversion then takes as they are: narrowing words first costs two
// shuffles a column.
template <class Each>
HWY_INLINE void TransposeSquare(const float16* rows, Index stride, Each&& each) {
  const Tag<float> d;
  const hn::Rebind<std::uint16_t, Tag<float>> d16;
  const hn::Repartition<std::uint32_t, decltype(d16)> d32;
  const hn::Repartition<std::uint64_t, decltype(d16)> d64;
  const auto row = [&](Index r) { return LoadBlocks(d16, rows + r * stride, 8 * stride); };
  const auto pairs = [&](Index r, auto upper) {
    const auto x = row(r), y = row(r + 1);
    return hn::BitCast(d32, upper() ? hn::InterleaveUpper(d16, x, y) : hn::InterleaveLower(d16, x, y));
  };
  const auto four_columns = [&](Index first, auto upper) {
    const auto a = pairs(0, upper), b = pairs(2, upper), c = pairs(4, upper), e = pairs(6, upper);
    const auto ab = hn::BitCast(d64, hn::InterleaveLower(d32, a, b));
    const auto ab2 = hn::BitCast(d64, hn::InterleaveUpper(d32, a, b));
    const auto ce = hn::BitCast(d64, hn::InterleaveLower(d32, c, e));
    const auto ce2 = hn::BitCast(d64, hn::InterleaveUpper(d32, c, e));
    const auto emit = [&](Index i, auto column) {
      each(first + i, hn::PromoteTo(d, hn::BitCast(hn::Rebind<hwy::float16_t, Tag<float>>(), column)));
    };
    emit(0, hn::InterleaveLower(d64, ab, ce));
    emit(1, hn::InterleaveUpper(d64, ab, ce));
    emit(2, hn::InterleaveLower(d64, ab2, ce2));
    emit(3, hn::InterleaveUpper(d64, ab2, ce2));
  };
  four_columns(0, std::false_type());
  four_columns(4, std::true_type());
}
#endif
template <class Stored, class Each>
HWY_INLINE void TransposeSquare(const Stored* rows, Index stride, Each&& each) {
  TransposeWords(rows, stride, [&](Index i, auto words) {
    each(2 * i, LowerAs(Stored{}, words));
    each(2 * i + 1, UpperAs(Stored{}, words));
  });
}
#endif

/// Fetches rows in their order into the second-level cache, `depth` numbers of each.
template <class Stored>
class Prefetch {
 public:
  Prefetch(const Stored* rows, Index stride, Index depth) : row_(rows), stride_(stride), depth_(depth) {}
  HWY_INLINE void next(Index count) {
    constexpr Index kLine = static_cast<Index>(64 / sizeof(Stored));
    for (Index i = 0; i < count; i += kLine) {
      __builtin_prefetch(row_ + column_, 0, 2);
      column_ += kLine;
      if (column_ < depth_) continue;
      column_ = 0;
      row_ += stride_;
    }
  }

 private:
  const Stored* row_;
  Index column_ = 0, stride_, depth_;
};

/// One tile [depth][kTileKeys] from its first `filled` rows; the other lanes are zero. kAhead: fetches the
/// next tile's rows into the second-level cache on the way, since no prefetcher follows this many rows at a
/// time.
template <bool kAhead = false, class Real, class Stored>
HWY_INLINE void PackTile(const Stored* HWY_RESTRICT rows, Index stride, Index filled, Index depth,
                         Real* HWY_RESTRICT tile) {
  constexpr Index kKeys = kTileKeys<Real>;
  if (filled < kKeys) std::fill_n(tile, depth * kKeys, Real{0});
  Index whole = 0, columns = 0;
#if HWY_TARGET != HWY_SCALAR
  constexpr Index kColumns = kSquare<Stored>;
  [[maybe_unused]] Prefetch<Stored> ahead(rows + kKeys * stride, stride, depth);
  columns = depth / kColumns * kColumns;
  for (; whole + kLanes<Real> <= filled; whole += kLanes<Real>) {
    for (Index c = 0; c < columns; c += kColumns) {
      if constexpr (kAhead) ahead.next(kLanes<Real> * kColumns);
      TransposeSquare(rows + whole * stride + c, stride, [&](Index i, Vec<Real> column) {
        hn::Store(column, Tag<Real>(), tile + (c + i) * kKeys + whole);
      });
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
