// The fast Gauss transform in the plane against the plain sum in double: every row that it answers, and that
// it answers those it should.
#include "attention/points/plane.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include "attention/check.h"
#include "attention/points/plane_boxes.h"
#include "attention/points/plane_table.h"
#include "kith/attention.h"

namespace kith::points {
namespace {

using Point = std::array<float, 2>;
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
    t.depth = 2;
    t.queries = std::ssize(query);
    t.keys = std::ssize(key);
    t.value_depth = value_depth;
    t.query = {query.empty() ? nullptr : query[0].data(), 2};
    t.key = {key.empty() ? nullptr : key[0].data(), 2};
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
    const float x = u(random);
    return Point{x, u(random)};
  };
}
Draw normal(float x, float y, float deviation) {
  return [=](std::mt19937& random) {
    std::normal_distribution<float> n(0, deviation);
    const float dx = n(random);
    return Point{x + dx, y + n(random)};
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
  a.far = plane(t);
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
      return std::array{(static_cast<double>(a_row[0]) - static_cast<double>(b_row[0])) / t.bandwidth,
                        (static_cast<double>(a_row[1]) - static_cast<double>(b_row[1])) / t.bandwidth};
    };
    double sum = 0, nearest = std::numeric_limits<double>::infinity();
    const float* nearest_key = nullptr;
    std::fill(weighted.begin(), weighted.end(), 0.0);
    for (Index j = 0; j < t.keys; ++j) {
      const auto [x, y] = apart(t.key[j], t.query[i]);
      if ((x * x + y * y) / 2 < nearest) {
        nearest = (x * x + y * y) / 2;
        nearest_key = t.key[j];
      }
    }
    const auto [px, py] = apart(nearest_key, t.query[i]);
    for (Index j = 0; j < t.keys; ++j) {
      const auto [x, y] = apart(t.key[j], nearest_key);
      const double w = std::exp(-((x / 2 + px) * x + (y / 2 + py) * y));
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
  EXPECT_LE(e.sum, kPlaneTolerance) << what;
  EXPECT_LE(e.average, 2 * kPlaneTolerance) << what;
  EXPECT_GE(e.answered, least_answered) << what;
}
void expect_accurate(const Problem& p, Index least_answered, const char* what) {
  expect_accurate(p.task(), solve(p), least_answered, what);
}

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
  Problem p = problem(2, 1, 3000, 1, uniform(0, 1), uniform(0, 40));
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
        expect_accurate(problem(3, queries, keys, 2, uniform(0, 1), uniform(0, 1), 1 + keys % 3), queries,
                        instructions);
        expect_accurate(problem(4, queries, keys, 0.1, uniform(0, 1), uniform(0, 1)),
                        keys > 100 ? queries : 0, instructions);
      }
    }
    for (Index value_depth = 0; value_depth <= kPlaneMostValues; ++value_depth) {
      expect_accurate(problem(5, 200, 1000, 0.1, uniform(0, 1), uniform(0, 1), value_depth), 200,
                      instructions);
    }
  }
}

TEST(Plane, DenseUniformNormalAndClusteredKeys) {
  expect_accurate(problem(6, 500, 20000, 0.03, uniform(0, 1), uniform(0, 1)), 500, "uniform");
  expect_accurate(problem(7, 500, 20000, 0.2, normal(0, 0, 1), normal(0, 0, 1)), 500, "normal");
  const Draw clusters = [](std::mt19937& random) {
    static constexpr float kSize[] = {0.01f, 0.1f, 1};
    const auto c = random() % 3;
    return normal(static_cast<float>(5 * c), static_cast<float>(3 * c * c), kSize[c])(random);
  };
  expect_accurate(problem(8, 500, 20000, 0.3, clusters, clusters), 500, "clusters");
  // Far from the origin against the bandwidth: coordinates are exact in double.
  expect_accurate(problem(9, 200, 5000, 0.05, uniform(1000, 1001), uniform(1000, 1001)), 200, "offset");
}

TEST(Plane, PointsOnTheBoxesBorders) {
  const Draw lattice = [](std::mt19937& random) {
    return Point{static_cast<float>(random() % 9), static_cast<float>(random() % 9)};
  };
  expect_accurate(problem(10, 200, 2000, 1, lattice, lattice), 200, "borders");
  const Draw one = [](std::mt19937&) { return Point{0.5f, -3.25f}; };
  expect_accurate(problem(11, 100, 3000, 0.7, one, one), 100, "duplicates");
}

TEST(Plane, AnswersNearKeysAndHandsBackFarRowsWithManyKeysInReach) {
  Problem p = problem(12, 0, 20000, 0.1, uniform(0, 1), uniform(0, 1));
  // From the middle of the square's right side outwards.
  for (int i = 0; i <= 300; ++i) p.query.push_back({1 + 0.01f * static_cast<float>(i), 0.5f});
  const Answer a = solve(p);
  expect_accurate(p.task(), a, 0, "outwards");
  for (Index i = 0; i <= 300; ++i) {
    const double away = 0.1 * static_cast<double>(i);  // in bandwidths
    EXPECT_TRUE(a.answered(i) || away >= 5) << away;
  }
  EXPECT_FALSE(a.answered(90));
}

