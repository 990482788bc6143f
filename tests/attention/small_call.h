// Small calls in double precision whose every number can be moved, for finite differences: of the reference
// and of the derivative calls.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "kith/reference.h"

namespace kith::test {

using Rows = std::initializer_list<std::initializer_list<double>>;

template <class T>
Array<T, 4> matrix(Rows rows) {
  Array<T, 4> a({1, 1, static_cast<Index>(rows.size()), static_cast<Index>(rows.begin()->size())});
  T* to = a.data();
  for (const auto& row : rows) {
    for (const double x : row) *to++ = static_cast<T>(x);
  }
  return a;
}
Array<double, 2> table(Rows rows);
Array<double, 1> numbers(std::initializer_list<double> list);
Array<double, 4> filled(const Shape<4>& shape, double x);
Array<double, 4> random_rows(const Shape<4>& shape, std::uint64_t seed);
Array<double, 3> random_numbers(const Shape<3>& shape, std::uint64_t seed);

/// What a call has beside a similarity.
enum class Parts {
  none,
  columns,  ///< bandwidths per column, per query and per key, rotation
  matrix,   ///< a metric's matrix, bandwidths per query and per key, rotation of the interleaved kind
  logits,   ///< soft cap, a bias array, a relative table, slopes, sinks
  all,      ///< `matrix`, `logits`, T5's buckets, dropout and a mask
};
constexpr Parts kEveryPart[] = {Parts::none, Parts::columns, Parts::matrix, Parts::logits, Parts::all};

struct SmallSizes {
  Index batch = 1, heads = 1, key_heads = 1, queries = 3, keys = 4, depth = 4, value_depth = 2;
};

/// Owns what its options refer to.
struct SmallCall {
  Array<double, 4> query, key, value, bias;
  Array<double, 2> metric, bilinear, query_weight, key_weight, relative, t5;
  Array<double, 1> score;
  Array<double, 3> query_bandwidth, key_bandwidth;
  AttentionOptions options;

  SmallCall() = default;
  SmallCall(SmallCall&&) = default;
};

constexpr int kSmallSimilarities = 15;
/// Metrics and adaptive bandwidths are left out where the similarity has none.
SmallCall small_call(int similarity, Parts parts, std::uint64_t seed, const SmallSizes& n = {});

/// The similarity's one number, null if it has none or it is a default.
double* parameter(SmallCall& c);

/// Numbers of a call that can be moved, and where their gradients are.
struct Movable {
  std::string name;
  double* first;
  Index count;
  std::function<const double*(const reference::Gradients&)> gradient;
};
/// Valid as long as `c` stays where it is.
std::vector<Movable> movables(SmallCall& c);

/// (f(x + step) - f(x - step)) / (2 step)
double slope(double& x, const std::function<double()>& f, double step = 1e-5);

template <class A>
double inner(const A& a, const A& b) {
  double sum = 0;
  for (Index i = 0; i < a.size(); ++i) sum += a.data()[i] * b.data()[i];
  return sum;
}

}  // namespace kith::test
