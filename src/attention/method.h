// Kernel regression by another way than the sum over all pairs: which way, and doing it.
#pragma once

#include "attention/geometry.h"

namespace kith {

/// options.method, or what `automatic` comes to; never automatic. Error if a method is asked for that cannot
/// do the call.
template <class T>
Method choose_method(const Geometry& g, const View<const T, 4>& query, const View<const T, 4>& key,
                     const View<const T, 4>& value, const AttentionOptions& options, int threads);

/// By result.method, which is not direct. Fills out, and lse where it is not empty.
void run_points(const Geometry& g, const View<const float, 4>& query, const View<const float, 4>& key,
                const View<const float, 4>& value, const AttentionOptions& options, int threads,
                AttentionResult& result);

}  // namespace kith
