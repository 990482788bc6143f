// From what a pair sums to (x) to its logit in units of log 2, with all Terms; and the derivative, for the
// way back. A row of a tile at a time, from and to memory: the branches are on conditions that hold for the
// whole call, and a row is long enough to hide them. Re-included once per instruction set.

#if defined(KITH_TERMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KITH_TERMS_INL_H_
#undef KITH_TERMS_INL_H_
#else
#define KITH_TERMS_INL_H_
#endif

#include <numbers>

#include "attention/kernels/tile-inl.h"
#include "kith/similarity.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

/// log2 of x >= 0; 0 gives -inf, +inf gives +inf, NaN stays NaN.
template <class Real>
HWY_INLINE Vec<Real> Log2(Vec<Real> x) {
  const Tag<Real> d;
  const Vec<Real> infinity = hn::Set(d, std::numeric_limits<Real>::infinity());
  Vec<Real> y = hn::Log2(d, x);
  y = hn::IfThenElse(hn::Eq(x, hn::Zero(d)), hn::Neg(infinity), y);
  y = hn::IfThenElse(hn::Eq(x, infinity), infinity, y);
  return KeepNaN<Real>(x, y);
}

/// logit2 of x' for the maps that take a logarithm: times * log2(base), -inf where u >= 1.
template <class Real>
HWY_INLINE Vec<Real> CompactLogit(Vec<Real> u2, Vec<Real> base, Real times) {
  const Tag<Real> d;
  const Vec<Real> logit = hn::Mul(hn::Set(d, times), Log2<Real>(hn::Max(base, hn::Zero(d))));
  return KeepNaN<Real>(
      u2, hn::IfThenElse(hn::Ge(u2, hn::Set(d, Real{1})), hn::Set(d, kMinusInfinity<Real>), logit));
}

template <class Real>
HWY_INLINE Vec<Real> MapLogit(Map map, Real factor, Vec<Real> x) {
  const Tag<Real> d;
  const Vec<Real> f = hn::Set(d, factor), one = hn::Set(d, Real{1});
  switch (map) {
    case Map::linear:
      return hn::Mul(f, x);
    case Map::square_root:
      return hn::Mul(f, hn::Sqrt(x));
    case Map::epanechnikov: {
      const Vec<Real> u2 = hn::Mul(f, x);
      return CompactLogit<Real>(u2, hn::Sub(one, u2), 1);
    }
    case Map::boxcar: {
      const Vec<Real> u2 = hn::Mul(f, x);
      return KeepNaN<Real>(u2,
                           hn::IfThenElse(hn::Ge(u2, one), hn::Set(d, kMinusInfinity<Real>), hn::Zero(d)));
    }
    case Map::triangular: {
      const Vec<Real> u2 = hn::Mul(f, x);
      return CompactLogit<Real>(u2, hn::Sub(one, hn::Sqrt(u2)), 1);
    }
    case Map::biweight: {
      const Vec<Real> u2 = hn::Mul(f, x);
      return CompactLogit<Real>(u2, hn::Sub(one, u2), 2);
    }
    case Map::tricube: {
      const Vec<Real> u2 = hn::Mul(f, x);
      return CompactLogit<Real>(u2, hn::Sub(one, hn::Mul(u2, hn::Sqrt(u2))), 3);
    }
    case Map::inverse_distance: {
      const auto hit = hn::Lt(x, hn::Set(d, static_cast<Real>(InverseDistance::kHit)));
      const Vec<Real> logit = hn::Mul(hn::Set(d, static_cast<Real>(-0.5) * factor), Log2<Real>(x));
      const auto hit_logit = static_cast<Real>(74.5 * static_cast<double>(factor) + 128);
      return hn::IfThenElse(hit, hn::Set(d, hit_logit), logit);
    }
  }
  return x;
}

/// Rows of a tile whose terms are wanted: queries counted in the sequence, keys from `key` on, those from
/// `key_limit` on are padding.
template <class Real>
struct TilePlace {
  const Terms<Real>& terms;
  Real factor;
  Index query, key, key_limit;
};

/// x[tile] scaled by the adaptive bandwidths of one row.
template <class Real>
HWY_INLINE Vec<Real> ScaledX(const TilePlace<Real>& at, Index vector, Vec<Real> x) {
  const Tag<Real> d;
  if (at.terms.query_scale != nullptr) x = hn::Mul(x, hn::Set(d, at.terms.query_scale[at.query]));
  if (at.terms.key_scale != nullptr) {
    x = hn::Mul(x, hn::LoadU(d, at.terms.key_scale + at.key + vector * kLanes<Real>));
  }
  return x;
}

/// The bias array's numbers for one row of a tile, natural units; 0 in the padding.
template <class Real>
HWY_INLINE void GatherBias(const TilePlace<Real>& at, Real* HWY_RESTRICT to) {
  const Terms<Real>& t = at.terms;
  const Index count = std::min<Index>(kTileKeys<Real>, at.key_limit - at.key);
  const Index first = at.query * t.bias_query_stride + at.key * t.bias_key_stride;
  for (Index c = 0; c < count; ++c) {
    const Index j = first + c * t.bias_key_stride;
    to[c] = t.bias != nullptr ? static_cast<Real>(t.bias[j]) : static_cast<Real>(t.bias64[j]);
  }
  for (Index c = count; c < kTileKeys<Real>; ++c) to[c] = 0;
}

