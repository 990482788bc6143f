#include "kith/dtype.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "kith/view.h"

namespace kith {
namespace {

static_assert(sizeof(bfloat16) == 2 && sizeof(float16) == 2);
static_assert(std::is_trivially_copyable_v<bfloat16> && std::is_trivially_copyable_v<float16>);
static_assert(!std::is_convertible_v<float, bfloat16> && !std::is_convertible_v<float, float16>);
static_assert(std::is_convertible_v<bfloat16, float> && std::is_convertible_v<float16, float>);
static_assert(std::is_same_v<compute_t<float>, float> && std::is_same_v<compute_t<double>, double>);
static_assert(std::is_same_v<compute_t<bfloat16>, float> && std::is_same_v<compute_t<float16>, float>);

// The compiler can compute with them.
static_assert(bfloat16(1.0F).bits == 0x3f80 && bfloat16(-2).bits == 0xc000 && bfloat16(0.1).bits == 0x3dcd);
static_assert(float16(1.0F).bits == 0x3c00 && float16(-2).bits == 0xc000 && float16(0.1).bits == 0x2e66);
static_assert(float16::from_bits(0x0001) == 0x1p-24F && bfloat16::from_bits(0x3f81) == 1.0078125F);

/// What tells one format from another: bits of the mantissa, and the exponent's bias.
template <class T>
constexpr int kMantissa = 0;
template <>
constexpr int kMantissa<bfloat16> = 7;
template <>
constexpr int kMantissa<float16> = 10;
template <class T>
constexpr int kBias = 0;
template <>
constexpr int kBias<bfloat16> = 127;
template <>
constexpr int kBias<float16> = 15;

template <class T>
class Float16Bits : public testing::Test {
 protected:
  static constexpr unsigned kInfinity = (0x7fffU >> kMantissa<T>) << kMantissa<T>;

  /// The value of a pattern below infinity, by the definition: 2^(e − bias) · (1 + m/2^bits), or without the
  /// 1 and with e = 1 where e is 0. A double holds it exactly; infinity's pattern gives the power of two that
  /// would follow the largest finite value.
  static double value(unsigned magnitude) {
    const int exponent = static_cast<int>(magnitude >> kMantissa<T>);
    const double fraction = std::ldexp(magnitude & ((1U << kMantissa<T>)-1), -kMantissa<T>);
    return std::ldexp(fraction + (exponent > 0 ? 1 : 0), std::max(exponent, 1) - kBias<T>);
  }

  /// The pattern nearest to a number, the even one of two: found among all values, not computed.
  static unsigned nearest(double x) {
    static const std::vector<double> kValues = [] {
      std::vector<double> values;
      for (unsigned bits = 0; bits <= kInfinity; ++bits) values.push_back(value(bits));
      return values;
    }();
    const unsigned sign = std::signbit(x) ? 0x8000 : 0;
    const double magnitude = std::abs(x);
    const auto above = std::lower_bound(kValues.begin(), kValues.end(), magnitude);
    if (above == kValues.end()) return sign | kInfinity;
    auto bits = static_cast<unsigned>(above - kValues.begin());
    if (bits > 0) {
      const double middle = (kValues[bits - 1] + kValues[bits]) / 2;  // exact
      if (magnitude < middle || (magnitude == middle && bits % 2 == 1)) --bits;
    }
    return sign | bits;
  }

