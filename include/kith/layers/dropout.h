// Dropping numbers at random while fitting.
#pragma once

#include <cstdint>

#include "kith/view.h"

namespace kith {

/// y = x / (1 - rate), or 0 with probability `rate` (Srivastava et al. 2014, scaled while fitting). What is
/// dropped depends on (seed, step, row, column) alone: nothing is stored for the way back, and any number of
/// threads drops the same. Give each dropout of a network a seed of its own. When predicting, leave it out.
struct DropoutLayer {
  float rate = 0;  ///< in [0, 1)
  std::uint64_t seed = 0;

  /// x and y of one shape; y may be x.
  void forward(View<const float, 2> x, View<float, 2> y, std::uint64_t step, int threads = 0) const;
  /// The same map for the gradient: d_x may be d_y.
  void backward(View<const float, 2> d_y, View<float, 2> d_x, std::uint64_t step, int threads = 0) const {
    forward(d_y, d_x, step, threads);
  }
};

}  // namespace kith
