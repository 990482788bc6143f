// What is told from fits: quantiles, partial dependence, bands, tests of columns, densities.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "neighbors/local_plain.h"

namespace kith {
namespace {

using namespace test;

TEST(LocalQuantile, AreThePlainOnes) {
  Data data = mixed_data(700, 10);
  for (std::size_t i = 0; i < 700; i += 3) data.y[i] = std::round(data.y[i]);  // ties
  RegressionOptions options{.degree = 0, .kernel = mixed_kernel(false)};
  const KernelRegression model(data.x, data.target(), options);
  const Plain plain{data, options};
  const Array<double, 2> q = queries();
  const std::vector<double> probability = {0.5, 0.0, 0.05, 0.9, 1.0};
  const Array<double, 2> found = model.quantiles(q, probability);
  std::vector<std::size_t> order(700);
  for (std::size_t i = 0; i < 700; ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return data.y[a] < data.y[b]; });
  for (Index i = 0; i < 4; ++i) {
    const std::vector<double> w = plain.weights(std::vector<double>(q.data() + 4 * i, q.data() + 4 * i + 4));
    for (std::size_t p = 0; p < probability.size(); ++p) {
      double sum = 0, value = 0;
      for (const std::size_t j : order) {
        sum += w[j];
        value = data.y[j];
        if (sum > 0 && sum >= probability[p] - 1e-12) break;
      }
      EXPECT_EQ(found(i, static_cast<Index>(p)), value) << i << " " << probability[p];
    }
  }
}

TEST(PartialDependence, IsTheMeanOverRows) {
  const Data data = mixed_data(50, 4);
  RegressionOptions options{.kernel = mixed_kernel(true)};
  const KernelRegression model(data.x, data.target(), options);
  const Plain plain{data, options};
  const PartialDependence kinds = model.partial_dependence(3),
                          number = model.partial_dependence(0, {4.5, 5.5});
  EXPECT_EQ(kinds.at, (std::vector{2.0, 3.0, 7.0}));
  const auto expected = [&](std::size_t c, double value) {
    double sum = 0;
    for (Index i = 0; i < data.rows(); ++i) {
      std::vector<double> q = plain.row(i);
      q[c] = value;
      sum += plain.line(q, data.y)[0] / static_cast<double>(data.rows());
    }
    return sum;
  };
  for (std::size_t l = 0; l < 3; ++l) EXPECT_NEAR(kinds.value[l], expected(3, kinds.at[l]), 1e-9);
  for (std::size_t l = 0; l < 2; ++l) EXPECT_NEAR(number.value[l], expected(0, number.at[l]), 1e-9);
}

TEST(Bands, CoverTheTruth) {
  // A fit narrow enough that its bias does not count; noise that grows along x.
  for (const bool equal : {false, true}) {
    int inside = 0, all = 0;
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
      test::Random random(100 + seed);
      Data data{.x = Array<double, 2>({200, 1}), .y = {}};
      for (Index i = 0; i < 200; ++i) {
        const double x = random.uniform();
        data.x(i, 0) = x;
        data.y.push_back(std::sin(3 * x) + (equal ? 0.4 : 0.1 + x) * random.normal());
      }
      RegressionOptions options{.equal_noise = equal};
      options.kernel.bandwidth = {0.06};
      Array<double, 2> q({9, 1});
      for (Index i = 0; i < 9; ++i) q(i, 0) = 0.1 * static_cast<double>(i + 1);
      const Bands band = bands(KernelRegression(data.x, data.target(), options).fit(q), 0.9);
      for (std::size_t i = 0; i < 9; ++i) {
        const double truth = std::sin(3 * q(static_cast<Index>(i), 0));
        inside += band.lower[i] <= truth && truth <= band.upper[i] ? 1 : 0;
        ++all;
      }
    }
    // 540 looks, of which a table's nine are correlated in pairs at most: 0.025 is about two deviations.
    EXPECT_NEAR(static_cast<double>(inside) / all, 0.9, 0.025) << equal;
  }
}

TEST(Significance, FindsWhatMattersAndNotTheRest) {
  for (const int degree : {0, 1}) {
    int found = 0, wrong = 0, columns = 0;
    double mean_p = 0;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      test::Random random(seed);
      const Index n = 90;
      Data data{.x = Array<double, 2>({n, 4}), .y = {}};
      for (Index i = 0; i < n; ++i) {
        data.x(i, 0) = random.normal();
        data.x(i, 1) = random.normal();                   // nothing
        data.x(i, 2) = std::floor(3 * random.uniform());  // a shift by level
        data.x(i, 3) = std::floor(3 * random.uniform());  // nothing
        data.y.push_back(std::cos(data.x(i, 0)) + 0.6 * (data.x(i, 2) == 1 ? 1 : 0) + 0.3 * random.normal());
      }
      RegressionOptions options{.degree = degree};
      options.kernel.column = {{}, {}, {"shift", Kind::unordered}, {"none", Kind::unordered}};
      options.kernel.bandwidth = {0.5, 1.0, 0.3, 0.3};
      const KernelRegression model(data.x, data.target(), options);
      const SignificanceOptions few{.replicates = 99, .seed = seed};
      for (const std::size_t c : {std::size_t{0}, std::size_t{2}})
        found += model.significance(c, few).p_value <= 0.1 ? 1 : 0;
      for (const std::size_t c : {std::size_t{1}, std::size_t{3}}) {
        const double p = model.significance(c, few).p_value;
        wrong += p <= 0.1 ? 1 : 0;
        mean_p += p;
        ++columns;
      }
    }
    // 40 p-values, uniform: 4 +- 1.9 at most 0.1, mean 0.5 +- 0.046.
    EXPECT_GE(found, 38) << degree;
    EXPECT_LE(wrong, 9) << degree;
    EXPECT_NEAR(mean_p / columns, 0.5, 0.14) << degree;
  }
}

