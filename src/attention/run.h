// The operator on checked arguments.
#pragma once

#include "attention/geometry.h"
#include "attention/lowering.h"

namespace kith {

/// Fills the arrays of `result` that are not empty; they have their shapes already.
void run_forward(const Geometry& g, const View<const float, 4>& query, const View<const float, 4>& key,
                 const View<const float, 4>& value, const Lowered& lowered, const Mask& mask, Index top,
                 int threads, AttentionResult& result, Workspace& workspace);

/// Fills the gradients of query, key and value and returns dL/dfactor, the gradient of the factor on the
/// logits' map.
double run_backward(const Geometry& g, const View<const float, 4>& query, const View<const float, 4>& key,
                    const View<const float, 4>& value, const Lowered& lowered, const Mask& mask,
                    const AttentionResult& result, const View<const float, 4>& d_out,
                    const View<const float, 3>& d_lse, int threads, AttentionGradients& gradients);

}  // namespace kith
