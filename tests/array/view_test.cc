#include "kith/view.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

namespace kith {
namespace {

std::vector<float> counting(std::size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 0.0F);
  return values;
}

TEST(View, DenseStridesAreRowMajor) {
  EXPECT_EQ(dense_strides<1>({5}), (Shape<1>{1}));
  EXPECT_EQ(dense_strides<4>({2, 3, 4, 5}), (Shape<4>{60, 20, 5, 1}));
  EXPECT_EQ(element_count<4>({2, 3, 4, 5}), 120);
  EXPECT_EQ(element_count<3>({2, 0, 4}), 0);
}

TEST(View, StridesSelectElements) {
  std::vector<float> values = counting(24);
  const View<float, 3> dense(values.data(), {2, 3, 4});
  EXPECT_EQ(dense(1, 2, 3), 23.0F);
  EXPECT_EQ(dense(0, 1, 2), 6.0F);

  const View<float, 2> columns(values.data() + 1, {6, 2}, {4, 1});
  EXPECT_EQ(columns(5, 1), 22.0F);
  const View<float, 2> transposed(values.data(), {4, 6}, {1, 4});
  EXPECT_EQ(transposed(3, 2), 11.0F);
  const View<float, 2> backward(values.data() + 20, {6, 4}, {-4, 1});
  EXPECT_EQ(backward(5, 0), 0.0F);
  const View<float, 2> repeated(values.data() + 7, {100, 1}, {0, 1});
  EXPECT_EQ(repeated(99, 0), 7.0F);

  dense(1, 0, 0) = -1.0F;
  EXPECT_EQ(values[12], -1.0F);
}

TEST(View, BecomesConstantButNotBack) {
  static_assert(std::is_convertible_v<View<float, 2>, View<const float, 2>>);
  static_assert(!std::is_convertible_v<View<const float, 2>, View<float, 2>>);
  static_assert(!std::is_convertible_v<View<float, 2>, View<const double, 2>>);
  static_assert(!std::is_convertible_v<View<float, 3>, View<const float, 4>>);
  std::vector<float> values = counting(6);
  const View<float, 2> variable(values.data(), {2, 2}, {3, 1});
  const View<const float, 2> constant = variable;
  EXPECT_EQ(constant.data, values.data());
  EXPECT_EQ(constant.stride, variable.stride);
}

TEST(View, AMatrixIsOneBatchAndOneHead) {
  std::vector<float> values = counting(15);
  const View<float, 2> matrix(values.data(), {3, 2}, {5, 1});
  const View<const float, 4> four = matrix;
  EXPECT_EQ(four.shape, (Shape<4>{1, 1, 3, 2}));
  for (Index row = 0; row < 3; ++row)
    for (Index column = 0; column < 2; ++column) EXPECT_EQ(&four(0, 0, row, column), &matrix(row, column));
}

TEST(View, EmptyHasNoElements) {
  const View<float, 3> none;
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.data, nullptr);
  EXPECT_TRUE((View<float, 2>(nullptr, {0, 5}).empty()));
  EXPECT_TRUE((View<float, 2>(nullptr, {5, 0}).empty()));
}

TEST(Array, StartsAtZeroAndAligned) {
  for (Index n : {1, 2, 3, 5, 17, 1000}) {
    const Array<float, 2> array({n, 3});
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(array.data()) % 64, 0U);
    EXPECT_EQ(array.size(), n * 3);
    for (float value : array) EXPECT_EQ(value, 0.0F);
  }
  const Array<std::uint8_t, 1> bytes({1});
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(bytes.data()) % 64, 0U);
}

TEST(Array, CopyIsDeepAndMoveLeavesEmpty) {
  Array<int, 2> a({2, 3});
  std::iota(a.begin(), a.end(), 1);
  Array<int, 2> b = a;
  EXPECT_NE(a.data(), b.data());
  b(1, 2) = 60;
  EXPECT_EQ(a(1, 2), 6);
  EXPECT_EQ(b(0, 0), 1);

  const int* const memory = a.data();
  Array<int, 2> c = std::move(a);
  EXPECT_EQ(c.data(), memory);
  // NOLINTBEGIN(bugprone-use-after-move): what is left is part of the contract.
  EXPECT_TRUE(a.empty());
  EXPECT_EQ(a.shape(), (Shape<2>{0, 0}));
  const Array<int, 2> of_moved = a;
  EXPECT_TRUE(of_moved.empty());
  // NOLINTEND(bugprone-use-after-move)

  a = c;
  EXPECT_EQ(a(1, 2), 6);
  a = std::move(b);
  EXPECT_EQ(a(1, 2), 60);
  const Array<int, 2>& same = a;
  a = same;
  EXPECT_EQ(a(1, 2), 60);
}

TEST(Array, ConvertsToViews) {
  Array<float, 2> matrix({2, 3});
  matrix(1, 2) = 7.0F;
  const View<float, 2> variable = matrix;
  variable(0, 0) = 3.0F;
  const View<const float, 2> constant = std::as_const(matrix);
  EXPECT_EQ(constant(0, 0), 3.0F);
  const View<const float, 4> four = matrix;
  EXPECT_EQ(four.shape, (Shape<4>{1, 1, 2, 3}));
  EXPECT_EQ(four(0, 0, 1, 2), 7.0F);
}

TEST(Array, ZeroSizesKeepTheirShape) {
  const Array<float, 3> array({4, 0, 2});
  EXPECT_TRUE(array.empty());
  EXPECT_EQ(array.shape(), (Shape<3>{4, 0, 2}));
  EXPECT_EQ(array.begin(), array.end());
  const Array<float, 3> copy = array;
  EXPECT_EQ(copy.shape(), array.shape());
  EXPECT_TRUE((Array<float, 2>().empty()));
}

TEST(Array, ASizeThatNoMemoryHoldsIsRefused) {
  EXPECT_THROW((Array<double, 1>({Index{1} << 62})), std::bad_alloc);
}

}  // namespace
}  // namespace kith