/// Whether the terms only scale and add: then a row stays in registers.
template <class Real>
HWY_INLINE bool OnlyAdds(const Terms<Real>& t) {
  return t.map == Map::linear && t.soft_cap == 0;
}

/// The bias array's numbers, `own` memory unless they can be read where they are.
template <class Real>
HWY_INLINE const Real* BiasRow(const TilePlace<Real>& at, Real* HWY_RESTRICT own) {
  const Terms<Real>& t = at.terms;
  const Real* in_place = nullptr;
  if constexpr (std::is_same_v<Real, float>) {
    in_place = t.bias;
  } else {
    in_place = t.bias64;
  }
  if (in_place != nullptr && t.bias_key_stride == 1 && at.key + kTileKeys<Real> <= at.key_limit) {
    const Real* row = in_place + at.query * t.bias_query_stride + at.key;
    // The next tile's part of this row: rows lie too far apart for a hardware prefetcher to follow them.
    for (Index v = 0; v < kVectors; ++v) __builtin_prefetch(row + kTileKeys<Real> + v * kLanes<Real>);
    return row;
  }
  GatherBias(at, own);
  return own;
}

/// One vector of logits with the biases of the row; `bias`: its BiasRow, or null.
template <class Real>
HWY_INLINE Vec<Real> PlusBiases(const TilePlace<Real>& at, const Real* HWY_RESTRICT bias, Index vector,
                                Vec<Real> logit) {
  const Tag<Real> d;
  const Terms<Real>& t = at.terms;
  if (t.toeplitz != nullptr) {
    logit = hn::Add(logit, hn::LoadU(d, t.toeplitz + (at.key - at.query) + vector * kLanes<Real>));
  }
  if (bias == nullptr) return logit;
  const Vec<Real> none = hn::Set(d, kMinusInfinity<Real>);
  const Vec<Real> b = hn::LoadU(d, bias + vector * kLanes<Real>);
  return hn::IfThenElse(hn::Eq(b, none), none,
                        hn::MulAdd(hn::Set(d, static_cast<Real>(std::numbers::log2e)), b, logit));
}

/// logit2 from x for terms that OnlyAdds().
template <class Real>
HWY_INLINE void AddTerms(const TilePlace<Real>& at, Vec<Real> (&x)[kVectors]) {
  const Tag<Real> d;
  const Terms<Real>& t = at.terms;
  HWY_ALIGN Real own[kMaxTileKeys];
  const Real* bias = t.bias != nullptr || t.bias64 != nullptr ? BiasRow(at, own) : nullptr;
  HWY_UNROLL(3)
  for (Index v = 0; v < kVectors; ++v) {
    x[v] = PlusBiases(at, bias, v, hn::Mul(hn::Set(d, at.factor), ScaledX(at, v, x[v])));
  }
}

/// x[tile] of one row to logit2[tile]; the two may be one. Keys that a term hides get -inf, whatever x is.
template <class Real>
HWY_NOINLINE void ApplyTerms(const TilePlace<Real>& at, const Real* x_row, Real* logit_row) {
  const Tag<Real> d;
  const Terms<Real>& t = at.terms;
  HWY_ALIGN Real own[kMaxTileKeys];
  const Real* bias = t.bias != nullptr || t.bias64 != nullptr ? BiasRow(at, own) : nullptr;
  for (Index v = 0; v < kVectors; ++v) {
    const Vec<Real> x = ScaledX(at, v, hn::Load(d, x_row + v * kLanes<Real>));
    Vec<Real> logit = MapLogit<Real>(t.map, at.factor, x);
    const Vec<Real> none = hn::Set(d, kMinusInfinity<Real>);
    if (t.soft_cap != 0) {
      const Vec<Real> capped =
          hn::Mul(hn::Set(d, t.soft_cap), Tanh<Real>(hn::Mul(logit, hn::Set(d, 1 / t.soft_cap))));
      logit = hn::IfThenElse(hn::Eq(logit, none), none, capped);
    }
    hn::Store(PlusBiases(at, bias, v, logit), d, logit_row + v * kLanes<Real>);
  }
}

/// keep_scale for the pairs of one row that stay, 0 for those that are dropped.
template <class Real>
HWY_INLINE void DropoutFactors(const TilePlace<Real>& at, Real* HWY_RESTRICT to) {
  const std::uint32_t row = dropout_row(at.terms.dropout_stream, at.query);
  for (Index c = 0; c < kTileKeys<Real>; ++c) {
    to[c] = dropout_bits(row, at.key + c) < at.terms.drop_below ? Real{0} : at.terms.keep_scale;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#endif  // KITH_TERMS_INL_H_
