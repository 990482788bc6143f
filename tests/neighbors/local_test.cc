// Fits, their errors and bandwidths, against plain sums.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "neighbors/local_kernel.h"
#include "neighbors/local_objective.h"
#include "neighbors/local_plain.h"

namespace kith {
namespace {

using namespace test;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Way {
  int degree;
  bool textbook;
};
class LocalFit : public testing::TestWithParam<Way> {
 protected:
  const Data data = mixed_data(50, 4);
  RegressionOptions options{.degree = GetParam().degree, .kernel = mixed_kernel(GetParam().textbook)};
};
INSTANTIATE_TEST_SUITE_P(Ways, LocalFit,
                         testing::Values(Way{0, false}, Way{0, true}, Way{1, false}, Way{1, true}));

TEST_P(LocalFit, MeansEffectsAndErrorsAreThePlainOnes) {
  for (const bool equal : {false, true}) {
    options.equal_noise = equal;
    const Plain plain{data, options};
    const KernelRegression model(data.x, data.target(), options);

    // The hat matrix, its trace, the noise.
    double trace = 0, room = 0, squares = 0;
    std::vector<double> variance;
    for (Index i = 0; i < data.rows(); ++i) {
      const std::vector<double> hat = plain.influence(plain.row(i), 0);
      const double own = hat[static_cast<std::size_t>(i)];
      double length = 0, fitted = 0;
      for (std::size_t j = 0; j < hat.size(); ++j) {
        length += hat[j] * hat[j];
        fitted += hat[j] * data.y[j];
      }
      const double error = data.y[static_cast<std::size_t>(i)] - fitted;
      trace += own;
      room += 1 - 2 * own + length;
      squares += error * error;
      variance.push_back(error * error / (1 - 2 * own + length));
    }
    EXPECT_NEAR(model.trace(), trace, 1e-10 * trace);
    EXPECT_NEAR(model.noise(), squares / room, 1e-9 * squares / room);
    if (equal) std::fill(variance.begin(), variance.end(), squares / room);

    const Array<double, 2> q = queries();
    const RegressionFit fit = model.fit(q);
    for (Index i = 0; i < q.shape()[0]; ++i) {
      const std::vector<double> at(q.data() + 4 * i, q.data() + 4 * i + 4);
      const std::vector<double> line = plain.line(at, data.y);
      const auto error_of = [&](const std::vector<double>& influence) {
        double sum = 0;
        for (std::size_t j = 0; j < influence.size(); ++j) sum += influence[j] * influence[j] * variance[j];
        return std::sqrt(sum);
      };
      const double error = error_of(plain.influence(at, 0));
      EXPECT_NEAR(fit.mean[static_cast<std::size_t>(i)], line[0], 1e-10);
      EXPECT_NEAR(fit.standard_error[static_cast<std::size_t>(i)], error, 1e-9 * error);
      double count = 0;
      for (const double w : plain.weights(at)) count += w * w;
      EXPECT_NEAR(fit.effective_neighbors[static_cast<std::size_t>(i)], 1 / count, 1e-9 / count);
      const std::vector<std::size_t> used = plain.slopes();
      for (std::size_t a = 0; a < used.size(); ++a) {
        const auto c = static_cast<Index>(used[a]);
        const double slope_error = error_of(plain.influence(at, a + 1));
        EXPECT_NEAR(fit.effect(i, c), line[a + 1], 1e-9);
        EXPECT_NEAR(fit.effect_error(i, c), slope_error, 1e-8 * slope_error);
      }
      if (GetParam().degree == 1) {
        EXPECT_TRUE(std::isnan(fit.effect(i, 3)));
        continue;
      }
      for (Index c = 0; c < 2; ++c) {
        // An average's derivative, and that of each row's weight.
        const double step = 1e-4;
        std::vector<double> up = at, down = at;
        up[static_cast<std::size_t>(c)] += step;
        down[static_cast<std::size_t>(c)] -= step;
        std::vector<double> by_row = plain.influence(up, 0);
        const std::vector<double> lower = plain.influence(down, 0);
        for (std::size_t j = 0; j < by_row.size(); ++j) by_row[j] = (by_row[j] - lower[j]) / (2 * step);
        const double slope = (plain.line(up, data.y)[0] - plain.line(down, data.y)[0]) / (2 * step);
        EXPECT_NEAR(fit.effect(i, c), slope, 1e-7);
        EXPECT_NEAR(fit.effect_error(i, c), error_of(by_row), 1e-6 * error_of(by_row));
      }
      EXPECT_TRUE(std::isnan(fit.effect(i, 2)) && std::isnan(fit.effect(i, 3)));
    }
  }
}

TEST_P(LocalFit, CriteriaAndLeaveOneOutAreThePlainOnes) {
  for (const Selection selection : {Selection::leave_one_out, Selection::corrected_aic}) {
    options.selection = selection;
    const Plain plain{data, options};
    const KernelRegression model(data.x, data.target(), options);
    const std::vector<double> without = model.leave_one_out();
    const auto n = static_cast<double>(data.rows());
    double squares = 0, left_out = 0, trace = 0;
    for (Index i = 0; i < data.rows(); ++i) {
      const double y = data.y[static_cast<std::size_t>(i)];
      const double plain_without = plain.line(plain.row(i), data.y, i)[0];
      EXPECT_NEAR(without[static_cast<std::size_t>(i)], plain_without, 1e-9);
      left_out += (y - plain_without) * (y - plain_without) / n;
      const double error = y - plain.line(plain.row(i), data.y)[0];
      squares += error * error / n;
      trace += plain.influence(plain.row(i), 0)[static_cast<std::size_t>(i)];
    }
    const double aicc = std::log(squares) + 1 + 2 * (trace + 1) / (n - trace - 2);
    const double expected = selection == Selection::leave_one_out ? left_out : aicc;
    EXPECT_NEAR(model.criterion(), expected, 1e-9 * std::abs(expected));
  }
}

TEST_P(LocalFit, CriterionsGradientIsItsDifference) {
  for (const Selection selection : {Selection::leave_one_out, Selection::corrected_aic}) {
    for (const double ridge : {0.0, 0.3}) {
      options.selection = selection;
      options.ridge = ridge;
      const neighbors::MixedKernel kernel(data.x, options.kernel);
      neighbors::LocalRows rows{
          .x = data.x, .k = neighbors::slope_columns(kernel, data.x, options.degree), .y = {}};
      rows.y = Array<double, 2>({data.rows(), 1});
      std::copy(data.y.begin(), data.y.end(), rows.y.data());
      // Fewer queries than keys.
      const neighbors::LocalObjective objective(kernel, rows, 31, options);
      const std::vector<double> at = kernel.free(options.kernel.bandwidth);
      std::vector<double> gradient(4);
      objective(at, &gradient);
      for (std::size_t c = 0; c < 4; ++c) {
        const double step = 1e-5;
        std::vector<double> up = at, down = at;
        up[c] += step;
        down[c] -= step;
        const double difference = (objective(up, nullptr) - objective(down, nullptr)) / (2 * step);
        EXPECT_NEAR(gradient[c], difference, 1e-7) << c;
      }
    }
  }
}

TEST_P(LocalFit, GradientIsTheDifferenceOfTheSurface) {
  const KernelRegression model(data.x, data.target(), options);
  const Array<double, 2> q = queries();
  const RegressionFit fit = model.fit(q, {.errors = false, .gradient = true});
  for (Index c = 0; c < 2; ++c) {
    const double step = 1e-5;
    Array<double, 2> up = q, down = q;
    for (Index i = 0; i < q.shape()[0]; ++i) {
      up(i, c) += step;
      down(i, c) -= step;
    }
    const std::vector<double> above = model.fit(up).mean, below = model.fit(down).mean;
    for (Index i = 0; i < q.shape()[0]; ++i) {
      const auto at = static_cast<std::size_t>(i);
      EXPECT_NEAR(fit.gradient(i, c), (above[at] - below[at]) / (2 * step), 1e-7);
    }
  }
}

TEST_P(LocalFit, ChosenBandwidthsAreALocalMinimum) {
  options.kernel.bandwidth.clear();
  const Data more = mixed_data(120, 9);
  for (const Selection selection : {Selection::leave_one_out, Selection::corrected_aic}) {
    options.selection = selection;
    const KernelRegression model(more.x, more.target(), options);
    for (std::size_t c = 0; c < 4; ++c) {
      for (const double factor : {0.9, 1.1}) {
        RegressionOptions other = options;
        other.kernel.bandwidth = model.bandwidth();
        double& h = other.kernel.bandwidth[c];
        h = c < 2 ? h * factor : std::min(h * factor, 0.66);
        const KernelRegression beside(more.x, more.target(), other);
        EXPECT_GE(beside.criterion(), model.criterion() - 1e-6 * std::abs(model.criterion())) << c << factor;
      }
    }
  }
}

TEST(LocalKernel, LevelsNotSeenLieWhereTheirNumberPutsThem) {
  const Data data = mixed_data(50, 4);
  RegressionOptions options{.degree = 0, .kernel = mixed_kernel(true)};
  const KernelRegression model(data.x, data.target(), options);
  const Plain plain{data, options};
  Array<double, 2> q = queries();
  q(0, 2) = 3.1;  // between 2 and 4.5
  q(1, 2) = 1.5;
  q(2, 2) = 9;  // beyond
  q(3, 3) = 5;  // no such kind
  const std::vector<double> mean = model.fit(q, {.errors = false}).mean;
  for (Index i = 0; i < 4; ++i) {
    const std::vector<double> at(q.data() + 4 * i, q.data() + 4 * i + 4);
    EXPECT_NEAR(mean[static_cast<std::size_t>(i)], plain.line(at, data.y)[0], 1e-9) << i;
  }
}

TEST(LocalKernel, BandwidthsAtTheirBounds) {
  const Data data = mixed_data(60, 5);
  for (const bool textbook : {false, true}) {
    RegressionOptions options{.degree = 0, .kernel = mixed_kernel(textbook)};
    options.kernel.ordered = OrderedKernel::li_racine;
    const Array<double, 2> q = queries();
    const std::vector<double> first(q.data(), q.data() + 4);
    // All levels alike: as without these columns.
    options.kernel.bandwidth = {0.8, kInfinity, 1.0, textbook ? 2.0 / 3 : 1.0};
    const Plain plain{data, options};
    EXPECT_NEAR(KernelRegression(data.x, data.target(), options).fit(q).mean[0], plain.line(first, data.y)[0],
                1e-12);
    // Equal levels alone.
    options.kernel.bandwidth = {0.8, 4.0, 0.0, 0.0};
    const Plain strict{data, options};
    EXPECT_NEAR(KernelRegression(data.x, data.target(), options).fit(q).mean[0],
                strict.line(first, data.y)[0], 1e-10);
  }
}

TEST(LocalCompact, EveryKernelIsThePlainOne) {
  const Data data = numeric_data(60, 2, 6);
  Array<double, 2> q({2, 2});
  q(0, 0) = 5.1, q(0, 1) = 9, q(1, 0) = 4.3, q(1, 1) = 13;
  for (const CompactKernel kernel :
       {CompactKernel::epanechnikov, CompactKernel::boxcar, CompactKernel::triangular,
        CompactKernel::biweight, CompactKernel::tricube}) {
    for (const int degree : {0, 1}) {
      RegressionOptions options{.degree = degree};
      options.kernel.compact = kernel;
      options.kernel.bandwidth = {1.5, 8};
      options.equal_noise = true;
      const KernelRegression model(data.x, data.target(), options);
      const Plain plain{data, options};
      const RegressionFit fit = model.fit(q, {.gradient = true});
      for (Index i = 0; i < 2; ++i) {
        const auto at = static_cast<std::size_t>(i);
        const std::vector<double> point(q.data() + 2 * i, q.data() + 2 * i + 2);
        EXPECT_NEAR(fit.mean[at], plain.line(point, data.y)[0], 1e-10);
        double square = 0;
        for (const double l : plain.influence(point, 0)) square += l * l;
        EXPECT_NEAR(fit.standard_error[at], std::sqrt(square * model.noise()), 1e-9);
        // In from the edge of every support.
        std::vector<double> up = point, down = point;
        up[0] += 1e-6;
        down[0] -= 1e-6;
        const double slope = (plain.line(up, data.y)[0] - plain.line(down, data.y)[0]) / 2e-6;
        EXPECT_NEAR(fit.gradient(i, 0), slope, 1e-6);
        if (degree == 0) {
          EXPECT_EQ(fit.effect(i, 0), fit.gradient(i, 0));
        }
      }
      // Out of sight of every row.
      Array<double, 2> far({1, 2});
      far(0, 0) = 1e4;
      const RegressionFit nothing = model.fit(far);
      double mean = 0;
      for (const double y : data.y) mean += y / static_cast<double>(data.y.size());
      EXPECT_NEAR(nothing.mean[0], mean, 1e-12);
      EXPECT_TRUE(std::isnan(nothing.standard_error[0]));
      EXPECT_TRUE(std::isnan(nothing.effect(0, 0)));
      EXPECT_EQ(nothing.effective_neighbors[0], 0);
      EXPECT_TRUE(std::isnan(model.quantiles(far, {0.5})(0, 0)));
      // The least in sight, not the least of all.
      double least = kInfinity;
      const std::vector<double> weight = plain.weights({q(1, 0), q(1, 1)});
      for (std::size_t j = 0; j < weight.size(); ++j) {
        if (weight[j] > 0) least = std::min(least, data.y[j]);
      }
      EXPECT_EQ(model.quantiles(q, {0.0})(1, 0), least);
      options.kernel.bandwidth.clear();
      const KernelRegression chosen(data.x, data.target(), options);
      EXPECT_LT(chosen.criterion(), 1.1 * model.criterion());
    }
  }
}

TEST(LocalLine, ALinearFunctionIsReproduced) {
  Data data = numeric_data(80, 2, 7);
  for (Index i = 0; i < 80; ++i)
    data.y[static_cast<std::size_t>(i)] = 3 + 2 * data.x(i, 0) - 0.5 * data.x(i, 1);
  for (const double h : {0.3, 1.0, 1e6}) {
    RegressionOptions options;
    options.kernel.bandwidth = {h, 10 * h};
    const KernelRegression model(data.x, data.target(), options);
    Array<double, 2> q({1, 2});
    q(0, 0) = 5.4, q(0, 1) = 11;
    const RegressionFit fit = model.fit(q, {.gradient = true});
    // Slopes are quotients of moments whose rounding grows with the inverse square of the window.
    EXPECT_NEAR(fit.mean[0], 3 + 2 * 5.4 - 0.5 * 11, 1e-10);
    EXPECT_NEAR(fit.effect(0, 0), 2, 1e-9);
    EXPECT_NEAR(fit.effect(0, 1), -0.5, 1e-9);
    EXPECT_NEAR(fit.gradient(0, 0), 2, 1e-8);
    if (h > 1e5) {
      EXPECT_NEAR(model.trace(), 3, 1e-9);  // a plane through all rows
    }
  }
}

TEST(LocalLine, AConstantIsReproduced) {
  Data data = mixed_data(40, 8);
  std::fill(data.y.begin(), data.y.end(), 7.25);
  for (const int degree : {0, 1}) {
    const KernelRegression model(data.x, data.target(), {.degree = degree, .kernel = mixed_kernel(false)});
    const RegressionFit fit = model.fit(queries());
    for (const double mean : fit.mean) EXPECT_EQ(mean, 7.25);
    for (const double error : fit.standard_error) EXPECT_EQ(error, 0);
  }
}

TEST(LocalLine, ColumnsThatSayTheSameShareNoSlope) {
  Data data = numeric_data(60, 1, 9);
  Data twice{.x = Array<double, 2>({60, 3}), .y = data.y};
  for (Index i = 0; i < 60; ++i) {
    twice.x(i, 0) = data.x(i, 0);
    twice.x(i, 1) = 4 - 2 * data.x(i, 0);
    twice.x(i, 2) = 11;  // constant
  }
  RegressionOptions options;
  options.kernel.bandwidth = {0.7};
  const KernelRegression one(data.x, data.target(), options);
  options.kernel.bandwidth = {0.7, kInfinity, 1.0};
  const KernelRegression both(twice.x, twice.target(), options);
  const RegressionFit a = one.fit(), b = both.fit();
  for (std::size_t i = 0; i < 60; ++i) {
    EXPECT_NEAR(a.mean[i], b.mean[i], 1e-8);
    EXPECT_NEAR(a.standard_error[i], b.standard_error[i], 1e-8);
    EXPECT_EQ(b.effect(static_cast<Index>(i), 1), 0);
    EXPECT_EQ(b.effect(static_cast<Index>(i), 2), 0);
  }
}

TEST(LocalLine, ALargeRidgeLeavesTheAverage) {
  const Data data = mixed_data(50, 4);
  const KernelRegression line(data.x, data.target(),
                              {.degree = 1, .kernel = mixed_kernel(false), .ridge = 1e9});
  const KernelRegression average(data.x, data.target(), {.degree = 0, .kernel = mixed_kernel(false)});
  const std::vector<double> a = line.fit(queries()).mean, b = average.fit(queries()).mean;
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-7);
}

TEST(LocalErrors, NameTheArgument) {
  Data data = mixed_data(20, 1);
  const auto error = [&](const RegressionOptions& options) {
    return test::error_of([&] { KernelRegression(data.x, data.target(), options); });
  };
  RegressionOptions good{.kernel = mixed_kernel(true)};
  RegressionOptions bad = good;
  bad.degree = 2;
  EXPECT_EQ(error(bad), "degree: 2; 0 and 1 are known");
  bad = good;
  bad.kernel.bandwidth[1] = -1;
  EXPECT_EQ(error(bad), "kernel.bandwidth, b: -1; a number needs a positive one");
  bad.kernel.bandwidth = {1, 1, 1, 0.7};
  EXPECT_EQ(error(bad), "kernel.bandwidth, kinds: 0.7; this category's lies in [0, 0.6666666666666666]");
  bad.kernel.bandwidth = {1, 1};
  EXPECT_EQ(error(bad), "kernel.bandwidth: 2 numbers for 4 columns");
  bad = good;
  bad.kernel.compact = CompactKernel::tricube;
  EXPECT_NE(error(bad).find("kernel.compact: steps is a category"), std::string::npos);
  bad = good;
  bad.kernel.column[3].slope = true;
  EXPECT_EQ(error(bad), "kernel.column: kinds: an unordered column has no slope");
  bad = good;
  bad.kernel.column.pop_back();
  EXPECT_EQ(error(bad), "kernel.column: 3 columns described, x has 4");
  bad = good;
  bad.ridge = -1;
  EXPECT_EQ(error(bad), "ridge: -1; it is not negative");
  const KernelRegression model(data.x, data.target(), good);
  Array<double, 2> q({1, 3});
  EXPECT_EQ(test::error_of([&] { model.fit(q); }), "query: 3 columns, the model has 4");
  EXPECT_EQ(test::error_of([&] { model.quantiles(data.x, {1.5}); }), "probability: 1.5; it lies from 0 to 1");
  EXPECT_EQ(test::error_of([&] { model.significance(4); }), "column: 4; the model has 4");
  EXPECT_EQ(test::error_of([&] { model.partial_dependence(9); }), "column: 9; the model has 4");
  EXPECT_EQ(test::error_of([&] { bands(model.fit(), 1); }), "coverage: 1; it lies between 0 and 1");
  EXPECT_EQ(
      test::error_of([&] { ConditionalDensity(data.x, data.target(), {.kernel = mixed_kernel(true)}); }),
      "y_bandwidth: it is given together with kernel.bandwidth, or neither is");
  data.x(7, 1) = test::kBlank;
  EXPECT_EQ(error(good), "x, row 7, b: nan; numbers up to 1e150 can be used");
  data.x(7, 1) = 0;
  data.y[3] = kInfinity;
  EXPECT_EQ(error(good), "y, row 3: inf; numbers up to 1e150 can be averaged");
  data.y.pop_back();
  EXPECT_EQ(error(good), "y: 19 numbers for the 20 rows of x");
}

TEST(LocalHard, DegenerateTablesGetAnAnswer) {
  // All rows equal; one level; two rows.
  Data data{.x = Array<double, 2>({5, 2}), .y = {1, 2, 3, 4, 5}};
  for (const int degree : {0, 1}) {
    RegressionOptions options{.degree = degree};
    options.kernel.column = {{}, {"one", Kind::unordered}};
    const KernelRegression same(data.x, data.target(), options);
    EXPECT_NEAR(same.fit().mean[0], 3, 1e-12);
    EXPECT_NEAR(same.trace(), 1, 1e-12);
    EXPECT_EQ(same.quantiles(data.x, {0.5})(0, 0), 3);
    Data two{.x = Array<double, 2>({2, 1}), .y = {1, 3}};
    two.x(1, 0) = 1;
    RegressionOptions narrow{.degree = degree};
    narrow.kernel.bandwidth = {1e-3};
    const RegressionFit through = KernelRegression(two.x, two.target(), narrow).fit();
    EXPECT_NEAR(through.mean[0], 1, 1e-12);
    EXPECT_NEAR(through.mean[1], 3, 1e-12);
  }
}

}  // namespace
}  // namespace kith
