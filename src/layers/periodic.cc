#include "kith/layers/periodic.h"

#include "layers/matmul.h"
#include "layers/rows.h"

namespace kith {

using namespace layers;

namespace {

/// Rows of one column done at once: their sines and cosines, 2 F numbers each, stay in the second cache for
/// the product behind them, and the product is large enough for its speed.
constexpr Index kRows = 128;

/// The columns of y that column c of x becomes.
template <class T>
View<T, 2> group(const View<T, 2>& y, Index c, Index width) {
  return {y.data + c * width, {y.shape[0], width}, y.stride};
}

void check(const PeriodicEmbedding& layer, View<const float, 2> x) {
  need_shape("PeriodicEmbedding", "x", x, kAny, layer.columns());
  if (layer.linear.in() != 2 * layer.frequencies())
    throw Error(fmt::format("PeriodicEmbedding: linear: got {} inputs, needs {}, two a frequency",
                            layer.linear.in(), 2 * layer.frequencies()));
  if (layer.linear.bias.empty()) throw Error("PeriodicEmbedding: linear: got no bias, needs one");
}

/// What rows weigh in tasks: a sine and its part of the product take some 8 times as long as a sum does.
Index numbers(const PeriodicEmbedding& layer) { return 8 * layer.columns() * 2 * layer.frequencies(); }

/// body(first row, number of rows) for parts of a block small enough to be done at once.
template <class F>
void for_parts(Index first, Index count, F&& body) {
  for (Index row = first; row < first + count; row += kRows) body(row, std::min(kRows, first + count - row));
}

}  // namespace

PeriodicEmbedding::PeriodicEmbedding(const std::string& name, Index columns, Index frequencies, Index width,
                                     double sigma, Random& random)
    : frequency(name + ".frequency", {columns, frequencies}, false),
      linear(name + ".linear", 2 * frequencies, width, random) {
  fill_normal(random, sigma, frequency.value);
}

void PeriodicEmbedding::forward(View<const float, 2> x, View<float, 2> y, int threads) const {
  check(*this, x);
  need_shape("PeriodicEmbedding", "y", y, x.shape[0], columns() * width());
  const Index inputs = 2 * frequencies();
  for_row_blocks(x.shape[0], numbers(*this), kRows, threads, [&](Index block, Index block_rows) {
    Scratch features(kRows * inputs);
    for_parts(block, block_rows, [&](Index first, Index rows) {
      const View<float, 2> to = row_range(y, first, rows);
      for (Index c = 0; c < columns(); ++c) {
        sines(&x(first, c), x.stride[0], rows, &frequency.value(c, 0), frequencies(), features.data());
        matmul_block(View<const float, 2>(features.data(), {rows, inputs}), linear.weight.value.view(),
                     group(to, c, width()));
      }
      add_bias_relu(linear.bias.value.data(), width(), to);
    });
  });
}

void PeriodicEmbedding::backward(View<const float, 2> x, View<const float, 2> y, View<const float, 2> d_y,
                                 View<float, 2> d_x, int threads) {
  check(*this, x);
  need_shape("PeriodicEmbedding", "y", y, x.shape[0], columns() * width());
  need_shape("PeriodicEmbedding", "d_y", d_y, x.shape[0], columns() * width());
  if (wanted(d_x)) need_shape("PeriodicEmbedding", "d_x", d_x, x.shape[0], columns());
  const Index inputs = 2 * frequencies();
  // Sums over rows: the weight's gradient, the bias's, the frequencies'.
  const Index weights = inputs * width(), all = weights + width() + frequency.value.size();
  Scratch sums(all);
  std::fill_n(sums.data(), static_cast<std::size_t>(all), 0.0f);
  const View<const float, 2> weight_by_columns = transposed(View<const float, 2>(linear.weight.value.view()));
  sum_over_rows(x.shape[0], numbers(*this), kRows, all, threads, sums.data(),
                [&](Index block, Index block_rows, float* mine) {
                  Scratch scratch(kRows * (2 * inputs + columns() * width()));
                  float* const features = scratch.data();
                  float* const d_features = features + kRows * inputs;
                  float* const d_linear = d_features + kRows * inputs;
                  const View<float, 2> d_weight(mine, {inputs, width()});
                  float* const d_bias = mine + weights;
                  for_parts(block, block_rows, [&](Index first, Index rows) {
                    relu_groups_backward(row_range(y, first, rows), row_range(d_y, first, rows), width(),
                                         d_linear, d_bias);
                    for (Index c = 0; c < columns(); ++c) {
                      const View<const float, 2> d_z(d_linear + c * rows * width(), {rows, width()});
                      const View<const float, 2> s(features, {rows, inputs});
                      sines(&x(first, c), x.stride[0], rows, &frequency.value(c, 0), frequencies(), features);
                      matmul_block(transposed(s), d_z, d_weight, true);
                      matmul_block(d_z, weight_by_columns, View<float, 2>(d_features, {rows, inputs}));
                      sines_backward(&x(first, c), x.stride[0], rows, &frequency.value(c, 0), frequencies(),
                                     features, d_features, d_bias + width() + c * frequencies(),
                                     wanted(d_x) ? &d_x(first, c) : nullptr, d_x.stride[0]);
                    }
                  });
                });
  add_numbers(sums.data(), weights, linear.weight.gradient.data());
  add_numbers(sums.data() + weights, width(), linear.bias.gradient.data());
  add_numbers(sums.data() + weights + width(), frequency.value.size(), frequency.gradient.data());
}

std::vector<Parameter*> PeriodicEmbedding::parameters() { return {&frequency, &linear.weight, &linear.bias}; }

}  // namespace kith
