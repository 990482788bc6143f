#include "neighbors/interval.h"

#include <gtest/gtest.h>

#include <cmath>

#include "neighbors/tables.h"

namespace kith::neighbors {
namespace {

/// Rows whose noise has the deviation that their neighbors show.
Calibration learned(std::size_t n, std::vector<Neighborhood>& rows, std::vector<double>& truth) {
  test::Random random(5);
  for (std::size_t i = 0; i < n; ++i) {
    const double deviation = i % 2 == 0 ? 0.1 : 1.0;
    rows.push_back({.mean = random.normal(), .variance = deviation * deviation, .lse = 1 + random.uniform()});
    truth.push_back(rows.back().mean + deviation * random.normal());
  }
  return Calibration::learn(rows, truth);
}

TEST(Calibration, CoversWhatItSaysInQuietAndInNoisyPlaces) {
  std::vector<Neighborhood> rows;
  std::vector<double> truth;
  const Calibration c = learned(4000, rows, truth);
  for (double coverage : {0.5, 0.8, 0.95}) {
    const auto [lower, upper] = c.ends(coverage);
    double inside[2] = {0, 0};
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const double z = (truth[i] - rows[i].mean) / c.scale(rows[i]);
      inside[i % 2] += z >= lower && z <= upper ? 1.0 / 2000 : 0;
    }
    EXPECT_NEAR(inside[0], coverage, 0.04);
    EXPECT_NEAR(inside[1], coverage, 0.04);
  }
}

TEST(Calibration, QuantilesAreThoseOfRanksNPlusOne) {
  Calibration c;
  c.rows = 19;
  for (int i = 1; i <= 19; ++i) c.residual.push_back(i);
  c.prepare();
  // Ranks 20 * 0.05 = 1 and 20 * 0.95 = 19.
  EXPECT_NEAR(c.ends(0.9).first, 1, 1e-9);
  EXPECT_NEAR(c.ends(0.9).second, 19, 1e-9);
  EXPECT_NEAR(c.ends(0.5).first, 5, 1e-9);
  EXPECT_NEAR(c.ends(0.5).second, 15, 1e-9);
  EXPECT_FALSE(c.too_few(0.9));
  EXPECT_TRUE(c.too_few(0.95));
  EXPECT_EQ(c.ends(0.99).second, 19);
}

TEST(Calibration, ScaleGrowsWithDisagreementAndWithDistance) {
  Calibration c;
  c.floor = 0.2;
  c.usual_distance = 2;
  const double near = c.scale({.mean = 0, .variance = 0.25, .lse = 3});
  EXPECT_NEAR(near, std::sqrt(0.25 + 0.04), 1e-12);
  EXPECT_GT(c.scale({.mean = 0, .variance = 1, .lse = 3}), near);
  EXPECT_EQ(c.scale({.mean = 0, .variance = 0.25, .lse = -2}), near);
  EXPECT_GT(c.scale({.mean = 0, .variance = 0.25, .lse = -2.5}), near);
  EXPECT_NEAR(c.scale({.mean = 0, .variance = 0, .lse = -1e9}), std::sqrt(1.04), 1e-12);
}

TEST(Calibration, CrpsIsThatOfAllPairs) {
  test::Random random(6);
  Calibration c;
  c.residual = random.normals(101);
  std::sort(c.residual.begin(), c.residual.end());
  c.rows = 101;
  c.prepare();
  for (double z : {-4.0, -0.3, 0.0, c.residual[50], 1.7, 9.0}) {
    double to_truth = 0, between = 0;
    for (double a : c.residual) {
      to_truth += std::abs(a - z) / 101;
      for (double b : c.residual) between += std::abs(a - b) / (101 * 101);
    }
    EXPECT_NEAR(c.crps(z), to_truth - between / 2, 1e-12);
  }
}

TEST(Calibration, TwoRowsAreEnoughToBeDefined) {
  const Calibration c = Calibration::learn(
      {{.mean = 1, .variance = 0, .lse = 0}, {.mean = -1, .variance = 0, .lse = 0}}, {-1, 1});
  EXPECT_GT(c.floor, 0);
  EXPECT_GT(c.factor, 0);
  EXPECT_LT(c.ends(0.9).first, c.ends(0.9).second);
  const Calibration exact = Calibration::learn({{.mean = 1, .variance = 0, .lse = 0}}, {1});
  EXPECT_GT(exact.scale({}), 0);
}

}  // namespace
}  // namespace kith::neighbors
