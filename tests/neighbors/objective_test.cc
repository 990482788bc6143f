#include "neighbors/objective.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "neighbors/tables.h"

namespace kith::neighbors {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Problem {
  Array<float, 2> key, value;
  std::vector<double> frequency;

  Rows rows() const { return {key.view(), value.view()}; }
};

/// Five coordinates of four features; the target depends on the first.
Problem make(Index n, Index classes) {
  test::Random random(3);
  Problem p;
  p.key = Array<float, 2>({n, 5});
  for (float& x : p.key) x = static_cast<float>(random.normal());
  p.value = Array<float, 2>({n, std::max<Index>(1, classes)});
  p.frequency.assign(static_cast<std::size_t>(classes), 0.0);
  for (Index i = 0; i < n; ++i) {
    if (classes == 0) {
      p.value(i, 0) = std::sin(p.key(i, 0)) + 0.3F * static_cast<float>(random.normal());
    } else {
      const Index c = static_cast<Index>(std::abs(2 * p.key(i, 0))) % classes;
      p.value(i, c) = 1;
      p.frequency[static_cast<std::size_t>(c)] += 1 / static_cast<double>(n);
    }
  }
  return p;
}

Objective objective(const Problem& p) { return Objective({0, 0, 1, 2, 3}, 4, p.frequency, 1); }

/// The same loss, written plainly in double.
double plain_loss(const Problem& p, Index first, Index count, bool self,
                  const std::vector<double>& parameters) {
  const std::size_t feature[] = {0, 0, 1, 2, 3};
  const Index n = p.key.shape()[0], values = p.value.shape()[1];
  double total = 0;
  for (Index i = first; i < first + count; ++i) {
    double sum = 0;
    std::vector<double> out(static_cast<std::size_t>(values), 0.0);
    for (Index j = 0; j < n; ++j) {
      if (self && j == i) continue;
      double square = 0;
      for (Index c = 0; c < 5; ++c) {
        const double d = static_cast<double>(p.key(i, c)) - static_cast<double>(p.key(j, c));
        square += d * d * std::exp(-2 * parameters[feature[c]]);
      }
      const double w = std::exp(-0.5 * square);
      sum += w;
      for (Index c = 0; c < values; ++c)
        out[static_cast<std::size_t>(c)] += w * static_cast<double>(p.value(j, c));
    }
    for (Index c = 0; c < values; ++c) {
      const auto at = static_cast<std::size_t>(c);
      if (p.frequency.empty()) {
        const double error = out[at] / sum - static_cast<double>(p.value(i, c));
        total += error * error;
      } else if (p.value(i, c) == 1.0F) {
        const double prior = std::exp(parameters[4]);
        const double mixed = (out[at] + prior * p.frequency[at]) / (sum + prior);
        total -= std::log((1 - 3e-3) * mixed + 3e-3 * p.frequency[at]);
      }
    }
  }
  return total / static_cast<double>(count);
}

class ObjectiveTest : public testing::TestWithParam<Index> {
 protected:
  std::vector<double> parameters() const {
    std::vector<double> p{-0.5, 0.1, 0.3, -0.2};
    if (GetParam() > 0) p.push_back(-1);
    return p;
  }
};

TEST_P(ObjectiveTest, LossIsThePlainOne) {
  const Problem p = make(300, GetParam());
  Objective o = objective(p);
  const Loss loss = o.evaluate(p.rows(), p.rows().slice(100, 150), 100, parameters(), false);
  EXPECT_NEAR(loss.mean, plain_loss(p, 100, 150, true, parameters()), 1e-5);
  EXPECT_NEAR(std::accumulate(loss.row.begin(), loss.row.end(), 0.0) / 150, loss.mean, 1e-12);
  const Loss seen = o.evaluate(p.rows(), p.rows().slice(100, 150), std::nullopt, parameters(), false);
  EXPECT_NEAR(seen.mean, plain_loss(p, 100, 150, false, parameters()), 1e-5);
  EXPECT_LT(seen.mean, loss.mean);
}

TEST_P(ObjectiveTest, GradientIsThatOfFiniteDifferences) {
  const Problem p = make(300, GetParam());
  Objective o = objective(p);
  const std::vector<double> at = parameters();
  const Loss loss = o.evaluate(p.rows(), p.rows().slice(50, 200), 50, at, true);
  ASSERT_EQ(loss.gradient.size(), at.size());
  for (std::size_t f = 0; f < at.size(); ++f) {
    constexpr double kStep = 1e-4;
    std::vector<double> up = at, down = at;
    up[f] += kStep;
    down[f] -= kStep;
    const double slope =
        (plain_loss(p, 50, 200, true, up) - plain_loss(p, 50, 200, true, down)) / (2 * kStep);
    EXPECT_NEAR(loss.gradient[f], slope, 2e-5 + 1e-3 * std::abs(slope)) << f;
  }
}

TEST_P(ObjectiveTest, AnInfiniteBandwidthIgnoresItsFeature) {
  Problem p = make(200, GetParam());
  Objective o = objective(p);
  std::vector<double> at = parameters();
  at[2] = kInfinity;
  const Loss before = o.evaluate(p.rows(), p.rows(), 0, at, true);
  for (Index i = 0; i < 200; ++i) p.key(i, 3) = static_cast<float>(i);
  const Loss after = o.evaluate(p.rows(), p.rows(), 0, at, true);
  EXPECT_EQ(before.mean, after.mean);
  EXPECT_EQ(after.gradient[2], 0);
}

TEST_P(ObjectiveTest, ParametersAndSmoothersAreTheSameThing) {
  const Problem p = make(10, GetParam());
  const Objective o = objective(p);
  const Smoother s = o.smoother({std::log(2.0), 0, kInfinity, std::log(0.5), -4});
  EXPECT_EQ(s.bandwidth[2], kInfinity);
  EXPECT_NEAR(s.bandwidth[0], 2, 1e-12);
  const std::vector<double> back = o.parameters(s);
  ASSERT_EQ(back.size(), GetParam() > 0 ? 5U : 4U);
  EXPECT_NEAR(back[3], std::log(0.5), 1e-12);
  if (GetParam() > 0) {
    EXPECT_EQ(back[4], -4);
  }
}

INSTANTIATE_TEST_SUITE_P(Classes, ObjectiveTest, testing::Values(0, 2, 3));

TEST(MixIn, ThePriorDecidesWhereNoNeighborIsNear) {
  const Prior prior{{0.8, 0.2}, -3};
  const float share[] = {0.0F, 1.0F};
  double p[2];
  mix_in(prior, share, -500, p);
  EXPECT_NEAR(p[0], 0.8, 1e-9);
  mix_in(prior, share, 50, p);
  EXPECT_GT(p[0], 0);
  EXPECT_GT(p[1], 0.99);
  EXPECT_NEAR(p[0] + p[1], 1, 1e-12);
  mix_in(prior, share, -std::numeric_limits<double>::infinity(), p);
  EXPECT_NEAR(p[0], 0.8, 1e-9);
}

}  // namespace
}  // namespace kith::neighbors
