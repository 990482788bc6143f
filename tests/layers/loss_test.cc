#include "kith/layers/loss.h"

#include "layers/check.h"

namespace kith {
namespace {

const std::vector<float> kNoWeights;

Plain plain_cross_entropy(const std::vector<std::uint32_t>& label, const std::vector<float>& weight) {
  return [=](const std::vector<Doubles>& in) {
    const Doubles& x = in[0];
    double sum = 0, total = 0;
    for (Index i = 0; i < x.shape()[0]; ++i) {
      double top = x(i, 0), all = 0;
      for (Index c = 0; c < x.shape()[1]; ++c) top = std::max(top, x(i, c));
      for (Index c = 0; c < x.shape()[1]; ++c) all += std::exp(x(i, c) - top);
      const auto row = static_cast<std::size_t>(i);
      const double w = weight.empty() ? 1 : static_cast<double>(weight[row]);
      sum += w * (std::log(all) + top - x(i, label[row]));
      total += w;
    }
    Doubles loss({1, 1});
    loss(0, 0) = total > 0 ? sum / total : 0;
    return loss;
  };
}

Doubles one() {
  Doubles x({1, 1});
  x(0, 0) = 1;
  return x;
}

TEST(SoftmaxCrossEntropy, AgreesWithAPlainOneAndItsSlopes) {
  on_each_instruction_set([] {
    for (const Index classes : {1, 2, 16, 37}) {
      for (const bool weighted : {false, true}) {
        SCOPED_TRACE(testing::Message() << classes << " classes, weighted " << weighted);
        const Floats x = random_floats(9, classes, 1, 5);
        std::vector<std::uint32_t> label(9);
        for (std::size_t i = 0; i < 9; ++i)
          label[i] = static_cast<std::uint32_t>(i * 7 % static_cast<std::size_t>(classes));
        const std::vector<float> weight =
            weighted ? std::vector<float>{1, 0, 2, 0.5f, 1, 3, 1, 1, 2} : kNoWeights;
        const Plain plain = plain_cross_entropy(label, weight);
        Gapped d(x.view());
        // In place.
        const double loss = softmax_cross_entropy(d.view, label, d.view, weight);
        const double want = plain({doubles(x)})(0, 0);
        EXPECT_NEAR(loss, want, 1e-6 * want + 1e-30);
        EXPECT_EQ(softmax_cross_entropy(x, label, {}, weight), loss);
        EXPECT_TRUE(d.guards_stand());
        // Differences of a loss of some nats are right to 1e-10.
        const Doubles slope = slopes(plain, {doubles(x)}, 0, one());
        for (Index i = 0; i < 9; ++i) {
          for (Index c = 0; c < classes; ++c)
            EXPECT_NEAR(static_cast<double>(d.view(i, c)), slope(i, c), 1e-7);
        }
      }
    }
  });
}

TEST(SoftmaxCrossEntropy, BearsHugeLogitsNoRowsAndNoWeight) {
  Floats x({2, 3}), d({2, 3});
  x(0, 0) = 1e30f;
  x(1, 2) = -1e30f;
  const std::vector<std::uint32_t> label{0, 1};
  EXPECT_NEAR(softmax_cross_entropy(x, label, d), 0.5 * std::log(2.0), 1e-7);
  EXPECT_EQ(d(0, 0), 0);
  EXPECT_NEAR(static_cast<double>(d(1, 1)), -0.25, 1e-7);
  EXPECT_EQ(softmax_cross_entropy(Floats({0, 3}).view(), {}, {}), 0);
  EXPECT_EQ(softmax_cross_entropy(x, label, d, std::vector<float>{0, 0}), 0);
  EXPECT_EQ(d(1, 1), 0);
}

TEST(SquaredError, AgreesWithAPlainOneAndItsSlopes) {
  on_each_instruction_set([] {
    for (const bool weighted : {false, true}) {
      const Floats x = random_floats(7, 19, 1), t = random_floats(7, 19, 2);
      const std::vector<float> weight = weighted ? std::vector<float>{1, 0, 2, 0.5f, 1, 3, 1} : kNoWeights;
      const Plain plain = [&](const std::vector<Doubles>& in) {
        Doubles loss({1, 1});
        double total = 0;
        for (Index i = 0; i < 7; ++i) {
          const double w = weighted ? static_cast<double>(weight[static_cast<std::size_t>(i)]) : 1;
          for (Index c = 0; c < 19; ++c) {
            const double apart = in[0](i, c) - static_cast<double>(t(i, c));
            loss(0, 0) += w * apart * apart / 19;
          }
          total += w;
        }
        loss(0, 0) /= total;
        return loss;
      };
      Gapped d(7, 19);
      const double loss = squared_error(x, t, d.view, weight), want = plain({doubles(x)})(0, 0);
      EXPECT_NEAR(loss, want, 1e-7 * want);
      EXPECT_EQ(squared_error(x, t, {}, weight), loss);
      expect_near(d.view, slopes(plain, {doubles(x)}, 0, one()), 8, "d");
      EXPECT_TRUE(d.guards_stand());
    }
  });
}

TEST(Losses, HaveTheSameBitsOnAnyNumberOfThreads) {
  const Floats x = random_floats(9000, 11, 1), t = random_floats(9000, 11, 2);
  std::vector<std::uint32_t> label(9000);
  for (std::size_t i = 0; i < label.size(); ++i) label[i] = static_cast<std::uint32_t>(i % 11);
  double first[2] = {};
  expect_same_bits([&](int threads) {
    Floats a(x.shape()), b(x.shape());
    const double losses[] = {softmax_cross_entropy(x, label, a, {}, threads),
                             squared_error(x, t, b, {}, threads)};
    if (threads == 1) std::copy_n(losses, 2, first);
    EXPECT_EQ(losses[0], first[0]);
    EXPECT_EQ(losses[1], first[1]);
    std::vector<float> all;
    append(all, a);
    append(all, b);
    return all;
  });
}

TEST(Losses, SayWhatDoesNotFit) {
  Floats x({2, 3}), bad({2, 2});
  const std::vector<std::uint32_t> label{0, 3}, one_label{0}, good{0, 1};
  expect_error([&] { softmax_cross_entropy(x, label, {}); },
               "softmax_cross_entropy: label: got 3 in row 1, needs less than 3, the number of classes");
  expect_error([&] { softmax_cross_entropy(x, one_label, {}); },
               "softmax_cross_entropy: label: got 1, needs 2, one a row");
  expect_error([&] { softmax_cross_entropy(x, good, bad); },
               "softmax_cross_entropy: d_logits: got shape [2, 2], needs [2, 3]");
  expect_error([&] { squared_error(x, bad, {}); }, "squared_error: target: got shape [2, 2], needs [2, 3]");
  expect_error([&] { squared_error(x, x, {}, std::vector<float>{1}); },
               "squared_error: weight: got 1, needs 2, one a row, or none");
  expect_error(
      [&] {
        squared_error(x, x, {}, std::vector<float>{1, -1});
      },
      "squared_error: weight: got -1 in row 1, needs a finite number that is not negative");
}

}  // namespace
}  // namespace kith