  /// Both constructors on a number and its neighbors, of either sign.
  static void expect_rounded(double x) {
    constexpr double kFar = std::numeric_limits<double>::infinity();
    for (const double d : {x, std::nextafter(x, kFar), std::nextafter(x, -kFar)})
      for (const double s : {d, -d}) ASSERT_EQ(T(s).bits, nearest(s)) << std::hexfloat << s;
    const auto narrow = static_cast<float>(x);
    for (const float f : {narrow, std::nextafter(narrow, static_cast<float>(kFar)),
                          std::nextafter(narrow, static_cast<float>(-kFar))})
      for (const float s : {f, -f}) ASSERT_EQ(T(s).bits, nearest(s)) << std::hexfloat << s;
  }
};

using Types = testing::Types<bfloat16, float16>;
TYPED_TEST_SUITE(Float16Bits, Types);

TYPED_TEST(Float16Bits, EveryPatternHasItsValueAndComesBack) {
  for (unsigned bits = 0; bits <= 0xffff; ++bits) {
    const auto number = TypeParam::from_bits(static_cast<std::uint16_t>(bits));
    const float read = number;
    const unsigned magnitude = bits & 0x7fff;
    ASSERT_EQ(std::signbit(read), bits > 0x7fff) << bits;
    if (magnitude > this->kInfinity) {
      ASSERT_TRUE(std::isnan(read)) << bits;
      // A quiet NaN keeps its payload, a signaling one becomes quiet.
      const unsigned quiet = bits | 1U << (kMantissa<TypeParam> - 1);
      ASSERT_EQ(TypeParam(read).bits, quiet);
      ASSERT_TRUE(std::isnan(static_cast<float>(TypeParam(static_cast<double>(read)))));
      continue;
    }
    if (magnitude == this->kInfinity)
      ASSERT_TRUE(std::isinf(read)) << bits;
    else
      ASSERT_EQ(std::abs(static_cast<double>(read)), this->value(magnitude)) << bits;
    ASSERT_EQ(TypeParam(read).bits, bits);
    ASSERT_EQ(TypeParam(static_cast<double>(read)).bits, bits);
  }
}

TYPED_TEST(Float16Bits, RoundsToNearestEvenAtEveryTieAndBesideIt) {
  for (unsigned bits = 0; bits < this->kInfinity; ++bits) {
    const double low = this->value(bits), high = this->value(bits + 1);
    for (const double x : {low, (low + high) / 2, low + (high - low) / 4, low + (high - low) * 3 / 4})
      ASSERT_NO_FATAL_FAILURE(this->expect_rounded(x));
  }
}

TYPED_TEST(Float16Bits, RoundsRandomNumbers) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 300'000; ++i) {
    const std::uint64_t word = random();
    const auto any_float = std::bit_cast<float>(static_cast<std::uint32_t>(word));
    const auto any_double = std::bit_cast<double>(word);
    // Most patterns lie beyond the narrow formats' range, so a number well inside it too.
    const double inside = std::ldexp(static_cast<double>(word >> 11), static_cast<int>(word % 44) - 80);
    for (const double x : {static_cast<double>(any_float), any_double, inside})
      if (std::isnan(x))
        ASSERT_TRUE(std::isnan(static_cast<float>(TypeParam(x))));
      else
        ASSERT_EQ(TypeParam(x).bits, this->nearest(x)) << std::hexfloat << x;
    if (std::isnan(any_float))
      ASSERT_TRUE(std::isnan(static_cast<float>(TypeParam(any_float))));
    else
      ASSERT_EQ(TypeParam(any_float).bits, this->nearest(any_float)) << std::hexfloat << any_float;
  }
}

TYPED_TEST(Float16Bits, TheEdges) {
  constexpr float kInfinite = std::numeric_limits<float>::infinity();
  EXPECT_EQ(TypeParam(kInfinite).bits, this->kInfinity);
  EXPECT_EQ(TypeParam(-kInfinite).bits, this->kInfinity | 0x8000);
  EXPECT_EQ(TypeParam(std::numeric_limits<float>::max()).bits, this->kInfinity);
  EXPECT_EQ(TypeParam(1e300).bits, this->kInfinity);
  EXPECT_EQ(TypeParam(-1e-300).bits, 0x8000);
  EXPECT_EQ(TypeParam().bits, 0);
  // The payload of this NaN has no bit that the narrow format keeps.
  for (const std::uint32_t pattern : {0x7f800001U, 0xff800001U})
    EXPECT_TRUE(std::isnan(static_cast<float>(TypeParam(std::bit_cast<float>(pattern)))));
  // One rounding, not two: just above a tie that lies on a float.
  const double tie = 1 + std::ldexp(1, -kMantissa<TypeParam> - 1);
  EXPECT_EQ(static_cast<float>(TypeParam(tie)), 1);
  EXPECT_GT(static_cast<float>(TypeParam(tie + 0x1p-50)), 1);
}

TYPED_TEST(Float16Bits, AnArrayOfThemStartsAtZero) {
  const Array<TypeParam, 2> array({3, 5});
  for (const TypeParam x : array) EXPECT_EQ(x.bits, 0);
}

TEST(Float16, TheLargestNumberAndWhatGoesToInfinity) {
  EXPECT_EQ(static_cast<float>(float16(65519.996F)), 65504);
  EXPECT_EQ(float16(65520.0F).bits, 0x7c00);
}

template <class T>
void expect_dtype(Dtype dtype, std::string_view expected) {
  EXPECT_EQ(dtype_of<T>(), dtype);
  EXPECT_EQ(size(dtype), sizeof(T));
  EXPECT_EQ(name(dtype), expected);
}

TEST(Dtype, NamesAndSizes) {
  expect_dtype<float>(Dtype::float32, "float32");
  expect_dtype<double>(Dtype::float64, "float64");
  expect_dtype<bfloat16>(Dtype::bfloat16, "bfloat16");
  expect_dtype<float16>(Dtype::float16, "float16");
  expect_dtype<bool>(Dtype::boolean, "bool");
  expect_dtype<std::uint8_t>(Dtype::uint8, "uint8");
  expect_dtype<std::int32_t>(Dtype::int32, "int32");
  expect_dtype<Index>(Dtype::int64, "int64");
}

}  // namespace
}  // namespace kith
