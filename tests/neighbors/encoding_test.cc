#include "neighbors/encoding.h"

#include <gtest/gtest.h>

#include <cmath>

#include "neighbors/normal_quantile.h"
#include "neighbors/tables.h"

namespace kith::neighbors {
namespace {

using test::kBlank;

std::vector<float> encoded(const Encoding& e, double value) {
  std::vector<float> out(static_cast<std::size_t>(e.width()), 0.0F);
  encode_number(e, value, out.data());
  return out;
}

std::vector<float> encoded_code(const Encoding& e, std::uint32_t code) {
  std::vector<float> out(static_cast<std::size_t>(e.width()), 0.0F);
  encode_code(e, code, out.data());
  return out;
}

double squared_distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum += d * d;
  }
  return sum;
}

Encoding numeric(const std::vector<double>& x, Scale scale) {
  return fit_numeric(x.data(), static_cast<Index>(x.size()), scale);
}

Encoding categorical(const std::vector<std::uint32_t>& code, std::size_t levels) {
  return fit_categorical(code.data(), static_cast<Index>(code.size()), levels);
}

TEST(NormalQuantile, InvertsTheDistributionFunction) {
  for (double p : {1e-10, 1e-7, 1e-3, 0.05, 0.0749, 0.0751, 0.3, 0.5, 0.7, 0.95, 1 - 1e-7}) {
    const double z = normal_quantile(p);
    EXPECT_NEAR(0.5 * std::erfc(-z / std::sqrt(2.0)) / p, 1, 1e-9) << p;
  }
  EXPECT_NEAR(normal_quantile(0.975), 1.959963984540054, 1e-14);
}

TEST(Encoding, QuantilesMakeAnyDistributionNormal) {
  test::Random random(1);
  std::vector<double> x = random.normals(20000);
  for (double& v : x) v = std::exp(3 * v);
  const Encoding e = numeric(x, Scale::quantile);
  double mean = 0, square = 0, fourth = 0;
  for (double v : x) {
    const auto z = static_cast<double>(encoded(e, v)[0]);
    mean += z / 20000;
    square += z * z / 20000;
    fourth += z * z * z * z / 20000;
  }
  EXPECT_NEAR(mean, 0, 0.02);
  EXPECT_NEAR(square, 1, 0.03);
  EXPECT_NEAR(fourth, 3, 0.3);
}

TEST(Encoding, QuantilesKeepOrderAndStayBounded) {
  test::Random random(2);
  const Encoding e = numeric(random.normals(500), Scale::quantile);
  float before = -100;
  for (double v = -6; v < 6; v += 0.01) {
    const float z = encoded(e, v)[0];
    EXPECT_GE(z, before);
    EXPECT_LT(std::abs(z), 5.3F);
    before = z;
  }
  EXPECT_EQ(encoded(e, -1e300)[0], encoded(e, -1e9)[0]);
}

TEST(Encoding, AValueThatManyRowsShareSitsInTheMiddleOfItsRange) {
  std::vector<double> x(900, 0.0);
  for (int i = 0; i < 100; ++i) x.push_back(1 + i);
  const Encoding e = numeric(x, Scale::quantile);
  EXPECT_NEAR(encoded(e, 0)[0], normal_quantile(0.45), 0.1);
  EXPECT_GT(encoded(e, 50)[0], 1.5F);
}

TEST(Encoding, NumbersAsLargeAsADoubleGivesStayFinite) {
  const double huge = std::numeric_limits<double>::max();
  const std::vector<double> x{-huge, -1, 0, 1, huge};
  for (Scale scale : {Scale::quantile, Scale::standard, Scale::none}) {
    const Encoding e = numeric(x, scale);
    for (double v : {-huge, -huge / 2, 0.0, huge})
      EXPECT_TRUE(std::isfinite(encoded(e, v)[0])) << name(scale) << v;
  }
}

TEST(Encoding, StandardizesNumbersFarFromZero) {
  const Encoding e = numeric({1e9 + 1, 1e9 + 2, 1e9 + 3}, Scale::standard);
  EXPECT_NEAR(encoded(e, 1e9 + 3)[0], 1 / std::sqrt(2.0 / 3), 1e-6);
  EXPECT_NEAR(encoded(e, 1e9 + 2)[0], 0, 1e-6);
}

TEST(Encoding, WithoutScalingDifferencesAreTheColumnsOwn) {
  const Encoding e = numeric({1e9 + 1, 1e9 + 2, 1e9 + 6}, Scale::none);
  EXPECT_EQ(encoded(e, 1e9 + 6)[0] - encoded(e, 1e9 + 1)[0], 5.0F);
}

TEST(Encoding, BlanksAreNeutralAndHaveAnIndicator) {
  for (Scale scale : {Scale::quantile, Scale::standard, Scale::none}) {
    const Encoding e = numeric({1, 2, kBlank, 3}, scale);
    ASSERT_EQ(e.width(), 2);
    // As far from the neutral value as values are from each other.
    const auto indicator = static_cast<float>(scale == Scale::none ? std::sqrt(2.0 / 3) : 1);
    EXPECT_EQ(encoded(e, kBlank), (std::vector<float>{0, indicator}));
    EXPECT_NEAR(encoded(e, 2)[0], 0, 1e-6);
    EXPECT_EQ(encoded(e, 2)[1], 0.0F);
  }
  // A blank where fitting saw none: neutral.
  EXPECT_EQ(encoded(numeric({1, 2, 3}, Scale::quantile), kBlank), std::vector<float>{0});
}

