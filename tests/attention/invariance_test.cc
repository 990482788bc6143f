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

template <class T>
Array<T, 4> as(const Array<float, 4>& from) {
  Array<T, 4> to(from.shape());
  std::transform(from.begin(), from.end(), to.begin(), [](float x) { return static_cast<T>(x); });
  return to;
}

/// Every head of a call beside the same head alone.
template <class T>
void compare_heads_alone(const AttentionOptions& given, Index value_depth, bool with_nan) {
  constexpr Index kBatch = 2, kHeads = 4, kKeyHeads = 2, kQueries = 30, kKeys = 3000, kDepth = 64;
  const auto q = as<T>(numbers({kBatch, kHeads, kQueries, kDepth}, 1)),
             k = as<T>(numbers({kBatch, kKeyHeads, kKeys, kDepth}, 2));
  auto v = as<T>(numbers({kBatch, kKeyHeads, kKeys, value_depth}, 3));
  if (with_nan) v(0, 1, 77, 0) = static_cast<T>(std::numeric_limits<float>::quiet_NaN());
  const auto head = [](const Array<T, 4>& a, Index b, Index h) {
    return View<const T, 4>(&a(b, h, 0, 0), {1, 1, a.shape()[2], a.shape()[3]});
  };
  AttentionOptions options = given;
  for (const int threads : {1, 2, 3}) {
    options.threads = threads;
    const auto all = attend(q, k, v, options);
    for (Index b = 0; b < kBatch; ++b) {
      for (Index h = 0; h < kHeads; ++h) {
        const auto alone = attend(head(q, b, h), head(k, b, h / 2), head(v, b, h / 2), options);
        ASSERT_TRUE(same_bits(alone.out.data(), &all.out(b, h, 0, 0), alone.out.size()))
            << "head " << b << ", " << h << " of " << threads << " threads";
        ASSERT_TRUE(same_bits(alone.second_moment.data(),
                              all.second_moment.data() + (b * kHeads + h) * kQueries * value_depth,
                              alone.second_moment.size()));
        EXPECT_EQ(std::isnan(all.out(b, h, 5, 0)), with_nan && b == 0 && h / 2 == 1);
      }
    }
  }
}

/// The keys of a head or two fill a core's cache here: heads are prepared one after the other and share
/// memory.
TEST(Invariance, HeadsThatTakeTurnsInMemory) {
  AttentionOptions plain, mapped, moments;
  plain.mask = causal(2900);
  for (int c = 0; c < 64; ++c) mapped.metric.column_bandwidth.push_back(8 + c % 3);
  mapped.similarity = Gaussian{1};
  moments.want.second_moment = true;
  for (const bool with_nan : {false, true}) {
    compare_heads_alone<float>(plain, 64, with_nan);
    compare_heads_alone<float>(plain, 3, with_nan);
    compare_heads_alone<float>(mapped, 20, with_nan);
    compare_heads_alone<float>(moments, 64, with_nan);
    compare_heads_alone<double>(mapped, 64, with_nan);
    compare_heads_alone<bfloat16>(plain, 64, with_nan);
  }
}

}  // namespace
}  // namespace kith
