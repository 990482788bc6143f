#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "array/temporary_folder.h"
#include "kith/attention.h"
#include "neighbors/tables.h"

namespace kith {
namespace {

using test::categories;
using test::error_of;
using test::kBlank;
using test::numbers;
using test::table_of;

std::string saved(const Model& model) {
  const TemporaryFolder folder;
  model.save(folder.file("model.kith"));
  return read_file(folder.file("model.kith"));
}

bool mentions(const std::vector<std::string>& notes, const std::string& what) {
  return std::any_of(notes.begin(), notes.end(),
                     [&](const std::string& note) { return note.find(what) != std::string::npos; });
}

/// Mean squared leave-one-out error of a Gaussian smoother at one bandwidth in x's own units.
double leave_one_out(const Table& table, double h) {
  const auto n = static_cast<Index>(table.rows);
  Array<float, 2> x({n, 1}), y({n, 1});
  for (Index i = 0; i < n; ++i) {
    x(i, 0) = static_cast<float>(table.columns[0].number[static_cast<std::size_t>(i)]);
    y(i, 0) = static_cast<float>(table.columns[1].number[static_cast<std::size_t>(i)]);
  }
  const AttentionResult r = attend(x, x, y, {.similarity = Gaussian{.bandwidth = h}, .mask = exclude_self()});
  double sum = 0;
  for (Index i = 0; i < n; ++i) {
    const double error = static_cast<double>(r.out(0, 0, i, 0)) - static_cast<double>(y(i, 0));
    sum += error * error / static_cast<double>(n);
  }
  return sum;
}

TEST(Fit, LearnsABetterWidthThanOneForTheTextbookCurve) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    const Table table = test::textbook_curve(50, seed);
    const Model model = fit(table, {.target = "y", .scale = Scale::none});
    const double h = model.features()[0].bandwidth;
    EXPECT_LT(leave_one_out(table, h), leave_one_out(table, 1));
    EXPECT_NEAR(std::pow(model.leave_one_out().rmse, 2), leave_one_out(table, h), 1e-5);
    // The optimum of the loss on a fine grid is not far below.
    double best = 1e300;
    for (double l = -3; l < 1; l += 0.02) best = std::min(best, leave_one_out(table, std::exp(l)));
    EXPECT_LT(leave_one_out(table, h), 1.01 * best);
  }
}

TEST(Fit, GivesTheSameBitsOnAnyNumberOfThreads) {
  for (const Table& table : {test::mixed(700, 4), test::ring(600, 4)}) {
    const std::string target = table.columns.back().name;
    const std::string one = saved(fit(table, {.target = target, .seed = 3, .threads = 1}));
    EXPECT_EQ(one, saved(fit(table, {.target = target, .seed = 3, .threads = 1})));
    EXPECT_EQ(one, saved(fit(table, {.target = target, .seed = 3, .threads = 2})));
    EXPECT_EQ(one, saved(fit(table, {.target = target, .seed = 3, .threads = 3})));
    EXPECT_NE(one, saved(fit(table, {.target = target, .seed = 4, .threads = 1})));
    const auto linear = [&](int threads) {
      return saved(fit(table, {.target = target, .metric = Metric::linear, .threads = threads}));
    };
    EXPECT_EQ(linear(1), linear(3));
  }
}

TEST(Fit, IgnoresAUselessColumnAndSaysSo) {
  const Model model = fit(test::mixed(1500, 5), {.target = "y"});
  ASSERT_EQ(model.features().size(), 3U);
  EXPECT_TRUE(std::isfinite(model.features()[0].bandwidth));
  EXPECT_TRUE(std::isfinite(model.features()[1].bandwidth));
  EXPECT_TRUE(std::isinf(model.features()[2].bandwidth));
  EXPECT_EQ(model.features()[2].importance, 0);
  EXPECT_NEAR(model.features()[0].importance + model.features()[1].importance, 1, 1e-12);
  EXPECT_TRUE(mentions(model.notes(), "column 'c' is ignored: predictions are no better with it"));
}

TEST(Fit, DiagonalIsBetterThanScalarWhereColumnsDiffer) {
  const Table table = test::mixed(1000, 6);
  const Model scalar = fit(table, {.target = "y", .metric = Metric::scalar});
  const Model diagonal = fit(table, {.target = "y"});
  EXPECT_LT(diagonal.leave_one_out().rmse, 0.9 * scalar.leave_one_out().rmse);
  EXPECT_EQ(scalar.features()[0].bandwidth, scalar.features()[2].bandwidth);
  EXPECT_GT(diagonal.effective_neighbors(), 1);
  EXPECT_LT(diagonal.effective_neighbors(), 1000);
}