TEST(Plane, SumsFarRowsWithFewKeysInReach) {
  for (const char* instructions : instruction_sets()) {
    const test::ForcedInstructionSet forced(instructions);
    for (const Index keys : {1, 2, 7, 127, 128, 129, 1500}) {
      Problem p = problem(23, 0, keys, 0.1, uniform(0, 1), uniform(0, 1), 1 + keys % 3);
      // On all sides, from within the expansion's reach to ten thousand bandwidths away.
      for (int i = 0; i < 40; ++i) {
        const double angle = 0.7 * i, radius = 0.5 * std::pow(10, 0.08 * i);
        p.query.push_back({static_cast<float>(0.5 + radius * std::cos(angle)),
                           static_cast<float>(0.5 + radius * std::sin(angle))});
      }
      expect_accurate(p, 40, instructions);
    }
  }
}

TEST(Plane, FarRowsBetweenClustersSeeBoth) {
  const Draw two = [](std::mt19937& random) {
    return normal(random() % 2 == 0 ? -12.0f : 12.0f, 0, 0.5f)(random);
  };
  Problem p = problem(24, 200, 1500, 1, uniform(-0.5f, 0.5f), two);
  expect_accurate(p, 200, "between");
}

// Few keys beside very many: the bound must see the many, and a lone key must be answered.
TEST(Plane, LoneKeysBesideAGreatMany) {
  for (const float away : {2.0f, 3.5f, 4.5f, 5.5f, 6.5f, 8.0f, 9.5f, 12.0f, 100.0f}) {
    Problem p = problem(13, 0, 60000, 1, normal(0, 0, 0.05f), normal(0, 0, 0.05f));
    std::mt19937 random(14);
    for (int i = 0; i < 3; ++i) p.key.push_back(normal(away, 0, 0.3f)(random));
    p.draw_values(random);
    for (float& v : p.value) v += 3;
    for (int i = 0; i < 20; ++i) p.query.push_back(normal(away, 0, 0.5f)(random));
    for (int i = 0; i < 20; ++i) p.query.push_back(normal(away / 2, 0, away / 4)(random));
    const Answer a = solve(p);
    expect_accurate(p.task(), a, 20, "lone");
    for (Index i = 0; i < 20; ++i) EXPECT_TRUE(a.answered(i)) << away;
  }
}

