// The reference against textbook numbers and against finite differences of itself.
#include "kith/reference.h"

#include <gtest/gtest.h>

#include <functional>
#include <numeric>

#include "attention/cases.h"
#include "attention/check.h"

namespace kith {
namespace {

using test::Case;
using test::Inputs;
using test::to_double;

template <class T>
Array<T, 4> matrix(std::initializer_list<std::initializer_list<double>> rows) {
  Array<T, 4> a({1, 1, static_cast<Index>(rows.size()), static_cast<Index>(rows.begin()->size())});
  T* to = a.data();
  for (const auto& row : rows) {
    for (const double x : row) *to++ = static_cast<T>(x);
  }
  return a;
}

/// The first row's weights, from the reference and from the fast path by way of its top-k.
struct Both {
  std::vector<double> weight, fast_weight, out, fast_out;
};

using Rows = std::initializer_list<std::initializer_list<double>>;

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

// --- What the contract says of the reference itself.

TEST(Reference, MaskedIsNeverRead) {
  Case c;
  c.queries = 4, c.keys = 5, c.depth = 3, c.value_depth = 2;
  const Mask mask{.causal_offset = -1, .self_offset = {}, .key_length = {4}};
  const Inputs in = test::make_inputs(c);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (int kind = 0; kind < test::kSimilarityKinds; ++kind) {
    const Similarity similarity = test::make_similarity(kind, c.depth);
    auto q = to_double(in.query), k = to_double(in.key), v = to_double(in.value), d_out = to_double(in.d_out);
    const auto clean = reference::attend(q, k, v, similarity, mask);
    const auto clean_gradients = reference::attend_backward(q, k, v, clean, d_out, similarity, mask);
    for (Index x = 0; x < 3; ++x) k(0, 0, 4, x) = nan;      // nobody sees key 4,
    for (Index x = 0; x < 2; ++x) v(0, 0, 4, x) = nan;      //
    for (Index x = 0; x < 3; ++x) q(0, 0, 0, x) = nan;      // and query 0 sees nobody
    for (Index x = 0; x < 2; ++x) d_out(0, 0, 0, x) = nan;  //
    const auto dirty = reference::attend(q, k, v, similarity, mask);
    const auto gradients = reference::attend_backward(q, k, v, dirty, d_out, similarity, mask);
    EXPECT_TRUE(test::same_bits(clean.out, dirty.out));
    EXPECT_TRUE(test::same_bits(clean.lse, dirty.lse));
    EXPECT_TRUE(test::same_bits(clean.weight, dirty.weight));
    EXPECT_TRUE(test::same_bits(clean_gradients.query, gradients.query));
    EXPECT_TRUE(test::same_bits(clean_gradients.key, gradients.key));
    EXPECT_TRUE(test::same_bits(clean_gradients.value, gradients.value));
    EXPECT_EQ(clean_gradients.parameter, gradients.parameter);
    EXPECT_EQ(dirty.lse(0, 0, 0), -test::kInfinity);
    EXPECT_EQ(dirty.out(0, 0, 0, 0), 0);
    EXPECT_EQ(gradients.query(0, 0, 0, 0), 0);
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

// --- Finite differences. loss = sum out * d_out + sum lse * d_lse

double loss(const reference::Result& r, const Array<double, 4>& d_out, const Array<double, 3>& d_lse) {
  double sum = 0;
  for (Index i = 0; i < r.out.size(); ++i) sum += r.out.data()[i] * d_out.data()[i];
  for (Index i = 0; i < r.lse.size(); ++i) {
    if (std::isfinite(r.lse.data()[i])) sum += r.lse.data()[i] * d_lse.data()[i];
  }
  return sum;
}

Similarity with_parameter(const Similarity& similarity, double change, Index depth) {
  if (const auto* s = std::get_if<Dot>(&similarity)) {
    return Dot{.scale = s->scale.value_or(1 / std::sqrt(static_cast<double>(depth))) + change};
  }
  if (const auto* s = std::get_if<Cosine>(&similarity)) return Cosine{.temperature = s->temperature + change};
  if (const auto* s = std::get_if<Gaussian>(&similarity)) return Gaussian{.bandwidth = s->bandwidth + change};
  if (const auto* s = std::get_if<Euclidean>(&similarity))
    return Euclidean{.temperature = s->temperature + change};
  return similarity;
}

TEST(Reference, GradientsAreFiniteDifferences) {
  // A central difference errs by step^2 f''' / 6 + 1e-16 f / step; both are below 1e-8 here.
  constexpr double kStep = 1e-5, kTolerance = 2e-8;
  for (int kind = 0; kind < test::kSimilarityKinds; ++kind) {
    for (int mask_kind = 0; mask_kind < test::kMaskKinds; ++mask_kind) {
      Case c;
      c.batch = 2, c.query_heads = 4, c.key_heads = 2, c.queries = 3, c.keys = 5, c.depth = 3,
      c.value_depth = 2;
      c.similarity = test::make_similarity(kind, c.depth);
      c.mask = test::make_mask(mask_kind, c.batch, c.queries, c.keys);
      c.seed = static_cast<std::uint64_t>(17 + mask_kind);
      SCOPED_TRACE(describe(c));
      const Inputs in = test::make_inputs(c);
      auto q = to_double(in.query), k = to_double(in.key), v = to_double(in.value);
      const auto d_out = to_double(in.d_out);
      const auto d_lse = to_double(in.d_lse);
      const auto loss_at = [&](const Similarity& similarity) {
        return loss(reference::attend(q, k, v, similarity, c.mask), d_out, d_lse);
      };
      const auto r = reference::attend(q, k, v, c.similarity, c.mask);
      const auto g = reference::attend_backward(q, k, v, r, d_out, c.similarity, c.mask, d_lse);
      const auto expect_slopes = [&](Array<double, 4>& x, const Array<double, 4>& gradient) {
        for (Index i = 0; i < x.size(); ++i) {
          const double at = x.data()[i];
          x.data()[i] = at + kStep;
          const double above = loss_at(c.similarity);
          x.data()[i] = at - kStep;
          const double below = loss_at(c.similarity);
          x.data()[i] = at;
          const double slope = (above - below) / (2 * kStep);
          ASSERT_NEAR(gradient.data()[i], slope, kTolerance * (1 + std::fabs(slope))) << "element " << i;
        }
      };
      {
        SCOPED_TRACE("query");
        expect_slopes(q, g.query);
      }
      {
        SCOPED_TRACE("key");
        expect_slopes(k, g.key);
      }
      {
        SCOPED_TRACE("value");
        expect_slopes(v, g.value);
      }
      const double slope = (loss_at(with_parameter(c.similarity, kStep, c.depth)) -
                            loss_at(with_parameter(c.similarity, -kStep, c.depth))) /
                           (2 * kStep);
      EXPECT_NEAR(g.parameter, slope, 10 * kTolerance * (1 + std::fabs(slope)));
    }
  }
}

TEST(Reference, NoLseGradientIsZeroLseGradient) {
  const Inputs in = test::make_inputs({.queries = 3, .keys = 4, .depth = 2, .value_depth = 2});
  const auto q = to_double(in.query), k = to_double(in.key), v = to_double(in.value),
             d_out = to_double(in.d_out);
  const auto r = reference::attend(q, k, v);
  const Array<double, 3> zero(r.lse.shape());
  const auto without = reference::attend_backward(q, k, v, r, d_out, Dot{}, {});
  const auto with = reference::attend_backward(q, k, v, r, d_out, Dot{}, {}, zero);
  EXPECT_TRUE(test::same_bits(without.query, with.query));
  EXPECT_TRUE(test::same_bits(without.key, with.key));
}

TEST(Reference, KinksHaveGradientZero) {
  const auto v = matrix<double>({{1}, {2}}), d_out = matrix<double>({{1}});
  {  // the query sits on key 0
    const auto q = matrix<double>({{1, 2}}), k = matrix<double>({{1, 2}, {0, 2}});
    const auto r = reference::attend(q, k, v, Euclidean{});
    const auto g = reference::attend_backward(q, k, v, r, d_out, Euclidean{}, {});
    EXPECT_EQ(g.key(0, 0, 0, 0), 0);
    EXPECT_NE(g.key(0, 0, 1, 0), 0);
    EXPECT_EQ(g.query(0, 0, 0, 0), -g.key(0, 0, 1, 0));
  }
  {  // key 0 is the zero vector
    const auto q = matrix<double>({{1, 2}}), k = matrix<double>({{0, 0}, {0, 2}});
    const auto r = reference::attend(q, k, v, Cosine{});
    const auto g = reference::attend_backward(q, k, v, r, d_out, Cosine{}, {});
    EXPECT_NEAR(r.weight(0, 0, 0, 0), 1 / (1 + std::exp(2 / std::sqrt(5.0))), 1e-14);
    EXPECT_EQ(g.key(0, 0, 0, 0), 0);
    EXPECT_NE(g.key(0, 0, 1, 0), 0);
  }
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
