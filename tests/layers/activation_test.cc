#include "kith/layers/activation.h"

#include "layers/check.h"

namespace kith {
namespace {

constexpr Activation kAll[] = {Activation::relu, Activation::gelu, Activation::gelu_tanh, Activation::silu};

double plain(Activation f, double x) {
  switch (f) {
    case Activation::relu:
      return std::max(x, 0.0);
    case Activation::gelu:
      return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
    case Activation::gelu_tanh:
      return x * 0.5 * (1 + std::tanh(std::sqrt(2 / 3.14159265358979) * (x + 0.044715 * x * x * x)));
    case Activation::silu:
      return x / (1 + std::exp(-x));
  }
  return 0;
}

double plain_slope(Activation f, double x) {
  const double step = 1e-5;
  return (plain(f, x + step) - plain(f, x - step)) / (2 * step);
}

// Awkward sizes, numbers far out, results in place and with gaps.
TEST(Activation, AgreesWithAPlainOneBothWays) {
  on_each_instruction_set([] {
    for (const Activation f : kAll) {
      for (const Shape<2> shape : {Shape<2>{0, 4}, Shape<2>{1, 1}, Shape<2>{3, 17}, Shape<2>{300, 67}}) {
        SCOPED_TRACE(testing::Message() << name(f) << " " << shape[0] << " x " << shape[1]);
        const Floats x = random_floats(shape[0], shape[1], 1, 4), d_y = random_floats(shape[0], shape[1], 2);
        Doubles want(shape), slope(shape);
        for (Index i = 0; i < x.size(); ++i) {
          const double at = static_cast<double>(x.data()[i]);
          want.data()[i] = plain(f, at);
          slope.data()[i] = plain_slope(f, at) * static_cast<double>(d_y.data()[i]);
        }
        Gapped y(x.view()), d_x(d_y.view());
        activate(f, y.view, y.view);
        activate_backward(f, x, d_x.view, d_x.view);
        expect_near(y.view, want, 4, "y");
        expect_near(d_x.view, slope, 16, "d_x");
        EXPECT_TRUE(y.guards_stand() && d_x.guards_stand());
      }
    }
  });
}

// Each number by itself, small results too. An exponential function's relative error grows with its argument,
// which is itself rounded: x^2 / 2 for gelu.
TEST(Activation, IsRelativelyRightFarOut) {
  on_each_instruction_set([] {
    for (const Activation f : kAll) {
      Floats x({1, 2001}), y({1, 2001}), d_y({1, 2001}), d_x({1, 2001});
      for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(i - 1000) * 0.01f;
      std::fill(d_y.begin(), d_y.end(), 1.0f);
      activate(f, x, y);
      activate_backward(f, x, d_y, d_x);
      for (Index i = 0; i < x.size(); ++i) {
        const double at = static_cast<double>(x(0, i)), want = plain(f, at);
        // tanh leaves gelu_tanh's plain formula no digits where it is near -1.
        const double floor = f == Activation::gelu_tanh ? 1e-14 : 1e-37;
        EXPECT_NEAR(static_cast<double>(y(0, i)), want, std::abs(want) * (2e-6 + 2e-7 * at * at) + floor)
            << name(f) << " at " << at;
        if (at != 0) {
          EXPECT_NEAR(static_cast<double>(d_x(0, i)), plain_slope(f, at), 2e-6) << name(f) << " at " << at;
        }
      }
    }
  });
}

TEST(Activation, StaysFiniteForHugeNumbersAndNaNForNaN) {
  on_each_instruction_set([] {
    for (const Activation f : kAll) {
      Floats x({1, 3}), y({1, 3}), d_y({1, 3}), d_x({1, 3});
      x(0, 0) = 1e30f;
      x(0, 1) = -1e30f;
      x(0, 2) = std::nanf("");
      std::fill(d_y.begin(), d_y.end(), 1.0f);
      activate(f, x, y);
      activate_backward(f, x, d_y, d_x);
      EXPECT_EQ(y(0, 0), 1e30f) << name(f);
      EXPECT_NEAR(static_cast<double>(y(0, 1)), 0, 1e-6) << name(f);
      EXPECT_TRUE(std::isnan(y(0, 2))) << name(f);
      EXPECT_EQ(d_x(0, 0), 1) << name(f);
      EXPECT_NEAR(static_cast<double>(d_x(0, 1)), 0, 1e-6) << name(f);
    }
  });
}

TEST(Activation, HasTheSameBitsOnAnyNumberOfThreads) {
  const Floats x = random_floats(2000, 33, 1), d_y = random_floats(2000, 33, 2);
  expect_same_bits([&](int threads) {
    std::vector<float> all;
    for (const Activation f : kAll) {
      Floats y(x.shape()), d_x(x.shape());
      activate(f, x, y, threads);
      activate_backward(f, x, d_y, d_x, threads);
      append(all, y);
      append(all, d_x);
    }
    return all;
  });
}

TEST(Activation, SaysWhatDoesNotFit) {
  Floats x({5, 4}), y({5, 2});
  expect_error([&] { activate(Activation::gelu, x, y); }, "gelu: y: got shape [5, 2], needs [5, 4]");
  expect_error([&] { activate_backward(Activation::relu, x, y, x); },
               "relu: d_y: got shape [5, 2], needs [5, 4]");
}

}  // namespace
}  // namespace kith
