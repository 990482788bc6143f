// A network that makes keys of rows: numbers through sines of trained frequencies, all columns through one
// linear layer (ModernNCA, Ye et al. 2024, with the embeddings of Gorishniy et al. 2022). Distances between
// keys are Euclidean and not squared, and their negative is the logit.
#pragma once

#include <vector>

#include "kith/layers/linear.h"
#include "kith/layers/optimizer.h"
#include "kith/layers/periodic.h"
#include "kith/view.h"

namespace kith::neighbors {

struct EncoderShape {
  Index frequencies = 64;  ///< a number
  Index width = 24;        ///< of what a number becomes
  Index out = 256;         ///< of a key
  double sigma = 0.05;     ///< of the first frequencies: in turns a standard deviation
};

struct Encoder {
  std::vector<Index> number;  ///< the coordinates that are numbers
  std::vector<Index> plain;   ///< the others, which the linear layer takes as they are
  PeriodicEmbedding embedding;
  Linear linear;

  /// What a forward pass leaves for the way back.
  struct Pass {
    Array<float, 2> number;    ///< [n, numbers]
    Array<float, 2> embedded;  ///< [n, numbers * width + plain]
    Array<float, 2> key;       ///< [n, out]
  };

  Encoder() = default;
  /// `is_number`: of each coordinate of the rows to come.
  Encoder(const std::vector<bool>& is_number, const EncoderShape& shape, Random& random);

  Index coordinates() const { return static_cast<Index>(number.size() + plain.size()); }
  Index width() const { return linear.out(); }

  /// The columns of `embedded` that come from a coordinate are [first, first + count).
  struct Columns {
    Index first, count;
  };
  Columns columns_of(Index coordinate) const;

  /// x [n, coordinates]. Fills pass.number and pass.embedded alone.
  void embed(View<const float, 2> x, Pass& pass, int threads) const;
  void forward(View<const float, 2> x, Pass& pass, int threads) const;
  /// Adds to the parameters' gradients.
  void backward(const Pass& pass, View<const float, 2> d_key, int threads);
  /// Keys alone, a stretch of rows at a time.
  Array<float, 2> keys(View<const float, 2> x, int threads) const;

  Parameters parameters();
};

}  // namespace kith::neighbors
