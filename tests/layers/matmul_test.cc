#include "layers/matmul.h"

#include "layers/check.h"

namespace kith::layers {
namespace {

Doubles plain_product(const Doubles& a, const Doubles& b) {
  Doubles c({a.shape()[0], b.shape()[1]});
  for (Index i = 0; i < c.shape()[0]; ++i) {
    for (Index l = 0; l < b.shape()[0]; ++l) {
      for (Index j = 0; j < c.shape()[1]; ++j) c(i, j) += a(i, l) * b(l, j);
    }
  }
  return c;
}

struct Size {
  Index m, n, k;
};

// Nothing, one, less and more than a tile of rows, of columns, and than a chunk of the sum.
constexpr Size kSizes[] = {{0, 3, 2},   {2, 0, 3},    {2, 3, 0},        {1, 1, 1},     {3, 5, 7},
                           {1, 40, 33}, {40, 1, 33},  {33, 40, 1},      {300, 17, 65}, {530, 70, 90},
                           {5, 600, 9}, {7, 3, 1500}, {130, 515, 1100}, {1, 1, 5000},  {129, 64, 64}};

TEST(Matmul, AgreesWithAPlainSum) {
  for (const Size size : kSizes) {
    SCOPED_TRACE(testing::Message() << size.m << " x " << size.n << " x " << size.k);
    const Floats a = random_floats(size.m, size.k, 1), b = random_floats(size.k, size.n, 2),
                 before = random_floats(size.m, size.n, 3), row = random_floats(1, size.n, 4);
    Doubles want = plain_product(doubles(a), doubles(b)), added = want;
    for (Index i = 0; i < size.m; ++i) {
      for (Index j = 0; j < size.n; ++j)
        added(i, j) += static_cast<double>(before(i, j)) + static_cast<double>(row(0, j));
    }
    const double roundings = 8 + 4 * std::sqrt(static_cast<double>(size.k));
    const Gapped ga(a.view()), gb(b.view());
    Gapped c(size.m, size.n), sum(before.view());
    matmul(ga.view, gb.view, c.view);
    matmul(ga.view, gb.view, sum.view, {.add = true, .row = row.data()}, 2);
    expect_near(c.view, want, roundings, "c");
    expect_near(sum.view, added, roundings, "sum");
    EXPECT_TRUE(c.guards_stand() && sum.guards_stand());

    // The same from matrices stored by columns.
    Floats at({size.k, size.m}), bt({size.n, size.k});
    for (Index i = 0; i < size.m; ++i) {
      for (Index l = 0; l < size.k; ++l) at(l, i) = a(i, l);
    }
    for (Index l = 0; l < size.k; ++l) {
      for (Index j = 0; j < size.n; ++j) bt(j, l) = b(l, j);
    }
    const Gapped gat(at.view()), gbt(bt.view());
    Gapped ct(size.m, size.n);
    matmul(transposed(View<const float, 2>(gat.view)), transposed(View<const float, 2>(gbt.view)), ct.view);
    expect_near(ct.view, want, roundings, "from columns");
    EXPECT_TRUE(ct.guards_stand());
  }
}

TEST(Matmul, HasTheSameBitsOnAnyNumberOfThreads) {
  for (const Size size : {Size{1000, 70, 90}, Size{300, 600, 40}, Size{60, 50, 5000}, Size{200, 130, 2000}}) {
    const Floats a = random_floats(size.m, size.k, 1), b = random_floats(size.k, size.n, 2);
    expect_same_bits([&](int threads) {
      Floats c({size.m, size.n});
      matmul(a.view(), b.view(), c.view(), {}, threads);
      return std::vector<float>(c.begin(), c.end());
    });
  }
}

TEST(Matmul, SaysWhichShapesDoNotFit) {
  const Floats a({2, 3}), b({4, 5});
  Floats c({2, 5});
  expect_error([&] { matmul(a.view(), b.view(), c.view()); },
               "matrix product: got [2, 3] [4, 5] to [2, 5], needs [m, k] [k, n] to [m, n]");
}

}  // namespace
}  // namespace kith::layers
