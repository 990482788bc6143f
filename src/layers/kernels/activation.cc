// Activations and their slopes.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/kernels/activation.cc"
#include "hwy/foreach_target.h"

#include "hwy/contrib/math/math-inl.h"
#include "kith/layers/activation.h"
#include "layers/kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kith::layers {
namespace HWY_NAMESPACE {

HWY_INLINE V Number(float x) { return hn::Set(Floats(), x); }

/// gate = 1 / (1 + exp(-x)) and rest = 1 - gate, which a difference would leave no digits where gate is
/// near 1. Where exp would overflow gate is 6e-39 instead of 0.
struct Sigmoid {
  V gate, rest;
  explicit HWY_INLINE Sigmoid(V x) {
    const V e = hn::Exp(Floats(), hn::Min(hn::Neg(x), Number(88)));
    gate = hn::Div(Number(1), hn::Add(Number(1), e));
    rest = hn::Mul(e, gate);
  }
};

struct Relu {
  // A comparison rather than Max: NaN stays NaN.
  static HWY_INLINE V Value(V x) { return hn::IfThenZeroElse(hn::Le(x, hn::Zero(Floats())), x); }
  static HWY_INLINE V Backward(V x, V d_y) { return hn::IfThenElseZero(hn::Gt(x, hn::Zero(Floats())), d_y); }
};

/// The normal distribution's density and P(Z < x). The tail is density(a) m(a) for a = |x|, m Mills' ratio,
/// which is smooth enough for a polynomial in t = 1 / (1 + 0.3 a); fitted on [0, 14] to 4.5e-9, so even far
/// out the tail's relative error is that of the exponential function. Beyond 14 the density is below the
/// smallest float.
struct Normal {
  V density, below;
  explicit HWY_INLINE Normal(V x) {
    const V a = hn::Min(hn::Abs(x), Number(14));
    const V e = hn::Exp(Floats(), hn::Mul(hn::Mul(a, a), Number(-0.5f)));
    density = hn::Mul(e, Number(0.398942280f));
    const V t = hn::Div(Number(1), hn::MulAdd(a, Number(0.3f), Number(1)));
    const V mills =
        hn::Mul(t, Polynomial(t, 0.300012556f, 0.29967183f, 0.276744745f, 0.194486943f, 0.246854608f,
                              -0.209911441f, 0.493657069f, -0.581634222f, 0.28585657f, -0.0524245254f));
    const V tail = hn::Mul(density, mills);
    below = hn::IfThenElse(hn::Gt(x, hn::Zero(Floats())), hn::Sub(Number(1), tail), tail);
  }
};

struct Gelu {
  static HWY_INLINE V Value(V x) { return hn::Mul(x, Normal(x).below); }
  static HWY_INLINE V Backward(V x, V d_y) {
    const Normal z(x);
    return hn::Mul(d_y, hn::MulAdd(x, z.density, z.below));
  }
};

// (1 + tanh(u)) / 2 = sigmoid(2 u).
struct GeluTanh {
  static constexpr float kScale = 1.59576912f;  // 2 sqrt(2 / pi)
  static constexpr float kCubic = 0.044715f;
  static HWY_INLINE Sigmoid Gate(V x) {
    const V square = hn::Mul(x, x);
    return Sigmoid(hn::Mul(hn::Mul(Number(kScale), x), hn::MulAdd(square, Number(kCubic), Number(1))));
  }
  static HWY_INLINE V Value(V x) { return hn::Mul(x, Gate(x).gate); }
  static HWY_INLINE V Backward(V x, V d_y) {
    // Beyond 20 the gate is flat, and powers of x must not overflow.
    const V near = hn::Min(hn::Max(x, Number(-20)), Number(20));
    const Sigmoid s = Gate(near);
    const V slope = hn::Mul(hn::Mul(Number(kScale), near),
                            hn::MulAdd(hn::Mul(near, near), Number(3 * kCubic), Number(1)));
    const V rise = hn::Mul(hn::Mul(s.gate, s.rest), slope);
    return hn::Mul(d_y, hn::Add(s.gate, rise));
  }
};

struct Silu {
  static HWY_INLINE V Value(V x) { return hn::Mul(x, Sigmoid(x).gate); }
  static HWY_INLINE V Backward(V x, V d_y) {
    const Sigmoid s(x);
    return hn::Mul(hn::Mul(d_y, s.gate), hn::MulAdd(x, s.rest, Number(1)));
  }
};

template <class F>
void Forward(View<const float, 2> x, View<float, 2> y) {
  Flatten(x, y);
  for (Index i = 0; i < x.shape[0]; ++i) {
    const float* from = x.data + i * x.stride[0];
    float* to = y.data + i * y.stride[0];
    ForLanes(x.shape[1], [&](auto lanes, Index c) { lanes.Store(F::Value(lanes.Load(from + c)), to + c); });
  }
}

template <class F>
void Backward(View<const float, 2> x, View<const float, 2> d_y, View<float, 2> d_x) {
  Flatten(x, d_y, d_x);
  for (Index i = 0; i < x.shape[0]; ++i) {
    const float* at = x.data + i * x.stride[0];
    const float* from = d_y.data + i * d_y.stride[0];
    float* to = d_x.data + i * d_x.stride[0];
    ForLanes(x.shape[1], [&](auto lanes, Index c) {
      lanes.Store(F::Backward(lanes.Load(at + c), lanes.Load(from + c)), to + c);
    });
  }
}

void ActivateRows(Activation f, View<const float, 2> x, View<float, 2> y) {
  switch (f) {
    case Activation::relu:
      return Forward<Relu>(x, y);
    case Activation::gelu:
      return Forward<Gelu>(x, y);
    case Activation::gelu_tanh:
      return Forward<GeluTanh>(x, y);
    case Activation::silu:
      return Forward<Silu>(x, y);
  }
}

void ActivateRowsBackward(Activation f, View<const float, 2> x, View<const float, 2> d_y,
                          View<float, 2> d_x) {
  switch (f) {
    case Activation::relu:
      return Backward<Relu>(x, d_y, d_x);
    case Activation::gelu:
      return Backward<Gelu>(x, d_y, d_x);
    case Activation::gelu_tanh:
      return Backward<GeluTanh>(x, d_y, d_x);
    case Activation::silu:
      return Backward<Silu>(x, d_y, d_x);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::layers
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "layers/kernels/kernels.h"

namespace kith::layers {

HWY_EXPORT(ActivateRows);
HWY_EXPORT(ActivateRowsBackward);
void activate_rows(Activation f, View<const float, 2> x, View<float, 2> y) {
  HWY_DYNAMIC_DISPATCH(ActivateRows)(f, x, y);
}
void activate_rows_backward(Activation f, View<const float, 2> x, View<const float, 2> d_y,
                            View<float, 2> d_x) {
  HWY_DYNAMIC_DISPATCH(ActivateRowsBackward)(f, x, d_y, d_x);
}

}  // namespace kith::layers
#endif
