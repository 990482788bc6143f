// The fast Gauss transform in space against the plain sum in double: every row that it answers, and that
// it answers those it should.
#include "attention/points/space.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include "attention/check.h"
#include "attention/points/space_blocks.h"
#include "attention/points/space_table.h"
#include "kith/attention.h"

namespace kith::points {
namespace {

using Point = std::array<float, 3>;
using Draw = std::function<Point(std::mt19937&)>;

struct Problem {
  std::vector<Point> query, key;
  std::vector<float> value;  // [keys][value_depth]
  Index value_depth = 1;
  double bandwidth = 1;
  int threads = 1;

  void draw_values(std::mt19937& random) {
    std::normal_distribution<float> normal;
    value.resize(key.size() * static_cast<std::size_t>(value_depth));
    for (float& v : value) v = normal(random);
  }
  Task task() const {
    Task t;
    t.bandwidth = bandwidth;
    t.depth = 3;
    t.queries = std::ssize(query);
    t.keys = std::ssize(key);
    t.value_depth = value_depth;
    t.query = {query.empty() ? nullptr : query[0].data(), 3};
    t.key = {key.empty() ? nullptr : key[0].data(), 3};
    t.value = {value.data(), value_depth};
    t.threads = threads;
    return t;
  }
};

Problem problem(unsigned seed, Index queries, Index keys, double bandwidth, const Draw& draw_query,
                const Draw& draw_key, Index value_depth = 1) {
  std::mt19937 random(seed);
  Problem p;
  p.bandwidth = bandwidth;
  p.value_depth = value_depth;
  for (Index i = 0; i < queries; ++i) p.query.push_back(draw_query(random));
  for (Index j = 0; j < keys; ++j) p.key.push_back(draw_key(random));
  p.draw_values(random);
  return p;
}

Draw uniform(float low, float high) {
  return [=](std::mt19937& random) {
    std::uniform_real_distribution<float> u(low, high);
    const float x = u(random), y = u(random);
    return Point{x, y, u(random)};
  };
}
Draw normal(float x, float y, float z, float deviation) {
  return [=](std::mt19937& random) {
    std::normal_distribution<float> n(0, deviation);
    const float dx = n(random), dy = n(random);
    return Point{x + dx, y + dy, z + n(random)};
  };
}

struct Answer {
  std::vector<double> lse, average;
  std::vector<Index> far;
  bool answered(Index i) const { return !std::binary_search(far.begin(), far.end(), i); }
};

constexpr double kUntouched = 12345;

Answer solve(const Task& task) {
  Answer a;
  a.lse.assign(static_cast<std::size_t>(task.queries), kUntouched);
  a.average.assign(static_cast<std::size_t>(task.queries * task.value_depth), kUntouched);
  Task t = task;
  t.lse = a.lse.data();
  t.average = a.average.data();
  a.far = space(t);
  EXPECT_TRUE(std::is_sorted(a.far.begin(), a.far.end()));
  EXPECT_EQ(std::adjacent_find(a.far.begin(), a.far.end()), a.far.end());
  return a;
}
Answer solve(const Problem& p) { return solve(p.task()); }

struct Errors {
  double sum = 0, average = 0;  // relative to the sum and to the largest |v|
  Index answered = 0;
};

Errors errors(const Task& t, const Answer& a) {
  Errors e;
  double largest = 0;
  for (Index j = 0; j < t.keys; ++j) {
    for (Index c = 0; c < t.value_depth; ++c) {
      largest = std::max(largest, std::abs(static_cast<double>(t.value[j][c])));
    }
  }
  std::vector<double> weighted(static_cast<std::size_t>(t.value_depth));
  for (Index i = 0; i < t.queries; ++i) {
    if (!a.answered(i)) {
      EXPECT_EQ(a.lse[static_cast<std::size_t>(i)], kUntouched);
      continue;
    }
    ++e.answered;
    // Relative to the nearest key, and from differences of keys: far away, squares of distances cancel.
    const auto apart = [&](const float* a_row, const float* b_row) {
      std::array<double, 3> x{};
      for (std::size_t c = 0; c < 3; ++c) {
        x[c] = (static_cast<double>(a_row[c]) - static_cast<double>(b_row[c])) / t.bandwidth;
      }
      return x;
    };
    const auto product = [](const std::array<double, 3>& x, const std::array<double, 3>& y) {
      return x[0] * y[0] + x[1] * y[1] + x[2] * y[2];
    };
    double sum = 0, nearest = std::numeric_limits<double>::infinity();
    const float* nearest_key = nullptr;
    std::fill(weighted.begin(), weighted.end(), 0.0);
    for (Index j = 0; j < t.keys; ++j) {
      const auto x = apart(t.key[j], t.query[i]);
      if (product(x, x) / 2 < nearest) {
        nearest = product(x, x) / 2;
        nearest_key = t.key[j];
      }
    }
    const auto p = apart(nearest_key, t.query[i]);
    for (Index j = 0; j < t.keys; ++j) {
      const auto x = apart(t.key[j], nearest_key);
      const double w = std::exp(-(product(x, x) / 2 + product(x, p)));
      sum += w;
      for (Index c = 0; c < t.value_depth; ++c) {
        weighted[static_cast<std::size_t>(c)] += w * static_cast<double>(t.value[j][c]);
      }
    }
    // Not max(): a NaN has to show.
    const double off =
        std::abs(a.lse[static_cast<std::size_t>(i)] - (std::log(sum) - nearest)) - nearest * 0x1p-51;
    if (!(off <= e.sum)) e.sum = off;
    for (Index c = 0; c < t.value_depth; ++c) {
      const double average = a.average[static_cast<std::size_t>(i * t.value_depth + c)];
      const double gap = std::abs(average - weighted[static_cast<std::size_t>(c)] / sum) / largest;
      if (!(gap <= e.average)) e.average = gap;
    }
  }
  return e;
}

// The header's promise.
void expect_accurate(const Task& t, const Answer& a, Index least_answered, const char* what) {
  const Errors e = errors(t, a);
  EXPECT_LE(e.sum, kSpaceTolerance) << what;
  EXPECT_LE(e.average, 2 * kSpaceTolerance) << what;
  EXPECT_GE(e.answered, least_answered) << what;
}
void expect_accurate(const Problem& p, Index least_answered, const char* what) {
  expect_accurate(p.task(), solve(p), least_answered, what);
}

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
  const Problem p = problem(2, 1, 3000, 1, uniform(0, 1), uniform(0, 40));
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
        expect_accurate(problem(3, queries, keys, 20, uniform(0, 1), uniform(0, 1), 1 + keys % 3), queries,
                        instructions);
        expect_accurate(problem(4, queries, keys, 0.2, uniform(0, 1), uniform(0, 1)), keys > 30 ? queries : 0,
                        instructions);
      }
    }
    for (Index value_depth = 0; value_depth <= kSpaceMostValues; ++value_depth) {
      expect_accurate(problem(5, 200, 1000, 0.2, uniform(0, 1), uniform(0, 1), value_depth), 200,
                      instructions);
    }
  }
}

