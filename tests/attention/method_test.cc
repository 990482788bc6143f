// The methods of kernel regression give what the sum over all pairs gives, and say when they cannot.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "attention/wrong_call.h"
#include "kith/attention.h"

namespace kith::test {
namespace {

Array<float, 4> points(const Shape<4>& shape, unsigned seed) {
  Array<float, 4> x(shape);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (float& number : x) number = normal(random);
  return x;
}

struct Problem {
  Array<float, 4> query, key, value;
  Problem(Index batch, Index heads, Index key_heads, Index n, Index m, Index depth, Index columns)
      : query(points({batch, heads, n, depth}, 1)),
        key(points({batch, key_heads, m, depth}, 2)),
        value(points({batch, key_heads, m, columns}, 3)) {}
};

AttentionOptions with(Similarity similarity, Method method) {
  AttentionOptions options;
  options.similarity = std::move(similarity);
  options.method = method;
  options.want.lse = true;
  return options;
}

Array<double, 4> doubled(const Array<float, 4>& x) {
  Array<double, 4> copy(x.shape());
  std::copy(x.begin(), x.end(), copy.begin());
  return copy;
}

void expect_same(const Problem& p, const AttentionOptions& options) {
  const AttentionResult result = attend(p.query, p.key, p.value, options);
  EXPECT_EQ(result.method, options.method);
  AttentionOptions direct = options;
  direct.method = Method::direct;
  const auto truth = attend(doubled(p.query), doubled(p.key), doubled(p.value), direct);
  for (Index i = 0; i < result.out.size(); ++i) {
    ASSERT_NEAR(static_cast<double>(result.out.data()[i]), truth.out.data()[i], 5e-6) << i;
  }
  for (Index i = 0; i < result.lse.size(); ++i) {
    const double expected = truth.lse.data()[i], got = static_cast<double>(result.lse.data()[i]);
    if (std::isinf(expected)) {
      ASSERT_EQ(got, expected) << i;
    } else {
      ASSERT_NEAR(got, expected, 2e-6 * (1 + std::fabs(expected))) << i;
    }
  }
}

TEST(Methods, OnALineAgreeWithTheSumOverAllPairs) {
  const Problem p(2, 4, 2, 301, 700, 1, 3);
  for (const Similarity& similarity : std::vector<Similarity>{
           Gaussian{0.2}, Laplace{0.3}, Euclidean{0.3}, Compact{CompactKernel::epanechnikov, 0.1},
           Compact{CompactKernel::boxcar, 0.1}, Compact{CompactKernel::triangular, 0.1},
           Compact{CompactKernel::biweight, 0.1}, Compact{CompactKernel::tricube, 0.1}}) {
    SCOPED_TRACE(similarity.index());
    expect_same(p, with(similarity, Method::line));
    expect_same(p, with(similarity, Method::skip));
  }
}

TEST(Methods, InThePlaneAgreeWithTheSumOverAllPairs) {
  const Problem p(1, 2, 1, 500, 3000, 2, 2);
  expect_same(p, with(Gaussian{0.4}, Method::plane));
  expect_same(p, with(Gaussian{0.4}, Method::skip));
  expect_same(p, with(Euclidean{0.2}, Method::skip));
  expect_same(p, with(Compact{CompactKernel::biweight, 0.5}, Method::skip));
}

TEST(Methods, InSpaceAgreeWithTheSumOverAllPairs) {
  const Problem p(2, 4, 2, 300, 3000, 3, 3);
  expect_same(p, with(Gaussian{0.6}, Method::space));
  expect_same(p, with(Gaussian{0.6}, Method::skip));
}

TEST(Methods, MeasureAfterTheMetric) {
  const Problem p(1, 1, 1, 200, 900, 3, 1);
  Array<double, 2> matrix({3, 1});
  matrix(0, 0) = 1;
  matrix(1, 0) = -0.5;
  matrix(2, 0) = 2;
  AttentionOptions options = with(Gaussian{0.5}, Method::line);
  options.metric.matrix = matrix;
  expect_same(p, options);
  options = with(Gaussian{0.5}, Method::skip);
  options.metric.column_bandwidth = {1, 2, 0.7};
  expect_same(p, options);
}

TEST(Methods, RowsFarFromAllKeysAreAnsweredByThePlaneToo) {
  Problem p(1, 1, 1, 64, 5000, 2, 1);
  for (Index i = 0; i < 64; i += 2) p.query(0, 0, i, 0) += 40;
  expect_same(p, with(Gaussian{0.3}, Method::plane));
}

TEST(Methods, RowsFarFromAllKeysAreAnsweredBySpaceToo) {
  Problem p(1, 1, 1, 64, 5000, 3, 1);
  for (Index i = 0; i < 64; i += 2) p.query(0, 0, i, 0) += 40;
  expect_same(p, with(Gaussian{0.5}, Method::space));
}

TEST(Methods, SmallCallsAreSummedDirectly) {
  const Problem p(1, 1, 1, 100, 1000, 1, 1);
  EXPECT_EQ(attend(p.query, p.key, p.value, with(Gaussian{0.2}, Method::automatic)).method, Method::direct);
}

TEST(Methods, LargeCallsTakeTheCheapestThatFits) {
  const Problem line(1, 1, 1, 6000, 6000, 1, 1);
  EXPECT_EQ(attend(line.query, line.key, line.value, with(Gaussian{0.2}, Method::automatic)).method,
            Method::line);
  AttentionOptions masked = with(Gaussian{0.2}, Method::automatic);
  masked.mask = exclude_self();
  EXPECT_EQ(attend(line.query, line.key, line.value, masked).method, Method::direct);
  Problem broken(1, 1, 1, 6000, 6000, 1, 1);
  broken.value(0, 0, 17, 0) = std::nanf("");
  EXPECT_EQ(attend(broken.query, broken.key, broken.value, with(Gaussian{0.2}, Method::automatic)).method,
            Method::direct);
}

TEST(Methods, LargeCallsInSpaceTakeTheTransformWhereKeysAreDenseAndQueriesNearThem) {
  Problem p(1, 1, 1, 20000, 20000, 3, 1);
  EXPECT_EQ(attend(p.query, p.key, p.value, with(Gaussian{0.5}, Method::automatic)).method, Method::space);
  for (Index i = 0; i < 20000; ++i) p.query(0, 0, i, 0) += 100;
  EXPECT_EQ(attend(p.query, p.key, p.value, with(Gaussian{0.5}, Method::automatic)).method, Method::skip);
}

TEST(Methods, SayWhatTheyNeed) {
  const Problem p(1, 1, 1, 4, 5, 3, 1);
  const auto expect = [&](const AttentionOptions& options, const std::string& message) {
    expect_message([&] { attend(p.query, p.key, p.value, options); }, message);
  };
  expect(with(Gaussian{1}, Method::line), "method: line; it needs one column, not 3");
  expect(with(Gaussian{1}, Method::plane), "method: plane; it needs two columns, not 3");
  const Problem wide(1, 1, 1, 4, 5, 4, 1);
  expect_message([&] { attend(wide.query, wide.key, wide.value, with(Gaussian{1}, Method::space)); },
                 "method: space; it needs three columns, not 4");
  expect(with(Euclidean{1}, Method::space), "method: space; it needs the Gaussian");
  expect(with(Dot{}, Method::skip),
         "method: skip; it needs a similarity of distances: Gaussian, Euclidean or compact");
  AttentionOptions options = with(Gaussian{1}, Method::skip);
  options.mask = causal();
  expect(options, "method: skip; it needs no mask");
  options = with(Gaussian{1}, Method::skip);
  options.want.top = 1;
  expect(options, "method: skip; it needs no output but out and lse");
  const auto q = doubled(p.query), k = doubled(p.key), v = doubled(p.value);
  expect_message([&] { attend(q, k, v, with(Gaussian{1}, Method::skip)); }, "method: skip; it needs float32");
}

TEST(Methods, AreRefusedForNumbersThatAreNotFinite) {
  Problem p(1, 1, 1, 4, 5, 1, 1);
  p.key(0, 0, 2, 0) = INFINITY;
  expect_message([&] { attend(p.query, p.key, p.value, with(Gaussian{1}, Method::line)); },
                 "method: line; it needs finite queries, keys and values");
}

TEST(Methods, NeedNoQueriesAndNoKeys) {
  for (const auto& [n, m] : {std::pair<Index, Index>{0, 5}, {5, 0}, {0, 0}}) {
    const Problem p(1, 1, 1, n, m, 1, 2);
    const AttentionResult result = attend(p.query, p.key, p.value, with(Gaussian{1}, Method::line));
    EXPECT_EQ(result.method, Method::direct);
    for (const float x : result.out) EXPECT_EQ(x, 0);
    for (const float x : result.lse) EXPECT_EQ(x, -INFINITY);
  }
}

}  // namespace
}  // namespace kith::test
