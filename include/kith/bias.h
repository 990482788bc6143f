// What positions and arrays add to the logit, after the similarity and its soft cap.
#pragma once

#include <optional>
#include <vector>

#include "kith/view.h"

namespace kith {

/// logit += table(h, clip(j - i - offset, -left, right) + left) (Shaw et al. 2018, as a scalar).
struct RelativeTable {
  View<const double, 2> table{};  ///< [Hq or 1, left + 1 + right]
  Index left = 0;
};

/// T5's buckets (Raffel et al. 2020): logit += table(h, bucket(j - i - offset)); half of the buckets are
/// exact distances, the rest grow logarithmically up to max_distance. Bidirectional: half of them for j > i.
struct T5Buckets {
  View<const double, 2> table{};  ///< [Hq or 1, buckets]
  bool bidirectional = true;
  Index max_distance = 128;
};

/// The bucket of key position minus query position, as in T5.
Index t5_bucket(Index relative_position, bool bidirectional, Index buckets, Index max_distance);

struct Bias {
  /// Added as it is; [B or 1, Hq or 1, N or 1, M or 1], any strides, -inf hides a key. Give one of the two.
  View<const float, 4> array{};
  View<const double, 4> array64{};
  std::optional<RelativeTable> relative{};
  std::optional<T5Buckets> t5{};
  /// logit -= slope |j - i - offset| (Press et al. 2022). One slope, or one per query head; empty: none.
  std::vector<double> alibi{};
  /// Query i stands at position i + offset, key j at j. With a cache it is the past length.
  Index offset = 0;

  bool has_array() const { return array.data != nullptr || array64.data != nullptr; }
  bool has_positions() const { return relative || t5 || !alibi.empty(); }
};

/// The usual slopes 2^(-8 (h + 1) / heads); where heads is no power of two, interleaved as in the paper's
/// code.
std::vector<double> alibi_slopes(Index heads);

}  // namespace kith
