// The way back through the terms of a logit: from dP of one row of a tile to the gradient of the pairs' sums,
// and to what the row gives to the parameters. Re-included once per instruction set.

#if defined(KITH_SLOPES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KITH_SLOPES_INL_H_
#undef KITH_SLOPES_INL_H_
#else
#define KITH_SLOPES_INL_H_
#endif

#include <algorithm>
#include <numbers>

#include "attention/kernels/terms-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

/// Derivatives of the map's natural logit s(x').
template <class Real>
struct Slopes {
  Vec<Real> x;       ///< ds/dx'; 0 where a root has no derivative, at x' = 0
  Vec<Real> log_x;   ///< ds/dlog x'
  Vec<Real> factor;  ///< ds/dfactor (linear, square_root), ds/dlog factor (compact), ds/dpower
};

template <class Real>
HWY_INLINE Slopes<Real> CompactSlopes(Vec<Real> factor, Vec<Real> u2, Vec<Real> by_u2) {
  const Vec<Real> log_x = hn::Mul(u2, by_u2);
  return {hn::Mul(factor, by_u2), log_x, log_x};
}

template <class Real>
HWY_INLINE Slopes<Real> MapSlopes(Map map, Real factor, Vec<Real> x) {
  const Tag<Real> d;
  const auto set = [&](double value) { return hn::Set(d, static_cast<Real>(value)); };
  const Vec<Real> f = hn::Set(d, factor), zero = hn::Zero(d), one = set(1);
  switch (map) {
    case Map::linear: {
      const Vec<Real> natural = hn::Mul(f, set(std::numbers::ln2));
      return {natural, hn::Mul(natural, x), x};
    }
    case Map::square_root: {
      const Vec<Real> half = hn::Mul(f, set(0.5 * std::numbers::ln2)), root = hn::Sqrt(x);
      return {hn::IfThenZeroElse(hn::Eq(x, zero), hn::Div(half, root)), hn::Mul(half, root), root};
    }
    case Map::epanechnikov: {
      const Vec<Real> u2 = hn::Mul(f, x);
      return CompactSlopes<Real>(f, u2, hn::Div(set(-1), hn::Sub(one, u2)));
    }
    case Map::boxcar:
      return {zero, zero, zero};
    case Map::triangular: {
      const Vec<Real> u2 = hn::Mul(f, x), u = hn::Sqrt(u2);
      const Vec<Real> by_u2 = hn::Div(set(-0.5), hn::Mul(u, hn::Sub(one, u)));
      return CompactSlopes<Real>(f, u2, hn::IfThenZeroElse(hn::Eq(u, zero), by_u2));
    }
    case Map::biweight: {
      const Vec<Real> u2 = hn::Mul(f, x);
      return CompactSlopes<Real>(f, u2, hn::Div(set(-2), hn::Sub(one, u2)));
    }
    case Map::tricube: {
      const Vec<Real> u2 = hn::Mul(f, x), u = hn::Sqrt(u2);
      return CompactSlopes<Real>(f, u2, hn::Div(hn::Mul(set(-4.5), u), hn::Sub(one, hn::Mul(u2, u))));
    }
    case Map::inverse_distance: {
      const auto hit = hn::Lt(x, set(InverseDistance::kHit));
      const Vec<Real> half = hn::Mul(f, set(-0.5));
      // Just above a hit the slope overflows where its product with the difference would not.
      const Vec<Real> by_x = hn::Max(hn::Div(half, x), hn::Set(d, std::numeric_limits<Real>::lowest()));
      const Vec<Real> by_power = hn::Mul(set(-0.5 * std::numbers::ln2), Log2<Real>(x));
      return {hn::IfThenZeroElse(hit, by_x), hn::IfThenZeroElse(hit, half),
              hn::IfThenElse(hit, set(74.5 * std::numbers::ln2), by_power)};
    }
  }
  return {zero, zero, zero};
}

/// weight times slope, 0 where the weight is 0 though the slope may be infinite there.
template <class Real>
HWY_INLINE Vec<Real> Through(Vec<Real> weight, Vec<Real> slope) {
  return hn::IfThenZeroElse(hn::Eq(weight, hn::Zero(Tag<Real>())), hn::Mul(weight, slope));
}

/// Numbers of one row of a tile added to doubles.
template <class Real>
HWY_INLINE void AddRow(const Real* HWY_RESTRICT from, Index count, double* HWY_RESTRICT to, Index stride) {
  for (Index c = 0; c < count; ++c) to[c * stride] += static_cast<double>(from[c]);
}

