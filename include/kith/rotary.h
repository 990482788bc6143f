// Rotary position embedding (Su et al. 2021): pairs of columns turn by an angle that grows with the position,
// so that q.k depends on the distance of the positions alone.
#pragma once

#include <optional>
#include <vector>

#include "kith/dtype.h"
#include "kith/view.h"

namespace kith {

struct Rotary {
  double base = 10000;
  /// Pairs are columns (2p, 2p + 1); otherwise (p, p + columns / 2).
  bool interleaved = false;
  /// Only the first `columns` columns turn (even); 0: all D.
  Index columns = 0;
  /// Positions are divided by it (linear scaling).
  double scaling = 1;
  /// Angle per position of each pair, in place of base^(-2p / columns); [columns / 2], empty: the usual ones.
  std::vector<double> frequency{};
  /// Query i stands at i + query_offset, key j at j + key_offset, unless positions are given.
  Index query_offset = 0, key_offset = 0;
  View<const Index, 2> query_position{}, key_position{};  ///< [B or 1, N], [B or 1, M]
};

/// Rows of x [B, H, N, D] turned, as keys at `positions` [B or 1, N] or, without any, offset + i. The angle
/// and its sine and cosine are computed in double. Error if the columns that turn are odd in number or
/// more than D.
template <class T>
Array<T, 4> rotate(View<const T, 4> x, const Rotary& rotary, Index offset = 0,
                   View<const Index, 2> positions = {});
/// The same back: the transpose, which is also the gradient.
template <class T>
Array<T, 4> rotate_back(View<const T, 4> x, const Rotary& rotary, Index offset = 0,
                        View<const Index, 2> positions = {});
/// With given cosines and sines [B or 1, N, columns / 2].
template <class T>
Array<T, 4> rotate(View<const T, 4> x, View<const double, 3> cosine, View<const double, 3> sine,
                   bool interleaved);

}  // namespace kith
