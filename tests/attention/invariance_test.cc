// How rows lie in memory, and in which order, does not matter: strides, shared rows, shuffled queries, heads.
// What stands around a row is company_test's.
#include "attention/contract.h"

namespace kith {
namespace {

using namespace test;

TEST(Invariance, LayoutsGiveTheSameBits) {
  for (std::size_t n = 1; n < cases().size(); n += 6) {
    Case c = cases()[n];
    with_type(c.dtype, [&]<class T>() {
      const Values v = make_values(c);
      c.layout = Layout::dense;
      const Computed<T> dense = compute<T>(c, v);
      for (const Layout layout : {Layout::rows, Layout::heads, Layout::unaligned}) {
        c.layout = layout;
        const Computed<T> other = compute<T>(c, v);
        EXPECT_TRUE(same_bits(dense.result, other.result)) << replay(c);
        EXPECT_TRUE(same_bits(dense.gradients, other.gradients)) << replay(c);
      }
    });
  }
}

TEST(Invariance, ShuffledQueriesGiveShuffledRows) {
  const Case c{
      .queries = 211, .keys = 150, .depth = 6, .value_depth = 5, .similarity = SimilarityKind::gaussian};
  const Values v = make_values(c);
  Values shuffled = make_values(c);
  const auto place = [](Index i) { return i * 100 % 211; };
  for (Index i = 0; i < c.queries; ++i) {
    std::copy_n(&v.query(0, 0, i, 0), c.depth, &shuffled.query(0, 0, place(i), 0));
  }
  const auto a = Call<float>(c, v).forward(v.options), b = Call<float>(c, shuffled).forward(v.options);
  for (Index i = 0; i < c.queries; ++i) {
    ASSERT_TRUE(same_bits(&a.out(0, 0, i, 0), &b.out(0, 0, place(i), 0), c.value_depth)) << "row " << i;
  }
}

Array<float, 4> numbers(const Shape<4>& shape, std::uint64_t seed) {
  Array<float, 4> a(shape);
  Random random(seed);
  for (float& x : a) x = static_cast<float>(random.normal());
  return a;
}

TEST(Invariance, SharedKeysByStrideZero) {  // one key set for the whole batch, without copies
  const auto q = numbers({1, 1, 9, 4}, 1), k = numbers({1, 1, 31, 4}, 2), v = numbers({1, 1, 31, 3}, 3);
  const View<const float, 4> query(q.data(), {2, 1, 9, 4}, {0, 0, 4, 1});
  const View<const float, 4> key(k.data(), {2, 1, 31, 4}, {0, 0, 4, 1});
  const View<const float, 4> value(v.data(), {2, 1, 31, 3}, {0, 0, 3, 1});
  const auto one = attend(q, k, v), two = attend(query, key, value);
  EXPECT_TRUE(same_bits(one.data(), two.data(), one.size()));
  EXPECT_TRUE(same_bits(one.data(), two.data() + one.size(), one.size()));
}

TEST(Invariance, MatricesAreOneHead) {
  const auto q = numbers({1, 1, 9, 4}, 1), k = numbers({1, 1, 31, 4}, 2), v = numbers({1, 1, 31, 3}, 3);
  const auto matrix = [](const Array<float, 4>& a) {
    Array<float, 2> m({a.shape()[2], a.shape()[3]});
    std::copy(a.begin(), a.end(), m.begin());
    return m;
  };
  const Array<float, 2> query = matrix(q), key = matrix(k), value = matrix(v);
  const Array<float, 4> expected = attend(q, k, v);
  EXPECT_TRUE(same_bits(expected, attend(query, key, value)));
  EXPECT_TRUE(same_bits(expected, attend(query.view(), key.view(), value.view())));
}

TEST(Invariance, GroupedHeadsReadTheirKeyHead) {
  const auto q = numbers({2, 6, 7, 5}, 1), k = numbers({2, 2, 40, 5}, 2), v = numbers({2, 2, 40, 3}, 3);
  const Array<float, 4> grouped = attend(q, k, v);
  const auto head = [](const Array<float, 4>& a, Index b, Index h) {
    return View<const float, 4>(&a(b, h, 0, 0), {1, 1, a.shape()[2], a.shape()[3]});
  };
  for (Index b = 0; b < 2; ++b) {
    for (Index h = 0; h < 6; ++h) {
      const auto alone = attend(head(q, b, h), head(k, b, h / 3), head(v, b, h / 3));
      EXPECT_TRUE(same_bits(alone.data(), &grouped(b, h, 0, 0), alone.size())) << "head " << h;
    }
  }
}

}  // namespace
}  // namespace kith