/// One row of a tile: P, with dropout applied on return, and in `ds_row` dP, on return dX. `x_row` is the
/// pairs' sum, `logit_row` what ApplyTerms made of it. A pair that a term hides (logit -inf) or the mask does
/// has dX = 0 whatever its numbers are.
template <class Real>
HWY_NOINLINE void PullRow(const BackwardTask<Real>& task, Index row, Index key, std::uint64_t bits,
                          const Real* HWY_RESTRICT x_row, const Real* HWY_RESTRICT logit_row,
                          Real* HWY_RESTRICT p_row, Real* HWY_RESTRICT ds_row) {
  const Tag<Real> d;
  const Terms<Real>& t = *task.terms;
  const TilePlace<Real> at{t, task.factor, task.first_query + row, key, task.last_key};
  const Vec<Real> zero = hn::Zero(d), one = hn::Set(d, Real{1});
  const Vec<Real> delta = hn::Set(d, task.delta[row]), none = hn::Set(d, kMinusInfinity<Real>);
  HWY_ALIGN Real keep[kMaxTileKeys], by_logit[kMaxTileKeys], by_scale[kMaxTileKeys];
  if (t.drop_below > 0) DropoutFactors(at, keep);
  Vec<Real> logit_sum = zero, scale_sum = zero, factor_sum = zero, cap_sum = zero;
  for (Index v = 0; v < kVectors; ++v) {
    const Index lane = v * kLanes<Real>;
    const Vec<Real> p = hn::Load(d, p_row + lane), logit = hn::Load(d, logit_row + lane);
    Vec<Real> inner = hn::Load(d, ds_row + lane);
    if (t.drop_below > 0) {
      const Vec<Real> kept = hn::Load(d, keep + lane);
      inner = hn::Mul(inner, kept);
      hn::Store(hn::Mul(p, kept), d, p_row + lane);
    }
    inner = hn::Sub(inner, delta);
    if (task.d_entropy != nullptr) {
      const Vec<Real> log2_weight = hn::Sub(logit, hn::Set(d, task.lse2[row]));
      inner = hn::NegMulAdd(hn::Set(d, task.d_entropy[row]), log2_weight, inner);
    }
    Vec<Real> ds = hn::IfThenZeroElse(hn::Eq(logit, none), hn::Mul(p, inner));
    if (bits != ~std::uint64_t{0}) ds = hn::IfThenElseZero(LaneMask<Real>(bits, v), ds);
    hn::Store(ds, d, by_logit + lane);
    logit_sum = hn::Add(logit_sum, ds);

    const Vec<Real> x = ScaledX(at, v, hn::Load(d, x_row + lane));
    if (t.soft_cap != 0) {
      const Vec<Real> y = hn::Mul(MapLogit<Real>(t.map, task.factor, x), hn::Set(d, 1 / t.soft_cap));
      const Vec<Real> tanh = Tanh<Real>(y);
      const Vec<Real> slope = hn::Mul(hn::Sub(one, tanh), hn::Add(one, tanh));
      cap_sum = hn::Add(cap_sum, Through<Real>(ds, hn::NegMulAdd(y, slope, tanh)));
      ds = Through<Real>(ds, slope);
    }
    const Slopes<Real> slopes = MapSlopes<Real>(t.map, task.factor, x);
    factor_sum = hn::Add(factor_sum, Through<Real>(ds, slopes.factor));
    const Vec<Real> scale = Through<Real>(ds, slopes.log_x);
    hn::Store(scale, d, by_scale + lane);
    scale_sum = hn::Add(scale_sum, scale);
    hn::Store(ScaledX(at, v, Through<Real>(ds, slopes.x)), d, ds_row + lane);
  }

  const auto total = [&](Vec<Real> sum) { return static_cast<double>(hn::GetLane(hn::SumOfLanes(d, sum))); };
  const Index count = std::min<Index>(kTileKeys<Real>, task.last_key - key);
  if (task.d_factor != nullptr) *task.d_factor += total(factor_sum);
  if (task.d_soft_cap != nullptr) *task.d_soft_cap += total(cap_sum);
  if (task.d_query_scale != nullptr) task.d_query_scale[row] += total(scale_sum);
  if (task.d_key_scale != nullptr) AddRow(by_scale, count, task.d_key_scale + (key - task.first_key), 1);
  if (task.d_toeplitz != nullptr) AddRow(by_logit, count, task.d_toeplitz + (key - at.query), 1);
  if (task.d_bias != nullptr) {
    double* d_bias = task.d_bias + row * task.d_bias_query_stride;
    if (task.d_bias_key_stride == 0) {
      *d_bias += total(logit_sum);
    } else {
      AddRow(by_logit, count, d_bias + key * task.d_bias_key_stride, task.d_bias_key_stride);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#endif  // KITH_SLOPES_INL_H_
