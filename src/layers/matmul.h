// Matrix products in float32, by oneDNN, which stays behind this header.
#pragma once

#include "kith/view.h"

namespace kith::layers {

/// A matrix read by columns: rows and columns swapped, nothing moved.
template <class T>
View<T, 2> transposed(const View<T, 2>& matrix) {
  return {matrix.data, {matrix.shape[1], matrix.shape[0]}, {matrix.stride[1], matrix.stride[0]}};
}

struct MatmulOptions {
  bool add = false;            ///< to what c holds; otherwise c is overwritten, whatever it holds
  const float* row = nullptr;  ///< [columns of c]: added to each row of c, a bias
};

/// c = a b: [m, k] [k, n] to [m, n]. One stride of a and of b is 1, either (see transposed); c's rows are
/// dense and overlap neither. Tiles of c, and of the sum over k where c has few, have sizes that follow from
/// m, n and k alone and are each one thread's work, so the bits do not depend on the number of threads.
/// Errors: shapes that do not fit.
void matmul(View<const float, 2> a, View<const float, 2> b, View<float, 2> c,
            const MatmulOptions& options = {}, int threads = 0);

/// The same on the calling thread, in one piece.
void matmul_block(View<const float, 2> a, View<const float, 2> b, View<float, 2> c, bool add = false);

}  // namespace kith::layers
