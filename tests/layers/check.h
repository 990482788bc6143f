// Layers against plain ones: the same formula in double precision, whose slopes are central differences.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "kith/attention.h"
#include "kith/layers/parameter.h"
#include "kith/layers/random.h"
#include "kith/view.h"

namespace kith {

using Doubles = Array<double, 2>;
using Floats = Array<float, 2>;

inline Floats random_floats(Index rows, Index columns, std::uint64_t seed, double deviation = 1.0) {
  Floats x({rows, columns});
  Random random(seed);
  fill_normal(random, deviation, x);
  return x;
}

inline Doubles doubles(View<const float, 2> x) {
  Doubles y(x.shape);
  for (Index i = 0; i < x.shape[0]; ++i) {
    for (Index c = 0; c < x.shape[1]; ++c) y(i, c) = static_cast<double>(x(i, c));
  }
  return y;
}

/// A matrix with gaps between its rows, to see that strides are minded. What lies in the gaps must stay.
struct Gapped {
  Floats memory;
  View<float, 2> view;
  static constexpr Index kGap = 3;
  static constexpr float kGuard = 77;

  Gapped(Index rows, Index columns) : memory({rows + 1, columns + kGap}) {
    std::fill(memory.begin(), memory.end(), kGuard);
    view = {memory.data(), {rows, columns}, {columns + kGap, 1}};
    // Results overwrite whatever there was.
    for (Index i = 0; i < rows; ++i) std::fill_n(&view(i, 0), columns, std::nanf(""));
  }
  explicit Gapped(View<const float, 2> x) : Gapped(x.shape[0], x.shape[1]) {
    for (Index i = 0; i < x.shape[0]; ++i) std::copy_n(x.data + i * x.stride[0], x.shape[1], &view(i, 0));
  }
  bool guards_stand() const {
    for (Index i = 0; i < memory.shape()[0]; ++i) {
      for (Index c = i < view.shape[0] ? view.shape[1] : 0; c < memory.shape()[1]; ++c) {
        if (memory(i, c) != kGuard) return false;
      }
    }
    return true;
  }
};

inline double largest(const Doubles& x) {
  double most = 0;
  for (const double v : x) most = std::max(most, std::abs(v));
  return most;
}

/// Within `roundings` of the largest number wanted.
inline void expect_near(View<const float, 2> got, const Doubles& want, double roundings,
                        const std::string& what) {
  ASSERT_EQ(got.shape, want.shape()) << what;
  const double tolerance = roundings * 0x1p-24 * largest(want) + 1e-30;
  for (Index i = 0; i < got.shape[0]; ++i) {
    for (Index c = 0; c < got.shape[1]; ++c) {
      // A NaN is no less than the tolerance.
      if (!(std::abs(static_cast<double>(got(i, c)) - want(i, c)) <= tolerance)) {
        ADD_FAILURE() << what << "(" << i << ", " << c << "): got " << got(i, c) << ", wanted " << want(i, c)
                      << " +- " << tolerance;
        return;
      }
    }
  }
}

using Plain = std::function<Doubles(const std::vector<Doubles>&)>;

inline double dot(const Doubles& a, const Doubles& b) {
  double sum = 0;
  for (Index i = 0; i < a.size(); ++i) sum += a.data()[i] * b.data()[i];
  return sum;
}

/// d(sum of plain(inputs) d_y) / d(inputs[which]) by central differences.
inline Doubles slopes(const Plain& plain, std::vector<Doubles> inputs, std::size_t which,
                      const Doubles& d_y) {
  constexpr double kStep = 1e-5;
  Doubles slope(inputs[which].shape());
  for (Index i = 0; i < slope.size(); ++i) {
    double& at = inputs[which].data()[i];
    const double before = at;
    at = before + kStep;
    const double above = dot(plain(inputs), d_y);
    at = before - kStep;
    const double below = dot(plain(inputs), d_y);
    at = before;
    slope.data()[i] = (above - below) / (2 * kStep);
  }
  return slope;
}

/// f(threads) returns what it computed, which must have the same bits on 1, 2, 3 and 8 threads.
inline void expect_same_bits(const std::function<std::vector<float>(int threads)>& f) {
  const std::vector<float> one = f(1);
  ASSERT_FALSE(one.empty());
  for (const int threads : {2, 3, 8}) {
    const std::vector<float> more = f(threads);
    ASSERT_EQ(one.size(), more.size());
    EXPECT_EQ(std::memcmp(one.data(), more.data(), one.size() * sizeof(float)), 0) << threads << " threads";
  }
}

inline void append(std::vector<float>& to, const Floats& x) { to.insert(to.end(), x.begin(), x.end()); }

/// Calls f with each instruction set that the machine has.
inline void on_each_instruction_set(const std::function<void()>& f) {
  for (const char* set : instruction_sets()) {
    SCOPED_TRACE(set);
    force_instruction_set(set);
    f();
  }
  force_instruction_set(nullptr);
}

inline void expect_error(const std::function<void()>& f, const std::string& message) {
  try {
    f();
    ADD_FAILURE() << "no error, wanted: " << message;
  } catch (const Error& error) {
    EXPECT_EQ(error.what(), message);
  }
}

}  // namespace kith
