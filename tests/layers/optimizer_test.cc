#include "kith/layers/optimizer.h"

#include <limits>

#include "layers/check.h"

namespace kith {
namespace {

Parameter number(float value, bool decays = true) {
  Parameter p("p", {1, 1}, decays);
  p.value(0, 0) = value;
  return p;
}

double after(Parameter& p, auto& optimizer, float gradient, double factor = 1) {
  p.gradient(0, 0) = gradient;
  optimizer.step(factor);
  EXPECT_EQ(p.gradient(0, 0), 0);
  return static_cast<double>(p.value(0, 0));
}

// By hand, rate 0.1, betas 0.9 and 0.99, decay 0.5, from 1:
// step 1, gradient 2: mean 0.2 / 0.1 = 2, square 0.04 / 0.01 = 4; 0.95 - 0.1 * 2 / 2 = 0.85.
// step 2, gradient -1: mean (0.18 - 0.1) / 0.19 = 0.4210526, square (0.0396 + 0.01) / 0.0199 = 2.4924623;
//   0.85 * 0.95 - 0.1 * 0.4210526 / 1.5787534 = 0.8075 - 0.0266699 = 0.7808301.
// step 3, gradient 0, half the rate: mean 0.072 / 0.271 = 0.2656827, square 0.049104 / 0.029701 = 1.6532777;
//   0.7808301 * 0.975 - 0.05 * 0.2656827 / 1.2857985 = 0.7613094 - 0.0103314 = 0.7509780.
TEST(AdamW, StepsAsComputedByHand) {
  on_each_instruction_set([] {
    Parameter p = number(1);
    AdamW optimizer({&p}, {.rate = 0.1, .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-12, .decay = 0.5});
    EXPECT_NEAR(after(p, optimizer, 2), 0.85, 2e-7);
    EXPECT_NEAR(after(p, optimizer, -1), 0.7808301, 3e-7);
    EXPECT_NEAR(after(p, optimizer, 0, 0.5), 0.7509780, 3e-7);
  });
}

TEST(AdamW, AddsEpsilonToTheRootAndSparesWhatDoesNotDecay) {
  Parameter p = number(1, false);
  AdamW optimizer({&p}, {.rate = 0.1, .epsilon = 2, .decay = 0.5});
  // 1 - 0.1 * 2 / (2 + 2).
  EXPECT_NEAR(after(p, optimizer, 2), 0.95, 2e-7);
}

// By hand, rate 0.1, momentum 0.5, decay 0.2, from 1: velocity 2, 0.98 - 0.2 = 0.78; velocity 1 + 1 = 2,
// 0.78 * 0.98 - 0.2 = 0.5644.
TEST(Sgd, StepsAsComputedByHand) {
  Parameter p = number(1);
  Sgd optimizer({&p}, {.rate = 0.1, .momentum = 0.5, .decay = 0.2});
  EXPECT_NEAR(after(p, optimizer, 2), 0.78, 1e-7);
  EXPECT_NEAR(after(p, optimizer, 1), 0.5644, 2e-7);
  Parameter q = number(1);
  Sgd plain({&q}, {.rate = 0.1});
  EXPECT_NEAR(after(q, plain, 2), 0.8, 1e-7);
  EXPECT_NEAR(after(q, plain, 2, 0.5), 0.7, 1e-7);
}

// Every number of a parameter larger than a block moves as it would alone, at every instruction set.
TEST(Optimizers, TreatEachNumberAlone) {
  on_each_instruction_set([] {
    const Floats gradient = random_floats(3, 11111, 1), start = random_floats(3, 11111, 2);
    Parameter a("a", {3, 11111}), b = number(0);
    a.value = start;
    AdamW many({&a}, {.rate = 0.01});
    for (int step = 0; step < 2; ++step) {
      a.gradient = gradient;
      many.step();
    }
    for (const Index i : {0, 15, 16, 16383, 16384, 33332}) {
      b.value(0, 0) = start.data()[i];
      AdamW alone({&b}, {.rate = 0.01});
      for (int step = 0; step < 2; ++step) after(b, alone, gradient.data()[i]);
      EXPECT_EQ(a.value.data()[i], b.value(0, 0)) << i;
    }
  });
}

TEST(Optimizers, HaveTheSameBitsOnAnyNumberOfThreads) {
  expect_same_bits([](int threads) {
    Parameter a("a", {300, 211}), b("b", {1, 5});
    Random random(1);
    fill_normal(random, 1, a.value);
    AdamW adam({&a, &b}, {});
    Sgd sgd({&a, &b}, {.momentum = 0.9});
    std::vector<float> norms;
    for (int step = 0; step < 3; ++step) {
      fill_normal(random, 1, a.gradient);
      Parameter* both[] = {&a, &b};
      norms.push_back(static_cast<float>(clip_gradients(both, 100, threads)));
      adam.step(1, threads);
      fill_normal(random, 1, a.gradient);
      sgd.step(1, threads);
    }
    append(norms, a.value);
    return norms;
  });
}

TEST(ClipGradients, ScalesToTheNormAndLeavesSmallOrBrokenOnes) {
  Parameter a = number(0), b("b", {1, 2});
  Parameter* both[] = {&a, &b};
  a.gradient(0, 0) = 2;
  b.gradient(0, 0) = -3;
  b.gradient(0, 1) = 6;
  EXPECT_DOUBLE_EQ(clip_gradients(both, 8), 7);
  EXPECT_EQ(b.gradient(0, 1), 6);
  EXPECT_DOUBLE_EQ(clip_gradients(both, 3.5), 7);
  EXPECT_FLOAT_EQ(a.gradient(0, 0), 1);
  EXPECT_FLOAT_EQ(b.gradient(0, 0), -1.5f);
  EXPECT_FLOAT_EQ(b.gradient(0, 1), 3);
  // Squares that float could not hold.
  a.gradient(0, 0) = 3e30f;
  EXPECT_NEAR(clip_gradients(both, 1e30), 3e30, 1e24);
  EXPECT_FLOAT_EQ(a.gradient(0, 0), 1e30f);
  a.gradient(0, 0) = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(std::isinf(clip_gradients(both, 1)));
  EXPECT_FLOAT_EQ(b.gradient(0, 1), 1);
  clear_gradients(both);
  EXPECT_EQ(clip_gradients(both, 1), 0);
}

TEST(Schedule, WarmsUpThenFallsAlongACosine) {
  const Schedule schedule{.warm_up = 4, .steps = 14, .floor = 0.1};
  EXPECT_DOUBLE_EQ(schedule(0), 0.25);
  EXPECT_DOUBLE_EQ(schedule(3), 1);
  EXPECT_DOUBLE_EQ(schedule(4), 1);
  EXPECT_DOUBLE_EQ(schedule(9), 0.55);
  EXPECT_LT(schedule(13), 0.13);
  EXPECT_DOUBLE_EQ(schedule(14), 0.1);
  EXPECT_DOUBLE_EQ(schedule(1000), 0.1);
  EXPECT_DOUBLE_EQ((Schedule{.warm_up = 0, .steps = 2, .floor = 0}(1)), 0.5);
}

TEST(Optimizers, SayWhatIsOutOfRange) {
  Parameter p = number(0);
  expect_error([&] { AdamW({&p}, {.beta1 = 1}); }, "AdamW: beta1: got 1, needs 0 <= beta1 < 1");
  expect_error([&] { AdamW({nullptr}, {}); }, "AdamW: parameters: got a null pointer, needs parameters");
  expect_error([&] { Sgd({&p}, {.rate = -1}); }, "Sgd: rate: got -1, needs 0 or more");
  Parameter* one[] = {&p};
  expect_error([&] { clip_gradients(one, 0); }, "clip_gradients: max_norm: got 0, needs more than 0");
  p.gradient = Floats({1, 2});
  expect_error([&] { Sgd({&p}, {}); }, "Sgd: p: got a gradient of shape [1, 2], needs the value's [1, 1]");
}

}  // namespace
}  // namespace kith
