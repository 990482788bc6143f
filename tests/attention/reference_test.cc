// The reference against textbook numbers and numbers worked out by hand.
#include "kith/reference.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numbers>

#include "attention/check.h"
#include "attention/small_call.h"

namespace kith {
namespace {

using test::matrix;
using test::Rows;

const double kNan = std::numeric_limits<double>::quiet_NaN();

/// The first row's weights, from the reference and from the fast path by way of its top-k.
struct Both {
  std::vector<double> weight, fast_weight, out, fast_out;
};

Both run(Rows query, Rows key, Rows value, const Similarity& similarity, const Mask& mask = {}) {
  const auto q = matrix<double>(query), k = matrix<double>(key), v = matrix<double>(value);
  const reference::Result r = reference::attend(q, k, v, similarity, mask);
  const AttentionResult f =
      attend(matrix<float>(query), matrix<float>(key), matrix<float>(value),
             {.similarity = similarity, .mask = mask, .want = {.top = static_cast<int>(key.size())}});
  Both both;
  const Index keys = k.shape()[2], value_depth = v.shape()[3];
  both.fast_weight.resize(key.size());
  for (Index j = 0; j < keys; ++j) {
    both.weight.push_back(r.weight(0, 0, 0, j));
    const Index at = f.top_key(0, 0, 0, j);
    if (at >= 0)
      both.fast_weight[static_cast<std::size_t>(at)] = static_cast<double>(f.top_weight(0, 0, 0, j));
  }
  for (Index c = 0; c < value_depth; ++c) {
    both.out.push_back(r.out(0, 0, 0, c));
    both.fast_out.push_back(static_cast<double>(f.out(0, 0, 0, c)));
  }
  return both;
}

void expect_near(const std::vector<double>& got, const std::vector<double>& expected, double tolerance) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], tolerance) << "element " << i;
}

TEST(Textbook, UniformAttentionIsTheMean) {
  const Both both = run({{0}}, {{1}, {2}, {3}}, {{10}, {9}, {8}}, Uniform{});
  expect_near(both.out, {9}, 1e-14);
  expect_near(both.fast_out, {9}, 1e-6);
}

TEST(Textbook, GivenWeights) {
  // Logits log .1, log .8, log .1.
  const Rows key = {{std::log(0.1)}, {std::log(0.8)}, {std::log(0.1)}};
  const Both both = run({{1}}, key, {{10}, {9}, {8}}, Dot{.scale = 1.0});
  expect_near(both.weight, {0.1, 0.8, 0.1}, 1e-14);
  expect_near(both.fast_weight, {0.1, 0.8, 0.1}, 1e-6);
  expect_near(both.out, {9}, 1e-13);
  expect_near(both.fast_out, {9}, 2e-6);
}

TEST(Textbook, GaussianBetweenNearestNeighborsAndMean) {
  const Rows query = {{57}}, key = {{51}, {56}, {58}}, value = {{40}, {43}, {48}};
  const auto out = [&](double bandwidth) {
    const Both both = run(query, key, value, Gaussian{.bandwidth = bandwidth});
    EXPECT_NEAR(both.out[0], both.fast_out[0], 1e-4) << bandwidth;
    return both.out[0];
  };
  // The two nearest, equally far.
  const Both two = run({{57}}, {{56}, {58}}, {{43}, {48}}, Gaussian{.bandwidth = 0.5});
  expect_near(two.out, {45.5}, 1e-13);
  expect_near(two.fast_out, {45.5}, 1e-5);
  EXPECT_NEAR(out(0.5), 45.5, 0.01);
  EXPECT_NEAR(out(0.01), 45.5, 1e-12);
  EXPECT_NEAR(out(1e4), 131.0 / 3, 1e-4);
  double before = out(0.25);
  for (double h = 0.5; h < 1000; h *= 2) {  // falls from 45.5 to the mean 43.667
    EXPECT_LE(out(h), before);
    EXPECT_GE(out(h), 131.0 / 3 - 1e-12);
    before = out(h);
  }
}

