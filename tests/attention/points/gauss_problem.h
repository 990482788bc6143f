// What the tests of the fast Gauss transforms share: points to draw, the plain sum in double to compare with,
// and the checks that mean the same in any number of columns.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include "attention/check.h"
#include "attention/points/points.h"
#include "kith/attention.h"

namespace kith::test {

/// The transform under test: plane() or space().
struct GaussMethod {
  std::vector<Index> (*run)(const points::Task&);  ///< writes all rows but those it returns
  bool (*possible)(const points::Task&);
  double tolerance;  ///< of a row's sum; its averages have twice that
};

template <std::size_t kColumns>
using GaussPoint = std::array<float, kColumns>;
template <std::size_t kColumns>
using GaussDraw = std::function<GaussPoint<kColumns>(std::mt19937&)>;

template <std::size_t kColumns>
GaussDraw<kColumns> uniform_points(float low, float high) {
  return [=](std::mt19937& random) {
    std::uniform_real_distribution<float> u(low, high);
    GaussPoint<kColumns> at;
    for (float& x : at) x = u(random);
    return at;
  };
}
template <std::size_t kColumns>
GaussDraw<kColumns> normal_points(const GaussPoint<kColumns>& mean, float deviation) {
  return [=](std::mt19937& random) {
    std::normal_distribution<float> n(0, deviation);
    GaussPoint<kColumns> at = mean;
    for (float& x : at) x += n(random);
    return at;
  };
}

template <std::size_t kColumns>
struct GaussProblem {
  using Point = GaussPoint<kColumns>;
  using Draw = GaussDraw<kColumns>;

  std::vector<Point> query, key;
  std::vector<float> value;  // [keys][value_depth]
  Index value_depth;
  double bandwidth;
  int threads = 1;

