// Normalizing rows, and the way back. A row stays in the nearest cache over its passes.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/kernels/norm.cc"
#include "hwy/foreach_target.h"

#include "layers/kernels/lanes-inl.h"

#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace kith::layers {
namespace HWY_NAMESPACE {

void NormalizeRows(View<const float, 2> x, const float* gain, const float* bias, float epsilon,
                   View<float, 2> y, float* mean, float* inverse) {
  const Floats d;
  const Index width = x.shape[1];
  const float share = 1.0f / static_cast<float>(width);
  for (Index i = 0; i < x.shape[0]; ++i) {
    const float* from = x.data + i * x.stride[0];
    float* to = y.data + i * y.stride[0];
    float middle = 0;
    if (mean != nullptr) {
      V sum = hn::Zero(d);
      ForLanes(width, [&](auto lanes, Index c) { sum = hn::Add(sum, lanes.Load(from + c)); });
      mean[i] = middle = Sum(sum) * share;
    }
    // Around the mean, in a second pass: a difference of squares would lose a far mean's digits.
    const V center = hn::Set(d, middle);
    V squares = hn::Zero(d);
    Index c = 0;
    for (; c + kLanes <= width; c += kLanes) {
      const V apart = hn::Sub(hn::LoadU(d, from + c), center);
      squares = hn::MulAdd(apart, apart, squares);
    }
    float square = Sum(squares);
    for (; c < width; ++c) square += (from[c] - middle) * (from[c] - middle);
    inverse[i] = 1.0f / std::sqrt(square * share + epsilon);
    const V by = hn::Set(d, inverse[i]);
    ForLanes(width, [&](auto lanes, Index k) {
      const V unit = hn::Mul(hn::Sub(lanes.Load(from + k), center), by);
      const V scaled = hn::Mul(unit, lanes.Load(gain + k));
      lanes.Store(bias == nullptr ? scaled : hn::Add(scaled, lanes.Load(bias + k)), to + k);
    });
  }
}

// With u the normalized row and g = d_y gain: d_x = inverse (g - mean(g) - u mean(g u)); RMS has no mean(g).
void NormalizeRowsBackward(View<const float, 2> x, const float* gain, const float* mean, const float* inverse,
                           View<const float, 2> d_y, View<float, 2> d_x, float* d_gain, float* d_bias) {
  const Floats d;
  const Index width = x.shape[1];
  const float share = 1.0f / static_cast<float>(width);
  for (Index i = 0; i < x.shape[0]; ++i) {
    const float* at = x.data + i * x.stride[0];
    const float* from = d_y.data + i * d_y.stride[0];
    const V center = hn::Set(d, mean == nullptr ? 0.0f : mean[i]), by = hn::Set(d, inverse[i]);
    V sum = hn::Zero(d), along = hn::Zero(d);
    ForLanes(width, [&](auto lanes, Index c) {
      const V unit = hn::Mul(hn::Sub(lanes.Load(at + c), center), by);
      const V slope = lanes.Load(from + c);
      // Lanes beyond the row have gain and slope 0.
      const V g = hn::Mul(slope, lanes.Load(gain + c));
      sum = hn::Add(sum, g);
      along = hn::MulAdd(g, unit, along);
      lanes.Store(hn::MulAdd(slope, unit, lanes.Load(d_gain + c)), d_gain + c);
      if (d_bias != nullptr) lanes.Store(hn::Add(slope, lanes.Load(d_bias + c)), d_bias + c);
    });
    if (d_x.data == nullptr) continue;
    float* to = d_x.data + i * d_x.stride[0];
    const V level = hn::Set(d, mean == nullptr ? 0.0f : Sum(sum) * share);
    const V turn = hn::Set(d, Sum(along) * share);
    ForLanes(width, [&](auto lanes, Index c) {
      const V unit = hn::Mul(hn::Sub(lanes.Load(at + c), center), by);
      const V g = hn::Mul(lanes.Load(from + c), lanes.Load(gain + c));
      lanes.Store(hn::Mul(by, hn::NegMulAdd(turn, unit, hn::Sub(g, level))), to + c);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::layers
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "layers/kernels/kernels.h"

namespace kith::layers {

HWY_EXPORT(NormalizeRows);
HWY_EXPORT(NormalizeRowsBackward);
void normalize_rows(View<const float, 2> x, const float* gain, const float* bias, float epsilon,
                    View<float, 2> y, float* mean, float* inverse) {
  HWY_DYNAMIC_DISPATCH(NormalizeRows)(x, gain, bias, epsilon, y, mean, inverse);
}
void normalize_rows_backward(View<const float, 2> x, const float* gain, const float* mean,
                             const float* inverse, View<const float, 2> d_y, View<float, 2> d_x,
                             float* d_gain, float* d_bias) {
  HWY_DYNAMIC_DISPATCH(NormalizeRowsBackward)(x, gain, mean, inverse, d_y, d_x, d_gain, d_bias);
}

}  // namespace kith::layers
#endif
