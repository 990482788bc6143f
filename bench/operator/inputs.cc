#include "inputs.h"

#include <cmath>
#include <random>

namespace kith::bench {
namespace {

using Random = std::mt19937_64;

Array<double, 4> normal(const Shape<4>& shape, Random& random) {
  Array<double, 4> array(shape);
  std::normal_distribution<double> draw;
  for (double& x : array) x = draw(random);
  return array;
}

// Calls change(row) for the first number of every row.
void for_rows(Array<double, 4>& array, auto&& change) {
  const Index width = array.shape()[3];
  for (Index r = 0; r < array.size() / width; ++r) change(array.data() + r * width, r);
}

void clump(Array<double, 4>& array, Random& random) {
  constexpr int kClumps = 20;
  const Index width = array.shape()[3];
  std::uniform_int_distribution<int> which(0, kClumps - 1);
  for_rows(array, [&](double* row, Index) {
    const int c = which(random);
    for (Index k = 0; k < width; ++k)
      row[k] = std::fmod(0.37 + 0.618034 * c * (1 + static_cast<double>(k)), 1.0) + 0.002 * row[k];
  });
}

// Away from the origin by sqrt(2 x) bandwidths, x from 88 to 103: exp(-x) lies below the smallest normal
// float.
void push_out(double* row, Index width, double h, Random& random) {
  std::uniform_real_distribution<double> draw(88, 103);
  double norm = 0;
  for (Index k = 0; k < width; ++k) norm += row[k] * row[k];
  const double factor = h * std::sqrt(2 * draw(random) / norm);
  for (Index k = 0; k < width; ++k) row[k] *= factor;
}

void arrange(const Problem& problem, Inputs& inputs, Random& random) {
  const double h = bandwidth(problem);
  const Index width = problem.depth;
  switch (problem.data) {
    case Data::normal:
      return;
    case Data::growing: {
      // A tenth of a unit (base e) a key: 28 powers of two a block of 192.
      const double step = 0.1 * std::sqrt(static_cast<double>(width));
      for_rows(inputs.query, [](double* row, Index) { row[0] = 1; });
      for_rows(inputs.key,
               [&](double* row, Index r) { row[0] += step * static_cast<double>(r % problem.keys); });
      return;
    }
    case Data::uniform:
      for (auto* array : {&inputs.query, &inputs.key})
        for (double& x : *array) x = 0.5 * std::erfc(-x * std::sqrt(0.5));
      return;
    case Data::clustered:
      clump(inputs.query, random);
      clump(inputs.key, random);
      return;
    case Data::far:
      // Normal keys end at about 6.
      for_rows(inputs.query, [&](double* row, Index) { row[0] = row[0] * 0.1 + 6 + 50 * h; });
      return;
    case Data::gaps:
      for_rows(inputs.key, [&](double* row, Index r) { row[0] += r % 2 == 0 ? -20 : 20; });
      for_rows(inputs.query, [&](double* row, Index r) { row[0] += r % 3 == 0 ? 0 : r % 3 == 1 ? -20 : 20; });
      return;
    case Data::duplicates:
      for_rows(inputs.key, [&](double* row, Index r) {
        const double* original = row - r % 100 * width;
        for (Index k = 0; k < width; ++k) row[k] = original[k];
      });
      return;
    case Data::underflow:
      for (double& x : inputs.query) x *= 0.001 * h;
      for_rows(inputs.key, [&](double* row, Index r) {
        if (r % 100 != 0) return push_out(row, width, h, random);
        for (Index k = 0; k < width; ++k) row[k] *= h;
      });
      return;
  }
}

}  // namespace

Inputs make_inputs(const Problem& problem) {
  Random random(1);
  const Index h = problem.heads, n = problem.queries, m = problem.keys, d = problem.depth,
              dv = problem.value_depth;
  Inputs inputs;
  inputs.query = normal({1, h, n, d}, random);
  inputs.key = normal({1, h, m, d}, random);
  inputs.value = normal({1, h, m, dv}, random);
  if (problem.task == Task::backward) inputs.d_out = normal({1, h, n, dv}, random);
  arrange(problem, inputs, random);
  // A curve under noise, as in regression: where values are noise alone, all errors average out.
  if (problem.variant == Variant::gaussian && dv == 1) {
    for_rows(inputs.value, [&](double* row, Index r) {
      row[0] = 1 + std::sin(2 * inputs.key.data()[r * d]) + 0.1 * row[0];
    });
  }
  return inputs;
}

}  // namespace kith::bench