TEST(Encoding, AValueBesideItsRank) {
  Encoding e = numeric({0, 1, 2, kBlank}, Scale::quantile);
  e.and_value = true;
  ASSERT_EQ(e.width(), 3);
  // From the middle value, in units of the middle half's width over that of a normal distribution.
  EXPECT_NEAR(encoded(e, 2)[1], 2 * 1.349 / 2, 1e-6);
  EXPECT_NEAR(encoded(e, 2)[0], std::sqrt(12.0) / 3, 1e-6);  // five sixths of the rows lie below, less a half
  EXPECT_EQ(encoded(e, 1e6)[1], 10.0F);
  EXPECT_EQ(encoded(e, kBlank), (std::vector<float>{0, 0, 1}));
  EXPECT_EQ(without_values({e})[0].width(), 2);
}

TEST(Encoding, AColumnOfMostlyOneValueIsScaledByItsDeviation) {
  Encoding e = numeric({0, 0, 0, 0, 0, 0, 0, 8}, Scale::quantile);
  e.and_value = true;
  EXPECT_NEAR(encoded(e, 8)[1], 2 * 7 / std::sqrt(7.0), 1e-6);
}

TEST(Encoding, TheOutermostRowsStayNearTheOthers) {
  std::vector<double> values;
  for (int i = 0; i < 100; ++i) values.push_back(i);
  const Encoding e = numeric(values, Scale::quantile);
  // Half a row of a hundred lies beyond: the normal quantile of 0.005.
  EXPECT_NEAR(encoded(e, 0)[0], -2.575829, 1e-5);
  EXPECT_NEAR(encoded(e, 99)[0], 2.575829, 1e-5);
  EXPECT_NEAR(encoded(e, -1e9)[0], -2.575829, 1e-5);
}

TEST(Encoding, WhatTellsNothingApartIsNotUsable) {
  EXPECT_FALSE(numeric({3, 3, 3}, Scale::quantile).usable);
  EXPECT_FALSE(numeric({kBlank, kBlank}, Scale::quantile).usable);
  EXPECT_TRUE(numeric({3, kBlank, 3}, Scale::quantile).usable);  // blank or not does
  EXPECT_FALSE(categorical({0, 0}, 1).usable);
  EXPECT_FALSE(categorical({0, 1, 2, 3}, 4).usable);  // names
  EXPECT_TRUE(categorical({0, 1}, 2).usable);
  EXPECT_TRUE(categorical({0, Column::kMissing}, 1).usable);
  EXPECT_EQ(categorical({0, 0}, 1).width(), 0);
}

TEST(Encoding, DifferentCategoriesAreOneApart) {
  for (const auto& [code, levels] :
       std::vector<std::pair<std::vector<std::uint32_t>, std::size_t>>{{{0, 1, 0}, 2},
                                                                       {{0, 1, 2, 0}, 3},
                                                                       {{0, Column::kMissing, 0}, 1},
                                                                       {{0, 1, 1, Column::kMissing}, 2}}) {
    const Encoding e = categorical(code, levels);
    ASSERT_TRUE(e.usable);
    EXPECT_EQ(e.width(), levels + (e.has_missing ? 1 : 0) == 2
                             ? 1
                             : static_cast<Index>(levels) + (e.has_missing ? 1 : 0));
    for (std::uint32_t a : code) {
      for (std::uint32_t b : code) {
        EXPECT_NEAR(squared_distance(encoded_code(e, a), encoded_code(e, b)), a == b ? 0 : 1, 1e-6);
      }
      // An unseen category is equally far from all.
      EXPECT_NEAR(squared_distance(encoded_code(e, a), encoded_code(e, kUnseen)), e.width() == 1 ? 0.25 : 0.5,
                  1e-6);
    }
  }
}

TEST(Encoding, RareLevelsOfManyShareAGroup) {
  std::vector<std::uint32_t> code;
  for (std::uint32_t l = 0; l < 1000; ++l) {
    code.push_back(l);
    if (l >= 700) code.push_back(l);  // the last 300 are the frequent ones
  }
  const Encoding e = categorical(code, 1000);
  EXPECT_EQ(e.width(), 256);
  EXPECT_EQ(e.group[0], 255U);
  EXPECT_EQ(e.group[700], 0U);
  EXPECT_EQ(squared_distance(encoded_code(e, 0), encoded_code(e, 1)), 0);
  EXPECT_NEAR(squared_distance(encoded_code(e, 700), encoded_code(e, 0)), 1, 1e-6);
}

TEST(Encoding, EncodeDividesByBandwidthsAndSkipsIgnoredColumns) {
  Array<double, 2> number({2, 3});
  const double cells[] = {0, 1, 2, 10, 20, 30};
  std::copy(std::begin(cells), std::end(cells), number.data());
  Array<std::uint32_t, 2> code({1, 3});
  code(0, 1) = 1;
  const std::vector<Encoding> e{numeric({0, 1, 2}, Scale::none), categorical({0, 1, 0}, 2),
                                numeric({10, 20, 30}, Scale::none)};
  const std::vector<double> bandwidth{0.5, 0.25, std::numeric_limits<double>::infinity()};
  EXPECT_EQ(coordinate_features(e, bandwidth), (std::vector<std::size_t>{0, 1}));
  const Array<float, 2> keys = encode(e, bandwidth, {number.view(), code.view(), 3});
  ASSERT_EQ(keys.shape(), (Shape<2>{3, 2}));
  EXPECT_EQ(std::vector<float>(keys.begin(), keys.end()), (std::vector<float>{-2, -2, 0, 2, 2, -2}));
}

}  // namespace
}  // namespace kith::neighbors
