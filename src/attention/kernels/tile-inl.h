// What forward and backward share: a tile of pairs in registers, 2^x, and weights times rows. Re-included
// once per instruction set.
//
// Keys lie in the lanes, so that max, exp and masks work on whole registers, and queries are broadcast from
// their natural layout. A tile is R queries x 3 vectors of keys: with R = 8 (AVX-512, 32 registers) a step
// over the depth issues 24 FMAs for 11 loads, which keeps both FMA ports busy (2 FMA ports x 4 cycles latency
// need 8 chains; there are 24); with 16 registers R = 4 leaves 12 chains and room for 3 keys and a broadcast.

#if defined(KITH_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KITH_TILE_INL_H_
#undef KITH_TILE_INL_H_
#else
#define KITH_TILE_INL_H_
#endif

#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "attention/kernels/kernels.h"
#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class Real>
using Tag = hn::ScalableTag<Real>;
template <class Real>
using Vec = hn::Vec<Tag<Real>>;

template <class Real>
inline constexpr Index kLanes = static_cast<Index>(hn::MaxLanes(Tag<Real>()));
constexpr Index kVectors = 3;
template <class Real>
inline constexpr Index kTileKeys = kVectors* kLanes<Real>;
constexpr Index kTileRows = HWY_TARGET <= HWY_AVX3 ? 8 : 4;
static_assert(kKeyBlock % kTileKeys<float> == 0 && kKeyBlock % kTileKeys<double> == 0);
static_assert(kQueryBlock % kGroup == 0 && kGroup % kTileRows == 0 && kTileKeys<float> <= kMaxTileKeys);

template <class Real>
inline constexpr Real kMinusInfinity = -std::numeric_limits<Real>::infinity();

/// 2^f times a power of two for double, from x = k + f: f and the power.
struct Power {
  Vec<double> f, power;
};
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
/// Steps of 1/16, whose powers fill two registers: on +-1/32 degree 7 does what degree 11 does on +-1/2.
constexpr int kExp2Degree = 7;
HWY_INLINE Power Reduce(Vec<double> x) {
  // The bits of 2^(i/16) less those of 1 and less i << 48: what the shift below leaves there of the step's
  // number.
  alignas(64) static constexpr std::uint64_t kBits[16] = {
      0x0000000000000000U, 0xffffb5586cf9890fU, 0xffff72b83c7d517bU, 0xffff387a6e756238U,
      0xffff06fe0a31b715U, 0xfffedea64c123422U, 0xfffebfdad5362a27U, 0xfffeab07dd485429U,
      0xfffea09e667f3bcdU, 0xfffea11473eb0187U, 0xfffeace5422aa0dbU, 0xfffec49182a3f090U,
      0xfffee89f995ad3adU, 0xffff199bdd85529cU, 0xffff5818dcfba487U, 0xffffa4afa2a490daU};
  const Tag<double> d;
  const hn::RebindToUnsigned<Tag<double>> du;
  const Vec<double> magic = hn::Set(d, 422212465065984.0 + 1023);  // 1.5 * 2^48: units of 1/16
  const Vec<double> rounded = hn::Add(x, magic);
  const auto bits = hn::BitCast(du, rounded);
  // Highway has no look-up in two vectors.
  const auto step = _mm512_permutex2var_epi64(hn::Load(du, kBits).raw, bits.raw, hn::Load(du, kBits + 8).raw);
  return {hn::Sub(x, hn::Sub(rounded, magic)),
          hn::BitCast(d, hn::Add(hn::ShiftLeft<48>(bits), hn::Vec<decltype(du)>{step}))};
}
#else
constexpr int kExp2Degree = 11;
HWY_INLINE Power Reduce(Vec<double> x) {
  const Tag<double> d;
  const hn::RebindToUnsigned<Tag<double>> du;
  const Vec<double> magic = hn::Set(d, 6755399441055744.0 + 1023);
  const Vec<double> rounded = hn::Add(x, magic);
  return {hn::Sub(x, hn::Sub(rounded, magic)), hn::BitCast(d, hn::ShiftLeft<52>(hn::BitCast(du, rounded)))};
}
#endif

