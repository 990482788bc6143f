// What the kernels are told is the similarity that the public header defines.
#include "attention/lowering.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>

namespace kith {
namespace {

using kernels::Map;
using kernels::Pair;

Geometry geometry(Index depth) {
  Geometry g;
  g.batch = g.heads = g.key_heads = g.queries = g.keys = g.value_depth = 1;
  g.depth = g.key_depth = depth;
  return g;
}

/// Natural logit of x as kernels.h words it.
double logit(Map map, double factor, double x) {
  const double u2 = factor * x, u = std::sqrt(u2), none = -std::numeric_limits<double>::infinity();
  switch (map) {
    case Map::linear:
      return factor * x;
    case Map::square_root:
      return factor * std::sqrt(x);
    case Map::epanechnikov:
      return u2 < 1 ? std::log(1 - u2) : none;
    case Map::boxcar:
      return u2 < 1 ? 0 : none;
    case Map::triangular:
      return u2 < 1 ? std::log(1 - u) : none;
    case Map::biweight:
      return u2 < 1 ? 2 * std::log(1 - u2) : none;
    case Map::tricube:
      return u2 < 1 ? 3 * std::log(1 - u * u2) : none;
    case Map::inverse_distance:
      return -factor / 2 * std::log(x);
  }
  return none;
}

double pair_sum(Pair pair, const std::vector<double>& q, const std::vector<double>& k) {
  double x = 0;
  for (std::size_t c = 0; c < q.size(); ++c) {
    const double difference = q[c] - k[c];
    x += pair == Pair::dot       ? q[c] * k[c]
         : pair == Pair::squared ? difference * difference
                                 : std::fabs(difference);
  }
  return x;
}

struct Form {
  const char* name;
  Similarity similarity;
  Pair pair;
  Map map;
  double expected;  ///< the logit of q = (3, 1, 2) and k = (1, 2, 4): q.k = 13, |q-k| = 3, city blocks 5
};

std::vector<Form> forms() {
  const auto compact = [](CompactKernel kernel) { return Compact{kernel, 4}; };
  return {
      {"dot", Dot{}, Pair::dot, Map::linear, 13 / std::sqrt(3.0)},
      {"dot, scale", Dot{-0.25}, Pair::dot, Map::linear, -13.0 / 4},
      {"Gaussian", Gaussian{2}, Pair::squared, Map::linear, -9.0 / 8},
      {"Euclidean", Euclidean{2}, Pair::squared, Map::square_root, -3.0 / 2},
      {"Laplace", Laplace{4}, Pair::absolute, Map::linear, -5.0 / 4},
      {"Epanechnikov", compact(CompactKernel::epanechnikov), Pair::squared, Map::epanechnikov,
       std::log(7.0 / 16)},
      {"boxcar", compact(CompactKernel::boxcar), Pair::squared, Map::boxcar, 0},
      {"triangular", compact(CompactKernel::triangular), Pair::squared, Map::triangular, std::log(0.25)},
      {"biweight", compact(CompactKernel::biweight), Pair::squared, Map::biweight, 2 * std::log(7.0 / 16)},
      {"tricube", compact(CompactKernel::tricube), Pair::squared, Map::tricube, 3 * std::log(37.0 / 64)},
      {"inverse distance", InverseDistance{2.5}, Pair::squared, Map::inverse_distance, -2.5 * std::log(3.0)},
      {"uniform", Uniform{}, Pair::dot, Map::linear, 0},
  };
}

TEST(Lowering, GivesTheDefinedLogits) {
  for (const Form& form : forms()) {
    AttentionOptions options;
    options.similarity = form.similarity;
    const Lowered a = lower<float>(options, geometry(3)), b = lower<double>(options, geometry(3));
    for (const Lowered& lowered : {a, b}) {
      EXPECT_EQ(lowered.pair, form.pair) << form.name;
      EXPECT_EQ(lowered.map, form.map) << form.name;
      EXPECT_EQ(lowered.depth, std::holds_alternative<Uniform>(form.similarity) ? 0 : 3) << form.name;
      const double x = pair_sum(lowered.pair, {3, 1, 2}, {1, 2, 4});
      EXPECT_NEAR(logit(lowered.map, lowered.factor, x), form.expected, 1e-14) << form.name;
      const bool by_log2 = lowered.map == Map::linear || lowered.map == Map::square_root;
      EXPECT_EQ(lowered.task_factor(), by_log2 ? lowered.factor * std::numbers::log2e : lowered.factor);
    }
  }
}

TEST(Lowering, OfMappedRows) {
  const Array<double, 2> wide({3, 5}), hidden({7, 3}), keys({7, 4});
  const Array<double, 1> score({7});
  AttentionOptions options;
  Geometry g = geometry(3);
  options.metric.matrix = wide;
  EXPECT_EQ(lower<float>(options, g).depth, 5);
  EXPECT_EQ(lower<float>(options, g).factor, 1 / std::sqrt(5.0)) << "the mapped rows' depth";
  options.metric = {};
  options.similarity = Cosine{0.25};
  EXPECT_EQ(lower<float>(options, g).pair, Pair::dot);
  EXPECT_EQ(lower<float>(options, g).factor, 4) << "rows are normalized already";
  options.similarity = Bilinear{wide, 0.5};
  g.key_depth = 5;
  EXPECT_EQ(lower<float>(options, g).pair, Pair::dot);
  EXPECT_EQ(lower<float>(options, g).depth, 5);
  EXPECT_EQ(lower<float>(options, g).factor, 0.5);
  options.similarity = Additive{hidden, keys, score};
  g.key_depth = 4;
  const Lowered additive = lower<double>(options, g);
  EXPECT_EQ(additive.pair, Pair::additive);
  EXPECT_EQ(additive.map, Map::linear);
  EXPECT_EQ(additive.depth, 7);
  EXPECT_EQ(additive.factor, 1);
}

template <class Real>
std::string message_of(const Similarity& similarity) {
  AttentionOptions options;
  options.similarity = similarity;
  try {
    lower<Real>(options, geometry(3));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Lowering, FactorsBeyondTheKernelsRangeAreErrors) {
  const Similarity only_double[] = {
      Dot{1e39},          Cosine{1e-39},         Gaussian{1e-20},    Euclidean{1e-39}, Laplace{1e-39},
      Compact{{}, 1e-20}, InverseDistance{1e39}, Bilinear{{}, 1e39}, Gaussian{1e25},   Compact{{}, 1e25}};
  for (const Similarity& similarity : only_double) {
    const std::string message = message_of<float>(similarity);
    EXPECT_EQ(message.substr(0, 11), "similarity:") << similarity.index() << ' ' << message;
    EXPECT_NE(message.find("float32"), std::string::npos) << message;
    EXPECT_EQ(message_of<double>(similarity), "") << similarity.index();
  }
  for (const Similarity& similarity :
       {Similarity(Gaussian{1e-160}), Similarity(Gaussian{1e170}), Similarity(Compact{{}, 1e-160}),
        Similarity(Compact{{}, 1e170}), Similarity(Cosine{1e-310}), Similarity(Dot{1.7e308})}) {
    EXPECT_NE(message_of<double>(similarity).find("float64"), std::string::npos) << similarity.index();
  }
  // Weights that are all but equal are no error.
  for (const Similarity& similarity :
       {Similarity(Dot{0.0}), Similarity(Cosine{1e60}), Similarity(Laplace{1e60})}) {
    EXPECT_EQ(message_of<float>(similarity), "");
  }
}

/// The similarity's own number moved by `by`.
Similarity moved(Similarity similarity, double by) {
  std::visit(
      [&](auto& s) {
        if constexpr (requires { s.bandwidth; }) s.bandwidth += by;
        if constexpr (requires { s.temperature; }) s.temperature += by;
        if constexpr (requires { s.power; }) s.power += by;
        if constexpr (requires { *s.scale; }) {
          s.scale = s.scale.value_or(1 / std::sqrt(3.0)) + by;
        } else if constexpr (requires { s.scale; }) {
          s.scale += by;
        }
      },
      similarity);
  return similarity;
}

TEST(ParameterGradient, FiniteDifferences) {
  std::vector<Form> all = forms();
  all.push_back({"cosine", Cosine{0.7}, Pair::dot, Map::linear, 0});
  all.push_back({"bilinear", Bilinear{{}, 0.7}, Pair::dot, Map::linear, 0});
  all.push_back({"additive", Additive{}, Pair::additive, Map::linear, 0});
  constexpr double kX = 0.9, kStep = 1e-5;
  for (const Form& form : all) {
    AttentionOptions options;
    options.similarity = form.similarity;
    const Lowered lowered = lower<double>(options, geometry(3));
    const auto logit_at = [&](const Similarity& similarity) {
      AttentionOptions there;
      there.similarity = similarity;
      const Lowered l = lower<double>(there, geometry(3));
      return logit(l.map, l.factor, kX);
    };
    // What kernels.h has the kernels sum, by finite differences too: d/dlog factor for the compact ones.
    const bool compact = std::holds_alternative<Compact>(form.similarity);
    const double step = compact ? kStep * lowered.factor : kStep;
    const double d_factor =
        (logit(lowered.map, lowered.factor + step, kX) - logit(lowered.map, lowered.factor - step, kX)) /
        (2 * kStep);
    const double expected =
        (logit_at(moved(form.similarity, kStep)) - logit_at(moved(form.similarity, -kStep))) / (2 * kStep);
    EXPECT_NEAR(parameter_gradient(options, d_factor), expected, 1e-8) << form.name;
  }
}

TEST(ParameterGradient, OfASmallBandwidthDoesNotDivideByZero) {
  AttentionOptions options;
  options.similarity = Gaussian{1e-120};
  const double gradient = parameter_gradient(options, 1e-200);
  EXPECT_NEAR(gradient, 1e160, 1e146);
}

template <class T>
class FiniteRows : public testing::Test {};
using Types = testing::Types<float, double, bfloat16, float16>;
TYPED_TEST_SUITE(FiniteRows, Types);

TYPED_TEST(FiniteRows, FindAndReplaceWhatIsNotFinite) {
  using Real = compute_t<TypeParam>;
  constexpr Index kRows = 3, kDepth = 5, kStride = 7, kTo = 8;
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal;
  std::vector<TypeParam> rows(kRows * kStride);
  for (TypeParam& x : rows) x = static_cast<TypeParam>(normal(random));
  // Beyond the depth lies what does not count.
  for (Index i = 0; i < kRows; ++i)
    rows[static_cast<std::size_t>(i * kStride + kDepth)] = static_cast<TypeParam>(std::nan(""));
  const HeadRows<TypeParam> from{rows.data(), kStride};
  EXPECT_TRUE(all_finite(from, kRows, kDepth));
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const double bad : {std::nan(""), kInfinity, -kInfinity}) {
    for (Index i = 0; i < kRows; ++i) {
      for (Index c = 0; c < kDepth; ++c) {
        TypeParam& x = rows[static_cast<std::size_t>(i * kStride + c)];
        const TypeParam kept = x;
        x = static_cast<TypeParam>(bad);
        ASSERT_FALSE(all_finite(from, kRows, kDepth));
        std::vector<Real> to(kRows * kTo + 1, 99);
        copy_finite(from, kRows, kDepth, to.data(), kTo);
        for (Index a = 0; a < kRows; ++a) {
          for (Index b = 0; b < kTo; ++b) {
            const Real expected = b >= kDepth || (a == i && b == c)
                                      ? Real{0}
                                      : static_cast<Real>(rows[static_cast<std::size_t>(a * kStride + b)]);
            ASSERT_EQ(to[static_cast<std::size_t>(a * kTo + b)], expected) << a << ' ' << b;
          }
        }
        ASSERT_EQ(to.back(), 99);
        x = kept;
      }
    }
  }
  EXPECT_TRUE(all_finite(from, 0, kDepth));
}

TYPED_TEST(FiniteRows, TheLargestNumbersAreFinite) {
  using Real = compute_t<TypeParam>;
  TypeParam most{};
  if constexpr (std::is_same_v<TypeParam, bfloat16>) {
    most = bfloat16::from_bits(0x7f7f);
  } else if constexpr (std::is_same_v<TypeParam, float16>) {
    most = float16::from_bits(0x7bff);
  } else {
    most = std::numeric_limits<TypeParam>::max();
  }
  const std::vector<TypeParam> rows(6, most);
  EXPECT_TRUE(all_finite(HeadRows<TypeParam>{rows.data(), 3}, 2, 3));
  Real to[6];
  copy_finite(HeadRows<TypeParam>{rows.data(), 3}, 2, 3, to, 3);
  for (const Real x : to) EXPECT_EQ(x, static_cast<Real>(most));
}

}  // namespace
}  // namespace kith
