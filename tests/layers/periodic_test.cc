#include "kith/layers/periodic.h"

#include "layers/check.h"

namespace kith {
namespace {

// Inputs: x, frequency, weight, bias.
Doubles plain_periodic(const std::vector<Doubles>& in) {
  const Doubles &x = in[0], &frequency = in[1], &weight = in[2], &bias = in[3];
  const Index columns = frequency.shape()[0], frequencies = frequency.shape()[1], width = weight.shape()[1];
  Doubles y({x.shape()[0], columns * width});
  for (Index i = 0; i < x.shape()[0]; ++i) {
    for (Index c = 0; c < columns; ++c) {
      for (Index w = 0; w < width; ++w) {
        double sum = bias(0, w);
        for (Index f = 0; f < frequencies; ++f) {
          const double angle = 2 * std::acos(-1.0) * frequency(c, f) * x(i, c);
          sum += std::sin(angle) * weight(f, w) + std::cos(angle) * weight(frequencies + f, w);
        }
        y(i, c * width + w) = std::max(sum, 0.0);
      }
    }
  }
  return y;
}

TEST(PeriodicEmbedding, AgreesWithAPlainOneBothWays) {
  on_each_instruction_set([] {
    for (const Index rows : {0, 1, 11}) {
      for (const Index frequencies : {1, 5, 16, 19}) {
        SCOPED_TRACE(testing::Message() << rows << " rows, " << frequencies << " frequencies");
        Random random(4);
        PeriodicEmbedding layer("e", 3, frequencies, 7, 0.7, random);
        const Floats x = random_floats(rows, 3, 1), d_y = random_floats(rows, 21, 2);
        const std::vector<Doubles> in{doubles(x), doubles(layer.frequency.value),
                                      doubles(layer.linear.weight.value), doubles(layer.linear.bias.value)};
        const Gapped gx(x.view()), gd_y(d_y.view());
        Gapped y(rows, 21), d_x(rows, 3);
        layer.forward(gx.view, y.view);
        // Angles of some turns carry their own rounding.
        expect_near(y.view, plain_periodic(in), 60, "y");
        layer.backward(gx.view, y.view, gd_y.view, d_x.view);
        const Doubles d = doubles(d_y);
        expect_near(d_x.view, slopes(plain_periodic, in, 0, d), 200, "d_x");
        expect_near(layer.frequency.gradient, slopes(plain_periodic, in, 1, d), 200, "d_frequency");
        expect_near(layer.linear.weight.gradient, slopes(plain_periodic, in, 2, d), 200, "d_weight");
        expect_near(layer.linear.bias.gradient, slopes(plain_periodic, in, 3, d), 60, "d_bias");
        EXPECT_TRUE(y.guards_stand() && d_x.guards_stand());
        const Floats once = layer.frequency.gradient;
        layer.backward(gx.view, y.view, gd_y.view, {});
        for (Index i = 0; i < once.size(); ++i)
          EXPECT_EQ(layer.frequency.gradient.data()[i], 2 * once.data()[i]);
      }
    }
  });
}

// x and the frequencies are such that their product is exact; what is left is the sine itself.
TEST(PeriodicEmbedding, KnowsSinesOfManyTurns) {
  on_each_instruction_set([] {
    Random random(4);
    PeriodicEmbedding layer("e", 1, 64, 128, 1, random);
    for (Index f = 0; f < 64; ++f) layer.frequency.value(0, f) = static_cast<float>(f) / 64;
    // The weight hands each sine and cosine through; the bias keeps them from ReLU.
    std::fill(layer.linear.weight.value.begin(), layer.linear.weight.value.end(), 0.0f);
    for (Index f = 0; f < 128; ++f) layer.linear.weight.value(f, f) = 1;
    std::fill(layer.linear.bias.value.begin(), layer.linear.bias.value.end(), 2.0f);
    Floats x({5, 1}), y({5, 128});
    const float at[] = {0, 0.25f, -1.75f, 1000.125f, -12345.5f};
    std::copy(std::begin(at), std::end(at), x.begin());
    layer.forward(x, y);
    for (Index i = 0; i < 5; ++i) {
      for (Index f = 0; f < 64; ++f) {
        const double turns = static_cast<double>(at[i]) * static_cast<double>(f) / 64;
        const double angle = 2 * std::acos(-1.0) * (turns - std::round(turns));
        EXPECT_NEAR(static_cast<double>(y(i, f)), 2 + std::sin(angle), 3e-7) << turns;
        EXPECT_NEAR(static_cast<double>(y(i, 64 + f)), 2 + std::cos(angle), 3e-7) << turns;
      }
    }
  });
}

TEST(PeriodicEmbedding, HasTheSameBitsOnAnyNumberOfThreads) {
  const Floats x = random_floats(1501, 4, 1), d_y = random_floats(1501, 4 * 9, 2);
  expect_same_bits([&](int threads) {
    Random random(4);
    PeriodicEmbedding layer("e", 4, 24, 9, 0.5, random);
    Floats y(d_y.shape()), d_x(x.shape());
    layer.forward(x, y, threads);
    layer.backward(x, y, d_y, d_x, threads);
    std::vector<float> all;
    append(all, y);
    append(all, d_x);
    for (const Parameter* p : layer.parameters()) append(all, p->gradient);
    return all;
  });
}

// Rows do not know of one another: not even of the block they are in.
TEST(PeriodicEmbedding, GivesARowTheSameAloneAndInATable) {
  const Floats x = random_floats(700, 4, 1);
  Random random(4);
  const PeriodicEmbedding layer("e", 4, 24, 9, 0.5, random);
  Floats y({700, 36}), alone({1, 36});
  layer.forward(x, y);
  for (const Index row : {0, 127, 128, 699}) {
    layer.forward({x.data() + row * 4, {1, 4}}, alone);
    const Doubles want = doubles(View<const float, 2>(&y(row, 0), {1, 36}));
    expect_near(alone, want, 16, "row");
  }
}

TEST(PeriodicEmbedding, SaysWhatDoesNotFit) {
  Random random(1);
  PeriodicEmbedding layer("e", 2, 3, 4, 1, random);
  EXPECT_EQ(layer.frequency.name, "e.frequency");
  EXPECT_EQ(layer.linear.weight.name, "e.linear.weight");
  EXPECT_FALSE(layer.frequency.decays);
  Floats x({5, 3}), good({5, 2}), y({5, 8}), bad({5, 9});
  expect_error([&] { layer.forward(x, y); }, "PeriodicEmbedding: x: got shape [5, 3], needs [any, 2]");
  expect_error([&] { layer.forward(good, bad); }, "PeriodicEmbedding: y: got shape [5, 9], needs [5, 8]");
  expect_error([&] { layer.backward(good, y, bad, {}); },
               "PeriodicEmbedding: d_y: got shape [5, 9], needs [5, 8]");
  Linear other("e", 5, 4, random);
  layer.linear = other;
  expect_error([&] { layer.forward(good, y); },
               "PeriodicEmbedding: linear: got 5 inputs, needs 6, two a frequency");
}

}  // namespace
}  // namespace kith
