// kith::attend_backward against the reference, for every instruction set, at awkward sizes and with awkward
// numbers.
#include <gtest/gtest.h>

#include "attention/cases.h"
#include "attention/check.h"
#include "attention/plain_float.h"

namespace kith {
namespace {

using test::Case;
using test::ForcedInstructionSet;
using test::Inputs;
using test::kEpsilon;
using test::largest_error;
using test::to_double;

reference::Gradients reference_of(const Inputs& in, const Case& c) {
  const auto q = to_double(in.query), k = to_double(in.key), v = to_double(in.value);
  const auto result = reference::attend(q, k, v, c.similarity, c.mask);
  return reference::attend_backward(q, k, v, result, to_double(in.d_out), c.similarity, c.mask,
                                    to_double(in.d_lse));
}

/// How wrong an element may be: twice the plain float formula's error on the same input, plus rounding of
/// what the element is a sum of. Each term carries a weight, which is off by a few epsilon (1 + |lse|)
/// relatively, since it is exp of a logit minus lse, both rounded.
struct Bound {
  double query, key, value, parameter;
};

Bound bound_of(const Inputs& in, const Case& c, const reference::Gradients& expected) {
  const test::PlainResult forward = plain_attend(in, c.similarity, c.mask);
  const test::PlainGradients plain = plain_backward(in, forward, c.similarity, c.mask);
  const double floor = 4 * kEpsilon * (1 + test::largest_magnitude(forward.lse));
  // Values and weights below the smallest normal float round by half the smallest denormal, once per term.
  const double denormal = static_cast<double>(c.queries + c.keys) * 0x1p-149;
  return {2 * largest_error(plain.query, expected.query) + floor * plain.query_terms + denormal,
          2 * largest_error(plain.key, expected.key) + floor * plain.key_terms + denormal,
          2 * largest_error(plain.value, expected.value) + floor * plain.value_terms + denormal,
          2 * std::fabs(plain.parameter - expected.parameter) + floor * plain.parameter_terms + denormal};
}

void check(const Case& c) {
  const Inputs in = make_inputs(c);
  const reference::Gradients expected = reference_of(in, c);
  const Bound bound = bound_of(in, c, expected);
  const AttentionOptions options{
      .similarity = c.similarity, .mask = c.mask, .want = {.lse = true}, .threads = 1};
  for (const char* name : instruction_sets()) {
    const ForcedInstructionSet forced(name);
    const AttentionResult result = attend(in.query, in.key, in.value, options);
    const AttentionGradients got =
        attend_backward(in.query, in.key, in.value, result, in.d_out, options, in.d_lse);
    EXPECT_LE(largest_error(got.query, expected.query), bound.query)
        << "d_query " << name << ' ' << describe(c);
    EXPECT_LE(largest_error(got.key, expected.key), bound.key) << "d_key " << name << ' ' << describe(c);
    EXPECT_LE(largest_error(got.value, expected.value), bound.value)
        << "d_value " << name << ' ' << describe(c);
    EXPECT_LE(std::fabs(got.parameter - expected.parameter), bound.parameter)
        << "d_parameter " << name << ' ' << describe(c);
  }
}

TEST(Backward, AwkwardSizes) {
  for (const Case& c : test::small_cases()) check(c);
}

TEST(Backward, ManyKeys) {
  for (const Case& c : test::big_cases()) check(c);
}

TEST(Backward, HardNumbers) {
  for (const Case& c : test::hard_data_cases()) {
    // 10^15 times a weight's rounding is as large as the gradient itself: nothing to compare.
    if (c.data != test::Data::giant) check(c);
  }
}

// Logits of 10^15 round by 10^8, so a logit minus lse may be as large: the weight must still not exceed 1.
TEST(Backward, GiantKeyGivesFiniteGradients) {
  for (const Case& c : test::hard_data_cases()) {
    if (c.data != test::Data::giant) continue;
    const Inputs in = make_inputs(c);
    const AttentionOptions options{.similarity = c.similarity, .mask = c.mask, .want = {.lse = true}};
    const AttentionResult result = attend(in.query, in.key, in.value, options);
    const AttentionGradients got =
        attend_backward(in.query, in.key, in.value, result, in.d_out, options, in.d_lse);
    bool finite = std::isfinite(got.parameter);
    for (const auto* gradient : {&got.query, &got.key, &got.value}) {
      for (const float x : *gradient) finite &= std::isfinite(x);
    }
    EXPECT_TRUE(finite) << describe(c);
  }
}

TEST(Backward, LseGradientIsOptional) {
  const Case c{.query_heads = 2, .key_heads = 1, .queries = 30, .keys = 70, .depth = 5, .value_depth = 4};
  const Inputs in = make_inputs(c);
  const AttentionOptions options{.want = {.lse = true}};
  const AttentionResult result = attend(in.query, in.key, in.value, options);
  const Array<float, 3> zero(in.d_lse.shape());
  EXPECT_TRUE(test::same_bits(attend_backward(in.query, in.key, in.value, result, in.d_out, options),
                              attend_backward(in.query, in.key, in.value, result, in.d_out, options, zero)));
}

// With d_out = 0 all that flows comes through lse: its gradient in the logits is the weights.
TEST(Backward, LseAlone) {
  const Case c{.queries = 40, .keys = 90, .depth = 6, .value_depth = 3, .similarity = Dot{.scale = 1.0}};
  Inputs in = make_inputs(c);
  for (float& x : in.d_out) x = 0;
  for (float& x : in.d_lse) x = 1;
  const AttentionOptions options{.similarity = c.similarity, .want = {.lse = true}};
  const AttentionResult result = attend(in.query, in.key, in.value, options);
  const AttentionGradients got =
      attend_backward(in.query, in.key, in.value, result, in.d_out, options, in.d_lse);
  const auto k = to_double(in.key);
  const Array<double, 4> mean_key = reference::attend(to_double(in.query), k, k, c.similarity).out;
  EXPECT_LE(largest_error(got.query, mean_key), 32 * kEpsilon * test::largest_magnitude(k));
  for (const float x : got.value) EXPECT_EQ(x, 0);
}

// The kinks, where the gradient is 0 by definition and the formula is 0/0.
TEST(Backward, Kinks) {
  const Case c{.queries = 60, .keys = 60, .depth = 4, .value_depth = 2};
  Inputs in = make_inputs(c);
  in.key = in.query;
  for (Index x = 0; x < c.depth; ++x) in.query(0, 0, 7, x) = in.key(0, 0, 9, x) = 0;
  for (const Similarity& similarity : {Similarity(Euclidean{}), Similarity(Cosine{})}) {
    Case kinked = c;
    kinked.similarity = similarity;
    const reference::Gradients expected = reference_of(in, kinked);
    const Bound bound = bound_of(in, kinked, expected);
    const AttentionOptions options{.similarity = similarity, .want = {.lse = true}};
    for (const char* name : instruction_sets()) {
      const ForcedInstructionSet forced(name);
      const AttentionResult result = attend(in.query, in.key, in.value, options);
      const AttentionGradients got =
          attend_backward(in.query, in.key, in.value, result, in.d_out, options, in.d_lse);
      EXPECT_LE(largest_error(got.query, expected.query), bound.query) << name << ' ' << describe(kinked);
      EXPECT_LE(largest_error(got.key, expected.key), bound.key) << name << ' ' << describe(kinked);
    }
  }
}

TEST(Backward, UniformHasNoGradientInQueryAndKey) {
  const Case c{.queries = 20, .keys = 30, .depth = 3, .value_depth = 2, .similarity = Uniform{}};
  const Inputs in = make_inputs(c);
  const AttentionOptions options{.similarity = Uniform{}, .want = {.lse = true}};
  const AttentionResult result = attend(in.query, in.key, in.value, options);
  const AttentionGradients got =
      attend_backward(in.query, in.key, in.value, result, in.d_out, options, in.d_lse);
  for (const float x : got.query) EXPECT_EQ(x, 0);
  for (const float x : got.key) EXPECT_EQ(x, 0);
  EXPECT_EQ(got.parameter, 0);
}

}  // namespace
}  // namespace kith
