#include <gtest/gtest.h>

#include <cmath>

#include "neighbors/tables.h"

namespace kith {
namespace {

using test::categories;
using test::error_of;
using test::kBlank;
using test::numbers;
using test::table_of;

TEST(Score, IsTheErrorOfPredict) {
  const Model model = fit(test::mixed(600, 1), {.target = "y"});
  Table table = test::mixed(400, 2);
  table.columns[3].number[3] = kBlank;
  const Score s = score(model, table, 0.8);
  EXPECT_EQ(s.rows, 399U);
  EXPECT_EQ(s.rows_left_out, 1U);
  const Prediction p = predict(model, table, {.interval = 0.8});
  double squares = 0, inside = 0;
  for (std::size_t i = 0; i < 400; ++i) {
    const double y = table.columns[3].number[i];
    if (std::isnan(y)) continue;
    squares += (p.value[i] - y) * (p.value[i] - y) / 399;
    inside += y >= p.lower[i] && y <= p.upper[i] ? 1.0 / 399 : 0;
  }
  EXPECT_NEAR(s.errors.rmse, std::sqrt(squares), 1e-9);
  EXPECT_NEAR(s.errors.coverage, inside, 1e-9);
  EXPECT_NEAR(s.errors.coverage, 0.8, 0.07);
  EXPECT_EQ(s.errors.interval, 0.8);
  EXPECT_GT(s.errors.crps, 0);
  EXPECT_LT(s.errors.crps, s.errors.mae);
  EXPECT_NEAR(s.errors.rmse, model.leave_one_out().rmse, 0.1);
}

TEST(Score, OfClasses) {
  const Model model = fit(test::ring(800, 3), {.target = "class"});
  const Score s = score(model, test::ring(800, 4));
  EXPECT_GT(s.errors.accuracy, 0.84);
  EXPECT_GT(s.errors.auc, 0.85);
  EXPECT_LT(s.errors.log_loss, 0.45);
  EXPECT_LT(s.errors.brier, 0.13);
}

TEST(Score, RefusesATableWithoutTheTarget) {
  const Model model = fit(test::mixed(100, 5), {.target = "y"});
  Table table = test::mixed(10, 6);
  table.columns[3].number.assign(10, kBlank);
  EXPECT_EQ(error_of([&] { score(model, table); }),
            "table.csv: target 'y': no row to score, every cell is blank");
  table.columns[3] = categories("y", std::vector<std::string>(10, "high"));
  EXPECT_EQ(error_of([&] { score(model, table); }),
            "table.csv: target 'y': the model was fitted on numbers, the table holds categories");
  table.columns.pop_back();
  EXPECT_EQ(error_of([&] { score(model, table); }),
            "table.csv: target 'y': the table has no such column; its columns are a, b, c");
  EXPECT_EQ(error_of([&] { score(model, test::mixed(10, 6), 0); }),
            "interval: 0 is not a coverage between 0 and 1, such as 0.9");
}

}  // namespace
}  // namespace kith