TEST(Textbook, SixKeys) {
  const Rows query = {{.8, .15}}, key = {{1, .2}, {.9, .1}, {.2, 1}, {-.2, .9}, {0, -1}, {-1, -.6}};
  // V = K [[.7, .1], [.2, .9]]
  const Rows value = {{.74, .28}, {.65, .18}, {.34, .92}, {.04, .79}, {-.2, -.9}, {-.82, -.64}};
  struct Line {
    Similarity similarity;
    std::vector<double> weight, out;
  };
  const Line lines[] = {
      {Dot{}, {.252, .236, .174, .138, .126, .075}, {.318, .221}},
      {Cosine{.temperature = 0.5}, {.397, .394, .113, .050, .037, .008}, {.576, .287}},
      {Gaussian{.bandwidth = 0.5}, {.443, .471, .055, .021, .010, .000}, {.651, .268}},
  };
  for (const Line& line : lines) {
    const Both both = run(query, key, value, line.similarity);
    expect_near(both.weight, line.weight, 0.00051);  // printed with three digits
    expect_near(both.out, line.out, 0.00051);
    expect_near(both.fast_weight, both.weight, 1e-6);
    expect_near(both.fast_out, both.out, 1e-6);
  }
}

TEST(Textbook, SoftmaxSaturates) {
  const Both both = run({{1}}, {{16}, {8}, {0}}, {{1}, {0}, {0}}, Dot{.scale = 1.0});
  EXPECT_NEAR(both.weight[0], 0.9997, 0.00005);
  EXPECT_NEAR(both.fast_weight[0], both.weight[0], 1e-6);
}

TEST(Textbook, TemperatureIsTwiceTheSquaredBandwidth) {
  // exp(-d^2 / tau) with tau = 2 h^2, d = 1 and 2.
  const double h = 0.8, tau = 2 * h * h;
  const Both both = run({{0}}, {{1}, {2}}, {{1}, {0}}, Gaussian{.bandwidth = h});
  const double near = std::exp(-1 / tau), far = std::exp(-4 / tau);
  EXPECT_NEAR(both.weight[0], near / (near + far), 1e-14);
  EXPECT_NEAR(both.fast_weight[0], near / (near + far), 1e-6);
}

TEST(Textbook, LogSumExp) {
  const auto q = matrix<double>({{1}}), k = matrix<double>({{1000}, {1000}}), v = matrix<double>({{1}, {3}});
  EXPECT_NEAR(reference::attend(q, k, v, Dot{}).lse(0, 0, 0), 1000 + std::log(2.0), 1e-12);
  EXPECT_NEAR(reference::attend(q, k, v, Dot{}).out(0, 0, 0, 0), 2, 1e-14);
}

// --- The logit of a single pair is its lse. q - k = (2, 4), |q - k|^2 = 20, q.k = 3, |q| = 5, |k| = 1.

double logit(const AttentionOptions& options, Rows query = {{3, 4}}, Rows key = {{1, 0}}) {
  return reference::attend(matrix<double>(query), matrix<double>(key), matrix<double>({{1}}), options)
      .lse(0, 0, 0);
}

TEST(Logit, OfEverySimilarity) {
  const Array<double, 2> w = test::table({{1, 2}, {0, 1}}), wq = test::table({{1, 0}, {0, 0.5}}),
                         wk = test::table({{0, 1}, {1, 0}});
  const Array<double, 1> u = test::numbers({2, -5});
  const auto compact = [](CompactKernel kernel) { return Compact{.kernel = kernel, .bandwidth = 5}; };
  const std::pair<Similarity, double> lines[] = {
      {Dot{}, 3 / std::sqrt(2.0)},
      {Dot{.scale = 0.5}, 1.5},
      {Cosine{.temperature = 0.5}, 1.2},
      {Gaussian{.bandwidth = 2}, -2.5},
      {Euclidean{.temperature = 2}, -std::sqrt(5.0)},
      {Laplace{.bandwidth = 3}, -2},
      {compact(CompactKernel::epanechnikov), std::log(0.2)},
      {compact(CompactKernel::boxcar), 0},
      {compact(CompactKernel::triangular), std::log(1 - std::sqrt(0.8))},
      {compact(CompactKernel::biweight), 2 * std::log(0.2)},
      {compact(CompactKernel::tricube), 3 * std::log(1 - 0.8 * std::sqrt(0.8))},
      {InverseDistance{.power = 3}, -1.5 * std::log(20.0)},
      {Bilinear{.matrix = w, .scale = 0.5}, 1.5},  // (3, 10) . (1, 0) / 2
      {Additive{.query_weight = wq, .key_weight = wk, .score = u}, 2 * std::tanh(3.0) - 5 * std::tanh(3.0)},
      {Uniform{}, 0},
  };
  for (const auto& [similarity, expected] : lines) {
    EXPECT_NEAR(logit({.similarity = similarity}), expected, 1e-14) << "similarity " << similarity.index();
  }
}

