#include "kith/layers/norm.h"

#include "layers/check.h"

namespace kith {
namespace {

// Inputs: x, gain, and a bias where there is one.
Plain plain_norm(bool centered, double epsilon) {
  return [=](const std::vector<Doubles>& in) {
    const Doubles& x = in[0];
    Doubles y(x.shape());
    const Index width = x.shape()[1];
    for (Index i = 0; i < x.shape()[0]; ++i) {
      double mean = 0, square = 0;
      for (Index c = 0; c < width && centered; ++c) mean += x(i, c) / static_cast<double>(width);
      for (Index c = 0; c < width; ++c)
        square += (x(i, c) - mean) * (x(i, c) - mean) / static_cast<double>(width);
      for (Index c = 0; c < width; ++c) {
        y(i, c) = (x(i, c) - mean) / std::sqrt(square + epsilon) * in[1](0, c);
        if (in.size() > 2) y(i, c) += in[2](0, c);
      }
    }
    return y;
  };
}

template <class Norm>
void check(bool centered, bool with_bias) {
  on_each_instruction_set([&] {
    for (const Shape<2> shape : {Shape<2>{0, 4}, Shape<2>{1, 5}, Shape<2>{3, 16}, Shape<2>{7, 37}}) {
      SCOPED_TRACE(testing::Message() << shape[0] << " x " << shape[1] << " bias " << with_bias);
      Norm layer("n", shape[1], 1e-3f, with_bias);
      EXPECT_EQ(layer.parameters().size(), with_bias ? 2U : 1U);
      Random random(9);
      fill_normal(random, 1, layer.gain.value);
      std::vector<Doubles> in;
      const Floats x = random_floats(shape[0], shape[1], 1), d_y = random_floats(shape[0], shape[1], 2);
      in.push_back(doubles(x));
      in.push_back(doubles(layer.gain.value));
      if (with_bias) {
        fill_normal(random, 1, layer.bias.value);
        in.push_back(doubles(layer.bias.value));
      }
      const Plain plain = plain_norm(centered, static_cast<double>(1e-3f));
      Gapped y(x.view()), d_x(d_y.view()), gx(x.view());
      NormState state;
      layer.forward(y.view, y.view, &state);
      expect_near(y.view, plain(in), 16, "y");
      layer.backward(gx.view, state, d_x.view, d_x.view);
      EXPECT_TRUE(y.guards_stand() && d_x.guards_stand());
      const Doubles d = doubles(d_y);
      // A slope is what is left of g after its mean and its part along the row are taken away.
      expect_near(d_x.view, slopes(plain, in, 0, d), 400, "d_x");
      layer.backward(gx.view, state, d_y, {});
      Doubles twice = slopes(plain, in, 1, d);
      for (double& v : twice) v *= 2;
      expect_near(layer.gain.gradient, twice, 32, "d_gain");
      if (!with_bias) continue;
      twice = slopes(plain, in, 2, d);
      for (double& v : twice) v *= 2;
      expect_near(layer.bias.gradient, twice, 32, "d_bias");
    }
  });
}

TEST(LayerNorm, AgreesWithAPlainOneBothWays) {
  check<LayerNorm>(true, true);
  check<LayerNorm>(true, false);
}

TEST(RMSNorm, AgreesWithAPlainOneBothWays) {
  check<RMSNorm>(false, true);
  check<RMSNorm>(false, false);
}

TEST(LayerNorm, KeepsItsDigitsFarFromZero) {
  Floats x({1, 32}), y({1, 32});
  for (Index c = 0; c < 32; ++c) x(0, c) = 4096 + 0.125f * static_cast<float>(c);
  LayerNorm layer("n", 32);
  layer.forward(x, y, nullptr);
  expect_near(y, plain_norm(true, 1e-5)({doubles(x), doubles(layer.gain.value)}), 16, "y");
}

TEST(LayerNorm, HasTheSameBitsOnAnyNumberOfThreads) {
  const Floats x = random_floats(5000, 33, 1), d_y = random_floats(5000, 33, 2);
  expect_same_bits([&](int threads) {
    LayerNorm layer("n", 33);
    NormState state;
    Floats y(x.shape()), d_x(x.shape());
    layer.forward(x, y, &state, threads);
    layer.backward(x, state, d_y, d_x, threads);
    std::vector<float> all;
    for (const Floats* part : {&y, &d_x, &layer.gain.gradient, &layer.bias.gradient}) append(all, *part);
    return all;
  });
}

TEST(LayerNorm, SaysWhatDoesNotFit) {
  LayerNorm layer("n", 3);
  Floats x({5, 4}), good({5, 3}), y({4, 3});
  NormState state;
  expect_error([&] { layer.forward(x, y, nullptr); }, "LayerNorm: x: got shape [5, 4], needs [any, 3]");
  expect_error([&] { layer.forward(good, y, nullptr); }, "LayerNorm: y: got shape [4, 3], needs [5, 3]");
  expect_error([&] { layer.backward(good, state, good, {}); },
               "LayerNorm: state: got one of 0 rows and 0 means, needs forward's of 5 rows");
}

}  // namespace
}  // namespace kith
