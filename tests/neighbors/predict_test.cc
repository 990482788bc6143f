#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "neighbors/tables.h"

namespace kith {
namespace {

using test::categories;
using test::error_of;
using test::kBlank;
using test::numbers;
using test::table_of;

const Model& mixed_model() {
  static const Model model = fit(test::mixed(800, 1), {.target = "y"});
  return model;
}

const Model& ring_model() {
  static const Model model = fit(test::ring(800, 1), {.target = "class"});
  return model;
}

TEST(Predict, ComesNearTheTruth) {
  const Table table = test::mixed(300, 2);
  const Prediction p = predict(mixed_model(), table);
  ASSERT_EQ(p.value.size(), 300U);
  EXPECT_TRUE(p.lower.empty());
  EXPECT_TRUE(p.why.empty());
  double squares = 0;
  for (std::size_t i = 0; i < 300; ++i) squares += std::pow(p.value[i] - table.columns[3].number[i], 2) / 300;
  EXPECT_LT(std::sqrt(squares), 0.45);
}

TEST(Predict, IntervalsCoverAndWidenWhereNeighborsDisagree) {
  // Noise grows with x.
  const auto make = [](std::uint64_t seed) {
    test::Random random(seed);
    const std::vector<double> x = random.uniforms(2000, 0, 1);
    std::vector<double> y;
    for (double at : x) y.push_back(at + (0.02 + at * at) * random.normal());
    return table_of({numbers("x", x), numbers("y", y)});
  };
  const Model model = fit(make(3), {.target = "y"});
  const Table table = make(4);
  for (double coverage : {0.8, 0.95}) {
    const Prediction p = predict(model, table, {.interval = coverage});
    double inside = 0, quiet = 0, noisy = 0, quiet_rows = 0, noisy_rows = 0, quiet_inside = 0;
    for (std::size_t i = 0; i < 2000; ++i) {
      const double x = table.columns[0].number[i], y = table.columns[1].number[i];
      const bool in = y >= p.lower[i] && y <= p.upper[i];
      inside += in;
      if (x < 0.3) {
        quiet += p.upper[i] - p.lower[i];
        quiet_rows += 1;
        quiet_inside += in;
      } else if (x > 0.7) {
        noisy += p.upper[i] - p.lower[i];
        noisy_rows += 1;
      }
    }
    EXPECT_NEAR(inside / 2000, coverage, 0.03);
    EXPECT_GT(quiet_inside / quiet_rows, coverage - 0.06);
    EXPECT_GT(noisy / noisy_rows, 3 * quiet / quiet_rows);
  }
}

TEST(Predict, FarFromAllRowsTheIntervalIsWideAndNothingBreaks) {
  const Model model = fit(test::textbook_curve(300, 5), {.target = "y", .scale = Scale::none});
  const Prediction p =
      predict(model, table_of({numbers("x", {2.5, 100, -1e300, 1e300})}), {.interval = 0.9, .why = 2});
  for (std::size_t i = 1; i < 4; ++i) {
    EXPECT_TRUE(std::isfinite(p.value[i]));
    EXPECT_GT(p.upper[i] - p.lower[i], 1.5 * (p.upper[0] - p.lower[0]));
    EXPECT_NEAR(p.why[i][0].weight, 1, 0.2);
  }
}

TEST(Predict, WhyNamesTheRowsThatMadeThePrediction) {
  const Model& model = mixed_model();
  const Table table = test::mixed(20, 6), stored = test::mixed(800, 1);
  const Prediction all = predict(model, table, {.why = 1000});
  for (std::size_t i = 0; i < 20; ++i) {
    ASSERT_EQ(all.why[i].size(), 800U);
    double weights = 0, mean = 0;
    for (std::size_t k = 0; k < 800; ++k) {
      const Neighbor& neighbor = all.why[i][k];
      const double target = stored.columns[3].number[neighbor.row - 1];
      weights += neighbor.weight;
      mean += neighbor.weight * target;
      EXPECT_EQ(std::stod(neighbor.target), target);
      EXPECT_LE(neighbor.weight, all.why[i][k > 0 ? k - 1 : 0].weight);
    }
    EXPECT_NEAR(weights, 1, 1e-4);
    EXPECT_NEAR(mean, all.value[i], 1e-4);
    // Weights fall as the distance, the root of the columns' squares, grows.
    const auto square = [](const Neighbor& n) {
      double sum = 0;
      for (double d : n.apart) sum += d * d;
      return sum;
    };
    const Neighbor &first = all.why[i][0], &later = all.why[i][9];
    ASSERT_EQ(first.apart.size(), 3U);
    EXPECT_NEAR(std::log(first.weight / later.weight), (square(later) - square(first)) / 2, 1e-2);
  }
  EXPECT_EQ(predict(model, table, {.why = 3}).why[0].size(), 3U);
}

TEST(Predict, AStoredRowIsItsOwnNearest) {
  const Table stored = test::mixed(800, 1);
  const Prediction p = predict(mixed_model(), stored, {.why = 1});
  for (std::size_t i = 0; i < 800; i += 50) {
    for (double d : p.why[i][0].apart) EXPECT_NEAR(d, 0, 1e-6);
  }
}

TEST(Predict, ColumnsMayComeInAnyOrderWithOthersBetween) {
  Table table = test::mixed(50, 7);
  const Prediction before = predict(mixed_model(), table);
  std::reverse(table.columns.begin(), table.columns.end());
  table.columns.insert(table.columns.begin(), numbers("extra", std::vector<double>(50, 1.0)));
  EXPECT_EQ(predict(mixed_model(), table).value, before.value);
}

TEST(Predict, LevelsAreMatchedByNameNotByCode) {
  const Table table =
      table_of({numbers("a", {0, 0}), categories("b", {"blue", "red"}), numbers("c", {0, 0})});
  const Prediction p = predict(mixed_model(), table);
  EXPECT_NEAR(p.value[0], 2, 0.3);
  EXPECT_NEAR(p.value[1], 0, 0.3);
}

TEST(Predict, UnseenCategoriesAndNewBlanksAreCounted) {
  const Table table = table_of(
      {numbers("a", {0, 1, 2}), categories("b", {"violet", "red", "pink"}), numbers("c", {0, kBlank, 0})});
  const Prediction p = predict(mixed_model(), table);
  ASSERT_EQ(p.notes.size(), 2U);
  EXPECT_EQ(p.notes[0], "column 'b': 2 cells hold a category not seen in fitting");
  EXPECT_EQ(p.notes[1], "column 'c': 1 cell is blank, as none was in fitting");
  for (double value : p.value) EXPECT_TRUE(std::isfinite(value));
  // Between red (0), green (1) and blue (2), none of which it is nearer to.
  EXPECT_NEAR(p.value[0], 1, 0.5);
}

TEST(Predict, RefusesAMissingColumnAndOneOfTheOtherKind) {
  EXPECT_EQ(error_of([] { predict(mixed_model(), table_of({numbers("a", {1})})); }),
            "table.csv: there is no column 'b', which the model needs");
  EXPECT_EQ(error_of([] {
              predict(mixed_model(), table_of({categories("a", {"", "x"}), categories("b", {"red", "red"}),
                                               numbers("c", {1, 2})}));
            }),
            "table.csv: column 'a' holds categories such as 'x', the model was fitted on numbers");
  const std::string text = error_of([] {
    predict(mixed_model(), table_of({numbers("a", {1}), numbers("b", {7}), numbers("c", {1})}));
  });
  EXPECT_EQ(text.substr(0, 80),
            "table.csv: column 'b' holds numbers, the model was fitted on categories such as ");
  EXPECT_EQ(error_of([] {
              predict(mixed_model(),
                      table_of({numbers("a", {HUGE_VAL}), categories("b", {"red"}), numbers("c", {1})}));
            }),
            "table.csv: column 'a', row 1: the number is infinite; only finite numbers can be compared");
}

TEST(Predict, AColumnWithoutAnyFilledCellHasNoKind) {
  const Prediction p =
      predict(mixed_model(),
              table_of({categories("a", {"", ""}), numbers("b", {kBlank, kBlank}), numbers("c", {1, 2})}));
  EXPECT_TRUE(std::isfinite(p.value[0]));
}

TEST(Predict, RefusesOptionsThatMakeNoSense) {
  const Table table = test::mixed(5, 8);
  EXPECT_EQ(error_of([&] { predict(mixed_model(), table, {.interval = 1.0}); }),
            "interval: 1 is not a coverage between 0 and 1, such as 0.9");
  EXPECT_EQ(error_of([&] { predict(mixed_model(), table, {.why = -1}); }),
            "why: -1 rows; a number from 0 is needed");
  EXPECT_EQ(error_of([&] { predict(ring_model(), test::ring(5, 1), {.interval = 0.9}); }),
            "interval: the model predicts classes; their probabilities say how sure it is");
}

TEST(Predict, SaysWhenRowsAreTooFewForAnInterval) {
  const Model model = fit(test::textbook_curve(20, 9), {.target = "y"});
  const Prediction p = predict(model, test::textbook_curve(3, 10), {.interval = 0.99});
  ASSERT_EQ(p.notes.size(), 1U);
  EXPECT_EQ(p.notes[0],
            "20 rows are too few to tell an interval of 0.99: it is as wide as the largest errors");
}

TEST(Predict, ProbabilitiesSumToOneAndAreNeverZero) {
  const Table table = test::ring(100, 11);
  const Prediction p = predict(ring_model(), table, {.why = 2});
  ASSERT_EQ(p.probability.shape(), (Shape<2>{100, 2}));
  for (Index i = 0; i < 100; ++i) {
    EXPECT_NEAR(p.probability(i, 0) + p.probability(i, 1), 1, 1e-6);
    EXPECT_GT(std::min(p.probability(i, 0), p.probability(i, 1)), 0);
    EXPECT_EQ(p.label[static_cast<std::size_t>(i)], p.probability(i, 1) > p.probability(i, 0) ? 1U : 0U);
  }
  EXPECT_TRUE(p.value.empty());
  EXPECT_TRUE(p.why[0][0].target == "in" || p.why[0][0].target == "out");
}

TEST(Predict, AnEmptyTableGivesAnEmptyPrediction) {
  const Prediction p =
      predict(mixed_model(), table_of({numbers("a", {}), categories("b", {}), numbers("c", {})}),
              {.interval = 0.9, .why = 2});
  EXPECT_TRUE(p.value.empty());
  EXPECT_TRUE(p.why.empty());
}

TEST(Predict, RowsDoNotDependOnTheirCompanyOrOnThreads) {
  const Table table = test::mixed(100, 12);
  const Prediction all = predict(mixed_model(), table, {.interval = 0.9, .threads = 1});
  const Prediction again = predict(mixed_model(), table, {.interval = 0.9, .threads = 3});
  EXPECT_EQ(all.value, again.value);
  EXPECT_EQ(all.upper, again.upper);
  Table one = test::mixed(100, 12);
  one.rows = 1;
  for (Column& column : one.columns) {
    if (column.numeric()) {
      column.number = {column.number[60]};
    } else {
      column.code = {column.code[60]};
    }
  }
  EXPECT_EQ(predict(mixed_model(), one).value[0], all.value[60]);
}

}  // namespace
}  // namespace kith
