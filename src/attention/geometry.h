// The sizes of a call, checked.
#pragma once

#include "kith/attention.h"

namespace kith {

struct Geometry {
  Index batch = 0, heads = 0, key_heads = 0, queries = 0, keys = 0, depth = 0, value_depth = 0;

  Index group() const { return heads / key_heads; }  ///< query heads that share a key head
};

/// Checks shapes, strides, similarity, mask and wants against each other; kith::Error names the argument.
template <class T>
Geometry check(const View<const T, 4>& query, const View<const T, 4>& key, const View<const T, 4>& value,
               const Similarity& similarity, const Mask& mask);

void check_want(const Want& want, const Geometry& g);

}  // namespace kith
