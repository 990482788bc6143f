// What has to hold before anything is timed.
#pragma once

#include "kith/attention.h"
#include "problem.h"

namespace kith::bench {

/// Largest |a - b| over largest |b|; a may have fewer rows (axis 2). Infinite where a number is missing or
/// NaN.
double difference(const Array<double, 4>& a, const Array<double, 4>& b);

/// What errors of Kith may be at most, and of peers, which may round outputs and weights to 16 bits.
double tolerance(const Problem& problem);
double peer_tolerance(Dtype dtype);

/// Largest difference of `out` from the double-precision reference over the largest |value|, on sampled rows
/// of all heads.
double check_forward(const Array<double, 4>& query, const Array<double, 4>& key,
                     const Array<double, 4>& value, const Array<double, 4>& out,
                     const AttentionOptions& options);

struct Exact {
  const Array<double, 4>&query, &key, &value;
  Array<double, 4> d_out, out;
};
struct DoubleGradients {
  Array<double, 4> query, key, value;
};
/// The same of all three gradients, for scaled dot products with or without a causal mask.
double check_backward(const Exact& exact, const DoubleGradients& gradients, const AttentionOptions& options);

}  // namespace kith::bench
