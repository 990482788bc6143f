// The reference's gradients against finite differences of itself.
#include <gtest/gtest.h>

#include <cmath>

#include "attention/check.h"
#include "attention/small_call.h"

namespace kith {
namespace {

using test::SmallCall;

/// Gradients of the loss with respect to the outputs.
struct Weights {
  Array<double, 4> out, second_moment;
  Array<double, 3> lse, entropy;

  explicit Weights(const SmallCall& c) {
    const Shape<4>& q = c.query.shape();
    out = test::random_rows({q[0], q[1], q[2], c.value.shape()[3]}, 71);
    second_moment = test::random_rows(out.shape(), 72);
    lse = test::random_numbers({q[0], q[1], q[2]}, 73);
    entropy = test::random_numbers(lse.shape(), 74);
  }
};

enum UpstreamBits { kOut = 1, kLse = 2, kEntropy = 4, kMoment = 8 };

/// The sum of outputs times upstream gradients; where a row is empty its lse is left out.
double loss(const SmallCall& c, const Upstream<double>& u) {
  const auto r = reference::attend(c.query, c.key, c.value, c.options);
  double sum = 0;
  const auto add = [&](const auto& x, const auto& weight) {
    if (weight.empty()) return;
    for (Index i = 0; i < x.size(); ++i) {
      if (std::isfinite(x.data()[i])) sum += x.data()[i] * weight.data[i];
    }
  };
  add(r.out, u.out);
  add(r.lse, u.lse);
  add(r.entropy, u.entropy);
  add(r.second_moment, u.second_moment);
  return sum;
}

/// A central difference errs by step^2 f''' / 6 + 1e-16 f / step: some 1e-9 where f''' is of the order 10.
void expect_slopes(SmallCall& c, int bits) {
  const Weights w(c);
  const Array<double, 4> zero(w.out.shape());
  Upstream<double> u{.out = (bits & kOut) != 0 ? w.out : zero, .bias = true};
  if ((bits & kLse) != 0) u.lse = w.lse;
  if ((bits & kEntropy) != 0) u.entropy = w.entropy;
  if ((bits & kMoment) != 0) u.second_moment = w.second_moment;
  const auto r = reference::attend(c.query, c.key, c.value, c.options);
  const auto g = reference::attend_backward(c.query, c.key, c.value, r, u, c.options);
  for (const test::Movable& x : test::movables(c)) {
    const double* gradient = x.gradient(g);
    ASSERT_NE(gradient, nullptr) << x.name;
    for (Index i = 0; i < x.count; ++i) {
      const double expected = test::slope(x.first[i], [&] { return loss(c, u); });
      EXPECT_NEAR(gradient[i], expected, 1e-7 * (1 + std::fabs(expected))) << x.name << ' ' << i;
    }
  }
}

TEST(ReferenceGradients, AreFiniteDifferences) {
  for (int kind = 0; kind < test::kSmallSimilarities; ++kind) {
    for (const test::Parts parts : test::kEveryPart) {
      for (const int bits : {+kOut, +kLse, +kEntropy, +kMoment, kOut | kLse | kEntropy | kMoment}) {
        SCOPED_TRACE("similarity " + std::to_string(kind) + " parts " +
                     std::to_string(static_cast<int>(parts)) + " upstream " + std::to_string(bits));
        SmallCall c = test::small_call(kind, parts, static_cast<std::uint64_t>(17 + kind));
        expect_slopes(c, bits);
      }
    }
  }
}

TEST(ReferenceGradients, WithGroupedHeadsAndABatch) {
  for (int kind = 0; kind < test::kSmallSimilarities; ++kind) {
    SCOPED_TRACE(kind);
    for (const test::Parts parts : {test::Parts::columns, test::Parts::all}) {
      SmallCall c = test::small_call(kind, parts, static_cast<std::uint64_t>(40 + kind),
                                     {.batch = 2, .heads = 4, .key_heads = 2, .queries = 2, .keys = 3});
      expect_slopes(c, kOut | kLse | kEntropy | kMoment);
    }
  }
}

TEST(ReferenceGradients, OfABiasThatIsBroadcast) {
  const Shape<4> shapes[] = {{1, 1, 1, 1}, {2, 1, 1, 3}, {1, 2, 2, 1}, {1, 1, 2, 3}, {2, 2, 2, 3}};
  for (const auto& shape : shapes) {
    SmallCall c =
        test::small_call(3, test::Parts::none, 6, {.batch = 2, .heads = 2, .queries = 2, .keys = 3});
    c.bias = test::random_rows(shape, 7);
    c.options.bias.array64 = c.bias;
    expect_slopes(c, kOut | kLse);

    // The same numbers as float, halves of whole numbers so that they are the same.
    Array<float, 4> bias(shape);
    for (Index i = 0; i < bias.size(); ++i) {
      c.bias.data()[i] = std::round(2 * c.bias.data()[i]) / 2;
      bias.data()[i] = static_cast<float>(c.bias.data()[i]);
    }
    const Weights w(c);
    const auto gradient = [&](const Bias& b) {
      c.options.bias = b;
      const auto r = reference::attend(c.query, c.key, c.value, c.options);
      return reference::attend_backward(c.query, c.key, c.value, r, {.out = w.out, .bias = true}, c.options)
          .bias;
    };
    EXPECT_TRUE(test::same_bits(gradient({.array = bias}), gradient({.array64 = c.bias})));
  }
  SmallCall c = test::small_call(3, test::Parts::logits, 6);
  const auto r = reference::attend(c.query, c.key, c.value, c.options);
  const Weights w(c);
  EXPECT_TRUE(reference::attend_backward(c.query, c.key, c.value, r, {.out = w.out}, c.options).bias.empty());
}

TEST(ReferenceGradients, OfTablesAndSlopesPerHead) {
  SmallCall c = test::small_call(0, test::Parts::all, 8, {.heads = 2, .key_heads = 2});
  c.t5 = Array<double, 2>({2, 6});
  for (Index i = 0; i < c.t5.size(); ++i) c.t5.data()[i] = 0.1 * static_cast<double>(i);
  c.options.bias.t5->table = c.t5;
  c.relative = test::table({{1, 2, -1}});
  c.options.bias.relative = RelativeTable{.table = c.relative, .left = 1};
  c.options.bias.alibi = {0.2, 0.7};
  c.options.sink = {0.4};
  expect_slopes(c, kOut | kLse | kEntropy | kMoment);
}

TEST(ReferenceGradients, UnderEveryPartOfAMask) {
  Array<std::int64_t, 2> ids({1, 4});
  Array<double, 2> times({1, 4});
  for (Index j = 0; j < 4; ++j) ids(0, j) = j / 2, times(0, j) = static_cast<double>(j % 3);
  const View<const std::int64_t, 2> all_ids = ids, query_ids({ids.data(), {1, 3}, {4, 1}});
  const View<const double, 2> all_times = times, query_times({times.data() + 1, {1, 3}, {4, 1}});
  const Mask masks[] = {causal(-1),
                        exclude_self(1),
                        key_lengths({2}),
                        query_lengths({1}),
                        prefix_causal({2}),
                        window(1, 0),
                        ragged({0, 1, 1, 3}, {0, 2, 3, 4}),
                        documents(query_ids, all_ids),
                        exclude_groups(query_ids, all_ids),
                        before(query_times, all_times)};
  for (const Mask& mask : masks) {
    SmallCall c = test::small_call(4, test::Parts::logits, 12);
    c.options.mask = mask;
    SCOPED_TRACE(&mask - masks);
    expect_slopes(c, kOut | kLse | kEntropy | kMoment);
  }
}

TEST(ReferenceGradients, NoLseGradientIsZeroLseGradient) {
  const SmallCall c = test::small_call(0, test::Parts::none, 3);
  const Weights w(c);
  const auto r = reference::attend(c.query, c.key, c.value);
  const Array<double, 3> zero(r.lse.shape());
  const auto without = reference::attend_backward(c.query, c.key, c.value, r, w.out, Dot{}, {});
  const auto with = reference::attend_backward(c.query, c.key, c.value, r, w.out, Dot{}, {}, zero);
  EXPECT_TRUE(test::same_bits(without.query, with.query));
  EXPECT_TRUE(test::same_bits(without.key, with.key));
}

TEST(ReferenceGradients, KinksHaveGradientZero) {
  const auto v = test::matrix<double>({{1}, {2}}), d_out = test::matrix<double>({{1}});
  const auto gradients = [&](const Array<double, 4>& q, const Array<double, 4>& k,
                             const Similarity& similarity) {
    return reference::attend_backward(q, k, v, reference::attend(q, k, v, similarity), d_out, similarity, {});
  };
  // The query sits on key 0.
  const auto q = test::matrix<double>({{1, 2}}), k = test::matrix<double>({{1, 2}, {0, 2}});
  const Similarity tips[] = {Euclidean{}, Laplace{},
                             Compact{.kernel = CompactKernel::triangular, .bandwidth = 3}};
  for (const Similarity& similarity : tips) {
    const auto g = gradients(q, k, similarity);
    EXPECT_EQ(g.key(0, 0, 0, 0), 0);
    EXPECT_NE(g.key(0, 0, 1, 0), 0);
    EXPECT_EQ(g.query(0, 0, 0, 0), -g.key(0, 0, 1, 0));
  }
  {  // key 0 is the zero vector
    const auto zero = test::matrix<double>({{0, 0}, {0, 2}});
    const auto r = reference::attend(q, zero, v, Cosine{});
    const auto g = gradients(q, zero, Cosine{});
    EXPECT_NEAR(r.weight(0, 0, 0, 0), 1 / (1 + std::exp(2 / std::sqrt(5.0))), 1e-14);
    EXPECT_EQ(g.key(0, 0, 0, 0), 0);
    EXPECT_NE(g.key(0, 0, 1, 0), 0);
  }
}

TEST(ReferenceGradients, OfASaturatedSoftCapAreZero) {
  // q.k overflows: the capped logit is the cap itself
  const auto q = test::matrix<double>({{1e200}}), k = test::matrix<double>({{1e200}, {0}}),
             v = test::matrix<double>({{1}, {0}}), d_out = test::matrix<double>({{1}});
  const AttentionOptions options{.similarity = Dot{.scale = 1.0}, .soft_cap = 2};
  const auto r = reference::attend(q, k, v, options);
  const double w = 1 / (1 + std::exp(-2.0));
  EXPECT_NEAR(r.out(0, 0, 0, 0), w, 1e-15);
  const auto g = reference::attend_backward(q, k, v, r, {.out = d_out}, options);
  EXPECT_EQ(g.query(0, 0, 0, 0), 0);
  EXPECT_EQ(g.key(0, 0, 0, 0), 0);
  EXPECT_NEAR(g.key(0, 0, 1, 0) / 1e200, -w * (1 - w), 1e-15);
  EXPECT_NEAR(g.soft_cap, w * (1 - w), 1e-15);
}

TEST(ReferenceGradients, OutsideEverySupportOnlyTheSinkIsLeft) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto q = test::matrix<double>({{9}}), k = test::matrix<double>({{1}, {0}}),
             v = test::matrix<double>({{nan}, {0}});
  const AttentionOptions options{.similarity = Compact{}, .sink = {0.5}};
  const auto r = reference::attend(q, k, v, options);
  EXPECT_EQ(r.out(0, 0, 0, 0), 0);
  EXPECT_EQ(r.lse(0, 0, 0), 0.5);
  Array<double, 3> d_lse({1, 1, 1}), d_entropy({1, 1, 1});
  d_lse(0, 0, 0) = 3, d_entropy(0, 0, 0) = nan;
  const auto g = reference::attend_backward(
      q, k, v, r, {.out = test::matrix<double>({{nan}}), .lse = d_lse, .entropy = d_entropy}, options);
  EXPECT_EQ(g.sink[0], 3);
  EXPECT_EQ(g.query(0, 0, 0, 0), 0);
  EXPECT_EQ(g.value(0, 0, 0, 0), 0);
  EXPECT_EQ(g.parameter, 0);
}

TEST(ReferenceGradients, OfAnExactHit) {
  SmallCall c = test::small_call(11, test::Parts::none, 2);
  for (Index x = 0; x < 4; ++x) c.key(0, 0, 1, x) = c.query(0, 0, 0, x);
  const Weights w(c);
  const auto r = reference::attend(c.query, c.key, c.value, c.options);
  const auto g =
      reference::attend_backward(c.query, c.key, c.value, r, {.out = w.out, .lse = w.lse}, c.options);
  EXPECT_EQ(r.weight(0, 0, 0, 1), 1);
  // Row 0 is the hit alone, the others' weights are of the order 2^-250: d_value and d lse / d power are
  // left.
  EXPECT_NEAR(g.query(0, 0, 0, 2), 0, 1e-70);
  const Upstream<double> u{.out = w.out, .lse = w.lse};
  const double expected = test::slope(*test::parameter(c), [&] { return loss(c, u); });
  EXPECT_NEAR(g.parameter, expected, 1e-7 * (1 + std::fabs(expected)));
}

}  // namespace
}  // namespace kith
