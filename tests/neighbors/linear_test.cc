#include "neighbors/linear.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kith/neighbors.h"
#include "neighbors/tables.h"

namespace kith::neighbors {
namespace {

struct Problem {
  Array<float, 2> key, value;
  std::vector<double> frequency;
  Array<double, 2> matrix;

  Rows rows() const { return {key.view(), value.view()}; }
};

/// Three coordinates; the target follows the sum of the first two.
Problem make(Index n, Index classes, Index rank) {
  test::Random random(5);
  Problem p;
  p.key = Array<float, 2>({n, 3});
  for (float& x : p.key) x = static_cast<float>(random.normal());
  p.value = Array<float, 2>({n, std::max<Index>(1, classes)});
  p.frequency.assign(static_cast<std::size_t>(classes), 1 / static_cast<double>(std::max<Index>(1, classes)));
  for (Index i = 0; i < n; ++i) {
    const float sum = p.key(i, 0) + p.key(i, 1);
    if (classes == 0) {
      p.value(i, 0) = std::sin(2 * sum);
    } else {
      p.value(i, static_cast<Index>(std::abs(2 * sum)) % classes) = 1;
    }
  }
  p.matrix = Array<double, 2>({3, rank});
  for (double& a : p.matrix) a = random.normal();
  return p;
}

double loss_at(const Problem& p, const Array<double, 2>& matrix, double log_weight) {
  const Array<float, 2> key = project(p.key, matrix);
  KeyLoss loss(Gaussian{}, p.frequency, 1);
  return loss.evaluate(key, p.value, key, p.value, 0, log_weight, false).loss.mean;
}

class LinearTest : public testing::TestWithParam<std::pair<Index, Index>> {};
INSTANTIATE_TEST_SUITE_P(ClassesAndRank, LinearTest,
                         testing::Values(std::pair<Index, Index>{0, 3}, std::pair<Index, Index>{0, 2},
                                         std::pair<Index, Index>{3, 3}));

TEST_P(LinearTest, TheMatrixHasTheGradientOfFiniteDifferences) {
  const auto [classes, rank] = GetParam();
  const Problem p = make(200, classes, rank);
  KeyLoss loss(Gaussian{}, p.frequency, 2);
  constexpr double kLogWeight = -1;
  const KeyLoss::Value found = loss.evaluate(p.key, p.value, p.key, p.value, 0, kLogWeight, true, p.matrix);
  EXPECT_NEAR(found.loss.mean, loss_at(p, p.matrix, kLogWeight), 1e-5);
  for (Index a = 0; a < p.matrix.size(); ++a) {
    constexpr double kStep = 1e-3;
    Array<double, 2> up = p.matrix, down = p.matrix;
    up.data()[a] += kStep;
    down.data()[a] -= kStep;
    const double slope = (loss_at(p, up, kLogWeight) - loss_at(p, down, kLogWeight)) / (2 * kStep);
    EXPECT_NEAR(found.by_row.metric.data()[a], slope, 2e-4 + 5e-3 * std::fabs(slope)) << a;
  }
}

/// y = sin(3 (a + b)): no column alone says anything.
Table ridge(std::size_t rows, std::uint64_t seed) {
  test::Random random(seed);
  const std::vector<double> a = random.normals(rows), b = random.normals(rows);
  std::vector<double> y;
  for (std::size_t i = 0; i < rows; ++i) y.push_back(std::sin(3 * (a[i] + b[i])) + 0.05 * random.normal());
  return test::table_of({test::numbers("a", a), test::numbers("b", b), test::numbers("y", y)});
}

TEST(Linear, FindsADirectionThatNoColumnIs) {
  const Table table = ridge(600, 1), fresh = ridge(400, 2);
  const auto error = [&](Metric metric) {
    const Model model = fit(table, {.target = "y", .metric = metric, .scale = Scale::standard});
    return std::pair{model.leave_one_out().rmse, score(model, fresh).errors.rmse};
  };
  const auto diagonal = error(Metric::diagonal), linear = error(Metric::linear);
  EXPECT_LT(linear.first, 0.6 * diagonal.first);
  EXPECT_LT(linear.second, 0.6 * diagonal.second);
}

TEST(Linear, IsNoWorseWhereThereIsNoDirection) {
  for (const Table& table : {test::mixed(500, 1), test::ring(500, 1)}) {
    const auto error = [&](Metric metric) {
      const Model model = fit(table, {.target = table.columns.back().name, .metric = metric});
      const Errors& e = model.leave_one_out();
      return e.rmse + e.log_loss;
    };
    EXPECT_LT(error(Metric::linear), 1.02 * error(Metric::diagonal));
  }
}

TEST(Linear, AFitThatIsStoppedKeepsTheBandwidths) {
  const Table table = ridge(300, 3);
  int steps = 0;
  FitOptions options{.target = "y", .metric = Metric::linear};
  options.progress = [&](const FitProgress&) { return ++steps < 3; };
  const Model model = fit(table, options);
  EXPECT_TRUE(model.stopped_early());
  EXPECT_EQ(model.metric(), Metric::diagonal);
  EXPECT_EQ(predict(model, table).value.size(), 300U);
}

/// The parts of a distance, one a column, need not add up to it, since directions may cancel; but a row that
/// differs in one column alone is as far as that column says.
TEST(Linear, WhyTellsColumnsApart) {
  const Table table = ridge(300, 4);
  const Model model = fit(table, {.target = "y", .metric = Metric::linear});
  Table moved = table;
  for (double& b : moved.columns[1].number) b += 0.25;
  const Prediction p = predict(model, moved, {.why = 300});
  const Prediction same = predict(model, table, {.why = 1});
  for (std::size_t i = 0; i < 20; ++i) {
    EXPECT_EQ(same.why[i][0].row, i + 1);
    const auto own =
        std::find_if(p.why[i].begin(), p.why[i].end(), [&](const Neighbor& n) { return n.row == i + 1; });
    ASSERT_NE(own, p.why[i].end());
    EXPECT_EQ(own->apart[0], 0);
    EXPECT_GT(own->apart[1], 0);
    // Its weight against the row's own place, where it is 1 before dividing.
    const double heaviest = p.why[i][0].weight;
    double nearest = 0;
    for (const double d : p.why[i][0].apart) nearest += d;
    EXPECT_LE(own->weight, heaviest * 1.0001) << nearest;
  }
}

}  // namespace
}  // namespace kith::neighbors
