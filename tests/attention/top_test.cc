// The largest weights of a row and their keys.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "attention/cases.h"
#include "attention/check.h"

namespace kith {
namespace {

using test::Case;
using test::ForcedInstructionSet;
using test::Inputs;
using test::to_double;

/// Keys a row sees, by falling reference weight; equal weights by ascending key.
std::vector<Index> sorted_keys(const reference::Result& r, const Mask& mask, Index b, Index h, Index i) {
  std::vector<Index> keys;
  for (Index j = 0; j < r.weight.shape()[3]; ++j) {
    if (reference::visible(mask, b, i, j)) keys.push_back(j);
  }
  std::stable_sort(keys.begin(), keys.end(),
                   [&](Index x, Index y) { return r.weight(b, h, i, x) > r.weight(b, h, i, y); });
  return keys;
}

/// Float logits order keys as the reference does except where two weights differ by less than rounding: there
/// either order is right, so weights are compared rank by rank and keys through their reference weights.
void check(const Case& c, Index top) {
  const Inputs in = make_inputs(c);
  const reference::Result r =
      reference::attend(to_double(in.query), to_double(in.key), to_double(in.value), c.similarity, c.mask);
  const double tolerance = 16 * test::kEpsilon * (1 + test::largest_magnitude(r.lse));
  for (const char* name : instruction_sets()) {
    SCOPED_TRACE(std::string(name) + " top " + std::to_string(top) + ' ' + describe(c));
    const ForcedInstructionSet forced(name);
    const AttentionResult got = attend(
        in.query, in.key, in.value,
        {.similarity = c.similarity, .mask = c.mask, .want = {.lse = true, .top = static_cast<int>(top)}});
    ASSERT_EQ(got.top_weight.shape(), (Shape<4>{c.batch, c.query_heads, c.queries, top}));
    ASSERT_EQ(got.top_key.shape(), got.top_weight.shape());
    for (Index b = 0; b < c.batch; ++b) {
      for (Index h = 0; h < c.query_heads; ++h) {
        for (Index i = 0; i < c.queries; ++i) {
          const std::vector<Index> order = sorted_keys(r, c.mask, b, h, i);
          const auto seen = static_cast<Index>(order.size());
          std::set<Index> distinct;
          for (Index t = 0; t < top; ++t) {
            const Index key = got.top_key(b, h, i, t);
            const double weight = static_cast<double>(got.top_weight(b, h, i, t));
            if (t >= seen) {
              ASSERT_EQ(key, -1);
              ASSERT_EQ(weight, 0);
              continue;
            }
            ASSERT_TRUE(reference::visible(c.mask, b, i, key) && key >= 0 && key < c.keys) << "key " << key;
            ASSERT_TRUE(distinct.insert(key).second) << "key " << key << " twice";
            ASSERT_NEAR(weight, r.weight(b, h, i, key), tolerance);
            ASSERT_NEAR(weight, r.weight(b, h, i, order[static_cast<std::size_t>(t)]), tolerance);
            ASSERT_LE(weight, static_cast<double>(got.top_weight(b, h, i, std::max<Index>(t - 1, 0))));
          }
        }
      }
    }
  }
}

TEST(Top, IsTheSortedReference) {
  for (int similarity = 0; similarity < test::kSimilarityKinds; ++similarity) {
    for (int mask = 0; mask < test::kMaskKinds; ++mask) {
      for (const Index keys : {3, 50, 200}) {
        Case c;
        c.batch = 2, c.query_heads = 2, c.key_heads = 1, c.queries = 13, c.keys = keys,
        c.depth = 3 + keys % 7;
        c.similarity = test::make_similarity(similarity, c.depth);
        c.mask = test::make_mask(mask, c.batch, c.queries, c.keys);
        c.seed = static_cast<std::uint64_t>(mask + 1);
        check(c, std::min<Index>(1 + mask % 3 * 4, keys));
      }
    }
  }
  check({.queries = 5, .keys = 4200, .depth = 2, .similarity = Gaussian{.bandwidth = 0.1}}, 30);
  check({.queries = 3, .keys = 17, .depth = 2}, 17);
}

TEST(Top, EqualWeightsByAscendingKey) {
  // Logits 0, 1 and 2 in turns, exact in float: 400 keys, so that ties lie in different blocks.
  constexpr Index kKeys = 400, kTop = 150;
  Array<float, 4> query({1, 1, 1, 1}), key({1, 1, kKeys, 1}), value({1, 1, kKeys, 1});
  query(0, 0, 0, 0) = 1;
  for (Index j = 0; j < kKeys; ++j) key(0, 0, j, 0) = static_cast<float>(j % 3);
  for (const char* name : instruction_sets()) {
    const ForcedInstructionSet forced(name);
    const AttentionResult got =
        attend(query, key, value, {.similarity = Dot{.scale = 1.0}, .want = {.top = kTop}});
    for (Index t = 0; t < kTop; ++t) {
      const Index expected = t < 133 ? 2 + 3 * t : 1 + 3 * (t - 133);
      ASSERT_EQ(got.top_key(0, 0, 0, t), expected) << name << " rank " << t;
    }
    EXPECT_EQ(got.top_weight(0, 0, 0, 0), got.top_weight(0, 0, 0, 132));
    EXPECT_LT(got.top_weight(0, 0, 0, 133), got.top_weight(0, 0, 0, 132));
  }
}

TEST(Top, UniformListsTheFirstVisible) {
  const Case c{.queries = 3, .keys = 250, .depth = 1, .similarity = Uniform{}};
  const Inputs in = make_inputs(c);
  const AttentionResult got = attend(in.query, in.key, in.value,
                                     {.similarity = Uniform{}, .mask = exclude_self(), .want = {.top = 4}});
  const Index expected[3][4] = {{1, 2, 3, 4}, {0, 2, 3, 4}, {0, 1, 3, 4}};
  for (Index i = 0; i < 3; ++i) {
    for (Index t = 0; t < 4; ++t) EXPECT_EQ(got.top_key(0, 0, i, t), expected[i][t]);
  }
}

TEST(Top, AskingForItDoesNotChangeTheRest) {
  const Case c{.queries = 40, .keys = 230, .depth = 5, .value_depth = 6, .similarity = Euclidean{}};
  const Inputs in = make_inputs(c);
  const auto without =
      attend(in.query, in.key, in.value, {.similarity = c.similarity, .want = {.lse = true}});
  const auto with =
      attend(in.query, in.key, in.value, {.similarity = c.similarity, .want = {.lse = true, .top = 9}});
  EXPECT_TRUE(test::same_bits(without.out, with.out));
  EXPECT_TRUE(test::same_bits(without.lse, with.lse));
}

}  // namespace
}  // namespace kith