TEST(Logit, OutsideACompactKernelNothingIsSeen) {
  for (const double cap : {0.0, 5.0}) {
    const AttentionOptions options{.similarity = Compact{.bandwidth = 5}, .soft_cap = cap};
    EXPECT_EQ(logit(options, {{3, 4}}, {{0, 0}}), -test::kInfinity);  // at the edge: u = 1
    EXPECT_EQ(logit(options, {{3, 4}}, {{-10, 0}}), -test::kInfinity);
  }
  const Compact boxcar{.kernel = CompactKernel::boxcar, .bandwidth = 5};
  EXPECT_EQ(logit({.similarity = boxcar}, {{3, 4}}, {{0, 0}}), -test::kInfinity);
  EXPECT_TRUE(std::isnan(logit({.similarity = Compact{.kernel = CompactKernel::boxcar}}, {{kNan, 1}})));
}

TEST(Logit, ExactHitsOfInverseDistanceTakeAll) {
  EXPECT_NEAR(logit({.similarity = InverseDistance{.power = 2}}, {{1, 0}}), 277 * std::numbers::ln2, 1e-13);
  const auto r = reference::attend(matrix<double>({{1}}), matrix<double>({{1}, {1 + 1e-20}, {1.0001}, {1}}),
                                   matrix<double>({{2}, {4}, {1e9}, {9}}), InverseDistance{.power = 1});
  EXPECT_NEAR(r.out(0, 0, 0, 0), 5, 1e-13);
}

TEST(Logit, UniformDoesNotLookAtNumbers) {
  EXPECT_EQ(logit({.similarity = Uniform{}}, {{kNan, 0}}, {{test::kInfinity, 0}}), 0);
}

TEST(Logit, MetricComesFirst) {
  const Array<double, 2> sum = test::table({{1}, {1}});
  EXPECT_NEAR(logit({.similarity = Gaussian{}, .metric = {.column_bandwidth = {2, 4}}}), -1, 1e-15);
  EXPECT_NEAR(logit({.metric = {.column_bandwidth = {2, 4}}}), 0.75 / std::sqrt(2.0), 1e-15);
  EXPECT_NEAR(logit({.similarity = Cosine{}, .metric = {.column_bandwidth = {1, 2}}}), 3 / std::sqrt(13.0),
              1e-15);
  EXPECT_NEAR(logit({.similarity = Gaussian{}, .metric = {.matrix = sum}}), -18, 1e-14);
  EXPECT_NEAR(logit({.metric = {.matrix = sum}}), 7, 1e-14);  // the scale is 1/sqrt(R) = 1
}

TEST(Logit, AdaptiveBandwidthsMultiply) {
  Array<double, 3> of_query({1, 1, 1}), of_key({1, 1, 1});
  of_query(0, 0, 0) = 2, of_key(0, 0, 0) = 3;
  const std::pair<Similarity, double> lines[] = {
      {Dot{.scale = 1.0}, 0.5},
      {Cosine{}, 0.1},
      {Gaussian{}, -20.0 / 72},
      {Euclidean{}, -std::sqrt(20.0) / 6},
      {Laplace{}, -1},
      {Compact{}, std::log(1 - 20.0 / 36)},
      {InverseDistance{.power = 2}, -std::log(20.0 / 36)},
  };
  for (const auto& [similarity, expected] : lines) {
    EXPECT_NEAR(logit({.similarity = similarity, .adaptive = {.query = of_query, .key = of_key}}), expected,
                1e-15)
        << "similarity " << similarity.index();
  }
}

TEST(Logit, SoftCapComesBeforeTheBias) {
  EXPECT_NEAR(logit({.similarity = Dot{.scale = 1.0}, .soft_cap = 2}), 2 * std::tanh(1.5), 1e-15);
  const Array<double, 4> bias = matrix<double>({{10}});
  EXPECT_NEAR(logit({.similarity = Dot{.scale = 1.0}, .soft_cap = 2, .bias = {.array64 = bias}}),
              2 * std::tanh(1.5) + 10, 1e-14);
}

