// Rotation against the product of complex numbers, and what it is for: q.k depends on the distance alone.
#include "kith/rotary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <functional>
#include <random>
#include <string>

#include "kith/error.h"

namespace kith {
namespace {

template <class T>
Array<T, 4> random_rows(const Shape<4>& shape, unsigned seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  Array<T, 4> x(shape);
  for (T& element : x) element = static_cast<T>(normal(random));
  return x;
}

/// Column c of a row, turned: the pair that c belongs to is a complex number times exp(i angle).
double turned(const Array<double, 4>& x, Index b, Index h, Index n, Index c, const Rotary& r,
              Index position) {
  const Index columns = r.columns == 0 ? x.shape()[3] : r.columns;
  if (c >= columns) return x(b, h, n, c);
  const Index half = columns / 2;
  const Index pair = r.interleaved ? c / 2 : c % half;
  const bool second = r.interleaved ? c % 2 == 1 : c >= half;
  const Index at = r.interleaved ? 2 * pair : pair;
  const std::complex<long double> z(x(b, h, n, at), x(b, h, n, r.interleaved ? at + 1 : at + half));
  const long double frequency =
      r.frequency.empty()
          ? 1 / std::pow(static_cast<long double>(r.base),
                         2 * static_cast<long double>(pair) / static_cast<long double>(columns))
          : r.frequency[static_cast<std::size_t>(pair)];
  const long double angle = static_cast<long double>(position) / r.scaling * frequency;
  const std::complex<long double> w = z * std::polar(1.0L, angle);
  return static_cast<double>(second ? w.imag() : w.real());
}

double dot(const Array<double, 4>& x, Index n, const Array<double, 4>& y, Index m) {
  double sum = 0;
  for (Index c = 0; c < x.shape()[3]; ++c) sum += x(0, 0, n, c) * y(0, 0, m, c);
  return sum;
}

/// Each of the options alone and some together, for rows of 12 columns.
std::vector<Rotary> rotaries() {
  return {{},
          {.interleaved = true},
          {.base = 500},
          {.columns = 6},
          {.interleaved = true, .columns = 8},
          {.scaling = 4},
          {.columns = 4, .frequency = {0.7, -0.05}},
          {.base = 1e6, .interleaved = true, .columns = 10, .scaling = 0.5}};
}

TEST(Rotary, IsAProductOfComplexNumbers) {
  const auto x = random_rows<double>({2, 3, 5, 12}, 1);
  for (const Rotary& r : rotaries()) {
    for (const Index offset : {0, 7, -3, 1000}) {
      const Array<double, 4> y = rotate<double>(x, r, offset);
      ASSERT_EQ(y.shape(), x.shape());
      for (Index b = 0; b < 2; ++b)
        for (Index h = 0; h < 3; ++h)
          for (Index n = 0; n < 5; ++n)
            for (Index c = 0; c < 12; ++c)
              ASSERT_NEAR(y(b, h, n, c), turned(x, b, h, n, c, r, offset + n), 1e-12)
                  << "offset " << offset << ", row " << n << ", column " << c;
    }
  }
}

TEST(Rotary, PositionsStandInPlaceOfTheOffset) {
  const auto x = random_rows<double>({2, 2, 4, 6}, 2);
  Array<Index, 2> each({2, 4});
  const Index numbers[] = {3, 3, 100, -2, 0, 9, 1, 50};
  std::copy(std::begin(numbers), std::end(numbers), each.begin());
  const View<const Index, 2> shared(each.data(), {1, 4});
  const Array<double, 4> with_each = rotate<double>(x, Rotary{}, 77, each);
  const Array<double, 4> with_shared = rotate<double>(x, Rotary{}, 77, shared);
  for (Index b = 0; b < 2; ++b)
    for (Index n = 0; n < 4; ++n)
      for (Index c = 0; c < 6; ++c) {
        ASSERT_NEAR(with_each(b, 1, n, c), turned(x, b, 1, n, c, {}, each(b, n)), 1e-12);
        ASSERT_NEAR(with_shared(b, 0, n, c), turned(x, b, 0, n, c, {}, each(0, n)), 1e-12);
      }
}

TEST(Rotary, TheDotProductDependsOnTheDistanceAlone) {
  const auto q = random_rows<double>({1, 1, 1, 12}, 3), k = random_rows<double>({1, 1, 1, 12}, 4);
  for (Rotary r : rotaries()) {
    const auto product = [&](Index i, Index j) {
      return dot(rotate<double>(q, r, i), 0, rotate<double>(k, r, j), 0);
    };
    for (const Index distance : {0, 1, -5, 30}) {
      const double first = product(0, distance);
      for (const Index i : {3, 90, -40}) EXPECT_NEAR(product(i, i + distance), first, 1e-12);
    }
    EXPECT_GT(std::fabs(product(0, 3) - product(0, 0)), 1e-3) << "positions make no difference";
  }
}

TEST(Rotary, RotateBackIsTheInverseAndTheTranspose) {
  const auto x = random_rows<double>({2, 2, 5, 12}, 5), y = random_rows<double>({2, 2, 5, 12}, 6);
  for (const Rotary& r : rotaries()) {
    const Array<double, 4> there = rotate<double>(x, r, 11), back = rotate_back<double>(there, r, 11);
    const Array<double, 4> pulled = rotate_back<double>(y, r, 11);
    double left = 0, right = 0;
    for (Index i = 0; i < x.size(); ++i) {
      ASSERT_NEAR(back.data()[i], x.data()[i], 1e-14);
      left += there.data()[i] * y.data()[i];
      right += x.data()[i] * pulled.data()[i];
    }
    EXPECT_NEAR(left, right, 1e-12);
  }
}

TEST(Rotary, TheTwoLayoutsAreOnePermutationApart) {
  constexpr Index kHalf = 4;
  const auto x = random_rows<double>({1, 2, 3, 10}, 7);  // the last two columns do not turn
  Array<double, 4> permuted({1, 2, 3, 10});
  const auto place = [](Index c) { return c >= 8 ? c : c % 2 * kHalf + c / 2; };  // of interleaved column c
  for (Index h = 0; h < 2; ++h)
    for (Index n = 0; n < 3; ++n)
      for (Index c = 0; c < 10; ++c) permuted(0, h, n, place(c)) = x(0, h, n, c);
  const Array<double, 4> interleaved = rotate<double>(x, {.interleaved = true, .columns = 8}, 5);
  const Array<double, 4> half = rotate<double>(permuted, {.columns = 8}, 5);
  for (Index h = 0; h < 2; ++h)
    for (Index n = 0; n < 3; ++n)
      for (Index c = 0; c < 10; ++c) EXPECT_EQ(half(0, h, n, place(c)), interleaved(0, h, n, c));
}

TEST(Rotary, ColumnsBeyondTheTurningOnesStayAsTheyAre) {
  const auto x = random_rows<float>({1, 1, 6, 9}, 8);
  for (const bool interleaved : {false, true}) {
    const Array<float, 4> y = rotate<float>(x, {.interleaved = interleaved, .columns = 4}, 3);
    for (Index n = 0; n < 6; ++n) {
      for (Index c = 4; c < 9; ++c) EXPECT_EQ(y(0, 0, n, c), x(0, 0, n, c));
      for (Index c = 0; c < 4; ++c) EXPECT_NE(y(0, 0, n, c), x(0, 0, n, c));
    }
  }
}

TEST(Rotary, WithGivenCosinesAndSines) {
  const auto x = random_rows<double>({2, 3, 4, 8}, 9);
  for (const Index batch : {1, 2}) {
    for (const bool interleaved : {false, true}) {
      const Rotary r{.interleaved = interleaved, .columns = 6, .frequency = {1, 0.3, 0.01}};
      Array<double, 3> cosine({batch, 4, 3}), sine({batch, 4, 3});
      Array<Index, 2> positions({batch, 4});
      for (Index b = 0; b < batch; ++b)
        for (Index n = 0; n < 4; ++n) {
          positions(b, n) = 10 * b + 3 * n;
          for (Index p = 0; p < 3; ++p) {
            const double angle =
                static_cast<double>(positions(b, n)) * r.frequency[static_cast<std::size_t>(p)];
            cosine(b, n, p) = std::cos(angle);
            sine(b, n, p) = std::sin(angle);
          }
        }
      const Array<double, 4> given = rotate<double>(x, cosine, sine, interleaved);
      const Array<double, 4> computed = rotate<double>(x, r, 0, positions);
      for (Index i = 0; i < x.size(); ++i) ASSERT_NEAR(given.data()[i], computed.data()[i], 1e-14);
    }
  }
}

template <class T>
class RotaryTypes : public testing::Test {};
using Types = testing::Types<float, double, bfloat16, float16>;
TYPED_TEST_SUITE(RotaryTypes, Types);

/// Arithmetic is in double and rounds once, at the end.
TYPED_TEST(RotaryTypes, RoundOnce) {
  const auto x = random_rows<TypeParam>({1, 2, 50, 12}, 10);
  Array<double, 4> wide(x.shape());
  for (Index i = 0; i < x.size(); ++i) wide.data()[i] = static_cast<double>(x.data()[i]);
  const Rotary r{.columns = 8};
  const Array<TypeParam, 4> y = rotate<TypeParam>(x, r, 1), back = rotate_back<TypeParam>(x, r, 1);
  const Array<double, 4> wide_y = rotate<double>(wide, r, 1), wide_back = rotate_back<double>(wide, r, 1);
  for (Index i = 0; i < x.size(); ++i) {
    ASSERT_EQ(static_cast<double>(y.data()[i]),
              static_cast<double>(static_cast<TypeParam>(wide_y.data()[i])));
    ASSERT_EQ(static_cast<double>(back.data()[i]),
              static_cast<double>(static_cast<TypeParam>(wide_back.data()[i])));
  }
}

TYPED_TEST(RotaryTypes, StridedViewsAndEmptyOnes) {
  auto memory = random_rows<TypeParam>({4, 3, 2, 8}, 11);
  // Batch and rows exchanged, every other column.
  const View<const TypeParam, 4> strided(memory.data(), {2, 3, 4, 4}, {8, 16, 48, 2});
  Array<TypeParam, 4> dense(strided.shape);
  for (Index b = 0; b < 2; ++b)
    for (Index h = 0; h < 3; ++h)
      for (Index n = 0; n < 4; ++n)
        for (Index c = 0; c < 4; ++c) dense(b, h, n, c) = strided(b, h, n, c);
  const Array<TypeParam, 4> got = rotate<TypeParam>(strided, Rotary{}, 2),
                            expected = rotate<TypeParam>(dense, Rotary{}, 2);
  for (Index i = 0; i < got.size(); ++i) {
    ASSERT_EQ(static_cast<double>(got.data()[i]), static_cast<double>(expected.data()[i]));
  }
  for (const Shape<4>& shape : {Shape<4>{0, 2, 3, 4}, {2, 0, 3, 4}, {2, 2, 0, 4}, {2, 2, 3, 0}}) {
    EXPECT_EQ(rotate<TypeParam>(View<const TypeParam, 4>(nullptr, shape), Rotary{}).shape(), shape);
  }
}

/// The call fails; its message starts with the argument's name and holds the telling figure.
void expect_error(const std::function<void()>& call, const std::string& argument, const std::string& figure) {
  try {
    call();
    ADD_FAILURE() << argument << ": no error";
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.substr(0, argument.size() + 1), argument + ":") << message;
    EXPECT_NE(message.find(figure), std::string::npos) << message;
  }
}

TEST(Rotary, WrongCallsAreErrors) {
  const Array<float, 4> x({2, 1, 3, 6}), odd({2, 1, 3, 5});
  const double nan = std::nan("");
  const auto wrong = [&](const Rotary& r, const std::string& argument, const std::string& figure) {
    expect_error([&] { rotate<float>(x, r); }, argument, figure);
    expect_error([&] { rotate_back<float>(x, r); }, argument, figure);
  };
  expect_error([&] { rotate<float>(odd, Rotary{}); }, "rotary.columns", "5");
  wrong({.columns = 3}, "rotary.columns", "3");
  wrong({.columns = 8}, "rotary.columns", "8");
  wrong({.columns = -2}, "rotary.columns", "-2");
  wrong({.base = 0}, "rotary.base", "0");
  wrong({.base = nan}, "rotary.base", "nan");
  wrong({.scaling = 0}, "rotary.scaling", "0");
  wrong({.scaling = -1}, "rotary.scaling", "-1");
  wrong({.frequency = {1, 2}}, "rotary.frequency", "3 pairs");
  wrong({.frequency = {1, 2, nan}}, "rotary.frequency", "nan");
  wrong({.query_offset = PTRDIFF_MAX}, "rotary.query_offset", "2^60");
  wrong({.key_offset = -PTRDIFF_MAX}, "rotary.key_offset", "2^60");
  expect_error([&] { rotate<float>(x, Rotary{}, PTRDIFF_MAX); }, "offset", "2^60");
  const Array<Index, 2> positions({2, 4}), three({3, 3});
  expect_error([&] { rotate<float>(x, Rotary{}, 0, positions); }, "positions", "[2, 4]");
  expect_error([&] { rotate<float>(x, Rotary{}, 0, three); }, "positions", "[3, 3]");
  expect_error(
      [&] {
        rotate<float>(x, Rotary{}, 0, View<const Index, 2>(nullptr, {2, 3}));
      },
      "positions", "null");
  expect_error([&] { rotate<float>(View<const float, 4>(nullptr, {1, 1, 2, 2}), Rotary{}); }, "x", "null");
  expect_error([&] { rotate<float>(View<const float, 4>(x.data(), {1, -1, 2, 2}), Rotary{}); }, "x", "-1");
  const Array<double, 3> angles({1, 3, 3}), four({1, 3, 4}), rows({1, 2, 3}), batch({3, 3, 3}),
      two({2, 3, 3});
  expect_error([&] { rotate<float>(x, four, four, false); }, "cosine", "4 pairs");
  expect_error([&] { rotate<float>(x, rows, rows, false); }, "cosine", "[1, 2, 3]");
  expect_error([&] { rotate<float>(x, batch, batch, false); }, "cosine", "[3, 3, 3]");
  expect_error([&] { rotate<float>(x, angles, two, false); }, "sine", "[2, 3, 3]");
  expect_error(
      [&] {
        rotate<float>(x, angles, View<const double, 3>(nullptr, {1, 3, 3}), false);
      },
      "sine", "null");
}

}  // namespace
}  // namespace kith
