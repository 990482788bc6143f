#include "neighbors/lbfgs.h"

#include <gtest/gtest.h>

#include <cmath>

namespace kith::neighbors {
namespace {

double rosenbrock(const std::vector<double>& x, std::vector<double>& g) {
  const double a = 1 - x[0], b = x[1] - x[0] * x[0];
  g = {-2 * a - 400 * x[0] * b, 200 * b};
  return a * a + 100 * b * b;
}

TEST(Lbfgs, FindsTheBottomOfACurvedValley) {
  const std::vector<double> x =
      minimize_lbfgs(rosenbrock, {-1.2, 1}, {.iterations = 200, .longest_step = 1, .least_decrease = 0},
                     [](const std::vector<double>&, double) { return true; });
  EXPECT_NEAR(x[0], 1, 1e-4);
  EXPECT_NEAR(x[1], 1, 1e-4);
}

TEST(Lbfgs, DescendsAndKeepsToItsStep) {
  double before = 1e300;
  std::vector<double> last{-1.2, 1};
  minimize_lbfgs(rosenbrock, last, {.iterations = 30, .longest_step = 0.1, .least_decrease = 0},
                 [&](const std::vector<double>& x, double value) {
                   EXPECT_LT(value, before);
                   EXPECT_LE(std::abs(x[0] - last[0]), 0.1 + 1e-12);
                   EXPECT_LE(std::abs(x[1] - last[1]), 0.1 + 1e-12);
                   before = value;
                   last = x;
                   return true;
                 });
}

TEST(Lbfgs, StopsWhenAskedAndWhereThereIsNoSlope) {
  int calls = 0;
  minimize_lbfgs(rosenbrock, {-1.2, 1}, {}, [&](const std::vector<double>&, double) { return ++calls < 3; });
  EXPECT_EQ(calls, 3);
  const std::vector<double> x =
      minimize_lbfgs(rosenbrock, {1, 1}, {}, [](const std::vector<double>&, double) {
        ADD_FAILURE() << "a step from the minimum";
        return true;
      });
  EXPECT_EQ(x, (std::vector<double>{1, 1}));
}

}  // namespace
}  // namespace kith::neighbors
