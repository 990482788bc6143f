// The sizes of a call, checked.
#pragma once

#include "kith/attention.h"

namespace kith {

struct Geometry {
  Index batch = 0, heads = 0, key_heads = 0, queries = 0, keys = 0, depth = 0, value_depth = 0;
  Index key_depth = 0;  ///< columns of the keys: `depth`, except for bilinear and additive forms

  /// Query heads that share a key head.
  Index group() const { return key_heads == 0 ? 1 : heads / key_heads; }
};

/// What has extent 1 serves all: the entry of index i.
inline Index entry_of(Index extent, Index i) { return extent == 1 ? 0 : i; }
inline std::size_t entry_of(const std::vector<double>& numbers, Index i) {
  return static_cast<std::size_t>(entry_of(std::ssize(numbers), i));
}

/// Checks shapes and strides of the three against each other and every option against them; kith::Error names
/// the argument. A bias or mask array's numbers are not looked at.
template <class T>
Geometry check(const View<const T, 4>& query, const View<const T, 4>& key, const View<const T, 4>& value,
               const AttentionOptions& options);

/// The mask alone against its sizes; heads or batch -1: any.
void check_mask(const Mask& mask, Index batch, Index heads, Index queries, Index keys);

/// Checks what goes into a backward pass: shapes of `upstream` and what `result` needs to hold for it.
template <class Real>
void check_backward(const Geometry& g, const BasicAttentionResult<Real>& result,
                    const Upstream<Real>& upstream);

/// weights, checked before they are allocated.
void check_weights_size(const Geometry& g, std::size_t element_bytes, std::size_t most_bytes);

}  // namespace kith
