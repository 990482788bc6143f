#include "kith/layers/activation.h"

#include "layers/rows.h"

namespace kith {

using namespace layers;

const char* name(Activation f) {
  switch (f) {
    case Activation::relu:
      return "relu";
    case Activation::gelu:
      return "gelu";
    case Activation::gelu_tanh:
      return "gelu_tanh";
    case Activation::silu:
      return "silu";
  }
  return "";
}

void activate(Activation f, View<const float, 2> x, View<float, 2> y, int threads) {
  need_shape(name(f), "x", x, kAny, kAny);
  need_shape(name(f), "y", y, x.shape[0], x.shape[1]);
  for_row_blocks(x.shape[0], x.shape[1], threads, [&](Index first, Index count) {
    activate_rows(f, row_range(x, first, count), row_range(y, first, count));
  });
}

void activate_backward(Activation f, View<const float, 2> x, View<const float, 2> d_y, View<float, 2> d_x,
                       int threads) {
  need_shape(name(f), "x", x, kAny, kAny);
  need_shape(name(f), "d_y", d_y, x.shape[0], x.shape[1]);
  need_shape(name(f), "d_x", d_x, x.shape[0], x.shape[1]);
  for_row_blocks(x.shape[0], x.shape[1], threads, [&](Index first, Index count) {
    activate_rows_backward(f, row_range(x, first, count), row_range(d_y, first, count),
                           row_range(d_x, first, count));
  });
}

}  // namespace kith
