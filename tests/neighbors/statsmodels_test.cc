// What R's package np gives, as statsmodels 0.15 carries it in nonparametric/tests/test_kernel_regression.py
// and test_kernel_density.py, at the tolerances stated there. Data from those files; c1, c2 and y are what
// their NumPy generator (seed 123456) draws.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kith/regression.h"

namespace kith {
namespace {

const std::vector<double> kItalyGdp = {
    8.556, 12.262, 9.587, 8.119, 5.537,  6.796, 8.638, 6.483, 6.212, 5.111,  6.001, 7.027, 4.616,
    3.922, 4.688,  3.957, 3.159, 3.763,  3.829, 5.242, 6.275, 8.518, 11.542, 9.348, 8.02,  5.527,
    6.865, 8.666,  6.672, 6.289, 5.286,  6.271, 7.94,  4.72,  4.357, 4.672,  3.883, 3.065, 3.489,
    3.635, 5.443,  6.302, 9.054, 12.485, 9.896, 8.33,  6.161, 7.055, 8.717,  6.95};
const std::vector<double> kGrowth = {
    -0.0017584,  0.00740688, 0.03424461, 0.03848719, 0.02932506, 0.03769199, 0.0466038,  0.00199456,
    0.03679607,  0.01917304, -0.00221,   0.00787269, 0.03441118, -0.0109228, 0.02043064, -0.0307962,
    0.02008947,  0.00580313, 0.00344502, 0.04706358, 0.03585851, 0.01464953, 0.04525762, 0.04109222,
    -0.0087903,  0.04087915, 0.04551403, 0.036916,   0.00369293, 0.0718669,  0.02577732, -0.0130759,
    -0.01656641, 0.00676429, 0.08833017, 0.05092105, 0.02005877, 0.00183858, 0.03903173, 0.05832116,
    0.0494571,   0.02078484, 0.09213897, 0.0070534,  0.08677202, 0.06830603, -0.00041,   0.0002856,
    0.03421225,  -0.0036825};
const std::vector<double> kC1 = {
    -2.1798606053853242,  -1.3698493576538948,   -0.95420784008145509, 1.4626960491628485,
    -1.7431609117097697,  -0.82659091636453352,  -0.3453521949414044,  1.3142323796132269,
    0.69057933521085468,  0.99576090366587233,   2.3967804246869364,   0.014870949406556717,
    3.3574270494529159,   -0.31744078689893696,  -1.2362689216667433,  0.89617064932527479,
    -0.48760158619708838, -0.082240326543876502, -2.1829367180383197,  0.38039557259854662,
    0.084844213242333058, 0.4323897700525704,    1.5199702909916382,   -0.49366210738353455,
    0.6001775926648748,   0.27422987266637572,   0.13288520340202481,  -0.023688474715834067,
    2.4101787122080385,   1.4505203010983598,    0.20605344405201736,  -0.25190476540152806,
    -2.2135875343262992,  1.0633272802276417,    1.2661429472115593,   0.29936761269764872,
    -0.86383800468297345, 0.40820401236750015,   -1.0480892657946406,  -0.025747448032600921,
    -0.98838692002681883, 0.094055164754578022,  1.2627305125477688,   1.2899970438995281,
    0.082423183005365872, -0.055757810569908924, 0.53658004835804118,  -0.48968216001682163,
    0.36937426885432317,  -0.034570580588518897, -2.4844777973083159,  -0.28146130971996647,
    0.030711148105528149, 0.10912067528341424,   1.1262026757080914,   -0.97734922987995054,
    1.4740714665355565,   -0.064034433943341212, -1.2827817374231487,  0.78183574696480418};
const std::vector<double> kC2 = {
    8.9286433272593388, 10.441153270266421, 12.353924863946174, 10.58378654985029,  10.221470629245786,
    9.255528620126892,  10.758527108382456, 11.72968859030607,  9.0350199951986774, 9.1543042997015913,
    8.6591037549143355, 11.846883406622203, 8.6711345910086184, 11.682705720070095, 8.2823068056651916,
    10.888781790696354, 10.228440457975815, 10.901805282746867, 11.171216429396422, 10.520260065529582,
    8.8029285531578054, 8.9330309792481017, 9.6965789439569452, 9.1415529901740733, 10.306996307922985,
    9.9713347957018232, 10.38431616741862,  11.574159335303856, 11.588930921593604, 10.476720341834829,
    10.473423870657911, 9.757139174628124,  9.9851950872687549, 9.7156810917204677, 10.650775902004161,
    8.538335400705531,  8.8622927039271229, 9.108939624896081,  9.3060788707838711, 11.613616156202127,
    10.463999567224683, 10.227370794033874, 9.5030779431095009, 10.306389343411894, 7.7093874452470974,
    8.8653766872436695, 8.4381810172068139, 9.7391622294413942, 10.281956505799142, 11.523961521593478,
    9.0970633523417597, 10.068159086490718, 9.9421266124614416, 9.6317959235471822, 8.8559268132664926,
    10.861209454160408, 10.800192840754978, 10.782098266438391, 8.9309055602380454, 8.9007517545397246};
const std::vector<double> kY = {
    31.223850771739176, 37.701533787179201, 43.725422595969107, 41.875587519559971, 36.492442262860173,
    33.24420993748133,  39.042534594139802, 45.960684651999514, 33.914434943329034, 35.787125910408413,
    36.247634268490373, 42.860820289170647, 37.199982199807494, 44.660789396806969, 29.18452532912768,
    41.440135237659575, 38.957538972084642, 42.041864658705293, 38.535071756592785, 39.545487334449106,
    32.242322083138404, 33.837805255787273, 38.282457271761167, 32.232436808438145, 36.336612161046332,
    36.67102917039427,  37.774480270059861, 42.158231890600774, 44.533488501747165, 41.36024832581144,
    37.021650476661222, 35.708928687819125, 35.796039264820784, 37.702702861887929, 40.223074834431401,
    30.873455566530762, 32.553158165898338, 33.08766509305817,  33.637349590760458, 43.171697817006134,
    36.570727694688721, 37.121242569204,    34.970183848827482, 40.282653431300098, 28.982758417646686,
    34.173453549978447, 29.76453199859408,  35.466428296955755, 38.812141373818719, 41.511101733489021,
    31.841697837817364, 37.466896674334443, 38.623292398789864, 37.12179198669228,  32.079777547658757,
    38.939377389932297, 39.669640946914399, 38.959036064451389, 31.253147514224622, 35.763657189184279};

/// 21 years 1951, 21 years 1952, 8 years 1953.
std::vector<double> italy_year() {
  std::vector<double> year(50, 1951);
  std::fill(year.begin() + 21, year.end(), 1952);
  std::fill(year.begin() + 42, year.end(), 1953);
  return year;
}

Array<double, 2> columns(const std::vector<std::vector<double>>& column) {
  Array<double, 2> x({static_cast<Index>(column[0].size()), static_cast<Index>(column.size())});
  for (Index i = 0; i < x.shape()[0]; ++i) {
    for (Index c = 0; c < x.shape()[1]; ++c)
      x(i, c) = column[static_cast<std::size_t>(c)][static_cast<std::size_t>(i)];
  }
  return x;
}

View<const double, 1> view(const std::vector<double>& y) {
  return {y.data(), {static_cast<Index>(y.size())}};
}

void expect_near(const std::vector<double>& found, const std::vector<double>& expected, double tolerance) {
  ASSERT_GE(found.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(found[i], expected[i], tolerance) << i;
}

constexpr double kTolerance = 1e-2;

TEST(Statsmodels, OrderedLocalConstant) {
  RegressionOptions options{.degree = 0};
  options.kernel.column = {{.kind = Regressor::Kind::ordered}};
  options.kernel.ordered = OrderedKernel::wang_van_ryzin;
  const KernelRegression model(columns({italy_year()}), view(kItalyGdp), options);
  expect_near(model.bandwidth(), {0.1390096}, kTolerance);
  expect_near(model.fit().mean, std::vector<double>(5, 6.190486), kTolerance);
  EXPECT_NEAR(model.r_squared(), 0.1435323, kTolerance);
}

TEST(Statsmodels, ContinuousLocalConstant) {
  const KernelRegression model(columns({kC1, kC2}), view(kY), {.degree = 0});
  expect_near(model.bandwidth(), {0.6163835, 0.1649656}, kTolerance);
  expect_near(model.fit().mean, {31.49157, 37.29536, 43.72332, 40.58997, 36.80711}, kTolerance);
  EXPECT_NEAR(model.r_squared(), 0.956381720885, kTolerance);
}

TEST(Statsmodels, ContinuousLocalLinear) {
  const KernelRegression model(columns({kC1, kC2}), view(kY), {.degree = 1});
  expect_near(model.bandwidth(), {1.717891, 2.449415}, kTolerance);
  expect_near(model.fit().mean, {31.16003, 37.30323, 44.49870, 40.73704, 36.19083}, kTolerance);
  EXPECT_NEAR(model.r_squared(), 0.9336019, kTolerance);
}

/// numpy.random.RandomState(seed).normal: Marsaglia's polar method on 53-bit uniform numbers.
class NumpyNormal {
 public:
  explicit NumpyNormal(std::uint32_t seed) : engine_(seed) {}
  std::vector<double> draw(std::size_t n, double mean, double deviation) {
    std::vector<double> out;
    while (out.size() < n) out.push_back(mean + deviation * next());
    return out;
  }

 private:
  double uniform() {
    const auto a = static_cast<double>(engine_() >> 5), b = static_cast<double>(engine_() >> 6);
    return (a * 67108864.0 + b) / 9007199254740992.0;
  }
  double next() {
    if (has_kept_) {
      has_kept_ = false;
      return kept_;
    }
    double a = 0, b = 0, square = 0;
    do {
      a = 2 * uniform() - 1;
      b = 2 * uniform() - 1;
      square = a * a + b * b;
    } while (square >= 1 || square == 0);
    const double f = std::sqrt(-2 * std::log(square) / square);
    kept_ = f * a;
    has_kept_ = true;
    return f * b;
  }

  std::mt19937 engine_;
  bool has_kept_ = false;
  double kept_ = 0;
};

TEST(Statsmodels, CorrectedAic) {
  NumpyNormal random(1234);
  const std::vector<double> a = random.draw(200, 0, 1), b = random.draw(200, 2, 1),
                            noise = random.draw(200, 0, 1);
  ASSERT_NEAR(a[0], 0.47143516, 1e-8);
  ASSERT_NEAR(b[2], 2.15699838, 1e-8);
  std::vector<double> y;
  for (std::size_t i = 0; i < 200; ++i) y.push_back(0.3 + 1.2 * a[i] - 0.9 * b[i] + noise[i]);
  const KernelRegression model(columns({a, b}), view(y),
                               {.degree = 0, .selection = Selection::corrected_aic});
  EXPECT_NEAR(model.bandwidth()[0], 0.3987821, 1e-3 * 0.3987821);
  EXPECT_NEAR(model.bandwidth()[1], 0.50933458, 1e-3 * 0.50933458);
}

ConditionalOptions given(double y_bandwidth, double bandwidth) {
  ConditionalOptions options{.y_bandwidth = y_bandwidth};
  options.kernel.bandwidth = {bandwidth};
  return options;
}

/// Each row's own value of what is [rows, rows].
std::vector<double> own(const Array<double, 2>& all) {
  std::vector<double> out;
  for (Index i = 0; i < all.shape()[0]; ++i) out.push_back(all(i, i));
  return out;
}

TEST(Statsmodels, ConditionalLikelihoodBandwidths) {
  const ConditionalDensity model(columns({kGrowth}), view(kItalyGdp));
  EXPECT_NEAR(model.y_bandwidth(), 0.5341164, 1e-3);
  EXPECT_NEAR(model.bandwidth()[0], 0.04510836, 1e-3);
}

TEST(Statsmodels, ConditionalDensity) {
  const Array<double, 2> x = columns({kItalyGdp});
  const ConditionalDensity model(x, view(kGrowth), given(0.010043, 12095254.7));
  const std::vector<double> expected = {11.97964, 12.73290, 13.23037, 13.46438, 12.22779};
  expect_near(own(model.density(x, kGrowth)), expected, 1e-3);
  std::vector<double> pairs = model.log_density(x, view(kGrowth));
  for (double& value : pairs) value = std::exp(value);
  expect_near(pairs, expected, 1e-3);
}

TEST(Statsmodels, ConditionalDensityGivenAYear) {
  const Array<double, 2> x = columns({italy_year()});
  ConditionalOptions options = given(1.6448, 0.2317373);
  options.kernel.column = {{.kind = Regressor::Kind::ordered}};
  options.kernel.ordered = OrderedKernel::wang_van_ryzin;
  const ConditionalDensity model(x, view(kItalyGdp), options);
  expect_near(own(model.density(x, kItalyGdp)), {0.08469226, 0.01737731, 0.05679909, 0.09744726, 0.15086674},
              1e-3);
  expect_near(own(model.distribution(x, kItalyGdp)), {0.8118257, 0.9724863, 0.8843773, 0.7720359, 0.4361867},
              1e-3);
}

TEST(Statsmodels, ConditionalDistribution) {
  // The normal reference's bandwidths, as there: 1.06 sd n^(-1 / 6).
  const auto reference = [](const std::vector<double>& v) {
    double mean = 0, square = 0;
    for (const double a : v) mean += a / 50;
    for (const double a : v) square += (a - mean) * (a - mean) / 50;
    return 1.06 * std::sqrt(square) * std::pow(50.0, -1.0 / 6);
  };
  const Array<double, 2> x = columns({kGrowth});
  const ConditionalDensity model(x, view(kItalyGdp), given(reference(kItalyGdp), reference(kGrowth)));
  expect_near(own(model.distribution(x, kItalyGdp)),
              {0.81304920, 0.95046942, 0.86878727, 0.71961748, 0.38685423}, 1e-3);
}

}  // namespace
}  // namespace kith