/// 2^x below its overflow. float: error below 2 ULP (minimax polynomial of degree 5 on [-1/2, 1/2], relative
/// error 7.5e-8); double: degree 11 by Chebyshev, relative error 3.2e-18 before rounding, or with Reduce's
/// table Taylor's of degree 7, 1.2e-18. Below 2^-100 the result is 0: no weight that small can show in a sum,
/// and products with it would be denormal in float, which costs a hundred cycles each. NaN stays NaN.
template <class Real>
HWY_INLINE Vec<Real> Exp2(Vec<Real> x) {
  const Tag<Real> d;
  Vec<Real> p, power;
  // Adding 1.5 * 2^mantissa_bits rounds to an integer in the low mantissa bits; the bias makes those bits a
  // biased exponent.
  if constexpr (std::is_same_v<Real, float>) {
    const hn::RebindToUnsigned<Tag<float>> du;
    const Vec<float> magic = hn::Set(d, 12582912.0f + 127);
    const Vec<float> rounded = hn::Add(x, magic);
    const Vec<float> f = hn::Sub(x, hn::Sub(rounded, magic));
    p = hn::Set(d, 0.0013276472454890609f);
    p = hn::MulAdd(p, f, hn::Set(d, 0.009675540961325169f));
    p = hn::MulAdd(p, f, hn::Set(d, 0.05550713092088699f));
    p = hn::MulAdd(p, f, hn::Set(d, 0.24022120237350464f));
    p = hn::MulAdd(p, f, hn::Set(d, 0.6931469440460205f));
    p = hn::MulAdd(p, f, hn::Set(d, 1.0f));
    power = hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(du, rounded)));
  } else {
    constexpr double kChebyshev[] = {1.0,
                                     0.693147180559945309254,
                                     0.240226506959101595672,
                                     0.0555041086648216270395,
                                     0.00961812910758725666806,
                                     0.00133335581464064706971,
                                     0.000154035304637243542086,
                                     1.52527338415567725893e-05,
                                     1.32154325359123761665e-06,
                                     1.01780570877339411046e-07,
                                     7.07419429728852100556e-09,
                                     4.45581790833606449298e-10};
    constexpr double kTaylor[] = {1.0,
                                  0.6931471805599453,
                                  0.24022650695910072,
                                  0.05550410866482158,
                                  0.009618129107628477,
                                  0.0013333558146428443,
                                  0.0001540353039338161,
                                  1.5252733804059841e-05};
    const double* coefficient = kExp2Degree == 11 ? kChebyshev : kTaylor;
    const Power reduced = Reduce(x);
    p = hn::Set(d, coefficient[kExp2Degree]);
    for (int k = kExp2Degree - 1; k >= 0; --k) p = hn::MulAdd(p, reduced.f, hn::Set(d, coefficient[k]));
    power = reduced.power;
  }
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, static_cast<Real>(-100))), hn::Mul(p, power));
}

/// `result`, or NaN where `x` is NaN: for library functions that do not promise it.
template <class Real>
HWY_INLINE Vec<Real> KeepNaN(Vec<Real> x, Vec<Real> result) {
  return hn::IfThenElse(hn::Eq(x, x), result, x);
}

