// One computation of everything, and rows of it, for the tests of the contract.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>

#include "attention/agree.h"
#include "attention/check.h"

namespace kith::test {

template <class T>
struct Computed {
  BasicAttentionResult<compute_t<T>> result;
  BasicAttentionGradients<compute_t<T>> gradients;
};

/// Every output, and what the case feeds back.
inline AttentionOptions all_outputs(const Case& c, const Values& v) {
  AttentionOptions options = v.options;
  options.want = {.lse = true,
                  .top = static_cast<int>(std::min<Index>(c.keys, 4)),
                  .entropy = true,
                  .largest = true,
                  .received = true,
                  .position = true,
                  .second_moment = true};
  return options;
}

template <class T>
Computed<T> compute(const Case& c, const Values& v) {
  const Call<T> call(c, v);
  const AttentionOptions options = all_outputs(c, v);
  Computed<T> computed{call.forward(options), {}};
  computed.gradients = call.backward(computed.result, options);
  return computed;
}

/// By mask and bias; a compact kernel may hide more.
inline bool sees(const Values& v, Index b, Index h, Index i, Index j) {
  const Bias& bias = v.options.bias;
  const auto hides = [&](const auto& array) {
    if (array.data == nullptr) return false;
    const auto at = [&](std::size_t axis, Index x) { return array.shape[axis] == 1 ? 0 : x; };
    const double x = static_cast<double>(array(at(0, b), at(1, h), at(2, i), at(3, j)));
    return std::isinf(x) && x < 0;
  };
  return !hides(bias.array) && !hides(bias.array64) && reference::visible(v.options.mask, b, i, j, h);
}
inline bool sees_any(const Case& c, const Values& v, Index b, Index h, Index i) {
  for (Index j = 0; j < c.keys; ++j) {
    if (sees(v, b, h, i, j)) return true;
  }
  return false;
}
/// Any query of any of the key head's query heads.
inline bool seen_by_any(const Case& c, const Values& v, Index b, Index g, Index j) {
  const Index group = c.query_heads / c.key_heads;
  for (Index h = g * group; h < (g + 1) * group; ++h) {
    for (Index i = 0; i < c.queries; ++i) {
      if (sees(v, b, h, i, j)) return true;
    }
  }
  return false;
}

template <class T>
bool row_is(const Array<T, 4>& a, Index b, Index h, Index i, std::type_identity_t<T> expected) {
  for (Index c = 0; c < a.shape()[3]; ++c) {
    if (a(b, h, i, c) != expected) return false;
  }
  return true;
}
template <class T>
bool row_is_nan(const Array<T, 4>& a, Index b, Index h, Index i) {
  for (Index c = 0; c < a.shape()[3]; ++c) {
    if (!std::isnan(a(b, h, i, c))) return false;
  }
  return true;
}
template <class T>
bool same_row(const Array<T, 4>& a, const Array<T, 4>& b, Index x, Index h, Index i) {
  return same_bits(a.data() + ((x * a.shape()[1] + h) * a.shape()[2] + i) * a.shape()[3],
                   b.data() + ((x * a.shape()[1] + h) * a.shape()[2] + i) * a.shape()[3], a.shape()[3]);
}
template <class T>
bool same_row_numbers(const Array<T, 4>& a, const Array<T, 4>& b, Index x, Index h, Index i) {
  for (Index c = 0; c < a.shape()[3]; ++c) {
    if (a(x, h, i, c) != b(x, h, i, c)) return false;
  }
  return true;
}
/// Every output of the row.
template <class Real>
bool same_result_row(const BasicAttentionResult<Real>& a, const BasicAttentionResult<Real>& b, Index x,
                     Index h, Index i) {
  const auto same = [&](const Array<Real, 3>& y, const Array<Real, 3>& z) {
    return same_bits(&y(x, h, i), &z(x, h, i), 1);
  };
  return same_row(a.out, b.out, x, h, i) && same(a.lse, b.lse) && same(a.entropy, b.entropy) &&
         same(a.largest, b.largest) && same(a.position, b.position) &&
         same_row(a.second_moment, b.second_moment, x, h, i) && same_row(a.top_key, b.top_key, x, h, i) &&
         same_row(a.top_weight, b.top_weight, x, h, i);
}

inline void fill_row(Array<double, 4>& a, Index b, Index h, Index i, double x) {
  for (Index c = 0; c < a.shape()[3]; ++c) a(b, h, i, c) = x;
}

}  // namespace kith::test