TEST(Logit, RotaryTurnsByThePosition) {
  const auto dot = [](const Rotary& rotary, Rows q, Rows k) {
    return logit({.similarity = Dot{.scale = 1.0}, .rotary = rotary}, q, k);
  };
  EXPECT_NEAR(dot({.key_offset = 1}, {{1, 0}}, {{1, 0}}), std::cos(1.0), 1e-15);
  EXPECT_NEAR(dot({.key_offset = 1}, {{0, 1}}, {{1, 0}}), std::sin(1.0), 1e-15);
  EXPECT_NEAR(dot({.query_offset = 3}, {{0, 1}}, {{1, 0}}), -std::sin(3.0), 1e-15);
  EXPECT_NEAR(dot({.scaling = 4, .key_offset = 2}, {{1, 0}}, {{1, 0}}), std::cos(0.5), 1e-15);
  EXPECT_NEAR(dot({.frequency = {0.25}, .key_offset = 2}, {{1, 0}}, {{1, 0}}), std::cos(0.5), 1e-15);
  // The second of two pairs turns by base^(-2/4): columns 1 and 3, or 2 and 3.
  EXPECT_NEAR(dot({.base = 16, .key_offset = 1}, {{0, 0, 0, 1}}, {{0, 1, 0, 0}}), std::sin(0.25), 1e-15);
  EXPECT_NEAR(dot({.base = 16, .interleaved = true, .key_offset = 1}, {{0, 0, 0, 1}}, {{0, 0, 1, 0}}),
              std::sin(0.25), 1e-15);
  // Only the first two columns turn.
  EXPECT_NEAR(dot({.columns = 2, .key_offset = 1}, {{1, 0, 1, 1}}, {{1, 0, 1, 1}}), std::cos(1.0) + 2, 1e-15);
  Array<Index, 2> position({1, 1});
  position(0, 0) = 5;
  EXPECT_NEAR(dot({.key_offset = 100, .key_position = position}, {{1, 0}}, {{1, 0}}), std::cos(5.0), 1e-15);
}

// --- Biases

TEST(BiasOf, RelativeTableIsClipped) {
  const Array<double, 2> table = test::table({{1, 2, 3, 4}});  // distances -1, 0, 1, 2
  const double expected[] = {1, 1, 2, 3, 4, 4};
  for (Index d = -2; d <= 3; ++d) {
    const Bias bias{.relative = RelativeTable{.table = table, .left = 1}, .offset = -d};
    EXPECT_EQ(logit({.similarity = Uniform{}, .bias = bias}), expected[d + 2]) << d;
  }
}

TEST(BiasOf, T5Buckets) {
  Array<double, 2> table({1, 32});
  for (Index c = 0; c < 32; ++c) table(0, c) = static_cast<double>(c);
  const auto bucket = [&](bool bidirectional, Index distance) {
    const Bias bias{.t5 = T5Buckets{.table = table, .bidirectional = bidirectional}, .offset = -distance};
    return logit({.similarity = Uniform{}, .bias = bias});
  };
  // 8 + floor(8 log(n / 8) / log 16)
  const std::pair<Index, double> both[] = {{0, 0},     {-1, 1},   {1, 17},   {-7, 7},    {7, 23},   {-8, 8},
                                           {8, 24},    {-11, 8},  {-12, 9},  {-15, 9},   {-16, 10}, {33, 28},
                                           {-127, 15}, {127, 31}, {128, 31}, {-128, 15}, {5000, 31}};
  for (const auto& [distance, expected] : both) EXPECT_EQ(bucket(true, distance), expected) << distance;
  // 16 + floor(16 log(n / 16) / log 8), the past alone
  const std::pair<Index, double> past[] = {{5, 0},    {0, 0},    {-5, 5},    {-15, 15},  {-16, 16}, {-18, 16},
                                           {-20, 17}, {-64, 26}, {-127, 31}, {-128, 31}, {-999, 31}};
  for (const auto& [distance, expected] : past) EXPECT_EQ(bucket(false, distance), expected) << distance;
}

