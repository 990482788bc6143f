// The operator's formulas written down as they stand in a textbook, in whatever precision: what a careful
// float implementation is allowed to be wrong by is measured on it, not guessed. Written apart from the
// reference and from the kernels.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "attention/case_values.h"

namespace kith::test {

/// An output or a gradient, flat, and the scale of its rounding errors (see Rounded).
struct Numbers {
  std::vector<double> value, scale;
};
/// By name: "out", "lse", "weight", "entropy", "largest", "received", "position", "second_moment"; "query",
/// "key", "value", "parameter", "column_bandwidth", ...
using Named = std::map<std::string, Numbers>;

/// All outputs, in Real.
template <class Real>
Named plain_outputs(const Values& values);

/// The gradients of what the options contain.
template <class Real>
Named plain_gradients(const Values& values, const Upstream<double>& upstream);

/// |q - k| of every pair as the similarity measures it, in double, divided by the adaptive factors.
std::vector<double> pair_distances(const Values& values);

}  // namespace kith::test
