#include "kith/layers/dropout.h"

#include "layers/check.h"

namespace kith {
namespace {

Floats mask(const DropoutLayer& layer, Index rows, Index columns, std::uint64_t step, int threads = 1) {
  Floats x({rows, columns});
  std::fill(x.begin(), x.end(), 1.0f);
  layer.forward(x, x, step, threads);
  return x;
}

double share_kept(const Floats& x) {
  double kept = 0;
  for (const float v : x) kept += v != 0;
  return kept / static_cast<double>(x.size());
}

TEST(Dropout, DropsItsShareAndScalesTheRest) {
  for (const float rate : {0.0f, 0.1f, 0.39f, 0.9f}) {
    const Floats x = mask({.rate = rate, .seed = 3}, 1000, 101, 7);
    for (const float v : x) EXPECT_TRUE(v == 0 || v == 1 / (1 - rate));
    const double keep = 1 - static_cast<double>(rate);
    // Five standard errors of a share of independent draws.
    EXPECT_NEAR(share_kept(x), keep, 5 * std::sqrt(keep * (1 - keep) / 101000));
  }
}

// Masks agree about a number in a quarter of all places, whatever the shift between them: steps, seeds, rows,
// columns.
TEST(Dropout, DropsIndependently) {
  const DropoutLayer layer{.rate = 0.5f, .seed = 3};
  const Floats a = mask(layer, 501, 257, 7);
  const auto both = [&](const Floats& b, Index rows, Index columns) {
    double count = 0, all = 0;
    for (Index i = rows; i < 501; ++i) {
      for (Index c = columns; c < 257; ++c) {
        count += a(i, c) != 0 && b(i - rows, c - columns) != 0;
        ++all;
      }
    }
    return count / all;
  };
  const double error = 5 * std::sqrt(0.25 * 0.75 / (490 * 250));
  EXPECT_NEAR(both(mask(layer, 501, 257, 8), 0, 0), 0.25, error);
  EXPECT_NEAR(both(mask({.rate = 0.5f, .seed = 4}, 501, 257, 7), 0, 0), 0.25, error);
  for (const Index shift : {1, 2, 4, 8}) {
    EXPECT_NEAR(both(a, shift, 0), 0.25, error) << shift << " rows";
    EXPECT_NEAR(both(a, 0, shift), 0.25, error) << shift << " columns";
    EXPECT_NEAR(both(a, 1, shift), 0.25, error) << "a row and " << shift << " columns";
  }
}

TEST(Dropout, IsTheSameForwardBackwardAndOnEveryInstructionSet) {
  const DropoutLayer layer{.rate = 0.3f, .seed = 11};
  const Floats x = random_floats(37, 45, 1);
  const Floats want = mask(layer, 37, 45, 5);
  on_each_instruction_set([&] {
    Gapped y(37, 45), d_x(37, 45);
    layer.forward(x, y.view, 5);
    layer.backward(x, d_x.view, 5);
    for (Index i = 0; i < 37; ++i) {
      for (Index c = 0; c < 45; ++c) {
        ASSERT_EQ(y.view(i, c), x(i, c) * want(i, c));
        ASSERT_EQ(d_x.view(i, c), y.view(i, c));
      }
    }
    EXPECT_TRUE(y.guards_stand() && d_x.guards_stand());
  });
}

TEST(Dropout, HasTheSameBitsOnAnyNumberOfThreads) {
  expect_same_bits([](int threads) {
    const Floats x = mask({.rate = 0.3f, .seed = 2}, 3000, 40, 1, threads);
    return std::vector<float>(x.begin(), x.end());
  });
}

TEST(Dropout, SaysWhatDoesNotFit) {
  Floats x({5, 4}), y({5, 2});
  expect_error([&] { DropoutLayer{.rate = 1.0f}.forward(x, x, 0); },
               "Dropout: rate: got 1, needs 0 <= rate < 1");
  expect_error([&] { DropoutLayer{.rate = 0.5f}.forward(x, y, 0); },
               "Dropout: y: got shape [5, 2], needs [5, 4]");
}

}  // namespace
}  // namespace kith