TEST(BiasOf, AlibiFallsWithTheDistance) {
  const auto q = test::filled({1, 2, 2, 1}, 0), k = test::filled({1, 1, 3, 1}, 0),
             v = test::filled({1, 1, 3, 1}, 0);
  const auto r = reference::attend(q, k, v, AttentionOptions{.bias = {.alibi = {0.5, 2}, .offset = 1}});
  // query 1 stands at 2: distances 2, 1, 0
  for (Index h = 0; h < 2; ++h) {
    const double slope = h == 0 ? 0.5 : 2, sum = 1 + std::exp(-slope) + std::exp(-2 * slope);
    expect_near({r.weight(0, h, 1, 0), r.weight(0, h, 1, 1), r.weight(0, h, 1, 2)},
                {std::exp(-2 * slope) / sum, std::exp(-slope) / sum, 1 / sum}, 1e-15);
  }
  EXPECT_NEAR(logit({.bias = {.alibi = {2}, .offset = -3}}, {{0}}, {{0}}), -6, 1e-15);
}

TEST(BiasOf, ArrayIsBroadcastAndItsInfinityHides) {
  Array<float, 4> bias({1, 2, 1, 3});
  bias(0, 0, 0, 1) = static_cast<float>(-test::kInfinity);
  bias(0, 1, 0, 2) = 1;
  const auto q = test::filled({2, 2, 2, 1}, 1), v = test::filled({2, 1, 3, 1}, 1);
  auto k = test::filled({2, 1, 3, 1}, 0);
  k(0, 0, 1, 0) = kNan;
  const AttentionOptions options{.bias = {.array = bias}};
  const auto r = reference::attend(q, k, v, options);
  const double e = std::numbers::e;
  for (Index i = 0; i < 2; ++i) {
    expect_near({r.weight(0, 0, i, 0), r.weight(0, 0, i, 1), r.weight(0, 0, i, 2)}, {0.5, 0, 0.5}, 1e-15);
    EXPECT_TRUE(std::isnan(r.out(0, 1, i, 0)));
    expect_near({r.weight(1, 1, i, 0), r.weight(1, 1, i, 1), r.weight(1, 1, i, 2)},
                {1 / (2 + e), 1 / (2 + e), e / (2 + e)}, 1e-15);
  }
  const auto g =
      reference::attend_backward(q, k, v, r, {.out = test::filled({2, 2, 2, 1}, 1), .bias = true}, options);
  EXPECT_EQ(g.bias.shape(), bias.shape());
  EXPECT_EQ(g.bias(0, 0, 0, 1), 0);
  EXPECT_EQ(g.query(0, 0, 0, 0), 0);
  EXPECT_TRUE(std::isnan(g.query(0, 1, 0, 0)));
}

// --- Outputs

TEST(Outputs, OfKnownWeights) {
  const auto q = matrix<double>({{1}, {0}}), v = matrix<double>({{10, 1}, {9, 2}, {8, 3}});
  const auto k = matrix<double>({{std::log(0.1)}, {std::log(0.8)}, {std::log(0.1)}});
  const auto r = reference::attend(q, k, v, Dot{.scale = 1.0});
  EXPECT_NEAR(r.entropy(0, 0, 0), -0.2 * std::log(0.1) - 0.8 * std::log(0.8), 1e-15);
  EXPECT_NEAR(r.entropy(0, 0, 1), std::log(3.0), 1e-15);
  EXPECT_NEAR(r.largest(0, 0, 0), 0.8, 1e-15);
  EXPECT_NEAR(r.largest(0, 0, 1), 1.0 / 3, 1e-15);
  EXPECT_NEAR(r.position(0, 0, 0), 1, 1e-15);
  EXPECT_NEAR(r.received(0, 0, 1), 0.8 + 1.0 / 3, 1e-15);
  EXPECT_NEAR(r.received(0, 0, 2), 0.1 + 1.0 / 3, 1e-15);
  EXPECT_NEAR(r.second_moment(0, 0, 0, 0), 0.1 * 100 + 0.8 * 81 + 0.1 * 64, 1e-13);
  EXPECT_NEAR(r.second_moment(0, 0, 0, 1), 0.1 + 0.8 * 4 + 0.1 * 9, 1e-14);
}

