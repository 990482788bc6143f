#include "kith/layers/linear.h"

#include <cmath>

#include "layers/matmul.h"
#include "layers/rows.h"

namespace kith {

using namespace layers;

Linear::Linear(const std::string& name, Index in, Index out, Random& random, bool with_bias)
    : weight(name + ".weight", {in, out}) {
  const double limit = 1 / std::sqrt(static_cast<double>(std::max<Index>(1, in)));
  fill_uniform(random, limit, weight.value);
  if (!with_bias) return;
  bias = Parameter(name + ".bias", {1, out}, false);
  fill_uniform(random, limit, bias.value);
}

void Linear::forward(View<const float, 2> x, View<float, 2> y, int threads) const {
  need_shape("Linear", "x", x, kAny, in());
  need_shape("Linear", "y", y, x.shape[0], out());
  matmul(x, weight.value.view(), y, {.row = bias.value.data()}, threads);
}

void Linear::backward(View<const float, 2> x, View<const float, 2> d_y, View<float, 2> d_x, int threads) {
  need_shape("Linear", "x", x, kAny, in());
  need_shape("Linear", "d_y", d_y, x.shape[0], out());
  if (wanted(d_x)) need_shape("Linear", "d_x", d_x, x.shape[0], in());
  matmul(transposed(x), d_y, weight.gradient.view(), {.add = true}, threads);
  if (!bias.empty()) {
    sum_over_rows(
        d_y.shape[0], out(), out(), threads, bias.gradient.data(),
        [&](Index first, Index count, float* sums) { add_column_sums(row_range(d_y, first, count), sums); });
  }
  if (wanted(d_x)) matmul(d_y, transposed(View<const float, 2>(weight.value.view())), d_x, {}, threads);
}

std::vector<Parameter*> Linear::parameters() {
  if (bias.empty()) return {&weight};
  return {&weight, &bias};
}

}  // namespace kith
