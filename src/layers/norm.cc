#include "kith/layers/norm.h"

#include "layers/rows.h"

namespace kith {

using namespace layers;

namespace {

Parameter ones(const std::string& name, Index width) {
  Parameter gain(name + ".gain", {1, width}, false);
  std::fill(gain.value.begin(), gain.value.end(), 1.0f);
  return gain;
}

std::vector<Parameter*> both(Parameter& gain, Parameter& bias) {
  if (bias.empty()) return {&gain};
  return {&gain, &bias};
}

/// Both norms; `Norm` says whether the mean is taken away.
template <bool kCentered, class Norm>
void normalize(const char* layer, const Norm& norm, View<const float, 2> x, View<float, 2> y,
               NormState* state, int threads) {
  need_shape(layer, "x", x, kAny, norm.gain.value.shape()[1]);
  need_shape(layer, "y", y, x.shape[0], x.shape[1]);
  NormState unkept;
  NormState& kept = state == nullptr ? unkept : *state;
  kept.mean.resize(kCentered ? static_cast<std::size_t>(x.shape[0]) : 0);
  kept.inverse.resize(static_cast<std::size_t>(x.shape[0]));
  for_row_blocks(x.shape[0], x.shape[1], threads, [&](Index first, Index count) {
    normalize_rows(row_range(x, first, count), norm.gain.value.data(), norm.bias.value.data(), norm.epsilon,
                   row_range(y, first, count), kCentered ? kept.mean.data() + first : nullptr,
                   kept.inverse.data() + first);
  });
}

template <bool kCentered, class Norm>
void normalize_backward(const char* layer, Norm& norm, View<const float, 2> x, const NormState& state,
                        View<const float, 2> d_y, View<float, 2> d_x, int threads) {
  const Index width = norm.gain.value.shape()[1], rows = x.shape[0];
  need_shape(layer, "x", x, kAny, width);
  need_shape(layer, "d_y", d_y, rows, width);
  if (wanted(d_x)) need_shape(layer, "d_x", d_x, rows, width);
  if (static_cast<Index>(state.inverse.size()) != rows ||
      static_cast<Index>(state.mean.size()) != kCentered * rows)
    throw Error(fmt::format("{}: state: got one of {} rows and {} means, needs forward's of {} rows", layer,
                            state.inverse.size(), state.mean.size(), rows));
  Scratch sums(2 * width);
  std::fill_n(sums.data(), static_cast<std::size_t>(2 * width), 0.0f);
  const bool has_bias = !norm.bias.empty();
  sum_over_rows(rows, width, 2 * width, threads, sums.data(), [&](Index first, Index count, float* mine) {
    const View<float, 2> to = wanted(d_x) ? row_range(d_x, first, count) : View<float, 2>();
    normalize_rows_backward(row_range(x, first, count), norm.gain.value.data(),
                            kCentered ? state.mean.data() + first : nullptr, state.inverse.data() + first,
                            row_range(d_y, first, count), to, mine, has_bias ? mine + width : nullptr);
  });
  add_numbers(sums.data(), width, norm.gain.gradient.data());
  if (has_bias) add_numbers(sums.data() + width, width, norm.bias.gradient.data());
}

}  // namespace

LayerNorm::LayerNorm(const std::string& name, Index width, float with_epsilon, bool with_bias)
    : gain(ones(name, width)), epsilon(with_epsilon) {
  if (with_bias) bias = Parameter(name + ".bias", {1, width}, false);
}

void LayerNorm::forward(View<const float, 2> x, View<float, 2> y, NormState* state, int threads) const {
  normalize<true>("LayerNorm", *this, x, y, state, threads);
}

void LayerNorm::backward(View<const float, 2> x, const NormState& state, View<const float, 2> d_y,
                         View<float, 2> d_x, int threads) {
  normalize_backward<true>("LayerNorm", *this, x, state, d_y, d_x, threads);
}

std::vector<Parameter*> LayerNorm::parameters() { return both(gain, bias); }

RMSNorm::RMSNorm(const std::string& name, Index width, float with_epsilon, bool with_bias)
    : gain(ones(name, width)), epsilon(with_epsilon) {
  if (with_bias) bias = Parameter(name + ".bias", {1, width}, false);
}

void RMSNorm::forward(View<const float, 2> x, View<float, 2> y, NormState* state, int threads) const {
  normalize<false>("RMSNorm", *this, x, y, state, threads);
}

void RMSNorm::backward(View<const float, 2> x, const NormState& state, View<const float, 2> d_y,
                       View<float, 2> d_x, int threads) {
  normalize_backward<false>("RMSNorm", *this, x, state, d_y, d_x, threads);
}

std::vector<Parameter*> RMSNorm::parameters() { return both(gain, bias); }

}  // namespace kith
