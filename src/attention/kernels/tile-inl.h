// What forward and backward share: a tile of logits in registers, and 2^x. Re-included once per instruction
// set.
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

#include "attention/kernels/kernels.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::ScalableTag<float>;
using Vec = hn::Vec<Tag>;

constexpr Index kLanes = static_cast<Index>(hn::MaxLanes(Tag()));
constexpr Index kVectors = 3;
constexpr Index kTileKeys = kVectors * kLanes;
constexpr Index kTileRows = HWY_TARGET <= HWY_AVX3 ? 8 : 4;
static_assert(kKeyBlock % kTileKeys == 0 && kQueryBlock % kTileRows == 0 && kTileKeys <= 64);

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

/// 2^x for x < 128; error below 2 ULP (minimax polynomial of degree 5 on [-1/2, 1/2], relative error 7.5e-8).
/// Below 2^-100 the result is 0: no weight that small can show in a float sum, and products with it would be
/// denormal, which costs a hundred cycles each. NaN stays NaN.
HWY_INLINE Vec Exp2(Vec x) {
  const Tag d;
  const hn::RebindToUnsigned<Tag> du;
  // Adding 1.5 * 2^23 rounds to an integer in the low mantissa bits; the 127 makes those bits a biased
  // exponent.
  const Vec magic = hn::Set(d, 12582912.0f + 127.0f);
  const Vec rounded = hn::Add(x, magic);
  const Vec f = hn::Sub(x, hn::Sub(rounded, magic));
  Vec p = hn::Set(d, 0.0013276472454890609f);
  p = hn::MulAdd(p, f, hn::Set(d, 0.009675540961325169f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.05550713092088699f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.24022120237350464f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.6931469440460205f));
  p = hn::MulAdd(p, f, hn::Set(d, 1.0f));
  const Vec power = hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(du, rounded)));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -100.0f)), hn::Mul(p, power));
}

/// The three lane masks of a tile from one row's visibility bits.
HWY_INLINE hn::Mask<Tag> LaneMask(std::uint64_t bits, Index vector) {
  std::uint8_t bytes[8];
  bits >>= static_cast<unsigned>(vector * kLanes);
  std::memcpy(bytes, &bits, sizeof(bits));
  return hn::LoadMaskBits(Tag(), bytes);
}

/// acc[r][v] = sum over the depth of q_r k_v, or of (q_r - k_v)^2: one chain per pair in ascending depth, so
/// a pair's bits do not depend on R. `query` rows are `stride` apart.
template <Logit kLogit, Index R>
HWY_INLINE void Accumulate(const float* HWY_RESTRICT query, Index stride, const float* HWY_RESTRICT tile,
                           Index depth, Vec (&acc)[R][kVectors]) {
  const Tag d;
  HWY_UNROLL(8)
  for (Index r = 0; r < R; ++r) {
    HWY_UNROLL(3)
    for (Index v = 0; v < kVectors; ++v) acc[r][v] = hn::Zero(d);
  }
  for (Index c = 0; c < depth; ++c) {
    Vec key[kVectors];
    HWY_UNROLL(3)
    for (Index v = 0; v < kVectors; ++v) key[v] = hn::Load(d, tile + c * kTileKeys + v * kLanes);
    HWY_UNROLL(8)
    for (Index r = 0; r < R; ++r) {
      const Vec q = hn::Set(d, query[r * stride + c]);
      HWY_UNROLL(3)
      for (Index v = 0; v < kVectors; ++v) {
        if constexpr (kLogit == Logit::dot) {
          acc[r][v] = hn::MulAdd(q, key[v], acc[r][v]);
        } else {
          const Vec t = hn::Sub(q, key[v]);
          acc[r][v] = hn::MulAdd(t, t, acc[r][v]);
        }
      }
    }
  }
  if constexpr (kLogit == Logit::distance) {
    HWY_UNROLL(8)
    for (Index r = 0; r < R; ++r) {
      HWY_UNROLL(3)
      for (Index v = 0; v < kVectors; ++v) acc[r][v] = hn::Sqrt(acc[r][v]);
    }
  }
}

// out[R][V vectors] += sum over j of w(r, j) * rows[j][V vectors], with w(r, j) at weights[r * row_step + j *
// step].
template <Index R, Index V>
HWY_INLINE void AddWeightedBlock(const float* HWY_RESTRICT weights, Index row_step, Index step,
                                 const float* HWY_RESTRICT rows, Index rows_stride, Index count,
                                 float* HWY_RESTRICT out, Index out_stride) {
  const Tag d;
  Vec acc[R][V];
  HWY_UNROLL(8)
  for (Index r = 0; r < R; ++r) {
    HWY_UNROLL(4)
    for (Index v = 0; v < V; ++v) acc[r][v] = hn::Zero(d);
  }
  for (Index j = 0; j < count; ++j) {
    Vec row[V];
    HWY_UNROLL(4)
    for (Index v = 0; v < V; ++v) row[v] = hn::LoadU(d, rows + j * rows_stride + v * kLanes);
    HWY_UNROLL(8)
    for (Index r = 0; r < R; ++r) {
      const Vec w = hn::Set(d, weights[r * row_step + j * step]);
      HWY_UNROLL(4)
      for (Index v = 0; v < V; ++v) acc[r][v] = hn::MulAdd(w, row[v], acc[r][v]);
    }
  }
  HWY_UNROLL(8)
  for (Index r = 0; r < R; ++r) {
    HWY_UNROLL(4)
    for (Index v = 0; v < V; ++v) {
      float* at = out + r * out_stride + v * kLanes;
      hn::StoreU(hn::Add(hn::LoadU(d, at), acc[r][v]), d, at);
    }
  }
}

// The same for `width` columns, a multiple of the vector.
template <Index R>
void AddWeightedColumns(const float* weights, Index weights_stride, const float* rows, Index rows_stride,
                        Index keys, Index width, float* out, Index out_stride) {
  constexpr Index kBlockVectors = HWY_TARGET <= HWY_AVX3 ? 4 : 2;
  Index c = 0;
  for (; c + kBlockVectors * kLanes <= width; c += kBlockVectors * kLanes) {
    AddWeightedBlock<R, kBlockVectors>(weights, weights_stride, 1, rows + c, rows_stride, keys, out + c,
                                       out_stride);
  }
  for (; c < width; c += kLanes) {
    AddWeightedBlock<R, 1>(weights, weights_stride, 1, rows + c, rows_stride, keys, out + c, out_stride);
  }
}

// out[count][width] += weights[count][keys] * rows[keys][width]: weights times values, and dS times keys.
// Blocks of 6 x 4 vectors (6 x 2 with 16 registers) issue 24 FMAs for 10 loads; a row's bits do not depend on
// the block it is in.
inline void AddWeightedRows(const float* weights, Index weights_stride, Index count, const float* rows,
                            Index rows_stride, Index keys, Index width, float* out, Index out_stride) {
  constexpr Index kBlockRows = 6;
  Index r = 0;
  for (; r + kBlockRows <= count; r += kBlockRows) {
    AddWeightedColumns<kBlockRows>(weights + r * weights_stride, weights_stride, rows, rows_stride, keys,
                                   width, out + r * out_stride, out_stride);
  }
  for (; r < count; ++r) {
    AddWeightedColumns<1>(weights + r * weights_stride, weights_stride, rows, rows_stride, keys, width,
                          out + r * out_stride, out_stride);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#endif  // KITH_TILE_INL_H_
