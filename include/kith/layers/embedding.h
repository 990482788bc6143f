// Categories to vectors.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kith/layers/parameter.h"
#include "kith/layers/random.h"

namespace kith {

/// y[i] = table[code[i]]; zeros for a code that the table has no row for (a category not seen in fitting).
struct Embedding {
  Parameter table;  ///< [levels, width]; `name`.table

  Embedding() = default;
  /// Starts normal with this deviation.
  Embedding(const std::string& name, Index levels, Index width, Random& random, double deviation = 1.0);

  Index levels() const { return table.value.shape()[0]; }
  Index width() const { return table.value.shape()[1]; }

  /// code [n] to y [n, width].
  void forward(std::span<const std::uint32_t> code, View<float, 2> y, int threads = 0) const;
  /// Adds to the table's gradient, rows in order.
  void backward(std::span<const std::uint32_t> code, View<const float, 2> d_y, int threads = 0);

  std::vector<Parameter*> parameters() { return {&table}; }
};

}  // namespace kith
