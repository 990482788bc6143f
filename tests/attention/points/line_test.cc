// Sums on a line against the sum over all pairs, where its shortcuts could go wrong: gaps, clusters,
// duplicates, window edges, far queries; and the bits of a row, which must not depend on company.
#include "attention/points/line.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "attention/check.h"
#include "attention/points/line_sort.h"
#include "kith/attention.h"

namespace kith::points {
namespace {

constexpr Kernel kKernels[] = {Kernel::gaussian,   Kernel::laplace,  Kernel::boxcar, Kernel::epanechnikov,
                               Kernel::triangular, Kernel::biweight, Kernel::tricube};

struct Problem {
  std::string name;
  std::vector<float> key, query;
  double bandwidth = 1;
};

using Random = std::mt19937;

float uniform(Random& random, double low, double high) {
  return static_cast<float>(low + (high - low) * std::uniform_real_distribution<double>()(random));
}
template <class Draw>
std::vector<float> draw(Index count, const Draw& one) {
  std::vector<float> x(static_cast<std::size_t>(count));
  for (float& v : x) v = static_cast<float>(one());
  return x;
}

struct Sums {
  std::vector<double> lse, average;
};

std::vector<float> make_values(Index keys, Index depth) {
  Random random(7);
  std::normal_distribution<float> normal(1);
  return draw(keys * depth, [&] { return normal(random); });
}

Task task_of(Kernel kernel, const Problem& p, const std::vector<float>& value, Index depth, int threads) {
  Task task;
  task.kernel = kernel;
  task.bandwidth = p.bandwidth;
  task.queries = static_cast<Index>(p.query.size());
  task.keys = static_cast<Index>(p.key.size());
  task.value_depth = depth;
  task.query = {p.query.data(), 1};
  task.key = {p.key.data(), 1};
  task.value = {value.data(), depth};
  task.threads = threads;
  return task;
}

Sums run(Line& line, Task task) {
  Sums sums{std::vector<double>(static_cast<std::size_t>(task.queries), -77.0),
            std::vector<double>(static_cast<std::size_t>(task.queries * task.value_depth), -77.0)};
  task.lse = sums.lse.data();
  task.average = sums.average.data();
  line.sum(task);
  return sums;
}
Sums run(const Task& task) {
  Line line;
  return run(line, task);
}

using Wide = long double;

/// log K. The window's edge is decided in double, as the reference does.
Wide log_kernel(Kernel kernel, double q, double k, double h) {
  const Wide r = std::fabs(Wide{q} - Wide{k}), u = r / h, s = (h - r) / h;
  if (kernel == Kernel::gaussian) return -u * u / 2;
  if (kernel == Kernel::laplace) return -u;
  const double square = (q - k) * (q - k);
  if (square / (h * h) >= 1) return -std::numeric_limits<Wide>::infinity();
  switch (kernel) {
    case Kernel::epanechnikov:
      return std::log(s * (1 + u));
    case Kernel::triangular:
      return std::log(s);
    case Kernel::biweight:
      return 2 * std::log(s * (1 + u));
    case Kernel::tricube:
      return 3 * std::log(s * (1 + u + u * u));
    default:
      return 0;
  }
}

/// The larger error; a NaN is larger than any and stays.
double worse(double worst, double error) { return error <= worst || std::isnan(worst) ? worst : error; }

/// The methods promise 1e-6 of the sum and of the largest value, and reach 1e-8 (their headers derive it),
/// but for the rounding of lse.
void expect_plain(Kernel kernel, const Problem& p, Index depth = 2) {
  const auto keys = static_cast<Index>(p.key.size());
  const std::vector<float> value = make_values(keys, depth);
  double largest = 0;
  for (const float v : value) largest = std::max(largest, std::fabs(static_cast<double>(v)));
  const Sums got = run(task_of(kernel, p, value, depth, 1));
  double worst_lse = 0, worst_average = 0;
  std::vector<Wide> logit(p.key.size()), sum(static_cast<std::size_t>(depth));
  for (std::size_t i = 0; i < p.query.size(); ++i) {
    Wide most = -std::numeric_limits<Wide>::infinity(), weight = 0;
    for (std::size_t j = 0; j < p.key.size(); ++j) {
      logit[j] =
          log_kernel(kernel, static_cast<double>(p.query[i]), static_cast<double>(p.key[j]), p.bandwidth);
      most = std::max(most, logit[j]);
    }
    std::fill(sum.begin(), sum.end(), Wide{0});
    const bool empty = std::isinf(most);
    for (std::size_t j = 0; j < p.key.size() && !empty; ++j) {
      if (logit[j] - most < -60) continue;
      const Wide w = std::exp(logit[j] - most);
      weight += w;
      for (std::size_t c = 0; c < sum.size(); ++c) sum[c] += w * Wide{value[j * sum.size() + c]};
    }
    if (empty) {
      EXPECT_EQ(got.lse[i], -std::numeric_limits<double>::infinity()) << p.name << " query " << p.query[i];
      for (std::size_t c = 0; c < sum.size(); ++c) EXPECT_EQ(got.average[i * sum.size() + c], 0);
      continue;
    }
    const Wide lse = most + std::log(weight);
    const double error =
        static_cast<double>(std::fabs(got.lse[i] - lse)) - 0x1p-50 * static_cast<double>(std::fabs(lse));
    worst_lse = worse(worst_lse, error);
    for (std::size_t c = 0; c < sum.size(); ++c) {
      const double off =
          static_cast<double>(std::fabs(got.average[i * sum.size() + c] - sum[c] / weight)) / largest;
      worst_average = worse(worst_average, off);
    }
  }
  EXPECT_LE(worst_lse, 1e-8) << p.name << ", kernel " << static_cast<int>(kernel) << ", h " << p.bandwidth;
  EXPECT_LE(worst_average, 1e-8) << p.name << ", kernel " << static_cast<int>(kernel) << ", h "
                                 << p.bandwidth;
}

std::vector<Problem> problems(Index keys, Index queries) {
  Random random(3);
  std::normal_distribution<double> normal;
  std::vector<Problem> all;
  const auto anywhere = [&] { return uniform(random, -0.2, 1.2); };
  const auto inside = [&] { return uniform(random, 0, 1); };
  for (const double h : {1e-4, 3e-3, 0.04, 0.3, 5.0}) {
    all.push_back({"uniform", draw(keys, inside), draw(queries, anywhere), h});
    all.push_back({"clusters",
                   draw(keys, [&] { return std::floor(inside() * 5) / 5 + 1e-3 * normal(random); }),
                   draw(queries, anywhere), h});
    all.push_back({"one cluster and a few",
                   draw(keys, [&] { return inside() < 0.01f ? inside() : 1e-4f * inside(); }),
                   draw(queries, anywhere), h});
    all.push_back({"duplicates", draw(keys, [&] { return std::floor(inside() * 20) / 20; }),
                   draw(queries, anywhere), h});
    all.push_back({"all equal", draw(keys, [] { return 0.5; }), draw(queries, anywhere), h});
    // Log-uniform distances, from inside the keys to 1e5 h.
    all.push_back({"far", draw(keys, inside),
                   draw(queries,
                        [&] {
                          const double z = h * std::exp(uniform(random, -2, 11.5));
                          return inside() < 0.5f ? -z : 1 + z;
                        }),
                   h});
    // Heaps just inside and just outside of the window's edge.
    all.push_back({"edges",
                   draw(keys, [&] { return (inside() < 0.5f ? h : -h) * (1 + 1e-3 * normal(random)); }),
                   draw(queries, [&] { return h * 1e-3 * normal(random); }), h});
  }
  // Steps of the coordinates are h / 16.
  all.push_back({"offset", draw(keys, [&] { return uniform(random, 1e6, 1e6 + 40); }),
                 draw(queries, [&] { return uniform(random, 1e6 - 1, 1e6 + 41); }), 1.0});
  all.push_back({"offset, keys on one coordinate each",
                 draw(keys, [&] { return uniform(random, 1e6, 1e6 + 40); }),
                 draw(queries, [&] { return uniform(random, 1e6 - 1, 1e6 + 41); }), 1e-3});
  all.push_back(
      {"both signs, all magnitudes",
       draw(keys, [&] { return (inside() < 0.5f ? 1 : -1) * std::exp(uniform(random, -60, 60)); }),
       draw(queries, [&] { return (inside() < 0.5f ? 1 : -1) * std::exp(uniform(random, -60, 60)); }), 2.0});
  return all;
}

TEST(Line, AgreesWithTheSumOverAllPairs) {
  for (const Kernel kernel : kKernels) {
    for (const Problem& p : problems(1000, 100)) expect_plain(kernel, p);
  }
}

TEST(Line, OnEveryInstructionSet) {
  for (const char* instructions : instruction_sets()) {
    SCOPED_TRACE(instructions);
    const test::ForcedInstructionSet forced(instructions);
    for (const Kernel kernel : {Kernel::gaussian, Kernel::laplace}) {
      for (const Problem& p : problems(700, 30)) expect_plain(kernel, p);
    }
  }
}

// Around a vector, the steps between marks, and the limits below which keys are summed directly.
TEST(Line, AwkwardSizes) {
  Random random(11);
  for (const Index keys : {1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129, 130}) {
    for (const Index queries : {1, 7, 9}) {
      for (const double h : {1e-3, 0.05, 10.0}) {
        const Problem p{"keys " + std::to_string(keys), draw(keys, [&] { return uniform(random, 0, 1); }),
                        draw(queries, [&] { return uniform(random, -1, 2); }), h};
        for (const Kernel kernel : kKernels) expect_plain(kernel, p, 1);
      }
    }
  }
}

TEST(Line, ManyValueColumns) {
  Random random(13);
  const Problem p{"columns", draw(600, [&] { return uniform(random, 0, 1); }),
                  draw(40, [&] { return uniform(random, -1, 2); }), 0.05};
  for (const Kernel kernel : kKernels) {
    for (const Index depth : {1, 2, 3, 5, 8, 9, 17}) expect_plain(kernel, p, depth);
  }
}

TEST(Line, NoKeysAndNoQueries) {
  const Problem none{"no keys", {}, {1, 2}, 1.0};
  const Problem nobody{"no queries", {1, 2}, {}, 1.0};
  for (const Kernel kernel : kKernels) {
    const Sums sums = run(task_of(kernel, none, {}, 3, 1));
    for (const double lse : sums.lse) EXPECT_EQ(lse, -std::numeric_limits<double>::infinity());
    for (const double average : sums.average) EXPECT_EQ(average, 0);
    run(task_of(kernel, nobody, make_values(2, 1), 1, 1));
  }
}

// 0.75 and 1.25 lie at exactly h from 1; so do both sides of it in the grid's cells.
TEST(Line, AKeyAtTheBandwidthIsOutside) {
  const double inside = 0.25 + 0x1p-30;
  for (const Kernel kernel : kKernels) {
    if (kernel == Kernel::gaussian || kernel == Kernel::laplace) continue;
    for (const double h : {0.25, inside}) {
      Problem p{"edge", std::vector<float>(20, 0.75f), {1.0f, 0.5f, 0.75f}, h};
      p.key.resize(40, 1.25f);
      const Sums sums = run(task_of(kernel, p, make_values(40, 1), 1, 1));
      EXPECT_EQ(std::isfinite(sums.lse[0]), h > 0.25);
      EXPECT_EQ(std::isfinite(sums.lse[1]), h > 0.25);
      EXPECT_NEAR(sums.lse[2], std::log(20.0), 1e-15);
      expect_plain(kernel, p);
    }
  }
}

// The window sees the beginning of a cell, close to its edge, while the cell's moments are about a heap that
// it does not see: the terms of the expansion cancel to nothing.
TEST(Line, KeysAtTheEdgeFarFromTheirCellsMiddle) {
  Random random(29);
  Problem p{"edge of a cell", draw(20, [&] { return uniform(random, 0.1, 0.10001); }), {}, 1.0};
  const std::vector<float> heap = draw(100, [&] { return uniform(random, 0.8, 0.801); });
  p.key.insert(p.key.end(), heap.begin(), heap.end());
  for (const double s : {1e-5, 1e-4, 1e-3, 1e-2}) p.query.push_back(static_cast<float>(0.1 - 1 + s));
  for (const Kernel kernel : kKernels) expect_plain(kernel, p);
}

TEST(Line, ReadsRowsWithStrides) {
  Random random(17);
  const Problem p{"strides", draw(300, [&] { return uniform(random, 0, 1); }),
                  draw(50, [&] { return uniform(random, 0, 1); }), 0.02};
  const std::vector<float> value = make_values(300, 2);
  std::vector<float> key(900), query(150), wide(1500);
  for (std::size_t j = 0; j < 300; ++j) {
    key[3 * j] = p.key[j];
    std::copy_n(&value[2 * j], 2, &wide[5 * j]);
  }
  for (std::size_t i = 0; i < 50; ++i) query[3 * i] = p.query[i];
  for (const Kernel kernel : kKernels) {
    Task task = task_of(kernel, p, value, 2, 1);
    const Sums dense = run(task);
    task.key = {key.data(), 3};
    task.query = {query.data(), 3};
    task.value = {wide.data(), 5};
    const Sums strided = run(task);
    EXPECT_TRUE(test::same_bits(dense.lse, strided.lse));
    EXPECT_TRUE(test::same_bits(dense.average, strided.average));
  }
}

// Enough queries for several tasks, enough keys for several chunks of the sort.
TEST(Line, BitsDoNotDependOnThreadsOrMemory) {
  Random random(19);
  std::normal_distribution<double> normal;
  const Problem p{
      "threads",
      draw(100000, [&] { return uniform(random, 0, 1) < 0.3f ? normal(random) : 0.01 * normal(random); }),
      draw(70000, [&] { return 3 * normal(random); }), 0.02};
  const Problem small{"small", draw(40, [&] { return normal(random); }),
                      draw(9, [&] { return normal(random); }), 0.1};
  const std::vector<float> value = make_values(100000, 2);
  for (const Kernel kernel : kKernels) {
    Line line;
    const Sums one = run(line, task_of(kernel, p, value, 2, 1));
    run(line, task_of(kernel, small, value, 5, 3));
    for (const int threads : {2, 5}) {
      const Sums several = run(line, task_of(kernel, p, value, 2, threads));
      EXPECT_TRUE(test::same_bits(one.lse, several.lse));
      EXPECT_TRUE(test::same_bits(one.average, several.average));
    }
  }
}

TEST(Line, ARowAloneHasTheBitsOfTheBatch) {
  for (const Kernel kernel : kKernels) {
    for (const Problem& p : problems(1500, 60)) {
      const std::vector<float> value = make_values(1500, 2);
      const Sums batch = run(task_of(kernel, p, value, 2, 1));
      Line line;
      for (std::size_t i = 0; i < p.query.size(); i += 7) {
        const Problem alone{p.name, p.key, {p.query[i]}, p.bandwidth};
        const Sums row = run(line, task_of(kernel, alone, value, 2, 1));
        EXPECT_TRUE(test::same_bits(&batch.lse[i], row.lse.data(), 1)) << p.name;
        EXPECT_TRUE(test::same_bits(&batch.average[2 * i], row.average.data(), 2)) << p.name;
      }
    }
  }
}

TEST(LineSort, OrdersByCoordinateThenRow) {
  Random random(23);
  for (const Index count : {0, 1, 2, 1000, 70000}) {
    std::vector<float> x = draw(count, [&] { return std::round(uniform(random, -50, 50)); });
    if (count > 2) {
      x[0] = -0.0f;
      x[1] = 0.0f;
      x[2] = std::numeric_limits<float>::max();
    }
    for (const int threads : {1, 3}) {
      LineSort sort;
      const Place* places = sort.sort({x.data(), 1}, count, threads);
      for (Index i = 0; i < count; ++i) {
        EXPECT_EQ(coordinate_of(places[i]), x[static_cast<std::size_t>(row_of(places[i]))]);
        if (i == 0) continue;
        EXPECT_LE(coordinate_of(places[i - 1]), coordinate_of(places[i]));
        EXPECT_LT(places[i - 1], places[i]);
      }
    }
  }
}

}  // namespace
}  // namespace kith::points
