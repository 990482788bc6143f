// The fast Gauss transform in space against the plain sum in double: every row that it answers, and that
// it answers those it should.
#include "attention/points/space.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <vector>

#include "attention/check.h"
#include "attention/points/gauss_problem.h"
#include "attention/points/space_blocks.h"
#include "attention/points/space_table.h"
#include "kith/attention.h"

namespace kith::points {
namespace {

using Problem = test::GaussProblem<3>;
using Point = Problem::Point;
using Draw = Problem::Draw;
using Answer = test::GaussAnswer;

constexpr auto& uniform = test::uniform_points<3>;
constexpr auto& normal = test::normal_points<3>;

constexpr test::GaussMethod kSpace{space, [](const Task& t) { return space_cost(t).possible; },
                                   kSpaceTolerance};

double gauss(double steps) { return std::exp(-steps * steps / (2 * kSpaceSteps * kSpaceSteps)); }

// The window's ten numbers at a place in the cell.
std::array<double, kSpaceWindow> window_at(double f) {
  std::array<double, kSpaceWindow> w{};
  for (std::size_t i = 0; i < kSpaceWindow; ++i) {
    for (int k = kSpaceDegree; k >= 0; --k) w[i] = w[i] * (2 * f - 1) + space_table().window[k][i];
  }
  return w;
}

TEST(SpaceTable, ErrorBoundsWindowsAndTapsWhereverThePointsLie) {
  const SpaceTable& table = space_table();
  std::mt19937 random(1);
  std::uniform_real_distribution<double> u(0, 1);
  std::array<double, kSpaceBoundOffsets + 1> worst{};
  // Cells of the bound 0 and `offset`, a cell of each.
  for (int offset = 0; offset <= kSpaceBoundOffsets; ++offset) {
    for (int trial = 0; trial < 4000; ++trial) {
      const int a = static_cast<int>(random() % kSpaceCoarse), b = static_cast<int>(random() % kSpaceCoarse);
      const int apart = offset * kSpaceCoarse + a - b;
      const double x = trial % 16 < 2 ? trial % 2 : u(random), y = trial % 16 < 4 ? trial / 2 % 2 : u(random);
      const auto wx = window_at(x), wy = window_at(y);
      double sum = 0;
      for (int i = 0; i < kSpaceWindow; ++i) {
        for (int j = 0; j < kSpaceWindow; ++j) {
          const int d = std::abs(apart + i - j);
          if (d > kSpaceTaps) continue;
          sum += wx[static_cast<std::size_t>(i)] * table.tap[d] * wy[static_cast<std::size_t>(j)];
        }
      }
      const double exact = gauss(apart + x - y);
      double& w = worst[static_cast<std::size_t>(offset)];
      w = std::max(w, std::abs(sum - exact));
      ASSERT_LE(std::max(exact, sum), table.largest[offset]) << offset;
    }
    EXPECT_LE(worst[static_cast<std::size_t>(offset)], table.error[offset]) << offset;
  }
  // And it is no wild overestimate where it matters.
  EXPECT_GE(worst[0], table.error[0] / 8);
  EXPECT_LE(table.error[0], 5e-10);
  EXPECT_GE(table.beyond, gauss(kSpaceBoundReach * kSpaceSide));
  for (int d = 0; d <= kSpaceTaps; ++d) EXPECT_GT(table.tap[d], 0) << d;
}

TEST(SpaceBlocks, SortsByCountingAndByComparingAlike) {
  const Problem p(2, 1, 3000, 1, uniform(0, 1), uniform(0, 40));
  const Rows keys{p.key[0].data(), 3};
  for (const Index count : {1, 3, 7, 3000}) {
    for (const int threads : {1, 3}) {
      // Blocks are few and counted, or many and compared.
      for (const double bandwidth : {4.0, 0.1}) {
        const SpaceGrid grid = lay_space(keys, count, bandwidth, threads);
        ASSERT_TRUE(grid.countable);
        const CellOrder sorted = sort_into_space(grid, keys, count, threads);
        EXPECT_EQ(sorted.outside, count);
        Index next = 0, last = -1;
        std::vector<bool> seen(static_cast<std::size_t>(count));
        for (const CellRun& block : sorted.runs) {
          EXPECT_EQ(block.begin, next);
          EXPECT_LT(block.begin, block.end);
          EXPECT_LT(last, block.cell);
          next = block.end;
          last = block.cell;
          const auto place = grid.place(block.cell);
          for (Index i = block.begin; i < block.end; ++i) {
            const Index row = sorted.order[static_cast<std::size_t>(i)];
            if (i > block.begin) {
              EXPECT_LT(sorted.order[static_cast<std::size_t>(i - 1)], row);  // stable
            }
            seen[static_cast<std::size_t>(row)] = true;
            for (int axis = 0; axis < 3; ++axis) {
              EXPECT_EQ(static_cast<Index>(std::floor(grid.along(axis, keys[row]) / kSpaceSide)),
                        place[static_cast<std::size_t>(axis)]);
            }
          }
        }
        EXPECT_EQ(next, count);
        EXPECT_EQ(std::count(seen.begin(), seen.end(), true), count);
        const double estimate = estimate_space(grid, keys, count, threads);
        EXPECT_NEAR(estimate, static_cast<double>(sorted.runs.size()),
                    1 + 0.02 * static_cast<double>(sorted.runs.size()));
      }
    }
  }
}

TEST(SpaceSet, FindsWhatIsInItAndSpreads) {
  const SpaceSet set({70, 3, 3, 40});
  EXPECT_EQ(set.size(), 3);
  EXPECT_EQ(set[1], 40);
  EXPECT_EQ(set.find(70), 2);
  EXPECT_EQ(set.find(4), -1);
  EXPECT_FALSE(SpaceSet().has(0));
  const SpaceSet wide = set.spread(10, 2);  // -17 ... 23, 20 ... 60, 50 ... 90: 50 and 60 twice
  EXPECT_EQ(wide.size(), 13);
  EXPECT_TRUE(wide.has(-17) && wide.has(90) && !wide.has(100) && !wide.has(41));
  const SpaceSet some = set.spread_into(10, 2, SpaceSet({-17, 41, 60, 100}));
  EXPECT_EQ(some.size(), 2);
  EXPECT_TRUE(some.has(-17) && some.has(60));
}

TEST(Space, AgreesWithThePlainSumAtEverySize) {
  for (const char* instructions : instruction_sets()) {
    const test::ForcedInstructionSet forced(instructions);
    for (const Index keys : {1, 3, 7, 31, 32, 33, 500}) {
      for (const Index queries : {1, 3, 7, 33, 129}) {
        // A cell or a few of all, and blocks of few.
        expect_accurate(kSpace, Problem(3, queries, keys, 20, uniform(0, 1), uniform(0, 1), 1 + keys % 3),
                        queries, instructions);
        expect_accurate(kSpace, Problem(4, queries, keys, 0.2, uniform(0, 1), uniform(0, 1)),
                        keys > 30 ? queries : 0, instructions);
      }
    }
    for (Index value_depth = 0; value_depth <= kSpaceMostValues; ++value_depth) {
      expect_accurate(kSpace, Problem(5, 200, 1000, 0.2, uniform(0, 1), uniform(0, 1), value_depth), 200,
                      instructions);
    }
  }
}

TEST(Space, DenseUniformNormalAndClusteredKeys) {
  test::expect_accurate_amid_dense_keys<3>(kSpace,
                                           {.uniform = 0.1, .normal = 0.3, .clusters = 0.3, .offset = 0.1});
}

// Near dense keys the transform itself has to answer, not the direct sum of far rows: it is far more exact
// than the bound.
TEST(Space, TheTransformIsMoreExactThanItsBound) {
  const Problem p(26, 300, 40000, 0.2, uniform(0, 1), uniform(0, 1));
  const test::GaussErrors e = gauss_errors(p, solve(kSpace, p));
  EXPECT_EQ(e.answered, 300);
  EXPECT_LE(e.sum, 2e-9);
  EXPECT_LE(e.average, 2e-9);
}

TEST(Space, PointsOnTheCellsBordersOnALineAndInAPlane) {
  const Draw lattice = [](std::mt19937& random) {
    const auto draw = [&] { return static_cast<float>(random() % 33) / 11; };
    const float x = draw(), y = draw();
    return Point{x, y, draw()};
  };
  expect_accurate(kSpace, Problem(10, 200, 2000, 1, lattice, lattice), 200, "borders");
  const Draw one = [](std::mt19937&) { return Point{0.5f, -3.25f, 7}; };
  expect_accurate(kSpace, Problem(11, 100, 3000, 0.7, one, one), 100, "duplicates");
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const Draw line = [&](std::mt19937& random) {
      Point at{1, 2, 3};
      at[axis] = uniform(0, 40)(random)[0];
      return at;
    };
    const Draw flat = [&](std::mt19937& random) {
      Point at = uniform(0, 7)(random);
      at[axis] = -1;
      return at;
    };
    expect_accurate(kSpace, Problem(30, 200, 2000, 0.5, line, line), 200, "line");
    expect_accurate(kSpace, Problem(31, 200, 2000, 0.5, flat, flat), 200, "plane");
  }
}

// One block that several threads share out, beside others.
TEST(Space, MoreKeysInABlockThanOneThreadSpreads) {
  Problem p(25, 100, 50000, 1, uniform(0, 3), uniform(0, 1), 2);
  p.key[0] = {6, 6, 6};
  const Answer one = solve(kSpace, p);
  expect_accurate(kSpace, p, one, 95, "shares");
}

TEST(Space, AnswersNearKeysAndHandsBackFarRowsWithManyKeysInReach) {
  test::expect_near_rows_answered<3>(kSpace, 30000, 0.3, 2.2);
}

TEST(Space, SumsFarRowsWithFewKeysInReach) {
  for (const char* instructions : instruction_sets()) {
    const test::ForcedInstructionSet forced(instructions);
    for (const Index keys : {1, 2, 7, 255, 256, 257, 1500}) {
      Problem p(23, 0, keys, 0.1, uniform(0, 1), uniform(0, 1), 1 + keys % 3);
      // On all sides, from amid the keys to where they cannot be reached.
      for (int i = 0; i < 60; ++i) {
        const double angle = 0.7 * i, radius = 0.02 * i;
        p.query.push_back({static_cast<float>(0.5 + radius * std::cos(angle)),
                           static_cast<float>(0.5 + radius * std::sin(angle)),
                           static_cast<float>(0.5 + 0.2 * radius)});
      }
      expect_accurate(kSpace, p, keys < 3 ? 45 : 60, instructions);
    }
  }
}

TEST(Space, FarRowsBetweenClustersSeeBoth) { test::expect_accurate_between_clusters<3>(kSpace, 6.5f); }

// Few keys beside very many: the bound must see the many.
TEST(Space, LoneKeysBesideAGreatMany) {
  test::expect_accurate_at_lone_keys<3>(kSpace, 0, [](float away) { return away <= 3 || away >= 9; });
}

TEST(Space, ARowsBitsDependOnNoOtherQueryAndNoThread) {
  for (const char* instructions : instruction_sets()) {
    const test::ForcedInstructionSet forced(instructions);
    Problem p(15, 2000, 4000, 0.25, uniform(-2, 4), normal({1, 1, 1}, 0.7f), 2);
    // Rows far from all but these are handed back, other far ones are summed.
    p.key.insert(p.key.end(), 6000, Point{-1.9f, 3.9f, 3.9f});
    std::mt19937 random(15);
    p.draw_values(random);
    const Answer whole = solve(kSpace, p);
    EXPECT_FALSE(whole.far.empty());
    EXPECT_LT(std::ssize(whole.far), 1600);
    expect_independent_rows(kSpace, p, whole, 173, instructions);
  }
}

TEST(Space, AnOutlierCostsNoHugeGrid) {
  Problem p(17, 300, 3000, 0.1, uniform(0, 1), uniform(0, 1));
  p.key.push_back({1e4f, -1e4f, 0});
  p.key.push_back({-7e3f, 2e3f, 3e3f});
  std::mt19937 random(17);
  p.draw_values(random);
  p.query.push_back({1e4f, -1e4f, 0});
  p.query.push_back({3e3f, 0, 0});
  p.query.push_back({1e30f, 1e38f, -1e38f});
  const Answer a = solve(kSpace, p);
  EXPECT_EQ(a.far, (std::vector<Index>{301, 302}));
  expect_accurate(kSpace, p, a, 301, "outlier");
}

TEST(Space, RowsMayBeStrided) { test::expect_strides_followed<3>(kSpace); }

TEST(Space, NoKeysNoQueries) { test::expect_nothing_of_nothing<3>(kSpace); }

TEST(Space, HandsEverythingBackThatIsNotItsOwn) { test::expect_other_tasks_handed_back<3>(kSpace, 1e-6); }

TEST(Space, RefusesTheMemoryOfSparseKeysAndSeesFarQueries) {
  Problem p(21, 4, 40000, 0.005, uniform(0, 1), uniform(0, 1));
  const SpaceCost sparse = space_cost(p.task());
  EXPECT_FALSE(sparse.possible);
  EXPECT_EQ(std::ssize(solve(kSpace, p).far), 4);
  p.bandwidth = 0.1;
  const SpaceCost cost = space_cost(p.task());
  EXPECT_TRUE(cost.possible);
  EXPECT_LT(cost.seconds, sparse.seconds);
  EXPECT_NEAR(cost.blocks, 64, 1);
  EXPECT_EQ(cost.far, 0);
  p.query[1] = {5, 5, 5};
  EXPECT_EQ(space_cost(p.task()).far, 0.25);
  // Bandwidths as large as they come: one block.
  p.bandwidth = 1e300;
  EXPECT_NEAR(space_cost(p.task()).blocks, 1, 0.1);
  const Answer a = solve(kSpace, p);
  for (const double lse : a.lse) EXPECT_NEAR(lse, std::log(40000.0), 1e-9);
}

}  // namespace
}  // namespace kith::points