TEST(Fit, LearnsClasses) {
  const Model model = fit(test::ring(1000, 7), {.target = "class"});
  EXPECT_EQ(model.task(), Task::classification);
  EXPECT_EQ(model.classes(), (std::vector<std::string>{"in", "out"}));
  // A tenth of the labels are flipped: 0.9 and the entropy 0.325 are the best there is.
  EXPECT_GT(model.leave_one_out().accuracy, 0.84);
  EXPECT_LT(model.leave_one_out().log_loss, 0.45);
  const Model scalar = fit(test::ring(1000, 7), {.target = "class", .metric = Metric::scalar});
  EXPECT_GT(scalar.leave_one_out().accuracy, 0.84);
}

TEST(Fit, TakesNumbersAsClassesWhenTold) {
  test::Random random(8);
  std::vector<double> x = random.normals(300), y;
  for (double v : x) y.push_back(v > 0 ? 10 : 2);
  const Table table = table_of({numbers("x", x), numbers("y", y)});
  const Model model = fit(table, {.target = "y", .task = Task::classification});
  EXPECT_EQ(model.classes(), (std::vector<std::string>{"2", "10"}));
  EXPECT_GT(score(model, table).errors.accuracy, 0.97);
  EXPECT_EQ(model.csv_options(true).numeric, (std::vector<std::string>{"x", "y"}));
}

TEST(Fit, LeavesOutRowsWithABlankTarget) {
  Table table = test::mixed(300, 9);
  table.columns[3].number[0] = table.columns[3].number[7] = kBlank;
  const Model model = fit(table, {.target = "y"});
  EXPECT_EQ(model.rows(), 298U);
  EXPECT_EQ(model.table_row(1), 2U);
  EXPECT_EQ(model.table_row(7), 9U);
  EXPECT_TRUE(mentions(model.notes(), "2 rows left out: the target 'y' is blank there"));
}

TEST(Fit, IgnoresColumnsThatTellNothingApart) {
  test::Random random(10);
  const std::vector<double> x = random.normals(40);
  std::vector<std::string> id;
  for (int i = 0; i < 40; ++i) id.push_back("row" + std::to_string(i));
  const Table table =
      table_of({numbers("x", x), numbers("y", x), numbers("constant", std::vector<double>(40, 1.0)),
                numbers("blank", std::vector<double>(40, kBlank)), categories("id", id)});
  const Model model = fit(table, {.target = "y"});
  EXPECT_TRUE(mentions(model.notes(), "column 'constant' is ignored: every cell is the same"));
  EXPECT_TRUE(mentions(model.notes(), "column 'blank' is ignored: every cell is blank"));
  EXPECT_TRUE(mentions(model.notes(), "column 'id' is ignored: every cell is different"));
  EXPECT_EQ(model.csv_options(false).only, std::vector<std::string>{"x"});
  EXPECT_EQ(model.cell(3, 3), "row2");
}

TEST(Fit, RefusesATargetItCannotLearn) {
  const Table table = table_of({numbers("x", {1, 2, 3}), numbers("same", {5, kBlank, 5}),
                                numbers("blank", {kBlank, kBlank, kBlank}),
                                categories("word", {"a", "b", "a"}), numbers("huge", {1e200, 0, 1})});
  EXPECT_EQ(
      error_of([&] { fit(table, {.target = "z"}); }),
      "table.csv: target 'z': the table has no such column; its columns are x, same, blank, word, huge");
  EXPECT_EQ(error_of([&] { fit(table, {.target = "same"}); }),
            "table.csv: target 'same': every filled cell is '5'; there is nothing to learn from a constant");
  EXPECT_EQ(error_of([&] { fit(table, {.target = "blank"}); }),
            "table.csv: target 'blank': every cell is blank; rows to learn from need a filled one");
  EXPECT_EQ(error_of([&] { fit(table, {.target = "word", .task = Task::regression}); }),
            "table.csv: target 'word': regression needs numbers, the column holds categories such as 'a'");
  EXPECT_EQ(error_of([&] { fit(table, {.target = "huge"}); }),
            "table.csv: target 'huge', row 1: 1e+200 is too large to be averaged; numbers up to 1e150 are");
}

