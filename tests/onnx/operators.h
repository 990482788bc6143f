// ONNX's operators Attention, FlexAttention and RotaryEmbedding, as calls of Kith.
#pragma once

#include <vector>

#include "onnx/onnx_case.h"

namespace kith::test::onnx {

/// What a case's node gave: rounded to the type that ONNX's output has, in ONNX's layout.
struct Output {
  std::vector<Index> shape;
  std::vector<double> values;
};

/// One for each output that the case's node has, in their order. kith::Error for an operator, an attribute or
/// a modifier that has no translation.
std::vector<Output> run(const Case& c);

/// Y, present_key and present_value of an Attention with a past, which a key-value cache holds.
std::vector<Output> run_from_cache(const Case& c);

}  // namespace kith::test::onnx
