// The one merge: associative and commutative up to rounding, with a neutral element.
#include "kith/partial.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "attention/cases.h"
#include "attention/check.h"

namespace kith {
namespace {

constexpr double kTolerance = 1e-13;  // a few hundred double roundings

/// A Partial that owns its values.
struct State {
  double max = Partial::kNone;
  double sum = 0;
  std::vector<double> weighted;

  explicit State(std::size_t value_depth) : weighted(value_depth) {}
  State(double max_, double sum_, std::vector<double> weighted_)
      : max(max_), sum(sum_), weighted(std::move(weighted_)) {}

  void add(const State& from) {
    Partial into{max, sum, weighted};
    merge(into, from.max, from.sum, std::span<const double>(from.weighted));
    max = into.max;
    sum = into.sum;
  }
  double mean(std::size_t c) const { return weighted[c] / sum; }
  double lse() const {
    State copy = *this;
    return log_sum_exp({copy.max, copy.sum, copy.weighted});
  }
};

State operator+(State a, const State& b) {
  a.add(b);
  return a;
}

void expect_same_bits(const State& a, const State& b) {
  EXPECT_TRUE(test::same_bits(&a.max, &b.max, 1));
  EXPECT_TRUE(test::same_bits(&a.sum, &b.sum, 1));
  ASSERT_EQ(a.weighted.size(), b.weighted.size());
  EXPECT_TRUE(test::same_bits(a.weighted.data(), b.weighted.data(), static_cast<Index>(a.weighted.size())));
}

void expect_close(const State& a, const State& b) {
  EXPECT_NEAR(a.lse(), b.lse(), kTolerance * (1 + std::fabs(b.lse())));
  for (std::size_t c = 0; c < a.weighted.size(); ++c) {
    EXPECT_NEAR(a.mean(c), b.mean(c), kTolerance * 10) << "column " << c;
  }
}

struct Keys {
  std::vector<double> logit2;
  std::vector<std::vector<double>> value;
};

Keys random_keys(std::uint64_t seed, std::size_t count, double spread) {
  test::Random random(seed);
  Keys keys;
  for (std::size_t j = 0; j < count; ++j) {
    keys.logit2.push_back(spread * random.normal());
    keys.value.push_back({random.normal(), random.normal(), 1.0});
  }
  return keys;
}

State of_one(const Keys& keys, std::size_t j) { return {keys.logit2[j], 1, keys.value[j]}; }

/// Two passes over keys [first, last): the formula itself.
State of_range(const Keys& keys, std::size_t first, std::size_t last) {
  State state(keys.value[0].size());
  for (std::size_t j = first; j < last; ++j) state.max = std::max(state.max, keys.logit2[j]);
  for (std::size_t j = first; j < last; ++j) {
    const double weight = std::exp2(keys.logit2[j] - state.max);
    state.sum += weight;
    for (std::size_t c = 0; c < state.weighted.size(); ++c) state.weighted[c] += weight * keys.value[j][c];
  }
  return state;
}

TEST(Partial, NeutralElementKeepsBitsOnBothSides) {
  const State a(-3.25, 1.75, {0.1, -0.0, 7}), neutral(3);
  expect_same_bits(a + neutral, a);
  expect_same_bits(neutral + a, a);
  expect_same_bits(neutral + neutral, neutral);
  EXPECT_EQ(neutral.lse(), -test::kInfinity);
}

TEST(Partial, NeutralElementIgnoresWhatItsColumnsHold) {
  const State a(2, 1, {5});
  const State nothing(Partial::kNone, 0, {std::nan("")});
  expect_same_bits(a + nothing, a);
  expect_same_bits(nothing + a, a);
}

TEST(Partial, AssociativeAndCommutative) {
  for (const double spread : {0.1, 5.0, 300.0}) {
    const Keys keys = random_keys(7, 90, spread);
    const State a = of_range(keys, 0, 20), b = of_range(keys, 20, 21), c = of_range(keys, 21, 90);
    expect_close((a + b) + c, a + (b + c));
    expect_close(a + b, b + a);
    expect_close((a + b) + c, of_range(keys, 0, 90));
  }
}

TEST(Partial, AnySplitAndOrderIsOnePass) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    test::Random random(seed);
    const std::size_t count = 1 + static_cast<std::size_t>(random.below(60));
    const Keys keys = random_keys(seed, count, seed % 2 == 0 ? 1.0 : 60.0);
    // Cut at random places, ...
    std::vector<State> parts;
    for (std::size_t first = 0; first < count;) {
      const std::size_t last = std::min(count, first + 1 + static_cast<std::size_t>(random.below(9)));
      parts.push_back(of_range(keys, first, last));
      first = last;
    }
    // ... then join two parts at random until one is left: any tree, any order.
    while (parts.size() > 1) {
      const auto at = static_cast<std::size_t>(random.below(static_cast<Index>(parts.size())));
      std::swap(parts[at], parts.back());
      const State last = parts.back();
      parts.pop_back();
      parts[static_cast<std::size_t>(random.below(static_cast<Index>(parts.size())))].add(last);
    }
    expect_close(parts[0], of_range(keys, 0, count));
    State one_by_one(3);
    for (std::size_t j = 0; j < count; ++j) one_by_one.add(of_one(keys, j));
    expect_close(one_by_one, parts[0]);
    EXPECT_NEAR(parts[0].mean(2), 1, kTolerance);  // the column of ones
  }
}

