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
#include <cstdint>

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
  static constexpr bool kTable = true;
  // Steps of 1/32: on +-1/64 a parabola through (0, 1) has a relative error of 5.3e-8. The least significant
  // bits of a sum with `magic` are the step's number, above them the whole exponent.
  static constexpr float kMagic = 393216.0F;
  Vec<float> low, high;
  explicit Weigher(float scale)
      : factor(hn::Set(d, scale)),
        cut(hn::Set(d, std::min(-100 / scale, FLT_MAX))),
        low(hn::Load(d, Table())),
        high(hn::Load(d, Table() + 16)) {}

  // The bits of 2^(i/32) less i << 18: what shifting a sum with `magic` into the exponent's place leaves
  // there of the step's number.
  static const float* Table() {
    alignas(64) static constexpr std::uint32_t kBits[32] = {
        0x3f800000, 0x3f7ecd87, 0x3f7daac3, 0x3f7c980f, 0x3f7b95c2, 0x3f7aa43a, 0x3f79c3d3, 0x3f78f4f0,
        0x3f7837f0, 0x3f778d3a, 0x3f76f532, 0x3f767043, 0x3f75fed7, 0x3f75a15b, 0x3f75583f, 0x3f7523f6,
        0x3f7504f3, 0x3f74fbaf, 0x3f7508a4, 0x3f752c4d, 0x3f75672a, 0x3f75b9be, 0x3f76248c, 0x3f76a81e,
        0x3f7744fd, 0x3f77fbb8, 0x3f78ccdf, 0x3f79b907, 0x3f7ac0c7, 0x3f7be4ba, 0x3f7d257d, 0x3f7e83b3};
    return reinterpret_cast<const float*>(kBits);
  }
  HWY_INLINE Vec<float> power(Vec<float> shifted) const {
    const hn::RebindToUnsigned<Tag<float>> du;
    const auto bits = hn::BitCast(du, shifted);
    // Highway has no look-up in two vectors.
    const Vec<float> step{
        _mm512_permutex2var_ps(low.raw, hn::BitCast(hn::RebindToSigned<Tag<float>>(), bits).raw, high.raw)};
    return hn::BitCast(d, hn::Add(hn::BitCast(du, step), hn::ShiftLeft<18>(bits)));
  }
  HWY_INLINE Vec<float> polynomial(Vec<float> f) const {
    const Vec<float> p = hn::MulAdd(hn::Set(d, 0.24022651F), f, hn::Set(d, 0.69315734F));
    return hn::MulAdd(p, f, hn::Set(d, 1.0F));
  }
#else
  static constexpr bool kTable = false;
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
