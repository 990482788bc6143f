// Steps of the optimizers, each one pass over memory, which is what they wait for.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/kernels/optimizer.cc"
#include "hwy/foreach_target.h"

#include "layers/kernels/kernels.h"
#include "layers/kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kith::layers {
namespace HWY_NAMESPACE {

void AdamWStepRow(const AdamWStep& step, Index count, float* value, float* gradient, float* mean,
                  float* square) {
  const Floats d;
  const V beta1 = hn::Set(d, step.beta1), fresh1 = hn::Set(d, step.fresh1);
  const V beta2 = hn::Set(d, step.beta2), fresh2 = hn::Set(d, step.fresh2);
  const V keep = hn::Set(d, step.keep), rate = hn::Set(d, step.rate);
  const V correct = hn::Set(d, step.inverse_square), epsilon = hn::Set(d, step.epsilon);
  ForLanes(count, [&](auto lanes, Index c) {
    const V g = lanes.Load(gradient + c);
    const V m = hn::MulAdd(beta1, lanes.Load(mean + c), hn::Mul(fresh1, g));
    const V v = hn::MulAdd(beta2, lanes.Load(square + c), hn::Mul(fresh2, hn::Mul(g, g)));
    lanes.Store(m, mean + c);
    lanes.Store(v, square + c);
    const V size = hn::Add(hn::Sqrt(hn::Mul(v, correct)), epsilon);
    const V move = hn::Div(hn::Mul(rate, m), size);
    lanes.Store(hn::Sub(hn::Mul(keep, lanes.Load(value + c)), move), value + c);
    lanes.Store(hn::Zero(d), gradient + c);
  });
}

void SgdStepRow(const SgdStep& step, Index count, float* value, float* gradient, float* velocity) {
  const Floats d;
  const V momentum = hn::Set(d, step.momentum), keep = hn::Set(d, step.keep), rate = hn::Set(d, step.rate);
  ForLanes(count, [&](auto lanes, Index c) {
    V g = lanes.Load(gradient + c);
    if (velocity != nullptr) {
      g = hn::MulAdd(momentum, lanes.Load(velocity + c), g);
      lanes.Store(g, velocity + c);
    }
    lanes.Store(hn::NegMulAdd(rate, g, hn::Mul(keep, lanes.Load(value + c))), value + c);
    lanes.Store(hn::Zero(d), gradient + c);
  });
}

double SumOfSquares(const float* x, Index count) {
  // In double: a float's square may overflow or vanish in float.
  const hn::ScalableTag<double> dd;
  const hn::Rebind<float, hn::ScalableTag<double>> df;
  constexpr Index kWide = static_cast<Index>(hn::MaxLanes(hn::ScalableTag<double>()));
  auto a = hn::Zero(dd), b = hn::Zero(dd);
  Index c = 0;
  for (; c + 2 * kWide <= count; c += 2 * kWide) {
    const auto left = hn::PromoteTo(dd, hn::LoadU(df, x + c));
    const auto right = hn::PromoteTo(dd, hn::LoadU(df, x + c + kWide));
    a = hn::MulAdd(left, left, a);
    b = hn::MulAdd(right, right, b);
  }
  double sum = hn::GetLane(hn::SumOfLanes(dd, hn::Add(a, b)));
  for (; c < count; ++c) sum += static_cast<double>(x[c]) * static_cast<double>(x[c]);
  return sum;
}

void ScaleNumbers(float* x, Index count, float by) {
  const V scale = hn::Set(Floats(), by);
  ForLanes(count, [&](auto lanes, Index c) { lanes.Store(hn::Mul(scale, lanes.Load(x + c)), x + c); });
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::layers
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace kith::layers {

HWY_EXPORT(AdamWStepRow);
HWY_EXPORT(SgdStepRow);
HWY_EXPORT(SumOfSquares);
HWY_EXPORT(ScaleNumbers);
void adamw_step(const AdamWStep& step, Index count, float* value, float* gradient, float* mean,
                float* square) {
  HWY_DYNAMIC_DISPATCH(AdamWStepRow)(step, count, value, gradient, mean, square);
}
void sgd_step(const SgdStep& step, Index count, float* value, float* gradient, float* velocity) {
  HWY_DYNAMIC_DISPATCH(SgdStepRow)(step, count, value, gradient, velocity);
}
double sum_of_squares(const float* x, Index count) { return HWY_DYNAMIC_DISPATCH(SumOfSquares)(x, count); }
void scale_numbers(float* x, Index count, float by) { HWY_DYNAMIC_DISPATCH(ScaleNumbers)(x, count, by); }

}  // namespace kith::layers
#endif