TEST(Fit, RefusesTooManyClasses) {
  std::vector<std::string> name;
  std::vector<double> x;
  for (int i = 0; i < 1200; ++i) {
    name.push_back(std::to_string(i));
    x.push_back(i);
  }
  EXPECT_EQ(error_of([&] {
              fit(table_of({numbers("x", x), categories("id", name)}), {.target = "id"});
            }),
            "table.csv: target 'id': 1200 different classes, at most 1000 can be told apart");
}

TEST(Fit, RefusesATableWithNothingToPredictFrom) {
  const std::string expected =
      "target 'y': no other column tells rows apart, and a prediction needs at least one";
  EXPECT_EQ(error_of([] { fit(table_of({numbers("y", {1, 2, 3})}), {.target = "y"}); }), expected);
  EXPECT_EQ(error_of([] {
              fit(table_of({numbers("x", {1, 1, 1}), numbers("y", {1, 2, 3})}), {.target = "y"});
            }),
            expected);
}

TEST(Fit, RefusesInfinities) {
  const Table table = table_of({numbers("x", {1, HUGE_VAL, 3}), numbers("y", {1, 2, 3})});
  EXPECT_EQ(error_of([&] { fit(table, {.target = "y"}); }),
            "table.csv: column 'x', row 2: the number is infinite; only finite numbers can be compared");
}

TEST(Fit, WorksFromTwoRowsOn) {
  for (std::size_t n = 2; n <= 10; ++n) {
    const Table table = test::textbook_curve(n, 11);
    const Model model = fit(table, {.target = "y"});
    const Prediction p = predict(model, table, {.interval = 0.9});
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_TRUE(std::isfinite(p.value[i]) && std::isfinite(p.lower[i]) && std::isfinite(p.upper[i]));
    }
  }
}

TEST(Fit, EveryScaleLearnsTheCurve) {
  for (Scale scale : {Scale::quantile, Scale::standard, Scale::none}) {
    const Model model = fit(test::textbook_curve(500, 12), {.target = "y", .scale = scale});
    EXPECT_LT(model.leave_one_out().rmse, 0.55) << name(scale);
    EXPECT_EQ(model.scale(), scale);
  }
}

TEST(Fit, WithoutScalingColumnsOfAnyUnitAreLearned) {
  Table table = test::mixed(800, 13);
  for (double& x : table.columns[0].number) x = 1e6 + 1e-3 * x;
  const Model model = fit(table, {.target = "y", .scale = Scale::none});
  EXPECT_LT(model.leave_one_out().rmse, 0.4);
  EXPECT_LT(model.features()[0].bandwidth, 1e-2);
}

TEST(Fit, StopsWhereTheCallerAsks) {
  const Table table = test::mixed(600, 14);
  for (int stop_at : {1, 5, 17, 20}) {
    int steps = 0;
    FitOptions options{.target = "y"};
    options.progress = [&](const FitProgress& p) {
      EXPECT_EQ(p.step, ++steps);
      EXPECT_LE(p.step, p.steps);
      EXPECT_TRUE(std::isfinite(p.loss));
      return p.step < stop_at;
    };
    const Model model = fit(table, options);
    EXPECT_EQ(steps, stop_at);
    EXPECT_TRUE(model.stopped_early());
    EXPECT_LT(model.leave_one_out().rmse, 1.5);
  }
  EXPECT_FALSE(fit(table, {.target = "y"}).stopped_early());
}

TEST(Fit, AValidationTableGuidesButIsNotStored) {
  const Table train = test::mixed(400, 15), validation = test::mixed(200, 16);
  FitOptions options{.target = "y"};
  options.validation = &validation;
  const Model model = fit(train, options);
  EXPECT_EQ(model.rows(), 400U);
  Table wrong = table_of({numbers("a", {1, 2}), numbers("y", {1, 2})});
  options.validation = &wrong;
  EXPECT_EQ(error_of([&] { fit(train, options); }),
            "table.csv: there is no column 'b', which the model needs");
  Table blank = validation;
  blank.columns[3].number.assign(200, kBlank);
  options.validation = &blank;
  EXPECT_EQ(error_of([&] { fit(train, options); }),
            "validation: no row has a target 'y' that fitting has seen");
}

}  // namespace
}  // namespace kith
