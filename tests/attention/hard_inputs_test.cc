// Numbers that break careless arithmetic, at every similarity where they mean something. Each against the
// reference, forward and backward, with the case list's tolerances.
#include "attention/contract.h"

#include <functional>

namespace kith {
namespace {

using namespace test;

enum class Backward { compared, finite };

/// Every instruction set; `c` names type and layout, `v` holds the hard numbers.
void check(const Case& c, const Values& v, Backward backward = Backward::compared) {
  with_type(c.dtype, [&]<class T>() {
    const Call<T> call(c, v);
    AttentionOptions options = backward_options(c, v);
    options.want.entropy = options.want.second_moment = true;
    const Upstream<double> u = upstream(c, v);
    const auto r = reference::attend(v.query, v.key, v.value, options);
    const Flat outputs = outputs_of(r);
    const Named plain = plain_outputs<compute_t<T>>(v);
    for (const char* instructions : instruction_sets()) {
      const ForcedInstructionSet forced(instructions);
      const auto result = call.forward(options);
      const Flat got = outputs_of(result);
      for (const char* name : {"out", "lse", "entropy", "second_moment"}) {
        EXPECT_EQ(disagreement(c, name, got.at(name), outputs.at(name), plain.at(name)), "")
            << instructions << replay(c);
      }
      const Flat gradients = gradients_of(call.backward(result, options));
      if (backward == Backward::finite) {
        for (const auto& [name, numbers] : gradients) {
          for (const double x : numbers)
            ASSERT_TRUE(std::isfinite(x)) << "d_" << name << ' ' << instructions << replay(c);
        }
        continue;
      }
      const Flat expected = gradients_of(reference::attend_backward(v.query, v.key, v.value, r, u, options));
      Named plain_gradient = plain_gradients<compute_t<T>>(v, u);
      for (const auto& [name, numbers] : gradients) {
        EXPECT_EQ(disagreement(c, "d_" + name, numbers, expected.at(name), plain_gradient[name]), "")
            << instructions << replay(c);
      }
    }
  });
}

constexpr SimilarityKind kDistances[] = {SimilarityKind::gaussian, SimilarityKind::euclidean,
                                         SimilarityKind::laplace, SimilarityKind::inverse_1,
                                         SimilarityKind::inverse_2};

Case usual(SimilarityKind kind, Dtype dtype) {
  return {.query_heads = 2,
          .queries = 30,
          .keys = 250,
          .depth = 5,
          .value_depth = 3,
          .similarity = kind,
          .dtype = dtype,
          .upstream = kLse,
          .layout = Layout::unaligned};
}

template <class Body>
void for_both(const Body& body) {
  for (const Dtype dtype : {Dtype::float32, Dtype::float64}) body(dtype);
}

// Softmax must not care whether exp of a logit would overflow or vanish.
TEST(HardInputs, LogitsOfTenThousand) {
  for_both([](Dtype dtype) {
    for (const double sign : {1.0, -1.0}) {
      const Case c = usual(SimilarityKind::dot_scale, dtype);
      Values v = make_values(c);
      v.options.similarity = Dot{.scale = 1.0};
      for (double& x : v.query) x = 1;
      // Sums exact in float32: 10^4 and a few units.
      for (Index j = 0; j < v.key.size(); ++j) v.key.data()[j] = sign * 2000 + static_cast<double>(j % 4) / 8;
      check(c, v);
    }
  });
}

// What the expansion |q|^2 - 2 qk + |k|^2 cannot do: 10^6 squared has no digit left for 10^-3.
TEST(HardInputs, KeysFarFromTheOriginUnderANarrowBandwidth) {
  for_both([](Dtype dtype) {
    for (const SimilarityKind kind : kDistances) {
      const Case c = usual(kind, dtype);
      Values v = make_values(c);
      Random random(3);
      if (kind == SimilarityKind::gaussian) v.options.similarity = Gaussian{.bandwidth = 1e-3};
      const double step = dtype == Dtype::float32 ? 0x1p-4 : 0x1p-12;  // float32's spacing at 10^6
      for (Array<double, 4>* rows : {&v.query, &v.key}) {
        for (double& x : *rows) x = 1e6 + step * static_cast<double>(random.below(5));
      }
      check(c, v);
    }
  });
}

TEST(HardInputs, OneHugeKey) {
  for_both([](Dtype dtype) {
    for (std::size_t kind = 0; kind < kSimilarityKinds; ++kind) {
      const Case c = usual(static_cast<SimilarityKind>(kind), dtype);
      Values v = make_values(c);
      for (Index x = 0; x < c.depth; ++x) v.key(0, 0, 100, x) = 0x1p50 * (v.key(0, 0, 100, x) > 0 ? 1 : -1);
      // 10^15 times a weight's rounding is as large as the gradient itself.
      check(c, v, Backward::finite);
    }
  });
}

TEST(HardInputs, AllKeysTheSame) {
  for_both([](Dtype dtype) {
    for (std::size_t kind = 0; kind < kSimilarityKinds; ++kind) {
      const Case c = usual(static_cast<SimilarityKind>(kind), dtype);
      Values v = make_values(c);
      for (Index h = 0; h < c.key_heads; ++h) {
        for (Index j = 1; j < c.keys; ++j) {
          for (Index x = 0; x < v.key.shape()[3]; ++x) v.key(0, h, j, x) = v.key(0, h, 0, x);
        }
      }
      if (auto* s = std::get_if<Compact>(&v.options.similarity)) s->bandwidth = 50;  // all are inside
      check(c, v);
    }
  });
}

TEST(HardInputs, QueriesOnKeys) {  // an exact hit: inverse distance gives it all
  for_both([](Dtype dtype) {
    for (const SimilarityKind kind : kDistances) {
      const Case c = usual(kind, dtype);
      Values v = make_values(c);
      for (Index h = 0; h < c.query_heads; ++h) {
        for (Index i = 0; i < c.queries; ++i) {
          for (Index x = 0; x < c.depth; ++x) v.query(0, h, i, x) = v.key(0, 0, 7 * i, x);
        }
      }
      check(c, v);
    }
  });
}

TEST(HardInputs, SubnormalValuesKeysAndGradients) {
  for_both([](Dtype dtype) {
    const double tiny = dtype == Dtype::float32 ? 0x1p-140 : 0x1p-1060;
    const auto few = [&](Array<double, 4>& rows) {
      for (Index i = 0; i < rows.size(); ++i) rows.data()[i] = tiny * static_cast<double>(1 + i % 7);
    };
    for (const SimilarityKind kind :
         {SimilarityKind::dot, SimilarityKind::gaussian, SimilarityKind::laplace}) {
      Case c = usual(kind, dtype);
      c.data = Data::denormal, c.upstream = 0;
      Values v = make_values(c);
      few(v.value);
      check(c, v);
      v = make_values(c);
      few(v.query), few(v.key);
      check(c, v);
      v = make_values(c);
      few(v.d_out);
      check(c, v);
    }
  });
}

// A weight below the smallest normal float may be 0; it must not be a NaN, and its row's others must be
// right.
TEST(HardInputs, WeightsUnderflow) {
  for_both([](Dtype dtype) {
    Case c = usual(SimilarityKind::dot_scale, dtype);
    c.depth = 1;
    Values v = make_values(c);
    v.options.similarity = Dot{.scale = 1.0};
    for (double& x : v.query) x = 1;
    for (Index j = 0; j < c.keys; ++j) v.key(0, 0, j, 0) = -static_cast<double>(4 * j);
    check(c, v);
  });
}

// float32 ends at 3e38: a squared length of 1e60 does not fit, a cosine does not care.
TEST(HardInputs, CosineOfAnyLength) {
  const Case c = usual(SimilarityKind::cosine, Dtype::float32);
  Values v = make_values(c);
  for (Index i = 0; i < v.query.size(); ++i) {
    v.query.data()[i] =
        static_cast<double>(static_cast<float>(v.query.data()[i] * (i / c.depth % 2 == 0 ? 1e30 : 1e-30)));
  }
  for (Index i = 0; i < v.key.size(); ++i) {
    v.key.data()[i] =
        static_cast<double>(static_cast<float>(v.key.data()[i] * (i / c.depth % 2 == 0 ? 1e30 : 1e-30)));
  }
  const auto expected = reference::attend(v.query, v.key, v.value, v.options);
  const Call<float> call(c, v);
  for (const char* instructions : instruction_sets()) {
    const ForcedInstructionSet forced(instructions);
    EXPECT_LE(largest_error(call.forward(v.options).out, expected.out),
              16 * kEpsilon * largest_magnitude(v.value))
        << instructions;
  }
}

// Infinities that are visible: -inf logits count as nothing, +inf logits are the row's NaN.
TEST(HardInputs, InfiniteKeys) {
  for (const SimilarityKind kind :
       {SimilarityKind::dot, SimilarityKind::gaussian, SimilarityKind::euclidean, SimilarityKind::laplace,
        SimilarityKind::epanechnikov, SimilarityKind::inverse_2}) {
    for_both([&](Dtype dtype) {
      Case c = usual(kind, dtype);
      c.depth = 1;
      Values v = make_values(c);
      for (double& x : v.query) x = 1;
      for (double& x : v.key) x = -kInfinity;
      const auto nothing = reference::attend(v.query, v.key, v.value, v.options);
      ASSERT_EQ(nothing.lse(0, 0, 0), -kInfinity) << replay(c);
      with_type(dtype, [&]<class T>() {
        const Computed<T> x = compute<T>(c, v);
        EXPECT_TRUE(row_is(x.result.out, 0, 1, 3, 0)) << replay(c);
        EXPECT_EQ(static_cast<double>(x.result.lse(0, 1, 3)), -kInfinity) << replay(c);
        EXPECT_TRUE(row_is(x.result.top_key, 0, 1, 3, -1)) << replay(c);
        EXPECT_TRUE(row_is(x.gradients.query, 0, 1, 3, 0)) << replay(c);
        v.key(0, 0, 33, 0) = 1.25;  // one key to see: it gets all the weight
        if (compact(kind)) std::get<Compact>(v.options.similarity).bandwidth = 1;
        const Computed<T> y = compute<T>(c, v);
        EXPECT_NEAR(static_cast<double>(y.result.out(0, 0, 1, 0)), v.value(0, 0, 33, 0), 1e-6) << replay(c);
        EXPECT_EQ(y.result.top_key(0, 0, 1, 0), 33) << replay(c);
        EXPECT_TRUE(std::isfinite(y.gradients.query(0, 0, 1, 0))) << replay(c);
      });
    });
  }
}

TEST(HardInputs, ConstantValuesStayConstant) {  // weights sum to one
  Case c = usual(SimilarityKind::gaussian, Dtype::float32);
  c.keys = 2500;
  Values v = make_values(c);
  for (double& x : v.value) x = static_cast<double>(3.7F);
  const Call<float> call(c, v);
  for (const char* instructions : instruction_sets()) {
    const ForcedInstructionSet forced(instructions);
    for (const float x : call.forward(v.options).out) {
      // Thousands of positive floats added in any order, both above and below the line.
      EXPECT_NEAR(static_cast<double>(x), 3.7, 16 * kEpsilon * 3.7) << instructions;
    }
  }
}

TEST(HardInputs, LengthsAroundTheBlocks) {
  for (const Index queries : {1, 3, 7, 23, 24, 25, 95, 96, 97}) {
    for (const Index keys : {1, 3, 7, 191, 192, 193, 1919, 1920, 1921}) {
      for (const Dtype dtype : kDtypes) {
        if (queries * keys > 50000 && dtype != Dtype::float32) continue;
        Case c{
            .queries = queries, .keys = keys, .depth = 3, .value_depth = 2, .dtype = dtype, .upstream = kLse};
        c.similarity = queries % 2 == 0 ? SimilarityKind::dot : SimilarityKind::gaussian;
        check(c, make_values(c));
      }
    }
  }
}

}  // namespace
}  // namespace kith
