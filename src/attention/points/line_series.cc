// Keys lie in the lanes where there are many of them and one result (moments, direct sums), terms of the
// series where a series becomes another, queries where a series is evaluated. All in double: the series
// alternate.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/points/line_series.cc"
#include "hwy/foreach_target.h"

#include <algorithm>

#include "attention/points/line_series.h"
#include "hwy/highway.h"

// NOLINTBEGIN(readability-identifier-naming): like Highway's own ops
HWY_BEFORE_NAMESPACE();
namespace kith::points {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<double, kLinePadding>;
using V = hn::Vec<D>;
constexpr Index kLanes = static_cast<Index>(hn::MaxLanes(D()));
constexpr Index kVectors = kLineTerms / kLanes;
static_assert(kLineTerms % kLanes == 0 && kLanes <= kLinePadding);

constexpr double kInverseFactorial[kLineTerms] = {1.0,
                                                  1.0,
                                                  1.0 / 2,
                                                  1.0 / 6,
                                                  1.0 / 24,
                                                  1.0 / 120,
                                                  1.0 / 720,
                                                  1.0 / 5040,
                                                  1.0 / 40320,
                                                  1.0 / 362880,
                                                  1.0 / 3628800,
                                                  1.0 / 39916800,
                                                  1.0 / 479001600,
                                                  1.0 / 6227020800.0,
                                                  1.0 / 87178291200.0,
                                                  1.0 / 1307674368000.0};

/// exp(-x) for x >= 0, relative error 1e-11: 2^n times the Taylor series of degree 9 on |f| <= log(2) / 2. 0
/// from x = 693 on: no denormals.
HWY_INLINE V ExpMinus(V x) {
  const D d;
  const hn::RebindToUnsigned<D> du;
  x = hn::Min(x, hn::Set(d, 700.0));
  // Adding 1.5 * 2^52 rounds to an integer in the low bits; the bias makes those bits a biased exponent.
  const V magic = hn::Set(d, 6755399441055744.0 + 1023);
  const V rounded = hn::NegMulAdd(x, hn::Set(d, 1.4426950408889634074), magic);
  const V n = hn::Sub(rounded, magic);
  // log 2 in two parts, the first with zeros in its last bits, so that f keeps its digits at n = 1000.
  V f = hn::NegMulAdd(n, hn::Set(d, 0.693147180369123816490), hn::Neg(x));
  f = hn::NegMulAdd(n, hn::Set(d, 1.90821492927058770002e-10), f);
  V p = hn::Set(d, kInverseFactorial[9]);
  for (int k = 8; k >= 0; --k) p = hn::MulAdd(p, f, hn::Set(d, kInverseFactorial[k]));
  const V power = hn::BitCast(d, hn::ShiftLeft<52>(hn::BitCast(du, rounded)));
  return hn::IfThenElseZero(hn::Lt(x, hn::Set(d, 693.0)), hn::Mul(p, power));
}

/// Lanes of keys from `j` on; mass beyond the stretch is 0.
HWY_INLINE V Mass(const double* mass, Index j, Index last) {
  const D d;
  const V m = hn::LoadU(d, mass + j);
  return last - j >= kLanes ? m : hn::IfThenElseZero(hn::FirstN(d, static_cast<std::size_t>(last - j)), m);
}

HWY_INLINE V Y(const LineKeys& keys, const LineStretch& s, Index j) {
  const D d;
  return hn::Mul(hn::Sub(hn::Set(d, s.origin), hn::LoadU(d, keys.x + j)),
                 hn::Set(d, s.side * s.inverse_bandwidth));
}

HWY_INLINE V Weight(V y, double z) {
  const D d;
  return ExpMinus(hn::Mul(y, hn::MulAdd(y, hn::Set(d, 0.5), hn::Set(d, z))));
}

template <bool kWeighted>
HWY_INLINE void Series(const LineKeys& keys, const LineStretch& s, double z, double ratio, double* series) {
  const D d;
  for (Index c = 0; c < keys.columns; ++c) {
    const double* mass = keys.column(c);
    V sum[kLineTerms];
    HWY_UNROLL(16)
    for (Index p = 0; p < kLineTerms; ++p) sum[p] = hn::Zero(d);
    for (Index j = s.first; j < s.last; j += kLanes) {
      const V y = Y(keys, s, j);
      V power = Mass(mass, j, s.last);
      if constexpr (kWeighted) power = hn::Mul(power, Weight(y, z));
      const V step = hn::Mul(y, hn::Set(d, ratio));
      HWY_UNROLL(16)
      for (Index p = 0; p < kLineTerms; ++p) {
        sum[p] = hn::Add(sum[p], power);
        power = hn::Mul(power, step);
      }
    }
    for (Index p = 0; p < kLineTerms; ++p) {
      series[c * kLineTerms + p] = hn::GetLane(hn::SumOfLanes(d, sum[p])) * kInverseFactorial[p];
    }
  }
}

void Moments(const LineKeys& keys, const LineStretch& stretch, double* series) {
  Series<false>(keys, stretch, 0, 1, series);
}

void Transform(const LineKeys& keys, const LineStretch& stretch, double z, double r, double* series) {
  Series<true>(keys, stretch, z, -r, series);
}

template <Index kColumns>
HWY_INLINE void DirectColumns(const LineKeys& keys, const LineStretch& s, double z, Index column,
                              double* sums) {
  const D d;
  V sum[kColumns];
  for (Index c = 0; c < kColumns; ++c) sum[c] = hn::Zero(d);
  for (Index j = s.first; j < s.last; j += kLanes) {
    const V weight = Weight(Y(keys, s, j), z);
    for (Index c = 0; c < kColumns; ++c)
      sum[c] = hn::MulAdd(Mass(keys.column(column + c), j, s.last), weight, sum[c]);
  }
  for (Index c = 0; c < kColumns; ++c) sums[column + c] = hn::GetLane(hn::SumOfLanes(d, sum[c]));
}

void Direct(const LineKeys& keys, const LineStretch& stretch, double z, double* sums) {
  Index c = 0;
  for (; c + 3 <= keys.columns; c += 3) DirectColumns<3>(keys, stretch, z, c, sums);
  for (; c + 2 <= keys.columns; c += 2) DirectColumns<2>(keys, stretch, z, c, sums);
  for (; c < keys.columns; ++c) DirectColumns<1>(keys, stretch, z, c, sums);
}

template <Index kColumns>
HWY_INLINE void TranslateColumns(const LineTranslation& task, Index column, double* series) {
  const D d;
  V sum[kColumns][kVectors];
  for (Index c = 0; c < kColumns; ++c) {
    for (Index v = 0; v < kVectors; ++v) sum[c][v] = hn::Zero(d);
  }
  for (Index s = 0; s < task.boxes; ++s) {
    const double* derivative = task.derivatives[s];
    const double* moment = task.moments[s] + column * kLineTerms;
    HWY_UNROLL(16)
    for (Index q = 0; q < kLineTerms; ++q) {
      V row[kVectors];
      for (Index v = 0; v < kVectors; ++v) row[v] = hn::LoadU(d, derivative + q + v * kLanes);
      for (Index c = 0; c < kColumns; ++c) {
        const V m = hn::Set(d, moment[c * kLineTerms + q]);
        for (Index v = 0; v < kVectors; ++v) sum[c][v] = hn::MulAdd(m, row[v], sum[c][v]);
      }
    }
  }
  for (Index c = 0; c < kColumns; ++c) {
    for (Index v = 0; v < kVectors; ++v) {
      const V factor = hn::LoadU(d, kInverseFactorial + v * kLanes);
      hn::StoreU(hn::Mul(sum[c][v], factor), d, series + (column + c) * kLineTerms + v * kLanes);
    }
  }
}

void Translate(const LineTranslation& task, double* series) {
  Index c = 0;
  for (; c + 2 <= task.columns; c += 2) TranslateColumns<2>(task, c, series);
  for (; c < task.columns; ++c) TranslateColumns<1>(task, c, series);
}

void Evaluate(const LineEvaluation& task, const double* series) {
  const D d;
  const V origin = hn::Set(d, task.origin), scale = hn::Set(d, task.scale), start = hn::Set(d, task.start);
  for (Index i = 0; i < task.queries; i += kLanes) {
    const Index count = std::min(kLanes, task.queries - i);
    // A vector that is not full runs the same operations on a copy.
    double rest[kLanes] = {};
    const double* query = task.query + i;
    if (count < kLanes) query = std::copy(query, query + count, rest) - count;
    const V t = hn::Sub(hn::Mul(hn::Sub(hn::LoadU(d, query), origin), scale), start);
    for (Index c = 0; c < task.columns; ++c) {
      const double* coefficient = series + c * kLineTerms;
      V value = hn::Set(d, coefficient[kLineTerms - 1]);
      HWY_UNROLL(16)
      for (Index p = kLineTerms - 1; p-- > 0;) value = hn::MulAdd(value, t, hn::Set(d, coefficient[p]));
      double* sum = task.sum + c * kLineQueryBlock + i;
      if (count == kLanes) {
        hn::StoreU(value, d, sum);
      } else {
        double part[kLanes];
        hn::StoreU(value, d, part);
        std::copy(part, part + count, sum);
      }
    }
  }
}

/// Full vectors, then one on a copy: from(i) reads a vector, or a part of `count` lanes.
template <class From>
HWY_INLINE void ExpMinusOf(Index count, const From& from, double* to) {
  const D d;
  Index i = 0;
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(ExpMinus(from(i, kLanes)), d, to + i);
  if (i == count) return;
  double rest[kLanes];
  hn::StoreU(ExpMinus(from(i, count - i)), d, rest);
  std::copy(rest, rest + (count - i), to + i);
}

HWY_INLINE V LoadPart(const double* x, Index count) {
  const D d;
  if (count == kLanes) return hn::LoadU(d, x);
  double part[kLanes] = {};
  std::copy(x, x + count, part);
  return hn::LoadU(d, part);
}

void Exps(const double* x, Index count, double* to) {
  ExpMinusOf(
      count, [x](Index i, Index lanes) HWY_ATTR { return LoadPart(x + i, lanes); }, to);
}

void Decay(const double* x, Index count, double inverse_bandwidth, double* to) {
  const D d;
  const V inverse = hn::Set(d, inverse_bandwidth);
  ExpMinusOf(
      count,
      [x, inverse](Index i, Index lanes)
          HWY_ATTR { return hn::Mul(hn::Sub(LoadPart(x + i + 1, lanes), LoadPart(x + i, lanes)), inverse); },
      to);
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::points
HWY_AFTER_NAMESPACE();
// NOLINTEND(readability-identifier-naming)

#if HWY_ONCE
namespace kith::points {

HWY_EXPORT(Moments);
HWY_EXPORT(Transform);
HWY_EXPORT(Direct);
HWY_EXPORT(Translate);
HWY_EXPORT(Evaluate);
HWY_EXPORT(Exps);
HWY_EXPORT(Decay);

void line_moments(const LineKeys& keys, const LineStretch& stretch, double* series) {
  HWY_DYNAMIC_DISPATCH(Moments)(keys, stretch, series);
}
void line_transform(const LineKeys& keys, const LineStretch& stretch, double z, double r, double* series) {
  HWY_DYNAMIC_DISPATCH(Transform)(keys, stretch, z, r, series);
}
void line_direct(const LineKeys& keys, const LineStretch& stretch, double z, double* sums) {
  HWY_DYNAMIC_DISPATCH(Direct)(keys, stretch, z, sums);
}
void line_translate(const LineTranslation& task, double* series) {
  HWY_DYNAMIC_DISPATCH(Translate)(task, series);
}
void line_evaluate(const LineEvaluation& task, const double* series) {
  HWY_DYNAMIC_DISPATCH(Evaluate)(task, series);
}
void line_exp_minus(const double* x, Index count, double* to) { HWY_DYNAMIC_DISPATCH(Exps)(x, count, to); }
void line_decay(const double* x, Index count, double inverse_bandwidth, double* to) {
  HWY_DYNAMIC_DISPATCH(Decay)(x, count, inverse_bandwidth, to);
}

}  // namespace kith::points
#endif
