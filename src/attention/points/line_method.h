// What the kernels' methods on a line share: sorted distinct keys in, sums of a block of sorted queries out.
#pragma once

#include <cmath>
#include <memory>

#include "attention/points/points.h"

namespace kith::points {

constexpr Index kLineColumns = 9;  ///< the weight and up to 8 values
constexpr Index kLineQueryBlock =
    2048;                          ///< queries a task; their sums (a block of a column is 16 KB) stay in L2
constexpr Index kLinePadding = 8;  ///< doubles readable behind the last key: a vector's worth

/// Distinct coordinates, ascending. Keys at one coordinate are one key whose mass is the sum of theirs, so
/// that heaps of equal keys cost no more than others.
struct LineKeys {
  Index count = 0;               ///< at least 1
  const double* x = nullptr;     ///< [count + kLinePadding]
  Index columns = 1;             ///< at most kLineColumns
  const double* mass = nullptr;  ///< [columns][stride]: how many keys, then the sums of each value column
  Index stride = 0;              ///< at least count + kLinePadding
  double total = 0;              ///< keys before equal ones were joined

  const double* column(Index c) const { return mass + c * stride; }
};

/// Sums of a block of queries: sum[0][i] exp(shift[i]) is the sum of weights, the further columns likewise.
struct LineBlock {
  Index count = 0;                ///< at most kLineQueryBlock
  const double* query = nullptr;  ///< [count], ascending
  double* shift = nullptr;        ///< [count]
  double* sum = nullptr;          ///< [columns][kLineQueryBlock]

  double* column(Index c) const { return sum + c * kLineQueryBlock; }
};

/// One kernel. `prepare` does what depends on the keys alone, for up to `threads` workers; then blocks may be
/// summed at the same time by the workers of one parallel_for. A query's sums do not depend on other queries.
class LineMethod {
 public:
  virtual ~LineMethod() = default;
  virtual void prepare(const LineKeys& keys, double bandwidth, int threads) = 0;
  virtual void sum(const LineBlock& block) = 0;
};

std::unique_ptr<LineMethod> make_line_gaussian();
std::unique_ptr<LineMethod> make_line_laplace();
std::unique_ptr<LineMethod> make_line_compact(Kernel kernel);

/// A grid of cells [i w, (i + 1) w) whose bounds and centers are exact: w has 3 significant bits, so i w is a
/// double for |i| < 2^50. Beyond, distinct floats are many cells apart.
struct LineGrid {
  double width = 1;

  LineGrid() = default;
  /// The widest grid with width <= `limit`; wider than 4/5 of it.
  explicit LineGrid(double limit) {
    int exponent = 0;
    const double mantissa = std::frexp(limit, &exponent);
    width = std::ldexp(std::floor(mantissa * 8), exponent - 3);
  }
  /// The number of x's cell. A double: it may exceed every integer type.
  double cell(double x) const {
    const double i = std::floor(x / width);  // may be one too many where the quotient is rounded up
    return i * width > x ? i - 1 : i;
  }
  double center(double i) const { return (i + 0.5) * width; }
};

/// First index in [from, count) with x[index] >= at: a few steps, then doubling ones. Near `from` it costs
/// less than a search of all keys.
template <class Past>
Index advance(Index from, Index count, const Past& past) {
  for (int step = 0; step < 4; ++step, ++from) {
    if (from >= count || past(from)) return from;
  }
  Index step = 4, low = from;  // everything before `low` is not past
  while (low + step < count && !past(low + step)) {
    low += step + 1;
    step *= 2;
  }
  Index high = low + step < count ? low + step : count;
  while (low < high) {
    const Index middle = low + (high - low) / 2;
    if (past(middle)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

}  // namespace kith::points
