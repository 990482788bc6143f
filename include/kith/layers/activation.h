// Functions of single numbers between layers.
#pragma once

#include "kith/view.h"

namespace kith {

/// relu: max(x, 0). gelu: x P(Z < x) for a standard normal Z (Hendrycks & Gimpel 2016); gelu_tanh: its
/// approximation x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2. silu: x / (1 + exp(-x)).
enum class Activation { relu, gelu, gelu_tanh, silu };

const char* name(Activation);

/// y = f(x), of one shape; y may be x. NaN stays NaN.
void activate(Activation f, View<const float, 2> x, View<float, 2> y, int threads = 0);

/// d_x = f'(x) d_y; d_x may be d_y. For relu alone, x may also be its result y. f'(0) of relu is 0.
void activate_backward(Activation f, View<const float, 2> x, View<const float, 2> d_y, View<float, 2> d_x,
                       int threads = 0);

}  // namespace kith