TEST(Outputs, SinkTakesItsShare) {
  const auto q = test::filled({1, 2, 1, 1}, 1), v = matrix<double>({{1}, {3}});
  const auto k = matrix<double>({{0}, {std::log(3.0)}});
  const auto r = reference::attend(
      q, k, v, AttentionOptions{.similarity = Dot{.scale = 1.0}, .sink = {std::log(4.0), -test::kInfinity}});
  EXPECT_NEAR(r.lse(0, 0, 0), std::log(8.0), 1e-15);
  EXPECT_NEAR(r.weight(0, 0, 0, 1), 3.0 / 8, 1e-15);
  EXPECT_NEAR(r.out(0, 0, 0, 0), 1.0 / 8 + 9.0 / 8, 1e-15);
  EXPECT_NEAR(r.largest(0, 0, 0), 3.0 / 8, 1e-15);
  EXPECT_NEAR(r.entropy(0, 0, 0), std::log(8.0) - 3.0 / 8 * std::log(3.0) - std::log(4.0) / 2, 1e-15);
  EXPECT_NEAR(r.lse(0, 1, 0), std::log(4.0), 1e-15);
}

TEST(Outputs, EmptyRowWithASink) {
  const auto q = matrix<double>({{1}}), k = matrix<double>({{2}}), v = matrix<double>({{kNan}});
  const AttentionOptions options{.sink = {0.5}, .mask = key_lengths({0})};
  const auto r = reference::attend(q, k, v, options);
  EXPECT_EQ(r.out(0, 0, 0, 0), 0);
  EXPECT_EQ(r.lse(0, 0, 0), 0.5);
  for (const double x : {r.entropy(0, 0, 0), r.largest(0, 0, 0), r.position(0, 0, 0), r.received(0, 0, 0),
                         r.second_moment(0, 0, 0, 0)}) {
    EXPECT_EQ(x, 0);
  }
  Array<double, 3> d_lse({1, 1, 1});
  d_lse(0, 0, 0) = 3;
  const auto g =
      reference::attend_backward(q, k, v, r, {.out = matrix<double>({{kNan}}), .lse = d_lse}, options);
  EXPECT_EQ(g.sink, std::vector<double>{3});  // lse is the sink's logit
  EXPECT_EQ(g.query(0, 0, 0, 0), 0);
  EXPECT_EQ(g.key(0, 0, 0, 0), 0);
  EXPECT_EQ(g.value(0, 0, 0, 0), 0);
}

TEST(Outputs, NoKeysAtAll) {
  const Array<double, 4> q({1, 1, 2, 3}), k({1, 1, 0, 3}), v({1, 1, 0, 2}), d_out({1, 1, 2, 2});
  const auto r = reference::attend(q, k, v);
  EXPECT_EQ(r.lse(0, 0, 1), -test::kInfinity);
  EXPECT_EQ(r.out(0, 0, 1, 1), 0);
  const auto g = reference::attend_backward(q, k, v, r, d_out, Dot{}, {});
  EXPECT_EQ(g.query(0, 0, 1, 2), 0);
  EXPECT_TRUE(g.key.empty());
}

TEST(Outputs, DoubleIsCloseToLongDouble) {
  for (int kind = 0; kind < test::kSmallSimilarities; ++kind) {
    const test::SmallCall c = test::small_call(kind, test::Parts::all, 5);
    const auto r = reference::attend(c.query, c.key, c.value, c.options);
    const auto l = reference::attend_long(c.query, c.key, c.value, c.options);
    SCOPED_TRACE(kind);
    const auto expect_close = [](const auto& got, const auto& truth) {
      for (Index i = 0; i < got.size(); ++i) {
        const long double t = truth.data()[i];
        if (got.data()[i] == t) continue;  // infinities too
        // relative to 1: lse, entropy and averages come from sums of larger terms
        ASSERT_LE(std::fabs(got.data()[i] - t), 1e-14L * (1 + std::fabs(t))) << "element " << i;
      }
    };
    expect_close(r.out, l.out);
    expect_close(r.lse, l.lse);
    expect_close(r.weight, l.weight);
    expect_close(r.entropy, l.entropy);
    expect_close(r.largest, l.largest);
    expect_close(r.received, l.received);
    expect_close(r.position, l.position);
    expect_close(r.second_moment, l.second_moment);
  }
}

// --- What the contract says of the reference itself.

