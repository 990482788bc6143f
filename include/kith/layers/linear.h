// A matrix product and a bias.
#pragma once

#include <string>
#include <vector>

#include "kith/layers/parameter.h"
#include "kith/layers/random.h"

namespace kith {

/// y = x W + b. Rows are examples in all layers; views may have gaps between rows. Results do not depend on
/// the number of threads; `threads` 0 is all, as everywhere.
struct Linear {
  Parameter weight;  ///< [in, out]
  Parameter bias;    ///< [1, out], or empty: none

  Linear() = default;
  /// Weights and bias start uniform in +-1/sqrt(in). Parameters are called `name`.weight and `name`.bias.
  Linear(const std::string& name, Index in, Index out, Random& random, bool with_bias = true);

  Index in() const { return weight.value.shape()[0]; }
  Index out() const { return weight.value.shape()[1]; }

  /// x [n, in] to y [n, out], which must not overlap.
  void forward(View<const float, 2> x, View<float, 2> y, int threads = 0) const;
  /// Adds to the gradients of weight and bias. d_x [n, in] is overwritten; an empty view: not wanted.
  void backward(View<const float, 2> x, View<const float, 2> d_y, View<float, 2> d_x, int threads = 0);

  std::vector<Parameter*> parameters();
};

}  // namespace kith
