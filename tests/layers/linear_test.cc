#include "kith/layers/linear.h"

#include "layers/check.h"

namespace kith {
namespace {

// Inputs: x, weight, and a bias where there is one.
Doubles plain_linear(const std::vector<Doubles>& in) {
  const Doubles &x = in[0], &w = in[1];
  Doubles y({x.shape()[0], w.shape()[1]});
  for (Index i = 0; i < y.shape()[0]; ++i) {
    for (Index j = 0; j < y.shape()[1]; ++j) {
      double sum = in.size() > 2 ? in[2](0, j) : 0;
      for (Index k = 0; k < w.shape()[0]; ++k) sum += x(i, k) * w(k, j);
      y(i, j) = sum;
    }
  }
  return y;
}

TEST(Linear, AgreesWithAPlainOneBothWays) {
  for (const Index rows : {0, 1, 19}) {
    for (const bool with_bias : {true, false}) {
      SCOPED_TRACE(testing::Message() << rows << " rows, bias " << with_bias);
      Random random(5);
      Linear layer("a", 6, 17, random, with_bias);
      EXPECT_EQ(layer.parameters().size(), with_bias ? 2U : 1U);
      const Floats x = random_floats(rows, 6, 1), d_y = random_floats(rows, 17, 2);
      const Gapped gx(x.view()), gd_y(d_y.view());
      Gapped y(rows, 17), d_x(rows, 6);
      std::vector<Doubles> in{doubles(x), doubles(layer.weight.value)};
      if (with_bias) in.push_back(doubles(layer.bias.value));
      layer.forward(gx.view, y.view);
      expect_near(y.view, plain_linear(in), 20, "y");
      // Twice: gradients add up, d_x does not.
      layer.backward(gx.view, gd_y.view, d_x.view);
      layer.backward(gx.view, gd_y.view, d_x.view);
      EXPECT_TRUE(y.guards_stand() && d_x.guards_stand());
      const Doubles d = doubles(d_y);
      expect_near(d_x.view, slopes(plain_linear, in, 0, d), 40, "d_x");
      Doubles twice = slopes(plain_linear, in, 1, d);
      for (double& v : twice) v *= 2;
      expect_near(layer.weight.gradient, twice, 40, "d_weight");
      if (!with_bias) continue;
      twice = slopes(plain_linear, in, 2, d);
      for (double& v : twice) v *= 2;
      expect_near(layer.bias.gradient, twice, 40, "d_bias");
    }
  }
}

TEST(Linear, HasTheSameBitsOnAnyNumberOfThreads) {
  const Floats x = random_floats(3001, 40, 1), d_y = random_floats(3001, 50, 2);
  expect_same_bits([&](int threads) {
    Random random(5);
    Linear layer("a", 40, 50, random);
    Floats y({3001, 50}), d_x({3001, 40});
    layer.forward(x, y, threads);
    layer.backward(x, d_y, d_x, threads);
    std::vector<float> all;
    for (const Floats* part : {&y, &d_x, &layer.weight.gradient, &layer.bias.gradient}) append(all, *part);
    return all;
  });
}

TEST(Linear, StartsUniformAndNamesItsParameters) {
  Random random(1);
  const Linear layer("key", 100, 50, random);
  EXPECT_EQ(layer.weight.name, "key.weight");
  EXPECT_EQ(layer.bias.name, "key.bias");
  EXPECT_TRUE(layer.weight.decays);
  EXPECT_FALSE(layer.bias.decays);
  double square = 0;
  for (const float w : layer.weight.value) {
    EXPECT_LE(std::abs(w), 0.1f);
    square += static_cast<double>(w) * static_cast<double>(w);
  }
  // The variance of a uniform number in +-0.1 is 0.1^2 / 3; its estimate's error here is 1.3 %.
  EXPECT_NEAR(square / 5000 / (0.01 / 3), 1, 0.06);
}

TEST(Linear, SaysWhatDoesNotFit) {
  Random random(1);
  Linear layer("a", 3, 2, random);
  Floats x({5, 4}), y({5, 2}), good({5, 3}), short_y({4, 2});
  expect_error([&] { layer.forward(x, y); }, "Linear: x: got shape [5, 4], needs [any, 3]");
  expect_error([&] { layer.forward(good, short_y); }, "Linear: y: got shape [4, 2], needs [5, 2]");
  expect_error([&] { layer.backward(good, y, x); }, "Linear: d_x: got shape [5, 4], needs [5, 3]");
  expect_error(
      [&] {
        layer.forward({x.data(), {2, 3}, {1, 4}}, y);
      },
      "Linear: x: got columns 4 numbers apart, needs dense rows");
}

}  // namespace
}  // namespace kith