TEST(Reference, MaskedIsNeverRead) {
  const Mask mask{.causal_offset = -1, .key_length = {4}};
  for (int kind = 0; kind < test::kSmallSimilarities; ++kind) {
    for (const test::Parts parts : {test::Parts::none, test::Parts::matrix}) {
      SCOPED_TRACE(kind);
      test::SmallCall c = test::small_call(kind, parts, 3, {.queries = 4, .keys = 5});
      c.options.mask = mask;
      Array<double, 4> d_out = test::random_rows({1, 1, 4, c.value.shape()[3]}, 9);
      const auto run_once = [&] {
        auto r = reference::attend(c.query, c.key, c.value, c.options);
        auto g = reference::attend_backward(c.query, c.key, c.value, r, {.out = d_out}, c.options);
        return std::pair(std::move(r), std::move(g));
      };
      const auto [clean, clean_gradients] = run_once();
      const auto soil = [](Array<double, 4>& x, Index row) {
        for (Index column = 0; column < x.shape()[3]; ++column) x(0, 0, row, column) = kNan;
      };
      soil(c.key, 4), soil(c.value, 4);  // nobody sees key 4
      soil(c.query, 0), soil(d_out, 0);  // query 0 sees nobody
      const auto [dirty, gradients] = run_once();
      EXPECT_TRUE(test::same_bits(clean.out, dirty.out));
      EXPECT_TRUE(test::same_bits(clean.lse, dirty.lse));
      EXPECT_TRUE(test::same_bits(clean.weight, dirty.weight));
      EXPECT_TRUE(test::same_bits(clean_gradients, gradients));
      EXPECT_EQ(dirty.lse(0, 0, 0), -test::kInfinity);
      EXPECT_EQ(dirty.out(0, 0, 0, 0), 0);
      EXPECT_EQ(gradients.query(0, 0, 0, 0), 0);
    }
  }
}

TEST(Reference, VisibleNanTakesTheRow) {
  auto q = matrix<double>({{1}, {2}, {3}}), k = matrix<double>({{1}, {2}, {3}}),
       v = matrix<double>({{1}, {2}, {3}});
  k(0, 0, 1, 0) = std::numeric_limits<double>::quiet_NaN();
  const auto r = reference::attend(q, k, v, Gaussian{}, Mask{.causal_offset = 0});
  EXPECT_EQ(r.out(0, 0, 0, 0), 1);
  for (const Index i : {1, 2}) {
    EXPECT_TRUE(std::isnan(r.out(0, 0, i, 0)));
    EXPECT_TRUE(std::isnan(r.lse(0, 0, i)));
  }
}

TEST(Reference, LogitsOfMinusInfinityAlone) {
  const auto q = matrix<double>({{1}}), v = matrix<double>({{1}, {2}});
  auto k = matrix<double>({{-test::kInfinity}, {-test::kInfinity}});
  auto r = reference::attend(q, k, v);
  EXPECT_EQ(r.out(0, 0, 0, 0), 0);
  EXPECT_EQ(r.lse(0, 0, 0), -test::kInfinity);
  k(0, 0, 1, 0) = 5;
  r = reference::attend(q, k, v);
  EXPECT_EQ(r.out(0, 0, 0, 0), 2);
  EXPECT_EQ(r.lse(0, 0, 0), 5);
}

TEST(Reference, WrongCallsAreErrors) {
  const Array<double, 4> q({1, 2, 3, 4}), k({1, 1, 5, 4}), v({1, 1, 5, 2});
  EXPECT_NO_THROW(reference::attend(q, k, v));
  EXPECT_THROW(reference::attend(q, Array<double, 4>({2, 1, 5, 4}), v), Error);
  EXPECT_THROW(reference::attend(q, Array<double, 4>({1, 3, 5, 4}), v), Error);
  EXPECT_THROW(reference::attend(q, Array<double, 4>({1, 1, 5, 3}), v), Error);
  EXPECT_THROW(reference::attend(q, k, Array<double, 4>({1, 1, 4, 2})), Error);
  EXPECT_THROW(reference::attend(q, k, v, Dot{}, Mask{.key_length = {6}}), Error);
  EXPECT_THROW(reference::attend(q, k, v, Dot{}, Mask{.key_length = {1, 1}}), Error);
}

}  // namespace
}  // namespace kith
