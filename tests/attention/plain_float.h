// The operator's formulas written down in float32 as they stand in a textbook: what a careful float
// implementation is allowed to be wrong by is measured, not guessed.
#pragma once

#include "attention/cases.h"

namespace kith::test {

struct PlainResult {
  Array<float, 4> out;
  Array<float, 3> lse;
};

PlainResult plain_attend(const Inputs& in, const Similarity& similarity, const Mask& mask);

/// `*_terms`: the largest sum of absolute values that any element of the gradient is made of. Rounding is
/// relative to that, not to the element, whose terms may cancel.
struct PlainGradients {
  Array<float, 4> query, key, value;
  double parameter = 0;
  double query_terms = 0, key_terms = 0, value_terms = 0, parameter_terms = 0;
};

PlainGradients plain_backward(const Inputs& in, const PlainResult& result, const Similarity& similarity,
                              const Mask& mask);

}  // namespace kith::test