TEST(Space, DenseUniformNormalAndClusteredKeys) {
  expect_accurate(problem(6, 500, 20000, 0.1, uniform(0, 1), uniform(0, 1)), 500, "uniform");
  expect_accurate(problem(7, 500, 20000, 0.3, normal(0, 0, 0, 1), normal(0, 0, 0, 1)), 500, "normal");
  const Draw clusters = [](std::mt19937& random) {
    static constexpr float kSize[] = {0.01f, 0.1f, 1};
    const auto c = random() % 3;
    return normal(static_cast<float>(5 * c), static_cast<float>(3 * c * c), 0, kSize[c])(random);
  };
  expect_accurate(problem(8, 500, 20000, 0.3, clusters, clusters), 500, "clusters");
  // Far from the origin against the bandwidth: coordinates are exact in double.
  expect_accurate(problem(9, 200, 5000, 0.1, uniform(1000, 1001), uniform(1000, 1001)), 200, "offset");
}

// Near dense keys the transform itself has to answer, not the direct sum of far rows: it is far more exact
// than the bound.
TEST(Space, TheTransformIsMoreExactThanItsBound) {
  const Problem p = problem(26, 300, 40000, 0.2, uniform(0, 1), uniform(0, 1));
  const Errors e = errors(p.task(), solve(p));
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
  expect_accurate(problem(10, 200, 2000, 1, lattice, lattice), 200, "borders");
  const Draw one = [](std::mt19937&) { return Point{0.5f, -3.25f, 7}; };
  expect_accurate(problem(11, 100, 3000, 0.7, one, one), 100, "duplicates");
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
    expect_accurate(problem(30, 200, 2000, 0.5, line, line), 200, "line");
    expect_accurate(problem(31, 200, 2000, 0.5, flat, flat), 200, "plane");
  }
}

// One block that several threads share out, beside others.
TEST(Space, MoreKeysInABlockThanOneThreadSpreads) {
  Problem p = problem(25, 100, 50000, 1, uniform(0, 3), uniform(0, 1), 2);
  p.key[0] = {6, 6, 6};
  const Answer one = solve(p);
  expect_accurate(p.task(), one, 95, "shares");
}

