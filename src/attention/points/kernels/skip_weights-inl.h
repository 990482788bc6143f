// Skipping's weights: 2^-x and the kernels, on whole vectors. Re-included once per instruction set.

#if defined(KITH_SKIP_WEIGHTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KITH_SKIP_WEIGHTS_INL_H_
#undef KITH_SKIP_WEIGHTS_INL_H_
#else
#define KITH_SKIP_WEIGHTS_INL_H_
#endif

#include <cstdint>

#include "attention/kernels/exp2_table.h"
#include "attention/points/kernels/skip_kernels.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using points::Kernel;

using F = hn::CappedTag<float, kSkipLeaf>;
using V = hn::Vec<F>;
constexpr Index kLanes = static_cast<Index>(hn::MaxLanes(F()));
using D = hn::CappedTag<double, kSkipLeaf>;
using W = hn::Vec<D>;
constexpr Index kDoubleLanes = static_cast<Index>(hn::MaxLanes(D()));
constexpr Index kParts = kSkipLeaf / kLanes;
static_assert(kSkipLeaf % kLanes == 0 && kLanes <= kSkipLeaf);
/// Leaves computed in step, so that short chains of operations interleave. 1 ties with 2; 4 loses a tenth to
/// the leaves that fill the last step.
constexpr Index kStep = 2;

/// y[i] = 2^(-y[i] rate), 0 from `limit` on, where the exponent would leave float's. rate >= 0.
template <Index kCount>
HWY_INLINE void Exp2Negative(V (&y)[kCount], V rate, V limit) {
  const F d;
  const hn::RebindToUnsigned<F> du;
  V p[kCount], f[kCount], rounded[kCount];
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
  // exponent = k / 32 + f; 2^(k / 32) from kExp2Table, 2^f, |f| <= 1/64, by a quadratic whose slope takes up
  // the cubic term: relative error 5.3e-8.
  const V magic = hn::Set(d, 393216.0f), negative = hn::Neg(rate);
  const V square = hn::Set(d, 0.24022651f), slope = hn::Set(d, 0.69315734f);
  const auto table0 = hn::Load(du, kExp2Table), table1 = hn::Load(du, kExp2Table + 16);
  for (Index i = 0; i < kCount; ++i) rounded[i] = hn::MulAdd(y[i], negative, magic);
  for (Index i = 0; i < kCount; ++i) f[i] = hn::Sub(rounded[i], magic);
  for (Index i = 0; i < kCount; ++i) {
    const auto bits = hn::BitCast(du, rounded[i]);
    // Highway has no lookup in two registers; the instruction looks at the five low bits alone.
    const hn::Vec<decltype(du)> entry{_mm512_permutex2var_epi32(table0.raw, bits.raw, table1.raw)};
    rounded[i] = hn::BitCast(d, hn::Add(entry, hn::ShiftLeft<18>(bits)));
  }
  for (Index i = 0; i < kCount; ++i) f[i] = hn::MulSub(y[i], negative, f[i]);
  for (Index i = 0; i < kCount; ++i) p[i] = hn::MulAdd(f[i], square, slope);
  for (Index i = 0; i < kCount; ++i) f[i] = hn::Mul(f[i], rounded[i]);
  for (Index i = 0; i < kCount; ++i) p[i] = hn::MulAdd(f[i], p[i], rounded[i]);
#else
  // Minimax polynomial of degree 5 on [-1/2, 1/2], relative error 7.5e-8.
  constexpr float kMinimax[] = {1.0f,
                                0.6931469440460205f,
                                0.24022120237350464f,
                                0.05550713092088699f,
                                0.009675540961325169f,
                                0.0013276472454890609f};
  const V magic = hn::Set(d, 12582912.0f + 127);
  for (Index i = 0; i < kCount; ++i) {
    const V x = hn::Neg(hn::Mul(hn::Min(y[i], limit), rate));
    rounded[i] = hn::Add(x, magic);
    f[i] = hn::Sub(x, hn::Sub(rounded[i], magic));
    p[i] = hn::Set(d, kMinimax[5]);
  }
  for (int k = 4; k >= 0; --k) {
    for (Index i = 0; i < kCount; ++i) p[i] = hn::MulAdd(p[i], f[i], hn::Set(d, kMinimax[k]));
  }
  for (Index i = 0; i < kCount; ++i) {
    p[i] = hn::Mul(p[i], hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(du, rounded[i]))));
  }
#endif
  for (Index i = 0; i < kCount; ++i) y[i] = hn::IfThenElseZero(hn::Lt(y[i], limit), p[i]);
}

/// x[i] = weight at the squared distance x[i].
template <Kernel kKernel>
HWY_INLINE void Weigh(V (&x)[kStep], V rate, V limit) {
  if constexpr (kKernel == Kernel::gaussian) return Exp2Negative(x, rate, limit);
  if constexpr (kKernel == Kernel::laplace) {
    for (Index i = 0; i < kStep; ++i) x[i] = hn::Sqrt(x[i]);
    return Exp2Negative(x, rate, limit);
  }
  const V zero = hn::Zero(F()), one = hn::Set(F(), 1.0f);
  for (Index i = 0; i < kStep; ++i) {
    V power = hn::Mul(x[i], rate);  // u^2
    if constexpr (kKernel == Kernel::triangular) power = hn::Sqrt(power);
    if constexpr (kKernel == Kernel::tricube) power = hn::Mul(power, hn::Sqrt(power));
    const V w = hn::Max(hn::Sub(one, power), zero);
    x[i] = w;
    if constexpr (kKernel == Kernel::biweight) x[i] = hn::Mul(w, w);
    if constexpr (kKernel == Kernel::tricube) x[i] = hn::Mul(w, hn::Mul(w, w));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#endif  // KITH_SKIP_WEIGHTS_INL_H_
