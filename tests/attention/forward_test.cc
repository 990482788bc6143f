// kith::attend against the reference, for every instruction set, at awkward sizes and with awkward numbers.
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
using test::largest_magnitude;
using test::to_double;

reference::Result reference_of(const Inputs& in, const Case& c) {
  return reference::attend(to_double(in.query), to_double(in.key), to_double(in.value), c.similarity, c.mask);
}

/// How wrong an element may be. Rounding moves a logit by a few epsilon |logit| and, through the exponential,
/// its weight by that much relatively; the weighted mean then moves by that times the largest |v|. Sums add
/// what the plain float formula shows for the same input, of which the blocked one may have twice.
///     |out error| <= 2 |plain error| + 4 epsilon (1 + |logit|) max|v|
///     |lse error| <= 2 |plain error| + 4 epsilon (1 + |lse|)
/// Logits that matter are near the largest one, and that is near lse. Below the smallest normal float a sum
/// of M values rounds M times by half the smallest denormal.
struct Bound {
  double out, lse;
};

Bound bound_of(const Inputs& in, const Case& c, const reference::Result& expected) {
  const test::PlainResult plain = plain_attend(in, c.similarity, c.mask);
  const double floor = 4 * kEpsilon * (1 + largest_magnitude(expected.lse));
  const double denormal = static_cast<double>(c.keys) * 0x1p-149;
  return {2 * largest_error(plain.out, expected.out) + floor * largest_magnitude(in.value) + denormal,
          2 * largest_error(plain.lse, expected.lse) + floor};
}

void check(const Case& c) {
  const Inputs in = make_inputs(c);
  const reference::Result expected = reference_of(in, c);
  const Bound bound = bound_of(in, c, expected);
  for (const char* name : instruction_sets()) {
    const ForcedInstructionSet forced(name);
    const AttentionResult got =
        attend(in.query, in.key, in.value,
               {.similarity = c.similarity, .mask = c.mask, .want = {.lse = true}, .threads = 1});
    EXPECT_LE(largest_error(got.out, expected.out), bound.out) << "out " << name << ' ' << describe(c);
    EXPECT_LE(largest_error(got.lse, expected.lse), bound.lse) << "lse " << name << ' ' << describe(c);
  }
}

TEST(Forward, InstructionSetsCanBeForced) {
  const auto names = instruction_sets();
  ASSERT_FALSE(names.empty());
  for (const char* name : names) {
    const ForcedInstructionSet forced(name);
    EXPECT_STREQ(instruction_set(), name);
  }
  EXPECT_STREQ(instruction_set(), names.front());
}

TEST(Forward, AwkwardSizes) {
  for (const Case& c : test::small_cases()) check(c);
}

TEST(Forward, ManyKeys) {
  for (const Case& c : test::big_cases()) check(c);
}

TEST(Forward, HardNumbers) {
  for (const Case& c : test::hard_data_cases()) check(c);
}

TEST(Forward, ShortCallIsTheDefaultOptions) {
  const Case c{
      .batch = 2, .query_heads = 4, .key_heads = 2, .queries = 11, .keys = 70, .depth = 9, .value_depth = 5};
  const Inputs in = make_inputs(c);
  const AttentionResult full = attend(in.query, in.key, in.value, AttentionOptions{});
  EXPECT_TRUE(test::same_bits(attend(in.query, in.key, in.value), full.out));
  EXPECT_TRUE(full.lse.empty());
  EXPECT_TRUE(full.top_weight.empty());
  EXPECT_TRUE(full.top_key.empty());
}

