#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "neighbors/tables.h"

namespace kith {
namespace {

TEST(Baselines, AreTheMeanPlainNeighborsAndOneBandwidth) {
  const Table train = test::mixed(800, 1), table = test::mixed(400, 2);
  const Model model = fit(train, {.target = "y"});
  const std::vector<Baseline> b = baselines(model, table);
  ASSERT_EQ(b.size(), 3U);
  EXPECT_EQ(b[0].name, "mean");
  EXPECT_EQ(b[1].name, "kNN, k = 9");
  EXPECT_EQ(b[2].name, "one bandwidth");
  double mean = 0, squares = 0;
  for (double y : train.columns[3].number) mean += y / 800;
  for (double y : table.columns[3].number) squares += (y - mean) * (y - mean) / 400;
  EXPECT_NEAR(b[0].errors.rmse, std::sqrt(squares), 1e-6);
  EXPECT_LT(b[1].errors.rmse, b[0].errors.rmse);
  EXPECT_LT(b[2].errors.rmse, b[0].errors.rmse);
  EXPECT_LT(score(model, table).errors.rmse, b[1].errors.rmse);
  const Model scalar = fit(train, {.target = "y", .metric = Metric::scalar});
  EXPECT_EQ(baselines(scalar, table)[2].errors.rmse, score(scalar, table).errors.rmse);
}

TEST(Baselines, NearestAreNearestByDistance) {
  // Unscaled single column: the nine nearest can be found by hand.
  const Table train = test::textbook_curve(200, 3), table = test::textbook_curve(50, 4);
  const Model model = fit(train, {.target = "y", .scale = Scale::none});
  double squares = 0;
  for (std::size_t i = 0; i < 50; ++i) {
    std::vector<std::pair<double, double>> near;
    for (std::size_t j = 0; j < 200; ++j) {
      near.emplace_back(std::abs(train.columns[0].number[j] - table.columns[0].number[i]),
                        train.columns[1].number[j]);
    }
    std::sort(near.begin(), near.end());
    double mean = 0;
    for (std::size_t k = 0; k < 9; ++k) mean += near[k].second / 9;
    squares += std::pow(mean - table.columns[1].number[i], 2) / 50;
  }
  EXPECT_NEAR(baselines(model, table)[1].errors.rmse, std::sqrt(squares), 1e-5);
}

TEST(Baselines, OfClasses) {
  const Table train = test::ring(600, 5), table = test::ring(300, 6);
  const Model model = fit(train, {.target = "class"});
  const std::vector<Baseline> b = baselines(model, table);
  EXPECT_EQ(b[0].name, "majority");
  EXPECT_NEAR(b[0].errors.auc, 0.5, 1e-12);
  EXPECT_GT(b[1].errors.accuracy, b[0].errors.accuracy);
  EXPECT_TRUE(std::isfinite(b[1].errors.log_loss));
  EXPECT_LT(b[2].errors.log_loss, b[0].errors.log_loss);
}

TEST(Baselines, WorkWithFewerRowsThanNeighbors) {
  const Model model = fit(test::textbook_curve(4, 7), {.target = "y"});
  const std::vector<Baseline> b = baselines(model, test::textbook_curve(10, 8));
  EXPECT_NEAR(b[1].errors.rmse, b[0].errors.rmse, 1e-5);
}

}  // namespace
}  // namespace kith