TEST(Space, AnswersNearKeysAndHandsBackFarRowsWithManyKeysInReach) {
  Problem p = problem(12, 0, 30000, 0.3, uniform(0, 1), uniform(0, 1));
  // From the middle of the cube's right side outwards.
  for (int i = 0; i <= 300; ++i) p.query.push_back({1 + 0.03f * static_cast<float>(i), 0.5f, 0.5f});
  const Answer a = solve(p);
  expect_accurate(p.task(), a, 0, "outwards");
  for (Index i = 0; i <= 300; ++i) {
    const double away = 0.1 * static_cast<double>(i);  // in bandwidths
    EXPECT_TRUE(a.answered(i) || away >= 2.2) << away;
  }
  EXPECT_FALSE(a.answered(90));
}

TEST(Space, SumsFarRowsWithFewKeysInReach) {
  for (const char* instructions : instruction_sets()) {
    const test::ForcedInstructionSet forced(instructions);
    for (const Index keys : {1, 2, 7, 255, 256, 257, 1500}) {
      Problem p = problem(23, 0, keys, 0.1, uniform(0, 1), uniform(0, 1), 1 + keys % 3);
      // On all sides, from amid the keys to where they cannot be reached.
      for (int i = 0; i < 60; ++i) {
        const double angle = 0.7 * i, radius = 0.02 * i;
        p.query.push_back({static_cast<float>(0.5 + radius * std::cos(angle)),
                           static_cast<float>(0.5 + radius * std::sin(angle)),
                           static_cast<float>(0.5 + 0.2 * radius)});
      }
      expect_accurate(p, keys < 3 ? 45 : 60, instructions);
    }
  }
}

TEST(Space, FarRowsBetweenClustersSeeBoth) {
  const Draw two = [](std::mt19937& random) {
    return normal(random() % 2 == 0 ? -6.5f : 6.5f, 0, 0, 0.5f)(random);
  };
  Problem p = problem(24, 200, 1500, 1, uniform(-0.5f, 0.5f), two);
  expect_accurate(p, 200, "between");
}

// Few keys beside very many: the bound must see the many.
TEST(Space, LoneKeysBesideAGreatMany) {
  for (const float away : {2.0f, 3.5f, 4.5f, 5.5f, 6.5f, 8.0f, 9.5f, 12.0f, 100.0f}) {
    Problem p = problem(13, 0, 60000, 1, normal(0, 0, 0, 0.05f), normal(0, 0, 0, 0.05f));
    std::mt19937 random(14);
    for (int i = 0; i < 3; ++i) p.key.push_back(normal(away, 0, 0, 0.3f)(random));
    p.draw_values(random);
    for (float& v : p.value) v += 3;
    for (int i = 0; i < 20; ++i) p.query.push_back(normal(away, 0, 0, 0.5f)(random));
    for (int i = 0; i < 20; ++i) p.query.push_back(normal(away / 2, 0, 0, away / 4)(random));
    const Answer a = solve(p);
    expect_accurate(p.task(), a, 0, "lone");
    for (Index i = 0; i < 20; ++i) EXPECT_TRUE(a.answered(i) || (away > 3 && away < 9)) << away;
  }
}

bool same_bits(double a, double b) { return std::memcmp(&a, &b, sizeof(a)) == 0; }

void expect_same_rows(const Answer& a, Index a_first, const Answer& b, Index b_first, Index rows,
                      Index value_depth, const char* what) {
  for (Index i = 0; i < rows; ++i) {
    ASSERT_EQ(a.answered(a_first + i), b.answered(b_first + i)) << what << i;
    ASSERT_TRUE(
        same_bits(a.lse[static_cast<std::size_t>(a_first + i)], b.lse[static_cast<std::size_t>(b_first + i)]))
        << what << i;
    for (Index c = 0; c < value_depth; ++c) {
      ASSERT_TRUE(same_bits(a.average[static_cast<std::size_t>((a_first + i) * value_depth + c)],
                            b.average[static_cast<std::size_t>((b_first + i) * value_depth + c)]))
          << what << i;
    }
  }
}