// float32 ends at 3e38: a squared length of 1e30 does not fit, a cosine does not care.
TEST(Forward, CosineOfAnyLength) {
  const Case c{
      .queries = 20, .keys = 50, .depth = 6, .value_depth = 3, .similarity = Cosine{.temperature = 0.3}};
  Inputs in = make_inputs(c);
  for (Index i = 0; i < in.query.size(); ++i) in.query.data()[i] *= i / c.depth % 2 == 0 ? 1e30F : 1e-30F;
  for (Index i = 0; i < in.key.size(); ++i) in.key.data()[i] *= i / c.depth % 2 == 0 ? 1e30F : 1e-30F;
  const reference::Result expected = reference_of(in, c);
  for (const char* name : instruction_sets()) {
    const ForcedInstructionSet forced(name);
    const Array<float, 4> out = attend(in.query, in.key, in.value, {.similarity = c.similarity}).out;
    EXPECT_LE(largest_error(out, expected.out), 8 * kEpsilon * largest_magnitude(in.value)) << name;
  }
}

// The largest logit is a hundred beyond the rest, or all of them overflow exp: softmax must not care.
TEST(Forward, LogitsOfTenThousand) {
  for (const float sign : {1.0F, -1.0F}) {
    Array<float, 4> query({1, 1, 3, 1}), key({1, 1, 200, 1}), value({1, 1, 200, 2});
    for (Index i = 0; i < 3; ++i) query(0, 0, i, 0) = 1;
    for (Index j = 0; j < 200; ++j) {
      key(0, 0, j, 0) = sign * 10000 + static_cast<float>(j % 4);
      value(0, 0, j, 0) = static_cast<float>(j % 4);
      value(0, 0, j, 1) = 1;
    }
    const auto expected =
        reference::attend(to_double(query), to_double(key), to_double(value), Dot{.scale = 1.0});
    for (const char* name : instruction_sets()) {
      const ForcedInstructionSet forced(name);
      const AttentionResult got =
          attend(query, key, value, {.similarity = Dot{.scale = 1.0}, .want = {.lse = true}, .threads = 1});
      // In units of log 2 a logit of 1e4 is 14427.0 +- half a spacing of 2^-10.
      EXPECT_LE(largest_error(got.out, expected.out), 3 * 0x1p-10) << name;
      EXPECT_LE(largest_error(got.lse, expected.lse), 0x1p-9) << name;
      for (Index i = 0; i < 3; ++i)
        EXPECT_NEAR(static_cast<double>(got.out(0, 0, i, 1)), 1, 4 * kEpsilon) << name;
    }
  }
}

// A weight below the smallest normal float may be 0; it must not be a NaN, and its row's others must be
// right.
TEST(Forward, WeightsUnderflow) {
  Array<float, 4> query({1, 1, 1, 1}), key({1, 1, 300, 1}), value({1, 1, 300, 1});
  query(0, 0, 0, 0) = 1;
  for (Index j = 0; j < 300; ++j) {
    key(0, 0, j, 0) = -static_cast<float>(j);
    value(0, 0, j, 0) = j == 0 ? 0.0F : 1.0F;
  }
  for (const char* name : instruction_sets()) {
    const ForcedInstructionSet forced(name);
    const Array<float, 4> out =
        attend(query, key, value, {.similarity = Dot{.scale = 1.0}, .threads = 1}).out;
    EXPECT_NEAR(static_cast<double>(out(0, 0, 0, 0)), std::exp(-1.0), 4 * kEpsilon) << name;
  }
}

TEST(Forward, ConstantValuesStayConstant) {  // weights sum to one
  const Case c{
      .queries = 50, .keys = 2000, .depth = 12, .value_depth = 3, .similarity = Gaussian{.bandwidth = 2}};
  Inputs in = make_inputs(c);
  for (float& x : in.value) x = 3.7F;
  for (const char* name : instruction_sets()) {
    const ForcedInstructionSet forced(name);
    for (const float x : attend(in.query, in.key, in.value, {.similarity = c.similarity, .threads = 1}).out) {
      // 2000 positive floats added in any order, both above and below the line.
      EXPECT_NEAR(static_cast<double>(x), 3.7, 16 * kEpsilon * 3.7) << name;
    }
  }
}

}  // namespace
}  // namespace kith
