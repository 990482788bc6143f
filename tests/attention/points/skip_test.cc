// Skipping against the plain sum in double: every kernel, sizes around leaves and nodes, queries where no key
// is near, and the bound itself.
#include "attention/points/skip.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include "attention/points/kernels/skip_kernels.h"
#include "attention/points/skip_tree.h"
#include "kith/attention.h"

namespace kith::points {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr Kernel kKernels[] = {Kernel::gaussian,   Kernel::laplace,  Kernel::boxcar, Kernel::epanechnikov,
                               Kernel::triangular, Kernel::biweight, Kernel::tricube};

struct Problem {
  Kernel kernel = Kernel::gaussian;
  double bandwidth = 1;
  Index depth = 1, queries = 0, keys = 0, value_depth = 1;
  std::vector<float> query{}, key{}, value{};
};
struct Answer {
  std::vector<double> lse, average;
};

std::size_t size(Index n) { return static_cast<std::size_t>(n); }

Task task_of(const Problem& p, Answer& a, int threads = 1) {
  a.lse.assign(size(p.queries), -7);
  a.average.assign(size(p.queries * p.value_depth), -7);
  return {.kernel = p.kernel,
          .bandwidth = p.bandwidth,
          .depth = p.depth,
          .queries = p.queries,
          .keys = p.keys,
          .value_depth = p.value_depth,
          .query = {p.query.data(), p.depth},
          .key = {p.key.data(), p.depth},
          .value = {p.value.data(), p.value_depth},
          .threads = threads,
          .lse = a.lse.data(),
          .average = a.average.data()};
}

Answer solve(const Problem& p, int threads = 1) {
  Answer a;
  skip(task_of(p, a, threads));
  return a;
}

double squared_distance(const Problem& p, Index i, Index j) {
  double x = 0;
  for (Index c = 0; c < p.depth; ++c) {
    const double t = static_cast<double>(p.query[size(i * p.depth + c)]) -
                     static_cast<double>(p.key[size(j * p.depth + c)]);
    x += t * t;
  }
  return x;
}

/// log K, -inf outside a compact kernel's reach.
double log_kernel(Kernel kernel, double x, double h) {
  if (kernel == Kernel::gaussian) return -x / (2 * h * h);
  if (kernel == Kernel::laplace) return -std::sqrt(x) / h;
  if (x >= h * h) return -kInfinity;
  const double u2 = x / (h * h), u = std::sqrt(u2);
  switch (kernel) {
    case Kernel::epanechnikov:
      return std::log(1 - u2);
    case Kernel::triangular:
      return std::log(1 - u);
    case Kernel::biweight:
      return 2 * std::log(1 - u2);
    case Kernel::tricube:
      return 3 * std::log(1 - u2 * u);
    default:
      return 0;
  }
}

/// Every row within 1e-6 of the plain sum, relative to the sum and to the largest |v|.
void expect_right(const Problem& p, const Answer& a, const std::string& what) {
  double largest = 0;
  for (const float v : p.value) largest = std::max(largest, static_cast<double>(std::abs(v)));
  std::vector<double> log_weight(size(p.keys)), average(size(p.value_depth));
  for (Index i = 0; i < p.queries; ++i) {
    double top = -kInfinity, total = 0;
    for (Index j = 0; j < p.keys; ++j) {
      log_weight[size(j)] = log_kernel(p.kernel, squared_distance(p, i, j), p.bandwidth);
      top = std::max(top, log_weight[size(j)]);
    }
    std::fill(average.begin(), average.end(), 0.0);
    if (top > -kInfinity) {
      for (Index j = 0; j < p.keys; ++j) {
        const double w = std::exp(log_weight[size(j)] - top);
        total += w;
        for (Index c = 0; c < p.value_depth; ++c) {
          average[size(c)] += w * static_cast<double>(p.value[size(j * p.value_depth + c)]);
        }
      }
      for (double& v : average) v /= total;
      ASSERT_NEAR(std::expm1(a.lse[size(i)] - top - std::log(total)), 0, 1e-6) << what << " row " << i;
    } else {
      ASSERT_EQ(a.lse[size(i)], -kInfinity) << what << " row " << i;
    }
    for (Index c = 0; c < p.value_depth; ++c) {
      ASSERT_NEAR(a.average[size(i * p.value_depth + c)], average[size(c)], 1e-6 * largest)
          << what << " row " << i << " column " << c;
    }
  }
}

bool same_row(const Answer& a, Index i, const Answer& b, Index j, Index value_depth) {
  return std::memcmp(&a.lse[size(i)], &b.lse[size(j)], sizeof(double)) == 0 &&
         std::memcmp(&a.average[size(i * value_depth)], &b.average[size(j * value_depth)],
                     size(value_depth) * sizeof(double)) == 0;
}

enum class Cloud { uniform, clusters };

/// Clusters: a tenth of the points wide, the others in tight clumps, every third point twice. Queries beside
/// the cloud, in its gaps and far outside.
Problem make(Kernel kernel, Cloud cloud, Index queries, Index keys, Index depth, Index value_depth,
             std::uint64_t seed) {
  Problem p{kernel, 1, depth, queries, keys, value_depth};
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> uniform;
  const auto point = [&](std::vector<float>& rows, Index i, float far) {
    const float spread = i % 10 == 0 ? 1.0f : 0.02f, at = static_cast<float>(i % 7);
    for (Index c = 0; c < depth; ++c) {
      rows.push_back(far + (cloud == Cloud::uniform ? uniform(random) : at + spread * normal(random)));
    }
  };
  for (Index j = 0; j < keys; ++j) {
    if (cloud == Cloud::clusters && j % 3 == 2) {
      for (Index c = 0; c < depth; ++c) p.key.push_back(p.key[size((j - 1) * depth + c)]);
    } else {
      point(p.key, j, 0);
    }
  }
  for (Index i = 0; i < queries; ++i) point(p.query, i, i % 9 == 4 ? 3.0f : i % 9 == 5 ? -300.0f : 0.0f);
  for (Index i = 0; i < keys * value_depth; ++i) p.value.push_back(2 + normal(random));
  const double d = static_cast<double>(depth), n = static_cast<double>(std::max<Index>(keys, 1));
  p.bandwidth = 0.3 * std::pow(n, -1 / (d + 4)) * (cloud == Cloud::uniform ? 1 : 2);
  if (kernel == Kernel::laplace) p.bandwidth /= 4;
  if (kernel != Kernel::gaussian && kernel != Kernel::laplace) p.bandwidth *= 2;
  return p;
}

std::string name(const Problem& p) {
  return "kernel " + std::to_string(static_cast<int>(p.kernel)) + " depth " + std::to_string(p.depth) +
         " keys " + std::to_string(p.keys) + " queries " + std::to_string(p.queries) + " values " +
         std::to_string(p.value_depth) + " on " + instruction_set();
}

void on_every_instruction_set(const std::function<void()>& run) {
  for (const char* set : instruction_sets()) {
    force_instruction_set(set);
    run();
  }
  force_instruction_set(nullptr);
}

TEST(Skip, AgreesWithThePlainSum) {
  on_every_instruction_set([] {
    std::uint64_t seed = 1;
    for (const Kernel kernel : kKernels) {
      for (const Cloud cloud : {Cloud::uniform, Cloud::clusters}) {
        for (const Index depth : {1, 2, 3, 4, 8, 16}) {
          ++seed;
          const Index values = seed % 2 == 0 ? 1 : 1 + static_cast<Index>(seed) % 8;
          const Problem p = make(kernel, cloud, 67, 2500, depth, values, seed);
          expect_right(p, solve(p), name(p));
        }
      }
    }
  });
}

TEST(Skip, SizesAroundLeavesAndNodes) {
  on_every_instruction_set([] {
    for (const Kernel kernel : {Kernel::gaussian, Kernel::laplace, Kernel::biweight}) {
      for (const Index keys : {0, 1, 3, 7, 15, 16, 17, 31, 33, 255, 256, 257, 1023, 1024, 1025, 4095, 4097}) {
        for (const Index queries : {0, 1, 63, 64, 65}) {
          if (keys > 1025 && queries > 1) continue;
          for (const Index depth : {2, 3}) {
            const Problem p = make(kernel, Cloud::clusters, queries, keys, depth, 1 + keys % 3, 5);
            expect_right(p, solve(p), name(p));
          }
        }
      }
    }
  });
}

TEST(Skip, ManyKeysKeepTheirDigits) {
  for (const Cloud cloud : {Cloud::uniform, Cloud::clusters}) {
    for (const Kernel kernel : {Kernel::gaussian, Kernel::laplace, Kernel::boxcar}) {
      const Problem p = make(kernel, cloud, 40, 200000, 3, 1, 11);
      expect_right(p, solve(p), name(p));
    }
  }
}

TEST(Skip, ValuesAtOneEndOfTheCloud) {  // a key left out for its small weight could still have the only value
  Problem p = make(Kernel::gaussian, Cloud::uniform, 60, 20000, 2, 1, 3);
  for (Index j = 0; j < p.keys; ++j) p.value[size(j)] = p.key[size(2 * j)] > 0.9f ? 1e6f : 0.0f;
  expect_right(p, solve(p), name(p));
}

TEST(Skip, ARowDoesNotDependOnItsCompany) {
  on_every_instruction_set([] {
    for (const Kernel kernel : kKernels) {
      for (const Cloud cloud : {Cloud::uniform, Cloud::clusters}) {
        const Problem p = make(kernel, cloud, 150, 3000, 3, kernel == Kernel::laplace ? 3 : 1, 21);
        const Answer all = solve(p), threads = solve(p, 3);
        for (Index i = 0; i < p.queries; ++i) {
          ASSERT_TRUE(same_row(all, i, threads, i, p.value_depth)) << name(p) << " threads, row " << i;
        }
        for (Index i = 0; i < p.queries; i += 7) {  // alone, and in the middle of a few others
          for (const Index count : {1, 5}) {
            Problem few = p;
            few.queries = count;
            few.query.clear();
            for (Index k = 0; k < count; ++k) {
              const Index row = (i + (k - count / 2) * 31 + p.queries) % p.queries;
              few.query.insert(few.query.end(), p.query.begin() + row * 3, p.query.begin() + (row + 1) * 3);
            }
            ASSERT_TRUE(same_row(solve(few), count / 2, all, i, p.value_depth)) << name(few) << " row " << i;
          }
        }
      }
    }
  });
}

/// Squared distance from a query to a leaf's bounding box, and the sum of the leaf's weights.
std::pair<double, double> leaf_of(const kernels::SkipTree& tree, Index leaf, const Problem& p, Index i) {
  const float* keys = tree.leaves + leaf * (p.depth + p.value_depth) * 16;
  double gap = 0, sum = 0, x[16] = {};
  for (Index c = 0; c < p.depth; ++c) {
    const double q = static_cast<double>(p.query[size(i * p.depth + c)]);
    double low = kInfinity, high = -kInfinity;
    for (Index j = 0; j < 16; ++j) {
      const double k = static_cast<double>(keys[c * 16 + j]);
      x[j] += (q - k) * (q - k);
      if (k == kInfinity) continue;
      low = std::min(low, k);
      high = std::max(high, k);
    }
    const double t = std::max({low - q, q - high, 0.0});
    gap += t * t;
  }
  for (const double distance : x) sum += std::exp(log_kernel(p.kernel, distance, p.bandwidth));
  return {gap, sum};
}

TEST(Skip, WhatACutLeavesOutIsInItsBudget) {
  on_every_instruction_set([] {
    for (const Kernel kernel : {Kernel::gaussian, Kernel::laplace}) {
      for (const Cloud cloud : {Cloud::uniform, Cloud::clusters}) {
        Problem p = make(kernel, cloud, 30, 20000, 3, 1, 8);
        Answer a;
        const KeyTree tree(task_of(p, a));
        const double h = p.bandwidth, log2e = 1 / std::log(2.0);
        const kernels::SkipWeight weight{
            .kernel = kernel, .rate = kernel == Kernel::gaussian ? log2e / (2 * h * h) : log2e / h};
        int closer = 0;
        for (Index i = 0; i < p.queries; ++i) {
          const double bits = 30, far = bits / weight.rate;
          const auto outermost = static_cast<float>(kernel == Kernel::gaussian ? far : far * far);
          const double budget = 0x1p-23;
          const float cut = kernels::skip_cut(tree.view(), weight, &p.query[size(3 * i)], outermost, budget);
          ASSERT_LE(cut, outermost);
          closer += cut < outermost;
          double left_out = 0;
          for (Index leaf = 0; leaf < tree.view().count; ++leaf) {
            const auto [gap, sum] = leaf_of(tree.view(), leaf, p, i);
            if (gap > static_cast<double>(cut) * (1 + 1e-5) &&
                gap <= static_cast<double>(outermost) * (1 - 1e-5)) {
              left_out += sum;
            }
          }
          EXPECT_LE(left_out, budget) << name(p) << " row " << i;
        }
        EXPECT_GT(closer, 0) << "no cut was ever closer than the outermost: nothing was tested";
      }
    }
  });
}

TEST(Skip, NearestIsTheNearest) {
  on_every_instruction_set([] {
    for (const Index depth : {1, 2, 3, 7, 16}) {
      const Problem p = make(Kernel::gaussian, Cloud::clusters, 50, 3001, depth, 1, 9);
      Answer a;
      const KeyTree tree(task_of(p, a));
      for (Index i = 0; i < p.queries; ++i) {
        double least = kInfinity;
        for (Index j = 0; j < p.keys; ++j) least = std::min(least, squared_distance(p, i, j));
        EXPECT_DOUBLE_EQ(kernels::skip_nearest(tree.view(), &p.query[size(i * depth)]), least) << name(p);
      }
    }
  });
}

TEST(Skip, TheReachIsOpen) {  // K = 0 at r = h, exactly
  Problem p{Kernel::boxcar, 5, 2, 1, 4, 1, {0, 0}, {3, 4, 4, 3, 2, 4, 0, 5}, {1, 1, 7, 1}};
  const Answer a = solve(p);
  EXPECT_EQ(a.lse[0], 0);
  EXPECT_EQ(a.average[0], 7);
}

TEST(Skip, SmallWeightsAtTheReach) {  // the only key of a compact kernel nearly out of reach
  for (const Kernel kernel : kKernels) {
    const Problem p{kernel, 1, 3, 1, 1, 1, {0, 0, 0}, {0.57735f, 0.57735f, 0.57735f}, {3}};
    expect_right(p, solve(p), name(p));
  }
}

TEST(Skip, NumbersNearTheEndsOfFloat) {
  for (const Kernel kernel : kKernels) {
    for (const double scale : {1e-30, 1e-14, 1e-8, 1e8, 1e16, 1e30}) {
      Problem p = make(kernel, Cloud::uniform, 20, 300, 3, 1, 4);
      for (float& x : p.query) x = static_cast<float>(static_cast<double>(x) * scale);
      for (float& x : p.key) x = static_cast<float>(static_cast<double>(x) * scale);
      p.bandwidth *= scale;
      expect_right(p, solve(p), name(p));
    }
  }
  Problem p = make(Kernel::gaussian, Cloud::uniform, 20, 300, 3, 1, 4);
  p.key[0] = 3e38f;  // one outlier
  expect_right(p, solve(p), name(p));
}

#if defined(__SSE__)
TEST(Skip, LeavesTheFloatingPointModeAsItWas) {
  constexpr unsigned kFlags = 0x3f, kFlushAndZero = 0x8040;
  const unsigned plain = _mm_getcsr() & ~kFlags & ~kFlushAndZero;  // whatever another test may have left
  _mm_setcsr(plain);
  const Problem p = make(Kernel::gaussian, Cloud::uniform, 70, 1000, 2, 1, 2);
  solve(p);
  EXPECT_EQ(_mm_getcsr() & ~kFlags, plain);
}
#endif

}  // namespace
}  // namespace kith::points