TEST(Space, ARowsBitsDependOnNoOtherQueryAndNoThread) {
  for (const char* instructions : instruction_sets()) {
    const test::ForcedInstructionSet forced(instructions);
    Problem p = problem(15, 2000, 4000, 0.25, uniform(-2, 4), normal(1, 1, 1, 0.7f), 2);
    // Rows far from all but these are handed back, other far ones are summed.
    p.key.insert(p.key.end(), 6000, Point{-1.9f, 3.9f, 3.9f});
    std::mt19937 random(15);
    p.draw_values(random);
    const Answer whole = solve(p);
    EXPECT_FALSE(whole.far.empty());
    EXPECT_LT(std::ssize(whole.far), 1600);
    for (const int threads : {2, 5}) {
      Problem other = p;
      other.threads = threads;
      expect_same_rows(whole, 0, solve(other), 0, 2000, 2, instructions);
    }
    for (Index i = 0; i < 2000; i += 173) {
      Problem alone = p;
      alone.query = {p.query[static_cast<std::size_t>(i)]};
      expect_same_rows(whole, i, solve(alone), 0, 1, 2, instructions);
    }
    Problem some = p;
    some.query.assign(p.query.begin() + 1000, p.query.begin() + 1777);
    expect_same_rows(whole, 1000, solve(some), 0, 777, 2, instructions);
  }
}

TEST(Space, AnOutlierCostsNoHugeGrid) {
  Problem p = problem(17, 300, 3000, 0.1, uniform(0, 1), uniform(0, 1));
  p.key.push_back({1e4f, -1e4f, 0});
  p.key.push_back({-7e3f, 2e3f, 3e3f});
  std::mt19937 random(17);
  p.draw_values(random);
  p.query.push_back({1e4f, -1e4f, 0});
  p.query.push_back({3e3f, 0, 0});
  p.query.push_back({1e30f, 1e38f, -1e38f});
  const Answer a = solve(p);
  EXPECT_EQ(a.far, (std::vector<Index>{301, 302}));
  expect_accurate(p.task(), a, 301, "outlier");
}

TEST(Space, RowsMayBeStrided) {
  const Problem p = problem(18, 100, 400, 0.3, uniform(0, 1), uniform(0, 1), 2);
  const auto spread = [](const float* rows, Index count, Index width) {
    std::vector<float> wide(static_cast<std::size_t>(count) * 5, std::numeric_limits<float>::quiet_NaN());
    for (Index i = 0; i < count; ++i) std::copy_n(rows + i * width, width, wide.data() + 5 * i);
    return wide;
  };
  Task t = p.task();
  const auto query = spread(t.query.data, 100, 3), key = spread(t.key.data, 400, 3),
             value = spread(t.value.data, 400, 2);
  const Answer dense = solve(t);
  t.query = {query.data(), 5};
  t.key = {key.data(), 5};
  t.value = {value.data(), 5};
  expect_same_rows(dense, 0, solve(t), 0, 100, 2, "strided");
}

TEST(Space, NoKeysNoQueries) {
  Problem p = problem(19, 5, 0, 1, uniform(0, 1), uniform(0, 1), 2);
  const Answer none = solve(p);
  EXPECT_TRUE(none.far.empty());
  for (const double x : none.lse) EXPECT_EQ(x, -std::numeric_limits<double>::infinity());
  for (const double x : none.average) EXPECT_EQ(x, 0);
  space_cost(p.task());
  p = problem(19, 0, 5, 1, uniform(0, 1), uniform(0, 1));
  EXPECT_TRUE(solve(p).far.empty());
  space_cost(p.task());
}

TEST(Space, HandsEverythingBackThatIsNotItsOwn) {
  const Problem p = problem(20, 4, 50, 1, uniform(0, 1), uniform(0, 1), 9);
  const auto refuses = [](const Task& t, const char* what) {
    EXPECT_FALSE(space_cost(t).possible) << what;
    EXPECT_EQ(solve(t).far, (std::vector<Index>{0, 1, 2, 3})) << what;
  };
  refuses(p.task(), "nine value columns");
  Task t = p.task();
  t.value_depth = 1;
  EXPECT_TRUE(space_cost(t).possible);
  EXPECT_TRUE(solve(t).far.empty());
  Task other = t;
  other.kernel = Kernel::laplace;
  refuses(other, "Laplace");
  other = t;
  other.depth = 2;
  refuses(other, "two dimensions");
  other = t;
  other.bandwidth = 1e-6;
  refuses(other, "too many blocks an axis");
  other.bandwidth = 1e-310;
  refuses(other, "a bandwidth without an inverse");
}

TEST(Space, RefusesTheMemoryOfSparseKeysAndSeesFarQueries) {
  Problem p = problem(21, 4, 40000, 0.005, uniform(0, 1), uniform(0, 1));
  const SpaceCost sparse = space_cost(p.task());
  EXPECT_FALSE(sparse.possible);
  EXPECT_EQ(std::ssize(solve(p).far), 4);
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
  const Answer a = solve(p);
  for (const double lse : a.lse) EXPECT_NEAR(lse, std::log(40000.0), 1e-9);
}

}  // namespace
}  // namespace kith::points