TEST(Partial, ExtremeMaxima) {
  const State low(-1e4, 2, {4}), high(1e4, 3, {9}), higher(1e4, 1, {1});
  expect_same_bits(low + high, high);  // exp2(-20000) is 0
  expect_same_bits(high + low, high);
  const State both = high + higher;
  EXPECT_EQ(both.max, 1e4);
  EXPECT_EQ(both.sum, 4);
  EXPECT_EQ(both.weighted[0], 10);
  EXPECT_NEAR(both.lse(), (1e4 + 2) * std::log(2.0), 1e-9);
  const State lows = low + State(-1e4, 2, {4});
  EXPECT_EQ(lows.sum, 4);
  EXPECT_EQ(lows.mean(0), 2);
}

TEST(Partial, TheReferenceNeedNotBeTheMaximum) {
  // The same state against another reference exponent.
  const State a(3, 1.5, {2}), shifted(1, 6, {8}), b(2, 1, {-1});
  expect_close(a + b, shifted + b);
}

TEST(Partial, FloatsMerge) {
  const float from[] = {0.5F, -2};
  std::vector<double> memory(2);
  Partial into{Partial::kNone, 0, memory};
  merge(into, 1.0, 2.0, std::span<const float>(from));
  merge(into, 2.0, 1.0, std::span<const float>(from));
  EXPECT_EQ(into.max, 2);
  EXPECT_EQ(into.sum, 2);
  EXPECT_EQ(memory[0], 0.75);
  EXPECT_EQ(memory[1], -3);
}

TEST(Partial, NanPropagates) {
  const double nan = std::nan("");
  const State good(1, 1, {1}), bad_sum(1, nan, {nan}), bad_max(nan, nan, {nan}), neutral(1);
  for (const State& bad : {bad_sum, bad_max}) {
    for (const State& merged : {good + bad, bad + good, bad + neutral, neutral + bad, bad + bad}) {
      EXPECT_TRUE(std::isnan(merged.sum));
      EXPECT_TRUE(std::isnan(merged.weighted[0]));
      EXPECT_TRUE(std::isnan(merged.lse()));
    }
  }
  const State bad_column(1, 1, {nan, 2}), fine(2, 1, {1, 1});
  const State merged = bad_column + fine;
  EXPECT_TRUE(std::isnan(merged.weighted[0]));
  EXPECT_FALSE(std::isnan(merged.weighted[1]));
  EXPECT_FALSE(std::isnan(merged.sum));
}

}  // namespace
}  // namespace kith