  GaussProblem(unsigned seed, Index queries, Index keys, double width, const Draw& draw_query,
               const Draw& draw_key, Index values = 1)
      : value_depth(values), bandwidth(width) {
    std::mt19937 random(seed);
    for (Index i = 0; i < queries; ++i) query.push_back(draw_query(random));
    for (Index j = 0; j < keys; ++j) key.push_back(draw_key(random));
    draw_values(random);
  }
  void draw_values(std::mt19937& random) {
    std::normal_distribution<float> normal;
    value.resize(key.size() * static_cast<std::size_t>(value_depth));
    for (float& v : value) v = normal(random);
  }
  /// Points into the problem.
  points::Task task() const {
    points::Task t;
    t.bandwidth = bandwidth;
    t.depth = kColumns;
    t.queries = std::ssize(query);
    t.keys = std::ssize(key);
    t.value_depth = value_depth;
    t.query = {query.empty() ? nullptr : query[0].data(), kColumns};
    t.key = {key.empty() ? nullptr : key[0].data(), kColumns};
    t.value = {value.data(), value_depth};
    t.threads = threads;
    return t;
  }
};

struct GaussAnswer {
  std::vector<double> lse, average;
  std::vector<Index> far;
  bool answered(Index i) const { return !std::binary_search(far.begin(), far.end(), i); }
};

constexpr double kUntouched = 12345;  ///< in rows that a method has not written

inline GaussAnswer solve(const GaussMethod& method, const points::Task& task) {
  GaussAnswer a;
  a.lse.assign(static_cast<std::size_t>(task.queries), kUntouched);
  a.average.assign(static_cast<std::size_t>(task.queries * task.value_depth), kUntouched);
  points::Task t = task;
  t.lse = a.lse.data();
  t.average = a.average.data();
  a.far = method.run(t);
  EXPECT_TRUE(std::is_sorted(a.far.begin(), a.far.end()));
  EXPECT_EQ(std::adjacent_find(a.far.begin(), a.far.end()), a.far.end());
  return a;
}
template <std::size_t kColumns>
GaussAnswer solve(const GaussMethod& method, const GaussProblem<kColumns>& p) {
  return solve(method, p.task());
}

struct GaussErrors {
  double sum = 0, average = 0;  ///< relative to the sum and to the largest |v|
  Index answered = 0;
};

/// The largest errors of the answered rows against the plain sum; the other rows must be untouched.
template <std::size_t kColumns>
GaussErrors gauss_errors(const GaussProblem<kColumns>& p, const GaussAnswer& a) {
  const points::Task t = p.task();
  GaussErrors e;
  double largest = 0;
  for (const float v : p.value) largest = std::max(largest, std::abs(static_cast<double>(v)));
  const auto apart = [&](const float* a_row, const float* b_row) {
    std::array<double, kColumns> x;
    for (std::size_t c = 0; c < kColumns; ++c) {
      x[c] = (static_cast<double>(a_row[c]) - static_cast<double>(b_row[c])) / t.bandwidth;
    }
    return x;
  };
  // Not max(): a NaN has to show, and later rows must not hide it.
  const auto raise = [](double& worst, double error) {
    if (!(error <= worst)) worst = std::isnan(error) ? kInfinity : error;
  };
  std::vector<double> weighted(static_cast<std::size_t>(t.value_depth));
  for (Index i = 0; i < t.queries; ++i) {
    if (!a.answered(i)) {
      EXPECT_EQ(a.lse[static_cast<std::size_t>(i)], kUntouched);
      continue;
    }
    ++e.answered;
    // Relative to the nearest key, and from differences of keys: far away, squares of distances cancel.
    double sum = 0, nearest = kInfinity;
    const float* nearest_key = nullptr;
    std::fill(weighted.begin(), weighted.end(), 0.0);
    for (Index j = 0; j < t.keys; ++j) {
      double square = 0;
      for (const double x : apart(t.key[j], t.query[i])) square += x * x;
      if (square / 2 < nearest) {
        nearest = square / 2;
        nearest_key = t.key[j];
      }
    }
    const auto to_nearest = apart(nearest_key, t.query[i]);
    for (Index j = 0; j < t.keys; ++j) {
      const auto x = apart(t.key[j], nearest_key);
      double exponent = 0;
      for (std::size_t c = 0; c < kColumns; ++c) exponent += (x[c] / 2 + to_nearest[c]) * x[c];
      const double w = std::exp(-exponent);
      sum += w;
      for (Index c = 0; c < t.value_depth; ++c) {
        weighted[static_cast<std::size_t>(c)] += w * static_cast<double>(t.value[j][c]);
      }
    }
    const double off =
        std::abs(a.lse[static_cast<std::size_t>(i)] - (std::log(sum) - nearest)) - nearest * 0x1p-51;
    raise(e.sum, off);
    for (Index c = 0; c < t.value_depth; ++c) {
      const double average = a.average[static_cast<std::size_t>(i * t.value_depth + c)];
      const double gap = std::abs(average - weighted[static_cast<std::size_t>(c)] / sum) / largest;
      raise(e.average, gap);
    }
  }
  return e;
}

/// What the method's header promises.
template <std::size_t kColumns>
void expect_accurate(const GaussMethod& method, const GaussProblem<kColumns>& p, const GaussAnswer& a,
                     Index least_answered, const char* what) {
  const GaussErrors e = gauss_errors(p, a);
  EXPECT_LE(e.sum, method.tolerance) << what;
  EXPECT_LE(e.average, 2 * method.tolerance) << what;
  EXPECT_GE(e.answered, least_answered) << what;
}
template <std::size_t kColumns>
void expect_accurate(const GaussMethod& method, const GaussProblem<kColumns>& p, Index least_answered,
                     const char* what) {
  expect_accurate(method, p, solve(method, p), least_answered, what);
}

inline void expect_same_rows(const GaussAnswer& a, Index a_first, const GaussAnswer& b, Index b_first,
                             Index rows, Index value_depth, const char* what) {
  for (Index i = 0; i < rows; ++i) {
    ASSERT_EQ(a.answered(a_first + i), b.answered(b_first + i)) << what << i;
    ASSERT_TRUE(same_bits(a.lse.data() + a_first + i, b.lse.data() + b_first + i, 1)) << what << i;
    ASSERT_TRUE(same_bits(a.average.data() + (a_first + i) * value_depth,
                          b.average.data() + (b_first + i) * value_depth, value_depth))
        << what << i;
  }
}

/// `whole` is the problem's answer: on other threads, every `step`-th query alone, and some without the rest.
template <std::size_t kColumns>
void expect_independent_rows(const GaussMethod& method, const GaussProblem<kColumns>& p,
                             const GaussAnswer& whole, Index step, const char* what) {
  const Index queries = std::ssize(p.query);
  for (const int threads : {2, 5}) {
    GaussProblem<kColumns> other = p;
    other.threads = threads;
    expect_same_rows(whole, 0, solve(method, other), 0, queries, p.value_depth, what);
  }
  for (Index i = 0; i < queries; i += step) {
    GaussProblem<kColumns> alone = p;
    alone.query = {p.query[static_cast<std::size_t>(i)]};
    expect_same_rows(whole, i, solve(method, alone), 0, 1, p.value_depth, what);
  }
  GaussProblem<kColumns> some = p;
  some.query.assign(p.query.begin() + 1000, p.query.begin() + 1777);
  expect_same_rows(whole, 1000, solve(method, some), 0, 777, p.value_depth, what);
}

/// At which keys are dense, as each method needs them.
struct DenseBandwidths {
  double uniform, normal, clusters, offset;
};
template <std::size_t kColumns>
void expect_accurate_amid_dense_keys(const GaussMethod& method, const DenseBandwidths& bandwidth) {
  using Problem = GaussProblem<kColumns>;
  const auto unit = uniform_points<kColumns>(0, 1);
  expect_accurate(method, Problem(6, 500, 20000, bandwidth.uniform, unit, unit), 500, "uniform");
  const auto normal = normal_points<kColumns>({}, 1);
  expect_accurate(method, Problem(7, 500, 20000, bandwidth.normal, normal, normal), 500, "normal");
  const auto clusters = [](std::mt19937& random) {
    static constexpr float kSize[] = {0.01f, 0.1f, 1};
    const auto c = random() % 3;
    return normal_points<kColumns>({static_cast<float>(5 * c), static_cast<float>(3 * c * c)},
                                   kSize[c])(random);
  };
  expect_accurate(method, Problem(8, 500, 20000, bandwidth.clusters, clusters, clusters), 500, "clusters");
  // Far from the origin against the bandwidth: coordinates are exact in double.
  const auto offset = uniform_points<kColumns>(1000, 1001);
  expect_accurate(method, Problem(9, 200, 5000, bandwidth.offset, offset, offset), 200, "offset");
}

/// Queries up to `near` bandwidths away from dense keys have to be answered, those 9 away handed back.
template <std::size_t kColumns>
void expect_near_rows_answered(const GaussMethod& method, Index keys, double bandwidth, double near) {
  const auto unit = uniform_points<kColumns>(0, 1);
  GaussProblem<kColumns> p(12, 0, keys, bandwidth, unit, unit);
  // From the middle of the square's or cube's right side outwards.
  for (int i = 0; i <= 300; ++i) {
    GaussPoint<kColumns> at;
    at.fill(0.5f);
    at[0] = 1 + static_cast<float>(bandwidth / 10) * static_cast<float>(i);
    p.query.push_back(at);
  }
  const GaussAnswer a = solve(method, p);
  expect_accurate(method, p, a, 0, "outwards");
  for (Index i = 0; i <= 300; ++i) {
    const double away = 0.1 * static_cast<double>(i);  // in bandwidths
    EXPECT_TRUE(a.answered(i) || away >= near) << away;
  }
  EXPECT_FALSE(a.answered(90));
}

/// Queries between two clusters of few keys, `away` bandwidths to either side.
template <std::size_t kColumns>
void expect_accurate_between_clusters(const GaussMethod& method, float away) {
  const auto two = [=](std::mt19937& random) {
    return normal_points<kColumns>({random() % 2 == 0 ? -away : away}, 0.5f)(random);
  };
  const GaussProblem<kColumns> p(24, 200, 1500, 1, uniform_points<kColumns>(-0.5f, 0.5f), two);
  expect_accurate(method, p, 200, "between");
}

/// Three keys `away` bandwidths from very many, which the bound must see: at least `least` rows are answered,
/// and the 20 about the three where must_answer(away).
template <std::size_t kColumns>
void expect_accurate_at_lone_keys(const GaussMethod& method, Index least, bool (*must_answer)(float away)) {
  for (const float away : {2.0f, 3.5f, 4.5f, 5.5f, 6.5f, 8.0f, 9.5f, 12.0f, 100.0f}) {
    const auto many = normal_points<kColumns>({}, 0.05f);
    GaussProblem<kColumns> p(13, 0, 60000, 1, many, many);
    std::mt19937 random(14);
    for (int i = 0; i < 3; ++i) p.key.push_back(normal_points<kColumns>({away}, 0.3f)(random));
    p.draw_values(random);
    for (float& v : p.value) v += 3;
    for (int i = 0; i < 20; ++i) p.query.push_back(normal_points<kColumns>({away}, 0.5f)(random));
    for (int i = 0; i < 20; ++i) p.query.push_back(normal_points<kColumns>({away / 2}, away / 4)(random));
    const GaussAnswer a = solve(method, p);
    expect_accurate(method, p, a, least, "lone");
    for (Index i = 0; i < 20; ++i) EXPECT_TRUE(a.answered(i) || !must_answer(away)) << away;
  }
}

template <std::size_t kColumns>
void expect_strides_followed(const GaussMethod& method) {
  const auto unit = uniform_points<kColumns>(0, 1);
  const GaussProblem<kColumns> p(18, 100, 400, 0.3, unit, unit, 2);
  const auto spread = [](const float* rows, Index count, Index width) {
    std::vector<float> wide(static_cast<std::size_t>(count) * 5, std::numeric_limits<float>::quiet_NaN());
    for (Index i = 0; i < count; ++i) std::copy_n(rows + i * width, width, wide.data() + 5 * i);
    return wide;
  };
  points::Task t = p.task();
  const auto query = spread(t.query.data, 100, kColumns), key = spread(t.key.data, 400, kColumns),
             value = spread(t.value.data, 400, 2);
  const GaussAnswer dense = solve(method, t);
  t.query = {query.data(), 5};
  t.key = {key.data(), 5};
  t.value = {value.data(), 5};
  expect_same_rows(dense, 0, solve(method, t), 0, 100, 2, "strided");
}

template <std::size_t kColumns>
void expect_nothing_of_nothing(const GaussMethod& method) {
  const auto unit = uniform_points<kColumns>(0, 1);
  const GaussProblem<kColumns> no_keys(19, 5, 0, 1, unit, unit, 2);
  const GaussAnswer none = solve(method, no_keys);
  EXPECT_TRUE(none.far.empty());
  for (const double x : none.lse) EXPECT_EQ(x, -kInfinity);
  for (const double x : none.average) EXPECT_EQ(x, 0);
  method.possible(no_keys.task());
  const GaussProblem<kColumns> no_queries(19, 0, 5, 1, unit, unit);
  EXPECT_TRUE(solve(method, no_queries).far.empty());
  method.possible(no_queries.task());
}

/// At bandwidth `too_fine`, points of the unit square or cube have too many cells along an axis.
template <std::size_t kColumns>
void expect_other_tasks_handed_back(const GaussMethod& method, double too_fine) {
  const auto unit = uniform_points<kColumns>(0, 1);
  const GaussProblem<kColumns> p(20, 4, 50, 1, unit, unit, 9);
  const auto refuses = [&](const points::Task& t, const char* what) {
    EXPECT_FALSE(method.possible(t)) << what;
    EXPECT_EQ(solve(method, t).far, (std::vector<Index>{0, 1, 2, 3})) << what;
  };
  refuses(p.task(), "nine value columns");
  points::Task t = p.task();
  t.value_depth = 1;
  EXPECT_TRUE(method.possible(t));
  EXPECT_TRUE(solve(method, t).far.empty());
  points::Task other = t;
  other.kernel = points::Kernel::laplace;
  refuses(other, "Laplace");
  other = t;
  other.depth = kColumns - 1;
  refuses(other, "one dimension fewer");
  other = t;
  other.bandwidth = too_fine;
  refuses(other, "too many cells an axis");
  other.bandwidth = 1e-310;
  refuses(other, "a bandwidth without an inverse");
}

}  // namespace kith::test