/// tanh. float: x P(x^2) / Q(x^2), a minimax fit on [-9, 9] with relative error 2.1e-8, 2.4 ULP with its
/// rounding; 1 beyond.
template <class Real>
HWY_INLINE Vec<Real> Tanh(Vec<Real> x) {
  const Tag<Real> d;
  const Vec<Real> limit = hn::Set(d, static_cast<Real>(std::is_same_v<Real, float> ? 9 : 20));
  const Vec<Real> y = hn::Max(hn::Min(x, limit), hn::Neg(limit));
  if constexpr (std::is_same_v<Real, float>) {
    const Vec<Real> z = hn::Mul(y, y), one = hn::Set(d, 1.0f);
    Vec<Real> p = hn::Set(d, 1.3354546492269526e-08f);
    p = hn::MulAdd(p, z, hn::Set(d, 2.0608996475170136e-05f));
    p = hn::MulAdd(p, z, hn::Set(d, 0.0034955828385668623f));
    p = hn::MulAdd(p, z, hn::Set(d, 0.13381021180446204f));
    p = hn::MulAdd(p, z, one);
    Vec<Real> q = hn::Set(d, 7.77651031427286e-07f);
    q = hn::MulAdd(q, z, hn::Set(d, 0.0003285626208706348f));
    q = hn::MulAdd(q, z, hn::Set(d, 0.025876962049711804f));
    q = hn::MulAdd(q, z, hn::Set(d, 0.46714336775576504f));
    q = hn::MulAdd(q, z, one);
    const Vec<Real> ratio = hn::Div(hn::Mul(y, p), q);
    return KeepNaN<Real>(x, hn::Max(hn::Min(ratio, one), hn::Neg(one)));
  } else {
    return KeepNaN<Real>(x, hn::Tanh(d, y));
  }
}

/// The three lane masks of a tile from one row's visibility bits.
template <class Real>
HWY_INLINE hn::Mask<Tag<Real>> LaneMask(std::uint64_t bits, Index vector) {
  std::uint8_t bytes[8];
  bits >>= static_cast<unsigned>(vector * kLanes<Real>);
  std::memcpy(bytes, &bits, sizeof(bits));
  return hn::LoadMaskBits(Tag<Real>(), bytes);
}

/// sum + the products of the bfloat16 in x and y, two a word. Inline assembly, since the instruction set's
/// functions are compiled for AVX-512 without it; called only where multiplies_bfloat16().
HWY_INLINE Vec<float> AddHalves(Vec<float> x, Vec<float> y, Vec<float> sum) {
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
  __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(x.raw), "v"(y.raw));
  return sum;
#else
  (void)x, (void)y;
  return sum;
#endif
}
/// Rounds to bfloat16, to nearest and ties to even.
HWY_INLINE void StoreRounded(Vec<float> x, std::uint16_t* to) {
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
  __m256i halves;
  __asm__("vcvtneps2bf16 %1, %0" : "=v"(halves) : "v"(x.raw));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), halves);
#else
  (void)x, (void)to;
#endif
}

template <Pair kPair>
inline constexpr bool kIsDot = kPair == Pair::dot || kPair == Pair::dot_halves;
/// sum + x y, of whole numbers or of halves.
template <Pair kPair, class V>
HWY_INLINE V AddProduct(V x, V y, V sum) {
  if constexpr (kPair == Pair::dot_halves) {
    return AddHalves(x, y, sum);
  } else {
    return hn::MulAdd(x, y, sum);
  }
}

/// acc[r][v] += sum over the depth of the products of a row and the keys of a tile.
template <class Real, Pair kPair, Index R, Index V>
HWY_INLINE void AddDots(const Real* HWY_RESTRICT rows, Index stride, const Real* HWY_RESTRICT tile,
                        Index depth, Vec<Real> (&acc)[R][V]) {
  const Tag<Real> d;
  for (Index c = 0; c < depth; ++c) {
    Vec<Real> key[V];
    HWY_UNROLL(3)
    for (Index v = 0; v < V; ++v) key[v] = hn::Load(d, tile + c * kTileKeys<Real> + v * kLanes<Real>);
    HWY_UNROLL(8)
    for (Index r = 0; r < R; ++r) {
      const Vec<Real> x = hn::Set(d, rows[r * stride + c]);
      HWY_UNROLL(3)
      for (Index v = 0; v < V; ++v) acc[r][v] = AddProduct<kPair>(x, key[v], acc[r][v]);
    }
  }
}

