// The operator on checked arguments.
#pragma once

#include <cstddef>
#include <vector>

#include "attention/geometry.h"

namespace kith {

/// Keys and values of a cache where they lie: pages of kKeyChunk positions, [B][Hk][kKeyChunk][columns] each.
struct KeyPages {
  Dtype type = Dtype::float32;
  std::vector<const std::byte*> key, value;  ///< one a page
};

/// Fills the arrays of `result` that are not empty; they have their shapes already. With `pages` those are
/// read in place of key and value, which only give the shapes; then there are at most kernels::kGroup
/// queries, keys are not mapped, and out, lse, entropy, largest and top are all that is asked for. Returns
/// false, with a result that is wrong, if a value in the pages is not finite.
template <class T>
bool run_forward(const Geometry& g, const View<const T, 4>& query, const View<const T, 4>& key,
                 const View<const T, 4>& value, const AttentionOptions& options, int threads,
                 BasicAttentionResult<compute_t<T>>& result, Workspace& workspace,
                 const KeyPages* pages = nullptr);

/// attend() with a cache's pages, under the conditions of run_forward and with its answer.
bool attend_pages(const View<const float, 4>& query, const View<const float, 4>& key,
                  const View<const float, 4>& value, const AttentionOptions& options, AttentionResult& result,
                  Workspace& workspace, const KeyPages& pages);

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