TEST(Significance, StatisticIsThePlainOne) {
  const Data data = mixed_data(50, 4);
  RegressionOptions options{.kernel = mixed_kernel(false), .equal_noise = true};
  const KernelRegression model(data.x, data.target(), options);
  const RegressionFit fit = model.fit();
  double squares = 0;
  for (Index i = 0; i < 50; ++i) squares += std::pow(fit.effect(i, 1) / fit.effect_error(i, 1), 2) / 50;
  const Significance number = model.significance(1, {.replicates = 40});
  EXPECT_NEAR(number.statistic, squares, 1e-9 * squares);
  EXPECT_EQ(number.replicate.size(), 40U);
  Array<double, 2> at = data.x;
  std::vector<std::vector<double>> mean;
  for (const double level : {2.0, 3.0, 7.0}) {
    for (Index i = 0; i < 50; ++i) at(i, 3) = level;
    mean.push_back(model.fit(at).mean);
  }
  double differences = 0;
  for (std::size_t i = 0; i < 50; ++i) {
    differences += (std::pow(mean[1][i] - mean[0][i], 2) + std::pow(mean[2][i] - mean[0][i], 2)) / 50;
  }
  const Significance kinds = model.significance(3, {.replicates = 40});
  EXPECT_NEAR(kinds.statistic, differences / model.noise(), 1e-9 * kinds.statistic);
  EXPECT_EQ(kinds.replicate, model.significance(3, {.replicates = 40}).replicate);
  EXPECT_NE(kinds.replicate, model.significance(3, {.replicates = 40, .seed = 1}).replicate);
}

TEST(ConditionalDensity, IsThePlainOne) {
  const Data data = mixed_data(60, 11);
  ConditionalOptions options{.kernel = mixed_kernel(true), .y_bandwidth = 0.3};
  const ConditionalDensity model(data.x, data.target(), options);
  const Plain plain{data, {.kernel = options.kernel}};
  const Array<double, 2> q = queries();
  const std::vector<double> grid = {-1, 0, 0.5, 2};
  const Array<double, 2> density = model.density(q, grid), distribution = model.distribution(q, grid);
  const std::vector<double> pairs = model.log_density(q, {grid.data(), {4}});
  const auto normal = [](double z) { return std::exp(-z * z / 2) / std::sqrt(2 * 3.14159265358979323846); };
  for (Index i = 0; i < 4; ++i) {
    const std::vector<double> w = plain.weights(std::vector<double>(q.data() + 4 * i, q.data() + 4 * i + 4));
    for (Index g = 0; g < 4; ++g) {
      double f = 0, below = 0;
      for (std::size_t j = 0; j < 60; ++j) {
        const double z = (grid[static_cast<std::size_t>(g)] - data.y[j]) / 0.3;
        f += w[j] * normal(z) / 0.3;
        below += w[j] * 0.5 * (1 + std::erf(z / std::sqrt(2.0)));
      }
      EXPECT_NEAR(density(i, g), f, 1e-12);
      EXPECT_NEAR(distribution(i, g), below, 1e-12);
      if (i == g) {
        EXPECT_NEAR(pairs[static_cast<std::size_t>(i)], std::log(f), 1e-10);
      }
    }
  }
  double likelihood = 0;
  for (Index i = 0; i < 60; ++i) {
    const std::vector<double> w = plain.weights(plain.row(i), i);
    double f = 0;
    for (std::size_t j = 0; j < 60; ++j) {
      f += w[j] * normal((data.y[static_cast<std::size_t>(i)] - data.y[j]) / 0.3) / 0.3;
    }
    likelihood += std::log(f) / 60;
  }
  EXPECT_NEAR(model.log_likelihood(), likelihood, 1e-10);

  // Chosen: no neighbor of the optimum is better.
  options.kernel.bandwidth.clear();
  options.y_bandwidth = 0;
  const ConditionalDensity chosen(data.x, data.target(), options);
  EXPECT_GT(chosen.log_likelihood(), model.log_likelihood());
  for (std::size_t c = 0; c < 5; ++c) {
    for (const double factor : {0.9, 1.1}) {
      ConditionalOptions beside = options;
      beside.kernel.bandwidth = chosen.bandwidth();
      beside.y_bandwidth = chosen.y_bandwidth() * (c == 4 ? factor : 1);
      if (c < 2) beside.kernel.bandwidth[c] *= factor;
      if (c == 2 || c == 3) beside.kernel.bandwidth[c] = std::min(factor * beside.kernel.bandwidth[c], 0.66);
      EXPECT_LE(ConditionalDensity(data.x, data.target(), beside).log_likelihood(),
                chosen.log_likelihood() + 1e-6)
          << c;
    }
  }
}

}  // namespace
}  // namespace kith