// Keys in boxes that are not visited count in the bound: here they are 5e-8 of the sum.
TEST(Plane, AGreatManyJustBeyondTheWindow) {
  Problem p = problem(
      22, 0, 600000, 1, uniform(0, 1),
      [](std::mt19937&) {
        return Point{0.99f, 0};
      },
      0);
  p.key.push_back({0, 0});
  p.key.push_back({14.6f, 0});
  p.query.push_back({kReach + 1.01f, 0});
  EXPECT_EQ(std::ssize(solve(p).far), 1);
  p.query[0][0] = kReach + 0.99f;  // the great many are in the window
  const Answer a = solve(p);
  EXPECT_TRUE(a.far.empty());
  expect_accurate(p.task(), a, 1, "within");
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

TEST(Plane, ARowsBitsDependOnNoOtherQueryAndNoThread) {
  for (const char* instructions : instruction_sets()) {
    const test::ForcedInstructionSet forced(instructions);
    Problem p = problem(15, 3000, 4000, 0.15, uniform(-2, 4), normal(1, 1, 0.7f), 2);
    // Rows far from all but these are handed back, other far ones are summed.
    p.key.insert(p.key.end(), 2500, Point{-1.9f, 3.9f});
    std::mt19937 random(15);
    p.draw_values(random);
    const Answer whole = solve(p);
    EXPECT_FALSE(whole.far.empty());
    EXPECT_LT(std::ssize(whole.far), 2000);
    for (const int threads : {2, 5}) {
      Problem other = p;
      other.threads = threads;
      expect_same_rows(whole, 0, solve(other), 0, 3000, 2, instructions);
    }
    for (Index i = 0; i < 3000; i += 61) {
      Problem alone = p;
      alone.query = {p.query[static_cast<std::size_t>(i)]};
      expect_same_rows(whole, i, solve(alone), 0, 1, 2, instructions);
    }
    Problem some = p;
    some.query.assign(p.query.begin() + 1000, p.query.begin() + 1777);
    expect_same_rows(whole, 1000, solve(some), 0, 777, 2, instructions);
  }
}

TEST(Plane, BandsOfTallGridsOnSeveralThreads) {
  const Draw tall = [](std::mt19937& random) {
    std::uniform_real_distribution<float> u(0, 1);
    const float x = u(random);
    return Point{x, 200 * u(random)};
  };
  Problem p = problem(16, 700, 3000, 0.5, tall, tall);
  const Answer one = solve(p);
  expect_accurate(p.task(), one, 600, "tall");
  p.threads = 3;
  expect_same_rows(one, 0, solve(p), 0, 700, 1, "tall");
}

TEST(Plane, AnOutlierCostsNoHugeGrid) {
  Problem p = problem(17, 300, 3000, 0.1, uniform(0, 1), uniform(0, 1));
  p.key.push_back({1e6f, -1e6f});
  p.key.push_back({-7e5f, 3e6f});
  std::mt19937 random(17);
  p.draw_values(random);
  p.query.push_back({1e6f, -1e6f});
  p.query.push_back({3e5f, 0});
  p.query.push_back({1e30f, 1e38f});
  const Answer a = solve(p);
  EXPECT_EQ(a.far, (std::vector<Index>{302}));
  expect_accurate(p.task(), a, 302, "outlier");
  EXPECT_LT(plane_cost(p.task()).bytes, 10e6);
}

TEST(Plane, RowsMayBeStrided) {
  const Problem p = problem(18, 100, 400, 0.3, uniform(0, 1), uniform(0, 1), 2);
  const auto spread = [](const float* rows, Index count, Index width) {
    std::vector<float> wide(static_cast<std::size_t>(count) * 5, std::numeric_limits<float>::quiet_NaN());
    for (Index i = 0; i < count; ++i) std::copy_n(rows + i * width, width, wide.data() + 5 * i);
    return wide;
  };
  Task t = p.task();
  const auto query = spread(t.query.data, 100, 2), key = spread(t.key.data, 400, 2),
             value = spread(t.value.data, 400, 2);
  const Answer dense = solve(t);
  t.query = {query.data(), 5};
  t.key = {key.data(), 5};
  t.value = {value.data(), 5};
  expect_same_rows(dense, 0, solve(t), 0, 100, 2, "strided");
}

TEST(Plane, NoKeysNoQueries) {
  Problem p = problem(19, 5, 0, 1, uniform(0, 1), uniform(0, 1), 2);
  const Answer none = solve(p);
  EXPECT_TRUE(none.far.empty());
  for (const double x : none.lse) EXPECT_EQ(x, -std::numeric_limits<double>::infinity());
  for (const double x : none.average) EXPECT_EQ(x, 0);
  plane_cost(p.task());
  p = problem(19, 0, 5, 1, uniform(0, 1), uniform(0, 1));
  EXPECT_TRUE(solve(p).far.empty());
  plane_cost(p.task());
}

TEST(Plane, HandsEverythingBackThatIsNotItsOwn) {
  const Problem p = problem(20, 4, 50, 1, uniform(0, 1), uniform(0, 1), 9);
  const auto refuses = [](const Task& t, const char* what) {
    EXPECT_FALSE(plane_cost(t).possible) << what;
    EXPECT_EQ(solve(t).far, (std::vector<Index>{0, 1, 2, 3})) << what;
  };
  refuses(p.task(), "nine value columns");
  Task t = p.task();
  t.value_depth = 1;
  EXPECT_TRUE(plane_cost(t).possible);
  EXPECT_TRUE(solve(t).far.empty());
  Task other = t;
  other.kernel = Kernel::laplace;
  refuses(other, "Laplace");
  other = t;
  other.depth = 1;
  refuses(other, "one dimension");
  other = t;
  other.bandwidth = 1e-12;
  refuses(other, "too many boxes an axis");
  other.bandwidth = 1e-310;
  refuses(other, "a bandwidth without an inverse");
}

TEST(Plane, RefusesTheMemoryOfSparseKeysAndCostGrowsWithBoxes) {
  // 64 MB hold 27,777 boxes of two columns.
  const Problem p = problem(21, 4, 40000, 1e-4, uniform(0, 1), uniform(0, 1));
  const PlaneCost sparse = plane_cost(p.task());
  EXPECT_FALSE(sparse.possible);
  EXPECT_EQ(std::ssize(solve(p).far), 4);
  Task dense = p.task();
  dense.bandwidth = 0.1;
  const PlaneCost cost = plane_cost(dense);
  EXPECT_TRUE(cost.possible);
  EXPECT_LT(cost.seconds, sparse.seconds);
  EXPECT_NEAR(cost.boxes, 100, 21);
  // Bandwidths as large as they come: one box.
  dense.bandwidth = 1e300;
  EXPECT_NEAR(plane_cost(dense).boxes, 1, 0.1);
  const Answer a = solve(dense);
  for (const double lse : a.lse) EXPECT_NEAR(lse, std::log(40000.0), 1e-9);
}

}  // namespace
}  // namespace kith::points
