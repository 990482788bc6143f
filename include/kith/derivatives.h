// Directional and second derivatives of the operator, in double precision and memory linear in N + M, for
// every similarity, mask and bias: Jacobian-vector products (forward mode), and the backward pass of the
// backward pass, which give Hessian-vector products. Plain loops over dual numbers: exact, not fast.
#pragma once

#include "kith/attention.h"

namespace kith {

/// A direction in the inputs; an empty view stands for zeros.
struct Tangent {
  View<const double, 4> query{};  ///< the shape of query
  View<const double, 4> key{};    ///< the shape of key
  View<const double, 4> value{};  ///< the shape of value
  double parameter = 0;           ///< of the similarity's one number
};

struct ResultTangent {
  Array<double, 4> out;  ///< [B, Hq, N, Dv]
  Array<double, 3> lse;  ///< [B, Hq, N]; 0 for an empty row
};

/// d/de attend(query + e query', key + e key', value + e value') at e = 0.
ResultTangent attend_jvp(View<const double, 4> query, View<const double, 4> key, View<const double, 4> value,
                         const Tangent& tangent, const AttentionOptions& options);

struct GradientTangent {
  Array<double, 4> query, key, value;  ///< the shapes of query, key and value
  double parameter = 0;
};

/// d/de of the gradients of sum(d_out * out), as the inputs move along `tangent` and d_out along
/// `d_out_tangent` (empty: 0). With d_out fixed this is the Hessian of that sum times the tangent.
GradientTangent attend_backward_jvp(View<const double, 4> query, View<const double, 4> key,
                                    View<const double, 4> value, View<const double, 4> d_out,
                                    const Tangent& tangent, View<const double, 4> d_out_tangent,
                                    const AttentionOptions& options);

struct DoubleBackward {
  Array<double, 4> query, key, value, d_out;
  double parameter = 0;
};

/// The backward pass of attend_backward: gradients, with respect to query, key, value and d_out, of
/// sum(cotangent.query * g.query) + ... for g = the gradients of sum(d_out * out). The Hessian is symmetric,
/// so these are its product with the cotangent and, for d_out, the Jacobian's.
DoubleBackward attend_double_backward(View<const double, 4> query, View<const double, 4> key,
                                      View<const double, 4> value, View<const double, 4> d_out,
                                      const Tangent& cotangent, const AttentionOptions& options);

}  // namespace kith
