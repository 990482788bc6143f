#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kith/neighbors.h"
#include "neighbors/tables.h"

namespace kith {
namespace {

TEST(CrossValidate, TellsTheErrorOnNewRows) {
  const Table table = test::mixed(600, 1), fresh = test::mixed(3000, 2);
  const FitOptions options{.target = "y"};
  const CrossValidation found = cross_validate(table, options, 5);
  ASSERT_EQ(found.fold.size(), 5U);
  const double truth = score(fit(table, options), fresh).errors.rmse;
  // A fold's fit has a fifth of the rows less.
  EXPECT_GT(found.mean.rmse, 0.9 * truth);
  EXPECT_LT(found.mean.rmse, 1.3 * truth);
  double sum = 0, squares = 0;
  for (const Errors& e : found.fold) sum += e.rmse / 5;
  for (const Errors& e : found.fold) squares += (e.rmse - sum) * (e.rmse - sum);
  EXPECT_DOUBLE_EQ(found.mean.rmse, sum);
  EXPECT_DOUBLE_EQ(found.deviation.rmse, std::sqrt(squares / 4));
  EXPECT_GT(found.deviation.rmse, 0);
  EXPECT_EQ(found.mean.interval, 0.9);
  EXPECT_EQ(found.deviation.interval, 0);
}

/// A row that is there twice is known to the fit unless both are left out together; noise is not.
TEST(CrossValidate, ARowIsNotInTheFitThatPredictsIt) {
  test::Random random(3);
  const Table noise =
      test::table_of({test::numbers("x", random.normals(200)), test::numbers("y", random.normals(200))});
  EXPECT_LT(cross_validate(noise, {.target = "y"}, 4).mean.r2, 0.1);
}

TEST(CrossValidate, ClassesAndBlankTargets) {
  Table table = test::ring(400, 4);
  table.columns[2].code[7] = Column::kMissing;
  const CrossValidation found = cross_validate(table, {.target = "class", .seed = 2}, 3);
  ASSERT_EQ(found.fold.size(), 3U);
  EXPECT_GT(found.mean.accuracy, 0.8);
  EXPECT_NE(cross_validate(table, {.target = "class", .seed = 3}, 3).mean.log_loss, found.mean.log_loss);
  EXPECT_EQ(cross_validate(table, {.target = "class", .seed = 2, .threads = 2}, 3).mean.log_loss,
            found.mean.log_loss);
}

TEST(CrossValidate, LeaveOneOutIsOneFoldARow) {
  const Table table = test::mixed(12, 5);
  EXPECT_EQ(cross_validate(table, {.target = "y"}, 12).fold.size(), 12U);
  EXPECT_EQ(test::error_of([&] { cross_validate(table, {.target = "y"}, 13); }),
            "folds: 13; a number from 2 to the 12 rows with a target is needed");
  EXPECT_EQ(test::error_of([&] { cross_validate(table, {.target = "y"}, 1); }),
            "folds: 1; a number from 2 to the 12 rows with a target is needed");
}

TEST(CrossValidate, StopsWhereTheCallerAsks) {
  int steps = 0;
  FitOptions options{.target = "y"};
  options.progress = [&](const FitProgress&) { return ++steps < 100; };
  EXPECT_LT(cross_validate(test::mixed(300, 6), options, 5).fold.size(), 5U);
}

TEST(TimeLimit, KeepsTheBestSoFarAndSaysSo) {
  const Table table = test::mixed(900, 7);
  for (const Metric metric :
       {Metric::scalar, Metric::diagonal, Metric::linear, Metric::encoder, Metric::automatic}) {
    const Model model = fit(table, {.target = "y", .metric = metric, .time_limit = 1e-6});
    EXPECT_FALSE(model.stopped_early());
    EXPECT_TRUE(std::any_of(model.notes().begin(), model.notes().end(), [](const std::string& note) {
      return note == "the time limit of 1e-06 s ended the search: the metric is the best so far";
    }));
    EXPECT_LT(score(model, table).errors.rmse, 1.1);
  }
  EXPECT_EQ(test::error_of([&] { fit(table, {.target = "y", .time_limit = -1}); }),
            "time_limit: -1 s; a number from 0 is needed, 0 for none");
}

}  // namespace
}  // namespace kith
