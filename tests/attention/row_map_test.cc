// The stages before the kernels against their formulas, and the way back against finite differences.
#include "attention/row_map.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <string>

#include "kith/rotary.h"

namespace kith {
namespace {

using Side = RowMap::Side;

constexpr Index kDepth = 6, kKeyDepth = 4;

enum class Linear { none, bandwidth, matrix, bilinear, additive };

/// A call with one of each stage, or without. Matrices are strided views into larger memory.
struct Stages {
  Array<double, 2> metric_memory{{kDepth, 9}}, bilinear_memory{{kDepth, 7}};
  Array<double, 2> query_memory{{3, 8}}, key_memory{{3, 8}};
  Array<double, 1> score{{3}};
  Array<Index, 2> query_position{{2, 20}}, key_position{{1, 20}};
  View<double, 2> metric{metric_memory.data(), {kDepth, 5}, {9, 1}};
  View<double, 2> bilinear{bilinear_memory.data(), {kDepth, kKeyDepth}, {7, 1}};
  View<double, 2> query_weight{query_memory.data(), {3, kDepth}, {8, 1}};
  View<double, 2> key_weight{key_memory.data(), {3, kKeyDepth}, {8, 1}};
  AttentionOptions options;
  Geometry g;
  Linear linear;
  bool cosine;

  Stages(Linear which, bool with_cosine, bool rotated, bool positions = false)
      : linear(which), cosine(with_cosine) {
    std::mt19937_64 random(29);
    std::normal_distribution<double> normal;
    for (Array<double, 2>* memory : {&metric_memory, &bilinear_memory, &query_memory, &key_memory})
      for (double& x : *memory) x = normal(random);
    for (Index& x : query_position) x = static_cast<Index>(random() % 100);
    for (Index& x : key_position) x = static_cast<Index>(random() % 100);
    g = {2, 4, 2, 20, 20, kDepth, 3, kDepth};
    if (cosine) options.similarity = Cosine{0.5};
    if (which == Linear::bandwidth) options.metric.column_bandwidth = {0.5, 2, 1, 3, 0.25, 1.5};
    if (which == Linear::matrix) options.metric.matrix = metric;
    if (which == Linear::bilinear) options.similarity = Bilinear{bilinear};
    if (which == Linear::additive) options.similarity = Additive{query_weight, key_weight, score};
    if (which == Linear::bilinear || which == Linear::additive) g.key_depth = kKeyDepth;
    if (rotated) {
      options.rotary.emplace(Rotary{.base = 100, .columns = 4, .query_offset = 5, .key_offset = -2});
      if (positions) {
        options.rotary->query_position = query_position;
        options.rotary->key_position = key_position;
      }
    }
  }
  Stages(const Stages&) = delete;
  Stages& operator=(const Stages&) = delete;

  RowMap map(Side side) const { return {options, g, side}; }

