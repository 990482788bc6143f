// Laplace sums on a line. With L_j the sum over keys up to j of exp(-(x_j - x_i) / h),
//     L_j = m_j + exp(-(x_j - x_{j-1}) / h) L_{j-1},
// and R_j likewise from the right, a query between keys j and j + 1, at distances a and b, sees
//     exp(-a / h) L_j + exp(-b / h) R_{j+1}.
// Nothing is subtracted: a key's weight is a product of factors whose relative errors add up to 1e-16 a key
// between it and the query. The factor of the nearer side is the query's shift, so a query may lie anywhere.
//
// Memory: 16 bytes a key and column. Cost: one exp a key, two exp and a logarithm a query.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "array/threads.h"
#include "attention/points/line_method.h"
#include "attention/points/line_series.h"

namespace kith::points {
namespace {

class LineLaplace final : public LineMethod {
 public:
  void prepare(const LineKeys& keys, double bandwidth, int threads) override;
  void sum(const LineBlock& block) override;

 private:
  template <Index kColumns>
  void recur(Index column, bool from_left);

  LineKeys keys_;
  double inverse_ = 1;
  std::vector<double> decay_;  // [j] = exp(-(x_{j+1} - x_j) / h)
  std::vector<double> sums_;   // [key][from the left, from the right][columns]: a query reads two neighbors
};

// The chain of one column is 8 cycles a key; columns run side by side.
template <Index kColumns>
void LineLaplace::recur(Index column, bool from_left) {
  const Index n = keys_.count, columns = keys_.columns;
  const double* mass[kColumns];
  double sum[kColumns] = {};
  for (Index c = 0; c < kColumns; ++c) mass[c] = keys_.column(column + c);
  double* to = sums_.data() + (from_left ? 0 : columns) + column;
  for (Index step = 0; step < n; ++step) {
    const Index j = from_left ? step : n - 1 - step;
    const double decay = step == 0 ? 0 : decay_[static_cast<std::size_t>(from_left ? j - 1 : j)];
    for (Index c = 0; c < kColumns; ++c) {
      sum[c] = sum[c] * decay + mass[c][j];
      to[2 * j * columns + c] = sum[c];
    }
  }
}

void LineLaplace::prepare(const LineKeys& keys, double bandwidth, int threads) {
  keys_ = keys;
  inverse_ = 1 / bandwidth;
  const auto size = static_cast<std::size_t>(2 * keys.count * keys.columns);
  if (decay_.size() < static_cast<std::size_t>(keys.count))
    decay_.resize(static_cast<std::size_t>(keys.count));
  if (sums_.size() < size) sums_.resize(size);
  constexpr Index kKeys = 1 << 14;
  parallel_for(threads, (keys.count - 1 + kKeys - 1) / kKeys, [&](Index task) {
    const Index first = task * kKeys, last = std::min(keys.count - 1, first + kKeys);
    line_decay(keys.x + first, last - first, inverse_, decay_.data() + first);
  });
  // Both sides, and groups of columns, are independent.
  const Index groups = (keys.columns + 2) / 3;
  parallel_for(threads, 2 * groups, [&](Index task) {
    const Index column = task / 2 * 3;
    const bool from_left = task % 2 == 0;
    switch (std::min<Index>(3, keys.columns - column)) {
      case 1:
        return recur<1>(column, from_left);
      case 2:
        return recur<2>(column, from_left);
      default:
        return recur<3>(column, from_left);
    }
  });
}

void LineLaplace::sum(const LineBlock& block) {
  const Index columns = keys_.columns;
  constexpr double kNone = std::numeric_limits<double>::infinity();
  Index near[kLineQueryBlock], far[kLineQueryBlock];  // sums of the nearer and of the further side
  double factor[kLineQueryBlock];                     // of the further one
  Index at = 0;                                       // first key beyond the query
  for (Index i = 0; i < block.count; ++i) {
    const double q = block.query[i];
    at = advance(at, keys_.count, [&](Index j) { return keys_.x[j] > q; });
    const double a = at > 0 ? (q - keys_.x[at - 1]) * inverse_ : kNone;
    const double b = at < keys_.count ? (keys_.x[at] - q) * inverse_ : kNone;
    const Index left = (2 * std::max<Index>(at - 1, 0)) * columns;
    const Index right = (2 * std::min(at, keys_.count - 1) + 1) * columns;
    near[i] = a <= b ? left : right;
    far[i] = a <= b ? right : left;
    factor[i] = a <= b ? b - a : a - b;
    block.shift[i] = -std::min(a, b);
  }
  line_exp_minus(factor, block.count, factor);
  for (Index i = 0; i < block.count; ++i) {
    for (Index c = 0; c < columns; ++c) {
      block.column(c)[i] = sums_[static_cast<std::size_t>(near[i] + c)] +
                           factor[i] * sums_[static_cast<std::size_t>(far[i] + c)];
    }
  }
}

}  // namespace

std::unique_ptr<LineMethod> make_line_laplace() { return std::make_unique<LineLaplace>(); }

}  // namespace kith::points
