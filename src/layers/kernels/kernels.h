// The layers' inner loops, compiled once an instruction set and chosen at run time. All run on the calling
// thread. Views have dense rows; shapes have been checked.
#pragma once

#include <cstdint>

#include "kith/layers/activation.h"
#include "kith/view.h"

namespace kith::layers {

// rows.cc
/// to[c] += from[c].
void add_numbers(const float* from, Index count, float* to);
/// y[i][c] += row[c].
void add_to_rows(const float* row, View<float, 2> y);
/// to[c] += sum over i of y[i][c].
void add_column_sums(View<const float, 2> y, float* to);

// activation.cc
void activate_rows(Activation f, View<const float, 2> x, View<float, 2> y);
void activate_rows_backward(Activation f, View<const float, 2> x, View<const float, 2> d_y,
                            View<float, 2> d_x);

// norm.cc
/// y = (x - mean) inverse gain + bias. Writes mean and inverse [rows]; a null mean: RMS, whose mean is 0.
/// bias may be null.
void normalize_rows(View<const float, 2> x, const float* gain, const float* bias, float epsilon,
                    View<float, 2> y, float* mean, float* inverse);
/// Adds to d_gain and d_bias (null: none). d_x may be without data. A null mean: RMS.
void normalize_rows_backward(View<const float, 2> x, const float* gain, const float* mean,
                             const float* inverse, View<const float, 2> d_y, View<float, 2> d_x,
                             float* d_gain, float* d_bias);

// dropout.cc
/// y = x scale where a hash of (key, column) is at least `threshold` of 2^32, else 0.
void drop_row(const float* x, Index columns, std::uint64_t key, std::uint32_t threshold, float scale,
              float* y);

// periodic.cc
/// to[i] = [sin(2 pi frequency x[i]), cos(2 pi frequency x[i])], for `rows` numbers x, `x_stride` apart.
void sines(const float* x, Index x_stride, Index rows, const float* frequency, Index frequencies, float* to);
/// From d_sines, the gradient of sines' result: adds to d_frequency; d_x (null: not wanted) is overwritten.
void sines_backward(const float* x, Index x_stride, Index rows, const float* frequency, Index frequencies,
                    const float* sines, const float* d_sines, float* d_frequency, float* d_x,
                    Index d_x_stride);
/// y = max(y + bias, 0), the bias once a group of `width` columns.
void add_bias_relu(const float* bias, Index width, View<float, 2> y);
/// d_z = d_y where y > 0, else 0: groups of `width` columns one after another, each [rows, width]; adds the
/// sums over rows and groups to d_bias.
void relu_groups_backward(View<const float, 2> y, View<const float, 2> d_y, Index width, float* d_z,
                          float* d_bias);

// loss.cc
/// -log softmax(logits)[label]; d_logits (null: not wanted) = scale (softmax - one-hot).
double cross_entropy_row(const float* logits, Index classes, Index label, float scale, float* d_logits);
/// Sum over c of (a - b)^2; d (null: not wanted) = scale (a - b).
double squared_error_row(const float* a, const float* b, Index count, float scale, float* d);

// optimizer.cc
struct AdamWStep {
  float beta1, beta2;
  float fresh1, fresh2;  ///< 1 - beta, from doubles
  float keep;            ///< what decay leaves of a value
  float rate;            ///< over the mean's bias correction
  float inverse_square;  ///< 1 / the squares' bias correction
  float epsilon;
};
void adamw_step(const AdamWStep& step, Index count, float* value, float* gradient, float* mean,
                float* square);
struct SgdStep {
  float rate, momentum, keep;
};
/// `velocity` null: no momentum.
void sgd_step(const SgdStep& step, Index count, float* value, float* gradient, float* velocity);
/// Sum of squares, in double.
double sum_of_squares(const float* x, Index count);
void scale_numbers(float* x, Index count, float by);

}  // namespace kith::layers
