// Numbers to vectors through sines and cosines of trained frequencies.
#pragma once

#include <string>
#include <vector>

#include "kith/layers/linear.h"
#include "kith/layers/parameter.h"
#include "kith/layers/random.h"

namespace kith {

/// Each column's number x becomes relu(W^T [sin(2 pi c_1 x), ..., sin(2 pi c_F x), cos(2 pi c_1 x), ...,
/// cos(2 pi c_F x)] + b), with frequencies c of the column's own and one W and b for all columns: "PLR
/// (lite)", Gorishniy et al. 2022, On Embeddings for Numerical Features in Tabular Deep Learning.
struct PeriodicEmbedding {
  Parameter frequency;  ///< [columns, frequencies]; `name`.frequency; in turns per unit of x; does not decay
  Linear linear;        ///< [2 frequencies, width]; `name`.linear.weight, `name`.linear.bias

  PeriodicEmbedding() = default;
  /// Frequencies start normal with deviation `sigma`.
  PeriodicEmbedding(const std::string& name, Index columns, Index frequencies, Index width, double sigma,
                    Random& random);

  Index columns() const { return frequency.value.shape()[0]; }
  Index frequencies() const { return frequency.value.shape()[1]; }
  Index width() const { return linear.out(); }

  /// x [n, columns] to y [n, columns width]: column by column.
  void forward(View<const float, 2> x, View<float, 2> y, int threads = 0) const;
  /// y: forward's result, d_y its gradient. Adds to the gradients; d_x [n, columns] is overwritten, an empty
  /// view: not wanted. Sines are computed again rather than kept: that is cheaper than memory.
  void backward(View<const float, 2> x, View<const float, 2> y, View<const float, 2> d_y, View<float, 2> d_x,
                int threads = 0);

  std::vector<Parameter*> parameters();
};

}  // namespace kith
