#include "neighbors/errors.h"

#include <gtest/gtest.h>

#include <cmath>

#include "neighbors/tables.h"

namespace kith::neighbors {
namespace {

Array<double, 2> matrix(Index rows, Index columns, const std::vector<double>& cells) {
  Array<double, 2> m({rows, columns});
  std::copy(cells.begin(), cells.end(), m.data());
  return m;
}

TEST(Errors, OfARegression) {
  const Errors e = regression_errors({1, 2, 3, 6}, {1, 3, 3, 4});
  EXPECT_NEAR(e.rmse, std::sqrt(5.0 / 4), 1e-12);
  EXPECT_NEAR(e.mae, 3.0 / 4, 1e-12);
  EXPECT_NEAR(e.r2, 1 - 5.0 / 14, 1e-12);
  EXPECT_EQ(regression_errors({2, 2}, {1, 3}).r2, 0);
}

TEST(Errors, OfTwoClasses) {
  const Errors e =
      classification_errors({0, 1, 1, 0}, matrix(4, 2, {0.9, 0.1, 0.4, 0.6, 0.7, 0.3, 0.2, 0.8}));
  EXPECT_NEAR(e.accuracy, 0.5, 1e-12);
  EXPECT_NEAR(e.log_loss, -(std::log(0.9) + std::log(0.6) + std::log(0.3) + std::log(0.2)) / 4, 1e-12);
  EXPECT_NEAR(e.brier, (0.01 + 0.16 + 0.49 + 0.64) / 4, 1e-12);
  // Positives score 0.6, 0.3; negatives 0.1, 0.8: two of four pairs in order.
  EXPECT_NEAR(e.auc, 0.5, 1e-12);
}

TEST(Errors, OfThreeClasses) {
  const Errors e =
      classification_errors({0, 2, 1}, matrix(3, 3, {0.5, 0.3, 0.2, 0.1, 0.2, 0.7, 0.3, 0.4, 0.3}));
  EXPECT_NEAR(e.accuracy, 1, 1e-12);
  EXPECT_NEAR(e.brier, (0.25 + 0.09 + 0.04 + 0.01 + 0.04 + 0.09 + 0.09 + 0.36 + 0.09) / 3, 1e-12);
  EXPECT_NEAR(e.auc, 1, 1e-12);
}

TEST(Errors, AClassThatFittingDidNotSeeIsWrong) {
  const Errors e = classification_errors({0, 0xfffffffe, 1}, matrix(3, 2, {1, 0, 0.5, 0.5, 0.2, 0.8}));
  EXPECT_NEAR(e.accuracy, 2.0 / 3, 1e-12);
  EXPECT_NEAR(e.log_loss, -(std::log(1e-15) + std::log(0.8)) / 3, 1e-9);
  EXPECT_EQ(e.auc, 1);
}

TEST(Errors, AucIsThatOfAllPairsWithTiesCountingHalf) {
  test::Random random(7);
  std::vector<double> score;
  std::vector<bool> positive;
  for (int i = 0; i < 200; ++i) {
    score.push_back(std::floor(8 * random.uniform()));
    positive.push_back(random.uniform() < 0.2 + 0.05 * score.back());
  }
  double wins = 0, pairs = 0;
  for (std::size_t i = 0; i < 200; ++i) {
    for (std::size_t j = 0; j < 200; ++j) {
      if (!positive[i] || positive[j]) continue;
      pairs += 1;
      wins += score[i] > score[j] ? 1 : score[i] == score[j] ? 0.5 : 0;
    }
  }
  EXPECT_NEAR(auc(score, positive), wins / pairs, 1e-12);
  EXPECT_EQ(auc({1, 2}, {true, true}), 0.5);
}

TEST(Errors, LikeliestIsTheFirstOfEquals) {
  EXPECT_EQ(likeliest(matrix(2, 3, {0.4, 0.4, 0.2, 0.1, 0.2, 0.7})), (std::vector<std::uint32_t>{0, 2}));
}

}  // namespace
}  // namespace kith::neighbors
