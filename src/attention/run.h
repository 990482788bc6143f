// The operator on checked arguments.
#pragma once

#include "attention/geometry.h"

namespace kith {

/// Fills the arrays of `result` that are not empty; they have their shapes already.
template <class T>
void run_forward(const Geometry& g, const View<const T, 4>& query, const View<const T, 4>& key,
                 const View<const T, 4>& value, const AttentionOptions& options, int threads,
                 BasicAttentionResult<compute_t<T>>& result, Workspace& workspace);

template <class T>
BasicAttentionGradients<compute_t<T>> run_backward(const Geometry& g, const View<const T, 4>& query,
                                                   const View<const T, 4>& key, const View<const T, 4>& value,
                                                   const AttentionOptions& options, int threads,
                                                   const BasicAttentionResult<compute_t<T>>& result,
                                                   const Upstream<compute_t<T>>& upstream);

/// Received mass [B, Hq, M] or, with `weights` [B, Hq, N, M], those; `lse` is the forward pass's.
template <class T>
void run_weights(const Geometry& g, const View<const T, 4>& query, const View<const T, 4>& key,
                 const AttentionOptions& options, int threads, const Array<compute_t<T>, 3>& lse,
                 Array<compute_t<T>, 3>* received, Array<compute_t<T>, 4>* weights);

}  // namespace kith