  /// A row from the definitions; `position` is the one it turns by.
  std::vector<double> mapped(Side side, std::vector<double> x, Index position) const {
    if (options.rotary) {
      for (Index p = 0; p < 2; ++p) {
        const double angle = static_cast<double>(position) * std::pow(100.0, -static_cast<double>(p) / 2);
        double &a = x[static_cast<std::size_t>(p)], &b = x[static_cast<std::size_t>(p + 2)];
        const double turned_a = a * std::cos(angle) - b * std::sin(angle);
        b = a * std::sin(angle) + b * std::cos(angle);
        a = turned_a;
      }
    }
    std::vector<double> y = x;
    const auto times = [&](Index out, const std::function<double(Index, Index)>& element) {
      y.assign(static_cast<std::size_t>(out), 0);
      for (Index r = 0; r < out; ++r)
        for (std::size_t c = 0; c < x.size(); ++c)
          y[static_cast<std::size_t>(r)] += x[c] * element(static_cast<Index>(c), r);
    };
    const bool query = side == Side::query;
    if (linear == Linear::bandwidth)
      for (std::size_t c = 0; c < y.size(); ++c) y[c] = x[c] / options.metric.column_bandwidth[c];
    if (linear == Linear::matrix) times(5, [&](Index c, Index r) { return metric(c, r); });
    if (linear == Linear::bilinear && query)
      times(kKeyDepth, [&](Index c, Index r) { return bilinear(c, r); });
    if (linear == Linear::additive)
      times(3, [&](Index c, Index r) { return query ? query_weight(r, c) : key_weight(r, c); });
    if (cosine) {
      double squares = 0;
      for (const double v : y) squares += v * v;
      for (double& v : y) v /= std::sqrt(squares);
    }
    return y;
  }
};

/// Every combination of stages there is.
void for_each_combination(const std::function<void(Stages&)>& f) {
  for (const Linear linear :
       {Linear::none, Linear::bandwidth, Linear::matrix, Linear::bilinear, Linear::additive}) {
    for (const bool cosine : {false, true}) {
      if (cosine && (linear == Linear::bilinear || linear == Linear::additive)) continue;
      for (const int rotary : {0, 1, 2}) {
        SCOPED_TRACE("linear " + std::to_string(static_cast<int>(linear)) + (cosine ? ", cosine" : "") +
                     ", rotary " + std::to_string(rotary));
        Stages stages(linear, cosine, rotary > 0, rotary == 2);
        f(stages);
      }
    }
  }
}

/// A sequence in the middle of a pack, or a batch row.
constexpr Sequence kPacked{0, 3, 4, 5, 6}, kSecondRow{1, 0, 20, 0, 20};

Index position_of(const Stages& stages, Side side, const Sequence& s, Index i) {
  const Rotary& r = *stages.options.rotary;
  if (side == Side::query)
    return r.query_position.data ? stages.query_position(s.batch, s.first_query + i) : i + 5;
  return r.key_position.data ? stages.key_position(0, s.first_key + i) : i - 2;
}

std::vector<double> random_numbers(Index count, unsigned seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  std::vector<double> x(static_cast<std::size_t>(count));
  for (double& v : x) v = normal(random);
  return x;
}

TEST(RowMap, AgreesWithTheFormulas) {
  for_each_combination([](Stages& stages) {
    for (const Side side : {Side::query, Side::key}) {
      const RowMap map = stages.map(side);
      const Index in = map.depth_in(), out = map.depth_out(), stride = in + 3, to_stride = out + 2;
      const bool plain =
          stages.linear == Linear::none || (stages.linear == Linear::bilinear && side == Side::key);
      EXPECT_EQ(map.identity(), plain && !stages.cosine && !stages.options.rotary);
      for (const Sequence& s : {kPacked, kSecondRow}) {
        const Index rows = 4;
        const std::vector<double> x = random_numbers(rows * stride, 31);
        std::vector<double> y(static_cast<std::size_t>(rows * to_stride), 99);
        map.apply(x.data(), stride, s, rows, y.data(), to_stride);
        for (Index i = 0; i < rows; ++i) {
          const std::vector<double> row(x.data() + i * stride, x.data() + i * stride + in);
          const Index position = stages.options.rotary ? position_of(stages, side, s, i) : 0;
          const std::vector<double> expected = stages.mapped(side, row, position);
          ASSERT_EQ(static_cast<Index>(expected.size()), out);
          for (Index r = 0; r < to_stride; ++r) {
            const double got = y[static_cast<std::size_t>(i * to_stride + r)];
            const double wanted =
                r < out ? expected[static_cast<std::size_t>(r)] : 99;  // untouched beyond it
            ASSERT_NEAR(got, wanted, r < out ? 1e-13 : 0) << r;
          }
        }
      }
    }
  });
}

TEST(RowMap, RotatesAsThePublicCall) {
  for (const bool interleaved : {false, true}) {
    const AttentionOptions options{
        .rotary = Rotary{.interleaved = interleaved, .columns = 4, .scaling = 3, .key_offset = 9}};
    const Geometry g{1, 1, 1, 7, 7, kDepth, 1, kDepth};
    Array<float, 4> x({1, 1, 7, kDepth});
    const std::vector<double> numbers = random_numbers(x.size(), 3);
    std::transform(numbers.begin(), numbers.end(), x.begin(), [](double v) { return static_cast<float>(v); });
    const Array<float, 4> expected = rotate<float>(x, *options.rotary, 9);
    Array<float, 4> got(x.shape());
    RowMap(options, g, Side::key).apply(x.data(), kDepth, {0, 0, 7, 0, 7}, 7, got.data(), kDepth);
    for (Index i = 0; i < x.size(); ++i) EXPECT_EQ(got.data()[i], expected.data()[i]);
  }
}

/// The loss sum_ir g(i, r) mapped(i, r), with gradients of rows and parameters.
TEST(RowMap, BackwardIsTheDerivative) {
  constexpr double kStep = 1e-5;
  for_each_combination([](Stages& stages) {
    for (const Side side : {Side::query, Side::key}) {
      const RowMap map = stages.map(side);
      const Index in = map.depth_in(), out = map.depth_out(), rows = 4, stride = in + 1, d_stride = out + 2;
      std::vector<double> x = random_numbers(rows * stride, 41);
      const std::vector<double> g = random_numbers(rows * d_stride, 42);
      const auto loss = [&] {
        std::vector<double> y(static_cast<std::size_t>(rows * out));
        map.apply(x.data(), stride, kPacked, rows, y.data(), out);
        double sum = 0;
        for (Index i = 0; i < rows; ++i)
          for (Index r = 0; r < out; ++r)
            sum += g[static_cast<std::size_t>(i * d_stride + r)] * y[static_cast<std::size_t>(i * out + r)];
        return sum;
      };
      const auto slope = [&](double& number) {
        const double kept = number;
        number = kept + kStep;
        const double above = loss();
        number = kept - kStep;
        const double below = loss();
        number = kept;
        return (above - below) / (2 * kStep);
      };
      RowMap::Parameters sums = map.parameters();
      for (std::vector<double>* all : {&sums.column_bandwidth, &sums.metric, &sums.matrix})
        for (double& v : *all) v = 1000;  // sums are added to
      std::vector<double> d(static_cast<std::size_t>(rows * (in + 2)), 99);
      map.backward(x.data(), stride, kPacked, rows, g.data(), d_stride, nullptr, d.data(), in + 2, sums);
      for (Index i = 0; i < rows; ++i) {
        for (Index c = 0; c < in; ++c) {
          ASSERT_NEAR(d[static_cast<std::size_t>(i * (in + 2) + c)],
                      slope(x[static_cast<std::size_t>(i * stride + c)]), 1e-7);
        }
        ASSERT_EQ(d[static_cast<std::size_t>(i * (in + 2) + in)], 99);
      }
      const auto check = [&](const std::vector<double>& got, const View<double, 2>& matrix) {
        ASSERT_EQ(static_cast<Index>(got.size()), matrix.size());
        for (Index a = 0; a < matrix.shape[0]; ++a)
          for (Index b = 0; b < matrix.shape[1]; ++b)
            ASSERT_NEAR(got[static_cast<std::size_t>(a * matrix.shape[1] + b)] - 1000, slope(matrix(a, b)),
                        1e-7);
      };
      const Index columns = stages.linear == Linear::bandwidth ? kDepth : 0;
      check(sums.column_bandwidth, {stages.options.metric.column_bandwidth.data(), {columns, 1}});
      check(sums.metric, stages.linear == Linear::matrix ? stages.metric : View<double, 2>{});
      const bool query = side == Side::query;
      check(sums.matrix, stages.linear == Linear::bilinear && query ? stages.bilinear
                         : stages.linear == Linear::additive
                             ? (query ? stages.query_weight : stages.key_weight)
                             : View<double, 2>{});
    }
  });
}

/// Where all d_to add up to 0, an origin changes nothing but the digits: rows a million away give the sums
/// of the rows themselves.
TEST(RowMap, TheOriginSavesDigits) {
  for (const Linear linear : {Linear::bandwidth, Linear::matrix}) {
    Stages stages(linear, false, false);
    const RowMap map = stages.map(Side::query);
    const Index rows = 4, out = map.depth_out();
    // Sixteenths: the shift is exact.
    std::vector<double> near = random_numbers(rows * kDepth, 51), far;
    for (double& v : near) v = std::round(v * 16) / 16;
    const double shift = 1e12;
    for (const double v : near) far.push_back(v + shift);
    std::vector<double> g = random_numbers(rows * out, 52), origin(kDepth, shift), d(near.size()),
                        d_far(near.size());
    for (Index r = 0; r < out; ++r)
      g[static_cast<std::size_t>(r)] = -g[static_cast<std::size_t>(out + r)] -
                                       g[static_cast<std::size_t>(2 * out + r)] -
                                       g[static_cast<std::size_t>(3 * out + r)];
    RowMap::Parameters plain = map.parameters(), centered = map.parameters();
    map.backward(near.data(), kDepth, kSecondRow, rows, g.data(), out, nullptr, d.data(), kDepth, plain);
    map.backward(far.data(), kDepth, kSecondRow, rows, g.data(), out, origin.data(), d_far.data(), kDepth,
                 centered);
    EXPECT_EQ(d, d_far);
    EXPECT_EQ(plain.metric, centered.metric);
    EXPECT_EQ(plain.column_bandwidth, centered.column_bandwidth);
  }
}

TEST(RowMap, ARowWithoutGradientDoesNotReachTheSums) {
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  for_each_combination([&](Stages& stages) {
    for (const Side side : {Side::query, Side::key}) {
      const RowMap map = stages.map(side);
      const Index in = map.depth_in(), out = map.depth_out();
      std::vector<double> x = random_numbers(3 * in, 61), g = random_numbers(3 * out, 62);
      std::fill_n(g.begin() + out, out, 0.0);
      std::vector<double> d(x.size(), 99), d_clean(x.size());
      RowMap::Parameters clean = map.parameters(), sums = map.parameters();
      map.backward(x.data(), in, kPacked, 3, g.data(), out, nullptr, d_clean.data(), in, clean);
      x[static_cast<std::size_t>(in)] = nan;
      x[static_cast<std::size_t>(in + 1)] = infinity;
      map.backward(x.data(), in, kPacked, 3, g.data(), out, nullptr, d.data(), in, sums);
      for (Index c = 0; c < in; ++c) EXPECT_EQ(d[static_cast<std::size_t>(in + c)], 0);
      EXPECT_EQ(d, d_clean);
      EXPECT_EQ(sums.column_bandwidth, clean.column_bandwidth);
      EXPECT_EQ(sums.metric, clean.metric);
      EXPECT_EQ(sums.matrix, clean.matrix);
    }
  });
}

TEST(RowMap, NanMakesItsOwnRowNan) {
  for_each_combination([](Stages& stages) {
    const RowMap map = stages.map(Side::query);
    const Index out = map.depth_out();
    std::vector<double> x = random_numbers(3 * kDepth, 71), y(static_cast<std::size_t>(3 * out)),
                        clean(y.size());
    map.apply(x.data(), kDepth, kPacked, 3, clean.data(), out);
    x[kDepth + 1] = std::nan("");
    map.apply(x.data(), kDepth, kPacked, 3, y.data(), out);
    bool found = false;
    for (Index r = 0; r < out; ++r) {
      EXPECT_EQ(y[static_cast<std::size_t>(r)], clean[static_cast<std::size_t>(r)]);
      EXPECT_EQ(y[static_cast<std::size_t>(2 * out + r)], clean[static_cast<std::size_t>(2 * out + r)]);
      found = found || std::isnan(y[static_cast<std::size_t>(out + r)]);
    }
    EXPECT_TRUE(found);
  });
}

TEST(RowMap, CosineOfHugeTinyAndZeroRows) {
  Stages stages(Linear::none, true, false);
  const RowMap map = stages.map(Side::key);
  const double unit[] = {3, 4, 0, 0, 0, 12};  // length 13
  const std::vector<double> g{1, -2, 0.5, 0, 3, 0.25};
  const double along = (3 * 1 - 4 * 2 + 12 * 0.25) / 13;
  for (const double size : {1.0, 0x1p1000, 0x1p-1000, 0x1p-1070, 0x1p480, 0x1p-481}) {
    std::vector<double> x, y(kDepth), d(kDepth);
    for (const double v : unit) x.push_back(v * size);
    map.apply(x.data(), kDepth, kPacked, 1, y.data(), kDepth);
    RowMap::Parameters sums;
    map.backward(x.data(), kDepth, kPacked, 1, g.data(), kDepth, nullptr, d.data(), kDepth, sums);
    for (std::size_t c = 0; c < kDepth; ++c) {
      EXPECT_NEAR(y[c], unit[c] / 13, 1e-16) << size;
      const double expected = (g[c] - unit[c] / 13 * along) / 13 / size;
      if (!std::isfinite(expected)) continue;
      EXPECT_NEAR(d[c], expected, 1e-15 * std::fabs(expected) + 1e-16 / size) << size;
    }
  }
  // Subnormal rows of float have a length too.
  std::vector<float> tiny(kDepth), turned(kDepth);
  for (std::size_t c = 0; c < kDepth; ++c) tiny[c] = static_cast<float>(unit[c]) * 0x1p-149F;
  map.apply(tiny.data(), kDepth, kPacked, 1, turned.data(), kDepth);
  for (std::size_t c = 0; c < kDepth; ++c) EXPECT_EQ(turned[c], static_cast<float>(unit[c] / 13));
  std::vector<double> zero(kDepth), y(kDepth, 9), d(kDepth, 9);
  RowMap::Parameters sums;
  map.apply(zero.data(), kDepth, kPacked, 1, y.data(), kDepth);
  map.backward(zero.data(), kDepth, kPacked, 1, g.data(), kDepth, nullptr, d.data(), kDepth, sums);
  EXPECT_EQ(y, zero);
  EXPECT_EQ(d, zero);
}

TEST(RowMap, UniformHasNoColumns) {
  const AttentionOptions options{.similarity = Uniform{}, .rotary = Rotary{}};
  const Geometry g{1, 1, 1, 2, 2, kDepth, 1, kDepth};
  const RowMap map(options, g, Side::query);
  EXPECT_EQ(map.depth_out(), 0);
  std::vector<float> x(2 * kDepth, std::nanf("")), y(1, 9), d(2 * kDepth, 9);
  map.apply(x.data(), kDepth, {0, 0, 2, 0, 2}, 2, y.data(), 0);
  EXPECT_EQ(y[0], 9);
  RowMap::Parameters sums = map.parameters();
  map.backward(x.data(), kDepth, {0, 0, 2, 0, 2}, 2, y.data(), 0, nullptr, d.data(), kDepth, sums);
  EXPECT_EQ(d, std::vector<float>(2 * kDepth));
}

/// A row's bits are its own: alone or in company, whatever the stride.
TEST(RowMap, BitsDependOnTheRowAlone) {
  for_each_combination([](Stages& stages) {
    const RowMap map = stages.map(Side::query);
    const Index out = map.depth_out();
    const std::vector<double> x = random_numbers(5 * kDepth, 81);
    std::vector<double> all(static_cast<std::size_t>(5 * out)), one(static_cast<std::size_t>(out));
    map.apply(x.data(), kDepth, kPacked, 5, all.data(), out);
    Stages moved(stages.linear, stages.cosine, stages.options.rotary.has_value());
    if (stages.options.rotary) {
      moved.options.rotary = stages.options.rotary;
      if (stages.options.rotary->query_position.data == nullptr) moved.options.rotary->query_offset += 3;
    }
    moved.map(Side::query).apply(x.data() + 3 * kDepth, 99, {0, 6, 1, 0, 0}, 1, one.data(), out);
    for (Index r = 0; r < out; ++r)
      EXPECT_EQ(one[static_cast<std::size_t>(r)], all[static_cast<std::size_t>(3 * out + r)]);
  });
}

TEST(RowMap, DeeperThanTheStack) {
  constexpr Index kDeep = 3001;
  AttentionOptions options{.similarity = Cosine{}, .rotary = Rotary{.columns = kDeep - 1}};
  const Geometry g{1, 1, 1, 1, 1, kDeep, 1, kDeep};
  const std::vector<double> x = random_numbers(kDeep, 91);
  std::vector<double> y(kDeep), d(kDeep);
  const RowMap map(options, g, Side::query);
  map.apply(x.data(), kDeep, {0, 0, 1, 0, 1}, 1, y.data(), kDeep);
  double squares = 0;
  for (const double v : y) squares += v * v;
  EXPECT_NEAR(squares, 1, 1e-13);
  RowMap::Parameters sums;
  map.backward(x.data(), kDeep, {0, 0, 1, 0, 1}, 1, y.data(), kDeep, nullptr, d.data(), kDeep, sums);
  for (const double v : d) ASSERT_NEAR(v, 0, 1e-15) << "a unit row's own direction";
}

TEST(RowMap, ParametersAdd) {
  RowMap::Parameters a{{1, 2}, {3}, {4, 5}};
  const RowMap::Parameters b{{10, 20}, {30}, {40, 50}};
  a.add(b);
  EXPECT_EQ(a.column_bandwidth, (std::vector<double>{11, 22}));
  EXPECT_EQ(a.metric, std::vector<double>{33});
  EXPECT_EQ(a.matrix, (std::vector<double>{44, 55}));
}

template <class T>
class RowMapTypes : public testing::Test {};
using Types = testing::Types<float, bfloat16, float16>;
TYPED_TEST_SUITE(RowMapTypes, Types);

/// Arithmetic in double, rounded once; without a stage a conversion alone.
TYPED_TEST(RowMapTypes, RoundOnceThereAndBack) {
  for_each_combination([](Stages& stages) {
    const RowMap map = stages.map(Side::query);
    const Index out = map.depth_out(), rows = 4;
    const auto out_size = static_cast<std::size_t>(rows * out);
    std::vector<TypeParam> x;
    std::vector<double> wide, g_wide, y_wide(out_size), d_wide(rows * kDepth);
    std::vector<float> g, y(out_size), d(rows * kDepth);
    for (const double v : random_numbers(rows * kDepth, 95)) {
      x.push_back(static_cast<TypeParam>(v));
      wide.push_back(static_cast<double>(x.back()));
    }
    for (const double v : random_numbers(rows * out, 96)) {
      g.push_back(static_cast<float>(v));
      g_wide.push_back(static_cast<double>(g.back()));
    }
    map.apply(x.data(), kDepth, kPacked, rows, y.data(), out);
    map.apply(wide.data(), kDepth, kPacked, rows, y_wide.data(), out);
    RowMap::Parameters sums = map.parameters(), wide_sums = map.parameters();
    map.backward(x.data(), kDepth, kPacked, rows, g.data(), out, nullptr, d.data(), kDepth, sums);
    map.backward(wide.data(), kDepth, kPacked, rows, g_wide.data(), out, nullptr, d_wide.data(), kDepth,
                 wide_sums);
    for (std::size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], static_cast<float>(y_wide[i]));
    for (std::size_t i = 0; i < d.size(); ++i) ASSERT_EQ(d[i], static_cast<float>(d_wide[i]));
    EXPECT_EQ(sums.matrix, wide_sums.matrix);
    EXPECT_EQ(sums.metric, wide_sums.metric);
    EXPECT_EQ(sums.column_bandwidth, wide_sums.column_bandwidth);
  });
}

}  // namespace
}  // namespace kith
