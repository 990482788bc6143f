// Weights of a Gaussian, most of the narrow kernel's work. Re-included once per instruction set.
//
// AVX-512 looks 2^(i/32) up in two registers and needs a parabola for the rest; others take a polynomial of
// degree 5. Tried and lost (AVX-512, the whole kernel at d = 1): 16 entries, 3 % faster at a quarter of the
// accuracy, and with a cubic 4 % slower; degree 5, 13 % slower; the exponent by vscalefps, which ties since
// it needs the same clamp.

#if defined(KITH_WEIGHER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KITH_WEIGHER_INL_H_
#undef KITH_WEIGHER_INL_H_
#else
#define KITH_WEIGHER_INL_H_
#endif

#include <algorithm>
#include <cfloat>

#include "attention/kernels/exp2_table.h"
#include "attention/kernels/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

// 2^(factor x) for x >= 0 and factor < 0; at least 2^-100; NaN stays NaN. Relative error below 2^-22: the
// product is not rounded before its nearest step is taken off where FMAs are fused.
struct Weigher {
  const Tag<float> d;
  const Vec<float> factor, cut;
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
  // Steps of 1/32: on +-1/64 a parabola through (0, 1) has a relative error of 5.3e-8. The least significant
  // bits of a sum with `magic` are the step's number, above them the whole exponent.
  static constexpr float kMagic = 393216.0F;
  hn::Vec<hn::RebindToUnsigned<Tag<float>>> low, high;
  explicit Weigher(float scale)
      : factor(hn::Set(d, scale)),
        cut(hn::Set(d, std::min(-100 / scale, FLT_MAX))),
        low(hn::Load(hn::RebindToUnsigned<Tag<float>>(), kExp2Table)),
        high(hn::Load(hn::RebindToUnsigned<Tag<float>>(), kExp2Table + 16)) {}

  HWY_INLINE Vec<float> power(Vec<float> shifted) const {
    const hn::RebindToUnsigned<Tag<float>> du;
    const auto bits = hn::BitCast(du, shifted);
    // Highway has no look-up in two vectors.
    const hn::Vec<decltype(du)> step{_mm512_permutex2var_epi32(low.raw, bits.raw, high.raw)};
    return hn::BitCast(d, hn::Add(step, hn::ShiftLeft<18>(bits)));
  }
  HWY_INLINE Vec<float> polynomial(Vec<float> f) const {
    const Vec<float> p = hn::MulAdd(hn::Set(d, 0.24022651F), f, hn::Set(d, 0.69315734F));
    return hn::MulAdd(p, f, hn::Set(d, 1.0F));
  }
#else
  static constexpr float kMagic = 12582912.0F + 127;
  explicit Weigher(float scale)
      : factor(hn::Set(d, scale)), cut(hn::Set(d, std::min(-100 / scale, FLT_MAX))) {}

  HWY_INLINE Vec<float> power(Vec<float> shifted) const {
    const hn::RebindToUnsigned<Tag<float>> du;
    return hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(du, shifted)));
  }
  // As in Exp2.
  HWY_INLINE Vec<float> polynomial(Vec<float> f) const {
    Vec<float> p = hn::Set(d, 0.0013276472454890609F);
    p = hn::MulAdd(p, f, hn::Set(d, 0.009675540961325169F));
    p = hn::MulAdd(p, f, hn::Set(d, 0.05550713092088699F));
    p = hn::MulAdd(p, f, hn::Set(d, 0.24022120237350464F));
    p = hn::MulAdd(p, f, hn::Set(d, 0.6931469440460205F));
    return hn::MulAdd(p, f, hn::Set(d, 1.0F));
  }
#endif

  HWY_INLINE Vec<float> clamped(Vec<float> x) const {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR
    return hn::Min(cut, x);  // the second operand where one is NaN
#else
    return hn::IfThenElse(hn::Gt(x, cut), cut, x);
#endif
  }
  HWY_INLINE Vec<float> operator()(Vec<float> x) const {
    x = clamped(x);
    const Vec<float> magic = hn::Set(d, kMagic);
    const Vec<float> shifted = hn::MulAdd(x, factor, magic);
    const Vec<float> f = hn::MulSub(x, factor, hn::Sub(shifted, magic));
    return hn::Mul(polynomial(f), power(shifted));
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#endif  // KITH_WEIGHER_INL_H_
