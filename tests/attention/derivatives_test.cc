// Directional and second derivatives against finite differences of the operator and of its backward pass.
#include "kith/derivatives.h"

#include <gtest/gtest.h>

#include <cmath>

#include "attention/check.h"
#include "attention/small_call.h"

namespace kith {
namespace {

using test::inner;
using test::SmallCall;

/// A direction with the memory it needs.
struct Direction {
  Array<double, 4> query, key, value;
  double parameter = 0;

  Direction(const SmallCall& c, std::uint64_t seed, bool has_parameter)
      : query(test::random_rows(c.query.shape(), seed)),
        key(test::random_rows(c.key.shape(), seed + 1)),
        value(test::random_rows(c.value.shape(), seed + 2)),
        parameter(has_parameter ? 0.3 : 0) {}

  operator Tangent() const { return {query, key, value, parameter}; }
};

void move(Array<double, 4>& x, const Array<double, 4>& direction, double step) {
  for (Index i = 0; i < x.size(); ++i) x.data()[i] += step * direction.data()[i];
}

/// (f(c + step) - f(c - step)) / (2 step) of an array: differences of what `f` returns.
template <class F>
auto difference(SmallCall& c, const Direction& direction, F f) {
  constexpr double kStep = 1e-5;
  const auto at = [&](double step) {
    const auto query = c.query, key = c.key, value = c.value;
    const auto options = c.options;
    move(c.query, direction.query, step);
    move(c.key, direction.key, step);
    move(c.value, direction.value, step);
    if (double* const parameter = test::parameter(c)) *parameter += step * direction.parameter;
    auto result = f();
    // The memory that the options refer to stays the same.
    c.query = query, c.key = key, c.value = value, c.options = options;
    return result;
  };
  auto above = at(kStep);
  const auto below = at(-kStep);
  for (Index i = 0; i < above.size(); ++i) {
    above.data()[i] = above.data()[i] == below.data()[i]  // infinities
                          ? 0
                          : (above.data()[i] - below.data()[i]) / (2 * kStep);
  }
  return above;
}

template <int R>
void expect_close(const Array<double, R>& got, const Array<double, R>& expected, const char* name) {
  ASSERT_EQ(got.shape(), expected.shape()) << name;
  for (Index i = 0; i < got.size(); ++i) {
    EXPECT_NEAR(got.data()[i], expected.data()[i], 1e-7 * (1 + std::fabs(expected.data()[i])))
        << name << ' ' << i;
  }
}

struct Trial {
  SmallCall c;
  Array<double, 4> d_out;
  bool has_parameter;
};

/// Every similarity with every set of parts. The last of the queries sees no key where there is no sink.
template <class F>
void for_each_call(F f, const test::SmallSizes& n = {.heads = 2, .queries = 3, .keys = 4}) {
  for (int kind = 0; kind < test::kSmallSimilarities; ++kind) {
    for (const test::Parts parts : test::kEveryPart) {
      SCOPED_TRACE("similarity " + std::to_string(kind) + " parts " +
                   std::to_string(static_cast<int>(parts)));
      Trial s{test::small_call(kind, parts, static_cast<std::uint64_t>(50 + kind), n), {}, false};
      if (parts != test::Parts::all) s.c.options.mask = query_lengths({n.queries - 1});
      s.d_out = test::random_rows({n.batch, n.heads, n.queries, n.value_depth}, 3);
      s.has_parameter = test::parameter(s.c) != nullptr;
      f(s);
    }
  }
}

Array<double, 1> single(double x) { return test::numbers({x}); }

reference::Gradients gradients(const SmallCall& c, const Array<double, 4>& d_out,
                               const Array<double, 3>& d_lse = {}) {
  const auto r = reference::attend(c.query, c.key, c.value, c.options);
  return reference::attend_backward(c.query, c.key, c.value, r, {.out = d_out, .lse = d_lse}, c.options);
}

TEST(Jvp, IsAFiniteDifference) {
  for_each_call([](Trial& s) {
    const Direction direction(s.c, 5, s.has_parameter);
    const auto run = [&] { return reference::attend(s.c.query, s.c.key, s.c.value, s.c.options); };
    const ResultTangent t = attend_jvp(s.c.query, s.c.key, s.c.value, direction, s.c.options);
    expect_close(t.out, difference(s.c, direction, [&] { return run().out; }), "out");
    expect_close(t.lse, difference(s.c, direction, [&] { return run().lse; }), "lse");
  });
}

/// <upstream, J tangent> = <J^T upstream, tangent>
TEST(Jvp, IsTheTransposeOfTheBackwardPass) {
  for_each_call([](Trial& s) {
    const Direction direction(s.c, 7, s.has_parameter);
    const ResultTangent t = attend_jvp(s.c.query, s.c.key, s.c.value, direction, s.c.options);
    const Array<double, 3> d_lse = test::random_numbers(t.lse.shape(), 8);
    const auto g = gradients(s.c, s.d_out, d_lse);
    const double forward = inner(t.out, s.d_out) + inner(t.lse, d_lse);
    const double backward = inner(g.query, direction.query) + inner(g.key, direction.key) +
                            inner(g.value, direction.value) + g.parameter * direction.parameter;
    EXPECT_NEAR(forward, backward, 1e-13 * (1 + std::fabs(forward)));
  });
}

TEST(Jvp, EmptyTangentsAreZeros) {
  const SmallCall c = test::small_call(3, test::Parts::none, 2);
  const Direction direction(c, 5, true);
  const Array<double, 4> no_query(c.query.shape()), no_key(c.key.shape()), no_value(c.value.shape());
  const auto same = [&](const Tangent& a, const Tangent& b) {
    const auto x = attend_jvp(c.query, c.key, c.value, a, c.options);
    const auto y = attend_jvp(c.query, c.key, c.value, b, c.options);
    return test::same_bits(x.out, y.out) && test::same_bits(x.lse, y.lse);
  };
  EXPECT_TRUE(same({.key = direction.key}, {.query = no_query, .key = direction.key, .value = no_value}));
  EXPECT_TRUE(same({.query = direction.query}, {.query = direction.query, .key = no_key}));
  EXPECT_FALSE(same({.key = direction.key}, {}));
  EXPECT_EQ(inner(attend_jvp(c.query, c.key, c.value, {}, c.options).out, no_value), 0);
}

TEST(BackwardJvp, IsAFiniteDifference) {
  for_each_call([](Trial& s) {
    const Direction direction(s.c, 9, s.has_parameter);
    const Array<double, 4> d_out_tangent = test::random_rows(s.d_out.shape(), 12);
    const GradientTangent t =
        attend_backward_jvp(s.c.query, s.c.key, s.c.value, s.d_out, direction, d_out_tangent, s.c.options);
    // Linear in d_out: its share is the gradients at d_out_tangent.
    const auto share = gradients(s.c, d_out_tangent);
    const auto expect = [&](const auto& got, auto of, const char* name) {
      auto expected = difference(s.c, direction, [&] { return of(gradients(s.c, s.d_out)); });
      const auto more = of(share);
      for (Index i = 0; i < expected.size(); ++i) expected.data()[i] += more.data()[i];
      expect_close(got, expected, name);
    };
    using G = reference::Gradients;
    expect(
        t.query, [](const G& g) { return g.query; }, "query");
    expect(
        t.key, [](const G& g) { return g.key; }, "key");
    expect(
        t.value, [](const G& g) { return g.value; }, "value");
    if (s.has_parameter) {
      expect(
          single(t.parameter), [](const G& g) { return single(g.parameter); }, "parameter");
    }
  });
}

TEST(BackwardJvp, TheHessianIsSymmetric) {
  for_each_call([](Trial& s) {
    const Direction x(s.c, 20, s.has_parameter), y(s.c, 30, s.has_parameter);
    const auto times = [&](const Direction& direction, const Direction& other) {
      const auto t = attend_backward_jvp(s.c.query, s.c.key, s.c.value, s.d_out, direction, {}, s.c.options);
      return inner(t.query, other.query) + inner(t.key, other.key) + inner(t.value, other.value) +
             t.parameter * other.parameter;
    };
    const double xy = times(x, y), yx = times(y, x);
    EXPECT_NEAR(xy, yx, 1e-12 * (1 + std::fabs(xy)));
  });
}

/// The gradient of sum(cotangent g(query, key, value, parameter, d_out)), number by number.
TEST(DoubleBackward, IsAFiniteDifference) {
  for_each_call(
      [](Trial& s) {
        const Direction cotangent(s.c, 40, s.has_parameter);
        const DoubleBackward d =
            attend_double_backward(s.c.query, s.c.key, s.c.value, s.d_out, cotangent, s.c.options);
        const auto sum = [&] {
          const auto g = gradients(s.c, s.d_out);
          return inner(g.query, cotangent.query) + inner(g.key, cotangent.key) +
                 inner(g.value, cotangent.value) + g.parameter * cotangent.parameter;
        };
        const auto expect = [&](const Array<double, 4>& got, Array<double, 4>& x, const char* name) {
          Array<double, 4> expected(x.shape());
          for (Index i = 0; i < x.size(); ++i) expected.data()[i] = test::slope(x.data()[i], sum);
          expect_close(got, expected, name);
        };
        expect(d.query, s.c.query, "query");
        expect(d.key, s.c.key, "key");
        expect(d.value, s.c.value, "value");
        expect(d.d_out, s.d_out, "d_out");
        if (double* const parameter = test::parameter(s.c)) {
          expect_close(single(d.parameter), single(test::slope(*parameter, sum)), "parameter");
        }
      },
      {.queries = 2, .keys = 3});
}

TEST(Derivatives, AtKinksAreFinite) {
  for (int kind = 0; kind < test::kSmallSimilarities; ++kind) {
    SCOPED_TRACE(kind);
    SmallCall c = test::small_call(kind, test::Parts::none, 60);
    std::copy(c.query.begin(), c.query.begin() + 4, c.key.begin());  // an exact hit
    std::fill(c.query.begin() + 4, c.query.begin() + 8, 0.0);        // a zero vector
    const Direction direction(c, 61, test::parameter(c) != nullptr);
    const auto d_out = test::random_rows({1, 1, 3, 2}, 62);
    const auto d = attend_double_backward(c.query, c.key, c.value, d_out, direction, c.options);
    for (const auto* x : {&d.query, &d.key, &d.value, &d.d_out}) {
      for (const double number : *x) EXPECT_TRUE(std::isfinite(number));
    }
  }
}

TEST(Derivatives, OfMaskedNumbersAreZero) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  SmallCall c = test::small_call(3, test::Parts::matrix, 63);
  c.options.mask = key_lengths({3});
  Direction direction(c, 64, true);
  const auto d_out = test::random_rows({1, 1, 3, 2}, 65);
  const auto run = [&] {
    return attend_double_backward(c.query, c.key, c.value, d_out, direction, c.options);
  };
  const auto clean = run();
  for (Index x = 0; x < 4; ++x) c.key(0, 0, 3, x) = direction.key(0, 0, 3, x) = nan;
  for (Index x = 0; x < 2; ++x) c.value(0, 0, 3, x) = nan;
  const auto dirty = run();
  EXPECT_TRUE(test::same_bits(clean.query, dirty.query));
  EXPECT_TRUE(test::same_bits(clean.key, dirty.key));
  EXPECT_TRUE(test::same_bits(clean.value, dirty.value));
  EXPECT_TRUE(test::same_bits(clean.d_out, dirty.d_out));
  EXPECT_EQ(dirty.key(0, 0, 3, 1), 0);
}

TEST(Derivatives, DoNotDependOnTheThreads) {
  SmallCall c = test::small_call(3, test::Parts::all, 66,
                                 {.batch = 2, .heads = 4, .key_heads = 2, .queries = 150, .keys = 20});
  const Direction direction(c, 67, true);
  const auto d_out = test::random_rows({2, 4, 150, 2}, 68);
  c.options.mask = window(100, 10);
  c.options.threads = 1;
  const auto one = attend_double_backward(c.query, c.key, c.value, d_out, direction, c.options);
  const Array<double, 4> zero(d_out.shape());
  const auto g = attend_backward_jvp(c.query, c.key, c.value, zero, {}, d_out, c.options);
  const auto plain = gradients(c, d_out);
  // The parts of 300 rows a key head come together: with no tangent, d_out's share are the gradients.
  expect_close(g.query, plain.query, "query");
  expect_close(g.key, plain.key, "key");
  expect_close(g.value, plain.value, "value");
  EXPECT_NEAR(g.parameter, plain.parameter, 1e-11 * (1 + std::fabs(plain.parameter)));
  for (const int threads : {2, 5}) {
    c.options.threads = threads;
    const auto more = attend_double_backward(c.query, c.key, c.value, d_out, direction, c.options);
    EXPECT_TRUE(test::same_bits(one.query, more.query));
    EXPECT_TRUE(test::same_bits(one.key, more.key));
    EXPECT_TRUE(test::same_bits(one.value, more.value));
    EXPECT_TRUE(test::same_bits(one.d_out, more.d_out));
    EXPECT_EQ(one.parameter, more.parameter);
  }
}

TEST(Derivatives, OfNothing) {
  const Array<double, 4> q({1, 1, 2, 3}), none({1, 1, 0, 3}), d_out({1, 1, 2, 3});
  const auto d = attend_double_backward(q, none, none, d_out, {}, {});
  EXPECT_EQ(d.query.shape(), q.shape());
  EXPECT_TRUE(d.key.empty());
  EXPECT_EQ(attend_jvp(q, none, none, {}, {}).lse(0, 0, 1), 0);
  EXPECT_TRUE(attend_double_backward(none, q, q, none, {}, {}).query.empty());
}

TEST(Derivatives, WrongShapesAreErrors) {
  const Array<double, 4> q({1, 2, 3, 4}), k({1, 1, 5, 4}), v({1, 1, 5, 2}), d_out({1, 2, 3, 2});
  EXPECT_NO_THROW(attend_double_backward(q, k, v, d_out, {.query = q, .key = k, .value = v}, {}));
  EXPECT_THROW(attend_jvp(q, k, v, {.query = k}, {}), Error);
  EXPECT_THROW(attend_jvp(q, k, v, {.key = v}, {}), Error);
  EXPECT_THROW(attend_jvp(q, k, v, {.value = k}, {}), Error);
  EXPECT_THROW(attend_jvp(q, v, v, {}, {}), Error);
  EXPECT_THROW(attend_backward_jvp(q, k, v, q, {}, {}, {}), Error);
  EXPECT_THROW(attend_backward_jvp(q, k, v, d_out, {}, q, {}), Error);
}

}  // namespace
}  // namespace kith
