// Relative biases as rows of terms: against their formulas, and backward by their linearity.
#include "attention/positions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>

namespace kith {
namespace {

TEST(T5Bucket, BidirectionalTable) {
  // Of 32 buckets up to distance 128: where each of the 16 of one side begins, at 8 * 2^(k / 2) from the 8th
  // on.
  const Index begins[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91};
  for (Index distance = 0; distance < 300; ++distance) {
    const Index expected = std::upper_bound(std::begin(begins), std::end(begins), distance) - begins - 1;
    EXPECT_EQ(t5_bucket(-distance, true, 32, 128), expected) << distance;
    EXPECT_EQ(t5_bucket(distance, true, 32, 128), distance > 0 ? 16 + expected : 0) << distance;
  }
}

TEST(T5Bucket, OneDirectionTable) {
  // 16 exact distances into the past, then 16 * 8^(k / 16); the future is distance 0.
  const Index begins[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                          16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113};
  for (Index distance = 0; distance < 300; ++distance) {
    const Index expected = std::upper_bound(std::begin(begins), std::end(begins), distance) - begins - 1;
    EXPECT_EQ(t5_bucket(-distance, false, 32, 128), expected) << distance;
    EXPECT_EQ(t5_bucket(distance, false, 32, 128), 0) << distance;
  }
}

TEST(T5Bucket, BucketsThatBeginAtWholeDistancesBeginThere) {
  // 20 buckets, 10 of them exact; up to 10 * 2^5 the others grow by the root of 2, up to 10 * 10^10 by 10.
  Index distance = 10;
  for (Index k = 0; k < 10; k += 2, distance *= 2) {
    EXPECT_EQ(t5_bucket(-distance, false, 20, 320), 10 + k) << distance;
    EXPECT_EQ(t5_bucket(1 - distance, false, 20, 320), 9 + k) << distance;
  }
  distance = 10;
  for (Index k = 0; k < 10; ++k, distance *= 10) {
    EXPECT_EQ(t5_bucket(-distance, false, 20, 100'000'000'000), 10 + k) << distance;
    EXPECT_EQ(t5_bucket(1 - distance, false, 20, 100'000'000'000), 9 + k) << distance;
  }
}

TEST(T5Bucket, AwkwardSizes) {
  for (const bool both : {false, true}) {
    for (Index buckets = both ? 2 : 1; buckets < 9; ++buckets) {
      for (const Index most : {1, 2, 3, 50}) {
        Index last = 0;
        for (Index distance = 0; distance < 70; ++distance) {
          const Index bucket = t5_bucket(-distance, both, buckets, most);
          ASSERT_GE(bucket, last);
          last = bucket;
        }
        EXPECT_EQ(last, (both ? buckets / 2 : buckets) - 1);
        const Index far = t5_bucket(PTRDIFF_MAX, both, buckets, most);
        EXPECT_EQ(far, both ? buckets / 2 * 2 - 1 : 0);
        EXPECT_EQ(t5_bucket(PTRDIFF_MIN, both, buckets, most), last);
      }
    }
  }
  EXPECT_THROW(t5_bucket(1, true, 1, 10), Error);
  EXPECT_THROW(t5_bucket(1, false, 0, 10), Error);
  EXPECT_THROW(t5_bucket(1, false, 8, 0), Error);
}

TEST(Alibi, SlopesOfThePaper) {
  const std::vector<double> eight{0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625};
  EXPECT_EQ(alibi_slopes(8), eight);
  // The code of the paper for 12 heads: those of 8, then every other of 16.
  const double more[] = {0.70710678118654752, 0.35355339059327376, 0.17677669529663688, 0.08838834764831844};
  const std::vector<double> twelve = alibi_slopes(12);
  ASSERT_EQ(twelve.size(), 12U);
  for (std::size_t h = 0; h < 8; ++h) EXPECT_EQ(twelve[h], eight[h]);
  for (std::size_t h = 0; h < 4; ++h) EXPECT_NEAR(twelve[8 + h], more[h], 1e-16);
  EXPECT_EQ(alibi_slopes(1), std::vector<double>{1.0 / 256});
  EXPECT_EQ(alibi_slopes(2), (std::vector<double>{1.0 / 16, 1.0 / 256}));
  EXPECT_EQ(alibi_slopes(3), (std::vector<double>{1.0 / 16, 1.0 / 256, 1.0 / 4}));
  for (Index heads = 1; heads < 40; ++heads) EXPECT_EQ(static_cast<Index>(alibi_slopes(heads).size()), heads);
  EXPECT_THROW(alibi_slopes(0), Error);
}

/// Tables and slopes of small whole numbers, so that sums are exact. `rows` heads each, or 1.
struct Parts {
  Array<double, 2> relative, t5;
  Bias bias;

  Parts(Index rows, bool with_relative, bool with_t5, bool with_alibi, Index offset) {
    std::mt19937_64 random(17);
    std::uniform_int_distribution<int> small(-50, 50);
    relative = Array<double, 2>({rows, 8});
    t5 = Array<double, 2>({rows, 12});
    for (double& x : relative) x = small(random);
    for (double& x : t5) x = small(random);
    if (with_relative) bias.relative = RelativeTable{relative, 5};
    if (with_t5) bias.t5 = T5Buckets{t5, true, 10};
    if (with_alibi) {
      for (Index h = 0; h < rows; ++h) bias.alibi.push_back(small(random));
    }
    bias.offset = offset;
  }

  /// From the definitions.
  double term(Index head, Index i, Index j) const {
    const Index distance = j - i - bias.offset;
    const Index row = relative.shape()[0] == 1 ? 0 : head;
    double sum = 0;
    if (bias.relative) sum += relative(row, distance < -5 ? 0 : distance > 2 ? 7 : distance + 5);
    if (bias.t5) sum += t5(row, t5_bucket(distance, true, 12, 10));
    if (!bias.alibi.empty()) {
      sum -= bias.alibi[static_cast<std::size_t>(row)] * std::fabs(static_cast<double>(distance));
    }
    return sum;
  }
};

constexpr Index kSizes[][2] = {{1, 1}, {7, 30}, {30, 7}, {1, 40}, {40, 1}, {0, 6}, {6, 0}};

TEST(RelativeTerms, AreTheSumOfTheParts) {
  for (const auto [queries, keys] : kSizes) {
    for (const Index rows : {1, 3}) {
      for (int parts = 0; parts < 8; ++parts) {
        for (const Index offset : {0, 4, -9, 200}) {
          const Parts p(rows, (parts & 1) != 0, (parts & 2) != 0, (parts & 4) != 0, offset);
          for (const Index head : {0, 2}) {
            const Index count = queries + keys - 1;
            std::vector<double> row(static_cast<std::size_t>(count) + 4, 99);
            relative_terms(p.bias, head, queries, keys, 3, row.data(), 3);
            for (Index i = 0; i < queries; ++i)
              for (Index j = 0; j < keys; ++j)
                ASSERT_EQ(row[static_cast<std::size_t>(j - i + queries - 1)], 3 * p.term(head, i, j))
                    << "parts " << parts << ", offset " << offset << ", pair " << i << ' ' << j;
            for (std::size_t x = 0; x < 3; ++x) ASSERT_EQ(row[static_cast<std::size_t>(count) + x], 0);
            ASSERT_EQ(row[static_cast<std::size_t>(count) + 3], 99) << "beyond the padding";
          }
        }
      }
    }
  }
}

TEST(RelativeTerms, NoQueriesAndNoKeysIsPaddingAlone) {
  const Parts p(1, true, true, true, 0);
  double row[] = {9, 9, 9};
  relative_terms(p.bias, 0, 0, 0, 1, row, 2);
  EXPECT_EQ(row[0], 0);
  EXPECT_EQ(row[1], 0);
  EXPECT_EQ(row[2], 9);
}

TEST(RelativeTerms, ForKernelsOfFloatAreComputedInDouble) {
  Parts p(1, true, false, true, 3);
  p.relative(0, 5) = 1e9;
  p.bias.alibi = {1e9 / 7};
  float row[1];
  relative_terms(p.bias, 0, 1, 1, 1.5, row, 0);
  p.bias.offset = 3;
  EXPECT_EQ(row[0], static_cast<float>(p.term(0, 0, 0) * 1.5));
}

TEST(RelativeTerms, FarOffsets) {
  for (const Index offset : {Index{1} << 60, -(Index{1} << 60)}) {
    const Parts p(1, true, true, true, offset);
    double row[8];
    relative_terms(p.bias, 0, 3, 5, 1, row, 0);
    for (Index i = 0; i < 3; ++i)
      for (Index j = 0; j < 5; ++j) EXPECT_EQ(row[j - i + 2], p.term(0, i, j));
    EXPECT_NE(p.relative(0, 0), p.relative(0, 7));
  }
}

/// The terms are linear in tables and slopes, so one more in a number changes the sum by its derivative.
TEST(RelativeTerms, Backward) {
  std::mt19937_64 random(5);
  std::uniform_int_distribution<int> small(-9, 9);
  for (const auto [queries, keys] : kSizes) {
    for (const Index rows : {1, 3}) {
      for (int parts = 1; parts < 8; ++parts) {
        Parts p(rows, (parts & 1) != 0, (parts & 2) != 0, (parts & 4) != 0, -4);
        const auto count = static_cast<std::size_t>(queries + keys - 1);
        std::vector<std::vector<double>> sums(3, std::vector<double>(count));
        for (auto& head : sums)
          for (double& x : head) x = small(random);
        const auto loss = [&, queries = queries, keys = keys] {
          double total = 0;
          std::vector<double> row(count);
          for (Index h = 0; h < 3; ++h) {
            relative_terms(p.bias, h, queries, keys, 1, row.data(), 0);
            for (std::size_t x = 0; x < count; ++x) total += sums[static_cast<std::size_t>(h)][x] * row[x];
          }
          return total;
        };
        BasicAttentionGradients<float> gradients;
        if (p.bias.relative) gradients.relative = Array<double, 2>(p.relative.shape());
        if (p.bias.t5) gradients.t5 = Array<double, 2>(p.t5.shape());
        gradients.alibi.assign(p.bias.alibi.size(), 0);
        for (Index h = 0; h < 3; ++h) {
          relative_terms_backward(p.bias, h, queries, keys, sums[static_cast<std::size_t>(h)].data(),
                                  gradients);
        }
        const double before = loss();
        const auto check = [&](double& number, double gradient, const char* name) {
          number += 1;
          ASSERT_EQ(loss() - before, gradient) << name;
          number -= 1;
        };
        for (Index x = 0; x < gradients.relative.size(); ++x)
          check(p.relative.data()[x], gradients.relative.data()[x], "relative");
        for (Index x = 0; x < gradients.t5.size(); ++x) check(p.t5.data()[x], gradients.t5.data()[x], "t5");
        for (std::size_t x = 0; x < gradients.alibi.size(); ++x)
          check(p.bias.alibi[x], gradients.alibi[x], "alibi");
      }
    }
  }
}

}  // namespace
}  // namespace kith