/// x - *y. On Zen 4 subtractions that share a register with *y in all lanes ran beside FMAs at three quarters
/// of the speed of those that broadcast it from memory, which is as fast as FMAs alone; compilers prefer the
/// register.
template <class Real>
HWY_INLINE Vec<Real> MinusBroadcast(Vec<Real> x, const Real* y) {
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
  Vec<Real> difference;
  if constexpr (std::is_same_v<Real, float>) {
    __asm__("vsubps %2%{1to16%}, %1, %0" : "=v"(difference.raw) : "v"(x.raw), "m"(*y));
  } else {
    __asm__("vsubpd %2%{1to8%}, %1, %0" : "=v"(difference.raw) : "v"(x.raw), "m"(*y));
  }
  return difference;
#else
  return hn::Sub(x, hn::Set(Tag<Real>(), *y));
#endif
}

/// acc[r][v] = sum over the depth of what kPair makes of q_r and k_v: one chain per pair in ascending depth,
/// so a pair's bits do not depend on R. `query` rows are `stride` apart; `coefficient` is additive's u. V:
/// only the tile's first vectors.
template <class Real, Pair kPair, Index R, Index V>
HWY_INLINE void Accumulate(const Real* HWY_RESTRICT query, Index stride, const Real* HWY_RESTRICT tile,
                           Index depth, const Real* HWY_RESTRICT coefficient, Vec<Real> (&acc)[R][V]) {
  const Tag<Real> d;
  if constexpr (kPair == Pair::additive) {
    // A tanh needs the registers that a block of rows would take.
    for (Index r = 0; r < R; ++r) {
      Vec<Real> sum[V];
      for (Index v = 0; v < V; ++v) sum[v] = hn::Zero(d);
      for (Index c = 0; c < depth; ++c) {
        const Vec<Real> q = hn::Set(d, query[r * stride + c]), u = hn::Set(d, coefficient[c]);
        for (Index v = 0; v < V; ++v) {
          const Vec<Real> key = hn::Load(d, tile + c * kTileKeys<Real> + v * kLanes<Real>);
          sum[v] = hn::MulAdd(u, Tanh<Real>(hn::Add(q, key)), sum[v]);
        }
      }
      for (Index v = 0; v < V; ++v) acc[r][v] = sum[v];
    }
    return;
  }
  HWY_UNROLL(8)
  for (Index r = 0; r < R; ++r) {
    HWY_UNROLL(3)
    for (Index v = 0; v < V; ++v) acc[r][v] = hn::Zero(d);
  }
  if constexpr (kIsDot<kPair>) return AddDots<Real, kPair, R, V>(query, stride, tile, depth, acc);
  for (Index c = 0; c < depth; ++c) {
    Vec<Real> key[V];
    HWY_UNROLL(3)
    for (Index v = 0; v < V; ++v) key[v] = hn::Load(d, tile + c * kTileKeys<Real> + v * kLanes<Real>);
    HWY_UNROLL(8)
    for (Index r = 0; r < R; ++r) {
      HWY_UNROLL(3)
      for (Index v = 0; v < V; ++v) {
        const Vec<Real> t = MinusBroadcast(key[v], query + r * stride + c);
        if constexpr (kPair == Pair::squared) {
          acc[r][v] = hn::MulAdd(t, t, acc[r][v]);
        } else {
          acc[r][v] = hn::Add(acc[r][v], hn::Abs(t));
        }
      }
    }
  }
}

