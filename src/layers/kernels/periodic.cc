// Sines and cosines of a column times its frequencies, the way back, and the bias and ReLU behind them.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/kernels/periodic.cc"
#include "hwy/foreach_target.h"

#include "layers/kernels/lanes-inl.h"

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace kith::layers {
namespace HWY_NAMESPACE {

constexpr float kTurn = 6.28318531f;  // 2 pi

struct SineCosine {
  V sine, cosine;
};

/// Of `turns` whole turns. Turns are reduced to [-1/4, 1/4] without rounding, whatever their size, by taking
/// away half turns, each of which flips both signs; then polynomials fitted to 4e-9 relative. Half the
/// instructions of Highway's Sin and Cos, which reduce radians, each for itself, and lose digits of large
/// ones.
HWY_INLINE SineCosine OfTurns(V turns) {
  const Floats d;
  const V halves = hn::Round(hn::Add(turns, turns));
  const V rest = hn::NegMulAdd(halves, hn::Set(d, 0.5f), turns);
  const auto odd = hn::ShiftLeft<31>(hn::ConvertTo(hn::RebindToSigned<Floats>(), halves));
  const V sign = hn::BitCast(d, odd);
  const V z = hn::Mul(rest, rest);
  const V sine =
      hn::Mul(rest, Polynomial(z, 6.28318528f, -41.3416806f, 81.6024764f, -76.5811726f, 39.7598271f));
  const V cosine = Polynomial(z, 1.0f, -19.7392085f, 64.9393465f, -85.4535648f, 60.1438896f, -24.9814345f);
  return {hn::Xor(sine, sign), hn::Xor(cosine, sign)};
}

void Sines(const float* x, Index x_stride, Index rows, const float* frequency, Index frequencies, float* to) {
  const Floats d;
  for (Index i = 0; i < rows; ++i) {
    const V at = hn::Set(d, x[i * x_stride]);
    float* row = to + i * 2 * frequencies;
    ForLanes(frequencies, [&](auto lanes, Index f) {
      const SineCosine s = OfTurns(hn::Mul(at, lanes.Load(frequency + f)));
      lanes.Store(s.sine, row + f);
      lanes.Store(s.cosine, row + frequencies + f);
    });
  }
}

// d sine = cosine d angle, d cosine = -sine d angle, angle = 2 pi frequency x.
void SinesBackward(const float* x, Index x_stride, Index rows, const float* frequency, Index frequencies,
                   const float* sines, const float* d_sines, float* d_frequency, float* d_x,
                   Index d_x_stride) {
  const Floats d;
  for (Index i = 0; i < rows; ++i) {
    const V at = hn::Set(d, kTurn * x[i * x_stride]);
    const float* s = sines + i * 2 * frequencies;
    const float* slope = d_sines + i * 2 * frequencies;
    V sum = hn::Zero(d);
    ForLanes(frequencies, [&](auto lanes, Index f) {
      const V sine = lanes.Load(s + f), cosine = lanes.Load(s + frequencies + f);
      const V d_sine = lanes.Load(slope + f), d_cosine = lanes.Load(slope + frequencies + f);
      const V d_angle = hn::MulSub(cosine, d_sine, hn::Mul(sine, d_cosine));
      lanes.Store(hn::MulAdd(at, d_angle, lanes.Load(d_frequency + f)), d_frequency + f);
      sum = hn::MulAdd(d_angle, lanes.Load(frequency + f), sum);
    });
    if (d_x != nullptr) d_x[i * d_x_stride] = kTurn * Sum(sum);
  }
}

void AddBiasRelu(const float* bias, Index width, View<float, 2> y) {
  const V zero = hn::Zero(Floats());
  for (Index i = 0; i < y.shape[0]; ++i) {
    for (float* row = y.data + i * y.stride[0]; row < y.data + i * y.stride[0] + y.shape[1]; row += width) {
      ForLanes(width, [&](auto lanes, Index c) {
        const V sum = hn::Add(lanes.Load(row + c), lanes.Load(bias + c));
        // A comparison rather than Max: NaN stays NaN.
        lanes.Store(hn::IfThenZeroElse(hn::Le(sum, zero), sum), row + c);
      });
    }
  }
}

void ReluGroupsBackward(View<const float, 2> y, View<const float, 2> d_y, Index width, float* d_z,
                        float* d_bias) {
  const V zero = hn::Zero(Floats());
  const Index rows = y.shape[0];
  for (Index first = 0; first < y.shape[1]; first += width) {
    for (Index i = 0; i < rows; ++i, d_z += width) {
      const float* at = y.data + i * y.stride[0] + first;
      const float* from = d_y.data + i * d_y.stride[0] + first;
      ForLanes(width, [&](auto lanes, Index c) {
        const V d = hn::IfThenElseZero(hn::Gt(lanes.Load(at + c), zero), lanes.Load(from + c));
        lanes.Store(d, d_z + c);
        lanes.Store(hn::Add(d, lanes.Load(d_bias + c)), d_bias + c);
      });
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::layers
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "layers/kernels/kernels.h"

namespace kith::layers {

HWY_EXPORT(Sines);
HWY_EXPORT(SinesBackward);
HWY_EXPORT(AddBiasRelu);
HWY_EXPORT(ReluGroupsBackward);
void sines(const float* x, Index x_stride, Index rows, const float* frequency, Index frequencies, float* to) {
  HWY_DYNAMIC_DISPATCH(Sines)(x, x_stride, rows, frequency, frequencies, to);
}
void sines_backward(const float* x, Index x_stride, Index rows, const float* frequency, Index frequencies,
                    const float* sines, const float* d_sines, float* d_frequency, float* d_x,
                    Index d_x_stride) {
  HWY_DYNAMIC_DISPATCH(SinesBackward)
  (x, x_stride, rows, frequency, frequencies, sines, d_sines, d_frequency, d_x, d_x_stride);
}
void add_bias_relu(const float* bias, Index width, View<float, 2> y) {
  HWY_DYNAMIC_DISPATCH(AddBiasRelu)(bias, width, y);
}
void relu_groups_backward(View<const float, 2> y, View<const float, 2> d_y, Index width, float* d_z,
                          float* d_bias) {
  HWY_DYNAMIC_DISPATCH(ReluGroupsBackward)(y, d_y, width, d_z, d_bias);
}

}  // namespace kith::layers
#endif
