#include "kith/layers/random.h"

#include <numeric>

#include "layers/check.h"

namespace kith {
namespace {

// The generator's published first outputs for the seed 1234567.
TEST(Random, IsSplitMix64) {
  Random random(1234567);
  EXPECT_EQ(random.bits(), 6457827717110365317U);
  EXPECT_EQ(random.bits(), 3203168211198807973U);
  EXPECT_EQ(random.bits(), 9817491932198370423U);
}

TEST(Random, HasTheMomentsOfItsDistributions) {
  Random random(3);
  constexpr int kCount = 200000;
  double uniform = 0, mean = 0, square = 0, fourth = 0;
  int beyond = 0;
  for (int i = 0; i < kCount; ++i) {
    const double u = random.uniform(), z = random.normal();
    ASSERT_TRUE(u >= 0 && u < 1);
    uniform += u / kCount;
    mean += z / kCount;
    square += z * z / kCount;
    fourth += z * z * z * z / kCount;
    beyond += z > 1.959963984540054;
  }
  // Five standard errors each.
  const double root = std::sqrt(static_cast<double>(kCount));
  EXPECT_NEAR(uniform, 0.5, 5 * std::sqrt(1 / 12.0) / root);
  EXPECT_NEAR(mean, 0, 5 / root);
  EXPECT_NEAR(square, 1, 5 * std::sqrt(2.0) / root);
  EXPECT_NEAR(fourth, 3, 5 * std::sqrt(96.0) / root);
  EXPECT_NEAR(beyond, 0.025 * kCount, 5 * std::sqrt(0.025 * kCount));
}

// The polar method over the same uniform numbers, with the C library's logarithm.
TEST(Random, MakesNormalNumbersByThePolarMethod) {
  Random random(5), uniform(5);
  for (int pair = 0; pair < 1000; ++pair) {
    double a = 0, b = 0, square = 0;
    do {
      a = 2 * uniform.uniform() - 1;
      b = 2 * uniform.uniform() - 1;
      square = a * a + b * b;
    } while (square >= 1);
    const double scale = std::sqrt(-2 * std::log(square) / square);
    ASSERT_NEAR(random.normal(), a * scale, 1e-14);
    ASSERT_NEAR(random.normal(), b * scale, 1e-14);
  }
}

TEST(Random, ShufflesEvenly) {
  Random random(3);
  int first[5] = {};
  std::vector<int> order(5);
  for (int i = 0; i < 10000; ++i) {
    std::iota(order.begin(), order.end(), 0);
    random.shuffle(order.begin(), order.end());
    ++first[order[0]];
    std::sort(order.begin(), order.end());
    for (int k = 0; k < 5; ++k) ASSERT_EQ(order[static_cast<std::size_t>(k)], k);
  }
  for (const int count : first) EXPECT_NEAR(count, 2000, 5 * std::sqrt(1600.0));
}

TEST(Random, AnswersForPlacesAlike) {
  EXPECT_EQ(random_at(1, 2, 3), random_at(1, 2, 3));
  EXPECT_NE(random_at(1, 2, 3), random_at(1, 3, 2));
  EXPECT_NE(random_at(1, 2, 3), random_at(2, 1, 3));
  EXPECT_NE(random_at(0, 0, 0), 0U);
}

}  // namespace
}  // namespace kith