// out[r][v] = acc[r][v], or +=: sums begin at zero and meet memory at their end, so that no multiply-add
// waits for it.
template <class Real, Index R, Index V>
HWY_INLINE void WriteSums(const Vec<Real> (&acc)[R][V], bool add, Real* HWY_RESTRICT out, Index out_stride) {
  const Tag<Real> d;
  HWY_UNROLL(8)
  for (Index r = 0; r < R; ++r) {
    HWY_UNROLL(8)
    for (Index v = 0; v < V; ++v) {
      Real* at = out + r * out_stride + v * kLanes<Real>;
      hn::StoreU(add ? hn::Add(hn::LoadU(d, at), acc[r][v]) : acc[r][v], d, at);
    }
  }
}

// out[R][V vectors] += sum over j of w(r, j) * rows[j][V vectors], with w(r, j) at weights[r * row_step + j *
// step]. Of halves: j counts words.
template <class Real, Index R, Index V, Pair kPair = Pair::dot>
HWY_INLINE void AddWeightedBlock(const Real* HWY_RESTRICT weights, Index row_step, Index step,
                                 const Real* HWY_RESTRICT rows, Index rows_stride, Index count,
                                 Real* HWY_RESTRICT out, Index out_stride) {
  const Tag<Real> d;
  Vec<Real> acc[R][V];
  HWY_UNROLL(8)
  for (Index r = 0; r < R; ++r) {
    HWY_UNROLL(4)
    for (Index v = 0; v < V; ++v) acc[r][v] = hn::Zero(d);
  }
  for (Index j = 0; j < count; ++j) {
    Vec<Real> row[V];
    HWY_UNROLL(4)
    for (Index v = 0; v < V; ++v) row[v] = hn::LoadU(d, rows + j * rows_stride + v * kLanes<Real>);
    HWY_UNROLL(8)
    for (Index r = 0; r < R; ++r) {
      const Vec<Real> w = hn::Set(d, weights[r * row_step + j * step]);
      HWY_UNROLL(4)
      for (Index v = 0; v < V; ++v) acc[r][v] = AddProduct<kPair>(w, row[v], acc[r][v]);
    }
  }
  WriteSums<Real>(acc, true, out, out_stride);
}

// The same for `width` columns, a multiple of the vector.
template <class Real, Pair kPair, Index R>
void AddWeightedColumns(const Real* weights, Index weights_stride, const Real* rows, Index rows_stride,
                        Index keys, Index width, Real* out, Index out_stride) {
  constexpr Index kBlockVectors = HWY_TARGET <= HWY_AVX3 ? 4 : 2;
  Index c = 0;
  for (; c + kBlockVectors * kLanes<Real> <= width; c += kBlockVectors * kLanes<Real>) {
    AddWeightedBlock<Real, R, kBlockVectors, kPair>(weights, weights_stride, 1, rows + c, rows_stride, keys,
                                                    out + c, out_stride);
  }
  for (; c < width; c += kLanes<Real>) {
    AddWeightedBlock<Real, R, 1, kPair>(weights, weights_stride, 1, rows + c, rows_stride, keys, out + c,
                                        out_stride);
  }
}

constexpr Index kWeightedRows = 6;

// out[count][width] += weights[count][keys] * rows[keys][width]: weights times values, and dS times keys.
// Blocks of 6 x 4 vectors (6 x 2 with 16 registers) issue 24 FMAs for 10 loads; a row's bits do not depend on
// the block it is in.
template <class Real, Pair kPair = Pair::dot>
void AddWeightedRows(const Real* weights, Index weights_stride, Index count, const Real* rows,
                     Index rows_stride, Index keys, Index width, Real* out, Index out_stride) {
  Index r = 0;
  for (; r + kWeightedRows <= count; r += kWeightedRows) {
    AddWeightedColumns<Real, kPair, kWeightedRows>(weights + r * weights_stride, weights_stride, rows,
                                                   rows_stride, keys, width, out + r * out_stride,
                                                   out_stride);
  }
  for (; r < count; ++r) {
    AddWeightedColumns<Real, kPair, 1>(weights + r * weights_stride, weights_stride, rows, rows_stride, keys,
                                       width, out + r * out_stride, out_stride);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#endif  // KITH_TILE_INL_H_
