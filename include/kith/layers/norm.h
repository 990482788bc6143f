// Normalization of each row.
#pragma once

#include <string>
#include <vector>

#include "kith/layers/parameter.h"

namespace kith {

/// What a norm's backward pass needs of each row, kept by the caller between the two.
struct NormState {
  std::vector<float> mean;     ///< [n]; empty for RMSNorm
  std::vector<float> inverse;  ///< [n]: 1 / sqrt(variance + epsilon), or of the mean square
};

/// y = (x - mean) / sqrt(variance + epsilon) gain + bias over the columns of each row (Ba et al. 2016); the
/// variance is the mean square, not the sample's.
struct LayerNorm {
  Parameter gain;  ///< [1, width], starts at 1
  Parameter bias;  ///< [1, width], starts at 0; may be empty
  float epsilon = 1e-5f;

  LayerNorm() = default;
  explicit LayerNorm(const std::string& name, Index width, float with_epsilon = 1e-5f, bool with_bias = true);

  /// x [n, width] to y, which may be x where no backward pass follows. `state` null: none follows.
  void forward(View<const float, 2> x, View<float, 2> y, NormState* state, int threads = 0) const;
  /// Adds to the gradients. d_x is overwritten and may be d_y; an empty view: not wanted.
  void backward(View<const float, 2> x, const NormState& state, View<const float, 2> d_y, View<float, 2> d_x,
                int threads = 0);

  std::vector<Parameter*> parameters();
};

/// y = x / sqrt(mean square + epsilon) gain (+ bias) (Zhang & Sennrich 2019).
struct RMSNorm {
  Parameter gain;  ///< [1, width], starts at 1
  Parameter bias;  ///< [1, width], starts at 0; normally empty
  float epsilon = 1e-6f;

  RMSNorm() = default;
  explicit RMSNorm(const std::string& name, Index width, float with_epsilon = 1e-6f, bool with_bias = false);

  /// As LayerNorm's.
  void forward(View<const float, 2> x, View<float, 2> y, NormState* state, int threads = 0) const;
  void backward(View<const float, 2> x, const NormState& state, View<const float, 2> d_y, View<float, 2> d_x,
                int threads = 0);

  std::vector<Parameter*> parameters();
};

}  // namespace kith
