// The fast Gauss transform in the plane against the plain sum in double: every row that it answers, and that
// it answers those it should.
#include "attention/points/plane.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <vector>

#include "attention/check.h"
#include "attention/points/gauss_problem.h"
#include "attention/points/plane_boxes.h"
#include "attention/points/plane_table.h"
#include "kith/attention.h"

namespace kith::points {
namespace {

using Problem = test::GaussProblem<2>;
using Point = Problem::Point;
using Draw = Problem::Draw;
using Answer = test::GaussAnswer;

constexpr auto& uniform = test::uniform_points<2>;
constexpr auto& normal = test::normal_points<2>;

constexpr test::GaussMethod kPlane{plane, [](const Task& t) { return plane_cost(t).possible; },
                                   kPlaneTolerance};

TEST(PlaneTable, ErrorBoundsTheExpansionAndIsBelowTheBoundOfTheTheory) {
  std::mt19937 random(1);
  std::uniform_real_distribution<double> u(-1, 1);
  for (int offset = -kReach; offset <= kReach; ++offset) {
    const PlaneOffset& o = plane_offset(offset);
    double worst = 0;
    for (int trial = 0; trial < 2000; ++trial) {
      // Corners are where a truncated series is worst.
      const double xi = trial < 4 ? (trial & 1 ? 1 : -1) : u(random);
      const double eta = trial < 4 ? (trial & 2 ? 1 : -1) : u(random);
      double expansion = 0, power_xi = 1;
      for (const auto& row : o.matrix) {
        double power = power_xi;
        for (const double m : row) {
          expansion += m * power;
          power *= eta;
        }
        power_xi *= xi;
      }
      const double t = kBoxWidth * (offset + (xi - eta) / 2), exact = std::exp(-t * t / 2);
      worst = std::max(worst, std::abs(expansion - exact));
      ASSERT_LE(exact, o.largest);
    }
    EXPECT_LE(worst, o.error) << offset;
    double theory = 0, factorial_a = 1;  // the header's bound, summed
    for (int a = 0; a < 40; ++a) {
      if (a > 0) factorial_a *= a;
      double factorial_b = 1;
      for (int b = 0; b < 40; ++b) {
        if (b > 0) factorial_b *= b;
        if (a < kTerms && b < kTerms) continue;
        const double halves = (a == 0 ? 0.5 : 1) * (b == 0 ? 0.5 : 1);
        theory += 4 * halves * 1.0865 * std::pow(kBoxWidth / 4, a + b) * std::sqrt(std::tgamma(a + b + 1.0)) /
                  (factorial_a * factorial_b);
      }
    }
    const double apart = kBoxWidth * std::max(0, std::abs(offset) - 1);
    EXPECT_LE(o.error, theory * std::exp(-apart * apart / 4) + 1e-12) << offset;
    // e <= epsilon exp(-t^2 / 4) with the header's epsilon, and rounding relative to g.
    EXPECT_LE(o.error, 1.1e-11 * std::exp(-apart * apart / 4) + 1e-12 * o.largest) << offset;
  }
}

TEST(PlaneBoxes, SortsByCountingAndByComparingAlike) {
  std::mt19937 random(2);
  Problem p(2, 1, 3000, 1, uniform(0, 1), uniform(0, 40));
  const Rows keys{p.key[0].data(), 2};
  for (const Index count : {1, 3, 7, 3000}) {
    for (const int threads : {1, 3}) {
      // Width 1: cells are few and counted; width 1/64: many and compared.
      for (const double width : {1.0, 1.0 / 64}) {
        const PlaneGrid grid = lay_grid(keys, count, width, threads);
        ASSERT_TRUE(grid.countable);
        const PlaneBoxes sorted = sort_into_boxes(grid, keys, count, 2, 4, threads);
        EXPECT_EQ(sorted.outside, count);
        Index next = 0;
        std::vector<bool> seen(static_cast<std::size_t>(count));
        std::array<Index, 3> last{-1, -1, -1};
        for (const PlaneBox& box : sorted.boxes) {
          EXPECT_EQ(box.begin, next);
          EXPECT_LT(box.begin, box.end);
          next = box.end;
          const std::array<Index, 3> place{(box.x + 2) / 4, box.y + 2, box.x + 2};
          EXPECT_LT(last, place);
          last = place;
          for (Index i = box.begin; i < box.end; ++i) {
            const Index row = sorted.order[static_cast<std::size_t>(i)];
            if (i > box.begin) {
              EXPECT_LT(sorted.order[static_cast<std::size_t>(i - 1)], row);  // stable
            }
            seen[static_cast<std::size_t>(row)] = true;
            EXPECT_EQ(static_cast<Index>(std::floor(grid.along_x(keys[row]))), box.x);
            EXPECT_EQ(static_cast<Index>(std::floor(grid.along_y(keys[row]))), box.y);
          }
        }
        EXPECT_EQ(next, count);
        EXPECT_EQ(std::count(seen.begin(), seen.end(), true), count);
        const double estimate = estimate_boxes(grid, keys, count, threads);
        EXPECT_NEAR(estimate, static_cast<double>(sorted.boxes.size()),
                    1 + 0.02 * static_cast<double>(sorted.boxes.size()));
      }
    }
  }
}

TEST(Plane, AgreesWithThePlainSumAtEverySize) {
  for (const char* instructions : instruction_sets()) {
    const test::ForcedInstructionSet forced(instructions);
    for (const Index keys : {1, 3, 7, 127, 128, 129, 500}) {
      for (const Index queries : {1, 3, 7, 127, 129}) {
        // A box of all, and boxes of few.
        expect_accurate(kPlane, Problem(3, queries, keys, 2, uniform(0, 1), uniform(0, 1), 1 + keys % 3),
                        queries, instructions);
        expect_accurate(kPlane, Problem(4, queries, keys, 0.1, uniform(0, 1), uniform(0, 1)),
                        keys > 100 ? queries : 0, instructions);
      }
    }
    for (Index value_depth = 0; value_depth <= kPlaneMostValues; ++value_depth) {
      expect_accurate(kPlane, Problem(5, 200, 1000, 0.1, uniform(0, 1), uniform(0, 1), value_depth), 200,
                      instructions);
    }
  }
}

TEST(Plane, DenseUniformNormalAndClusteredKeys) {
  test::expect_accurate_amid_dense_keys<2>(kPlane,
                                           {.uniform = 0.03, .normal = 0.2, .clusters = 0.3, .offset = 0.05});
}

TEST(Plane, PointsOnTheBoxesBorders) {
  const Draw lattice = [](std::mt19937& random) {
    return Point{static_cast<float>(random() % 9), static_cast<float>(random() % 9)};
  };
  expect_accurate(kPlane, Problem(10, 200, 2000, 1, lattice, lattice), 200, "borders");
  const Draw one = [](std::mt19937&) { return Point{0.5f, -3.25f}; };
  expect_accurate(kPlane, Problem(11, 100, 3000, 0.7, one, one), 100, "duplicates");
}

TEST(Plane, AnswersNearKeysAndHandsBackFarRowsWithManyKeysInReach) {
  test::expect_near_rows_answered<2>(kPlane, 20000, 0.1, 5);
}

TEST(Plane, SumsFarRowsWithFewKeysInReach) {
  for (const char* instructions : instruction_sets()) {
    const test::ForcedInstructionSet forced(instructions);
    for (const Index keys : {1, 2, 7, 127, 128, 129, 1500}) {
      Problem p(23, 0, keys, 0.1, uniform(0, 1), uniform(0, 1), 1 + keys % 3);
      // On all sides, from within the expansion's reach to ten thousand bandwidths away.
      for (int i = 0; i < 40; ++i) {
        const double angle = 0.7 * i, radius = 0.5 * std::pow(10, 0.08 * i);
        p.query.push_back({static_cast<float>(0.5 + radius * std::cos(angle)),
                           static_cast<float>(0.5 + radius * std::sin(angle))});
      }
      expect_accurate(kPlane, p, 40, instructions);
    }
  }
}

TEST(Plane, FarRowsBetweenClustersSeeBoth) { test::expect_accurate_between_clusters<2>(kPlane, 12); }

// Few keys beside very many: the bound must see the many, and a lone key must be answered.
TEST(Plane, LoneKeysBesideAGreatMany) {
  test::expect_accurate_at_lone_keys<2>(kPlane, 20, [](float) { return true; });
}

// Keys in boxes that are not visited count in the bound: here they are 5e-8 of the sum.
TEST(Plane, AGreatManyJustBeyondTheWindow) {
  Problem p(
      22, 0, 600000, 1, uniform(0, 1),
      [](std::mt19937&) {
        return Point{0.99f, 0};
      },
      0);
  p.key.push_back({0, 0});
  p.key.push_back({14.6f, 0});
  p.query.push_back({kReach + 1.01f, 0});
  EXPECT_EQ(std::ssize(solve(kPlane, p).far), 1);
  p.query[0][0] = kReach + 0.99f;  // the great many are in the window
  const Answer a = solve(kPlane, p);
  EXPECT_TRUE(a.far.empty());
  expect_accurate(kPlane, p, a, 1, "within");
}

TEST(Plane, ARowsBitsDependOnNoOtherQueryAndNoThread) {
  for (const char* instructions : instruction_sets()) {
    const test::ForcedInstructionSet forced(instructions);
    Problem p(15, 3000, 4000, 0.15, uniform(-2, 4), normal({1, 1}, 0.7f), 2);
    // Rows far from all but these are handed back, other far ones are summed.
    p.key.insert(p.key.end(), 2500, Point{-1.9f, 3.9f});
    std::mt19937 random(15);
    p.draw_values(random);
    const Answer whole = solve(kPlane, p);
    EXPECT_FALSE(whole.far.empty());
    EXPECT_LT(std::ssize(whole.far), 2000);
    expect_independent_rows(kPlane, p, whole, 61, instructions);
  }
}

TEST(Plane, BandsOfTallGridsOnSeveralThreads) {
  const Draw tall = [](std::mt19937& random) {
    std::uniform_real_distribution<float> u(0, 1);
    const float x = u(random);
    return Point{x, 200 * u(random)};
  };
  Problem p(16, 700, 3000, 0.5, tall, tall);
  const Answer one = solve(kPlane, p);
  expect_accurate(kPlane, p, one, 600, "tall");
  p.threads = 3;
  expect_same_rows(one, 0, solve(kPlane, p), 0, 700, 1, "tall");
}

TEST(Plane, AnOutlierCostsNoHugeGrid) {
  Problem p(17, 300, 3000, 0.1, uniform(0, 1), uniform(0, 1));
  p.key.push_back({1e6f, -1e6f});
  p.key.push_back({-7e5f, 3e6f});
  std::mt19937 random(17);
  p.draw_values(random);
  p.query.push_back({1e6f, -1e6f});
  p.query.push_back({3e5f, 0});
  p.query.push_back({1e30f, 1e38f});
  const Answer a = solve(kPlane, p);
  EXPECT_EQ(a.far, (std::vector<Index>{302}));
  expect_accurate(kPlane, p, a, 302, "outlier");
  EXPECT_LT(plane_cost(p.task()).bytes, 10e6);
}

TEST(Plane, RowsMayBeStrided) { test::expect_strides_followed<2>(kPlane); }

TEST(Plane, NoKeysNoQueries) { test::expect_nothing_of_nothing<2>(kPlane); }

TEST(Plane, HandsEverythingBackThatIsNotItsOwn) { test::expect_other_tasks_handed_back<2>(kPlane, 1e-12); }

TEST(Plane, RefusesTheMemoryOfSparseKeysAndCostGrowsWithBoxes) {
  // 64 MB hold 27,777 boxes of two columns.
  const Problem p(21, 4, 40000, 1e-4, uniform(0, 1), uniform(0, 1));
  const PlaneCost sparse = plane_cost(p.task());
  EXPECT_FALSE(sparse.possible);
  EXPECT_EQ(std::ssize(solve(kPlane, p).far), 4);
  Task dense = p.task();
  dense.bandwidth = 0.1;
  const PlaneCost cost = plane_cost(dense);
  EXPECT_TRUE(cost.possible);
  EXPECT_LT(cost.seconds, sparse.seconds);
  EXPECT_NEAR(cost.boxes, 100, 21);
  // Bandwidths as large as they come: one box.
  dense.bandwidth = 1e300;
  EXPECT_NEAR(plane_cost(dense).boxes, 1, 0.1);
  const Answer a = solve(kPlane, dense);
  for (const double lse : a.lse) EXPECT_NEAR(lse, std::log(40000.0), 1e-9);
}

}  // namespace
}  // namespace kith::points
