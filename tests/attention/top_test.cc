// The largest weights of a row and their keys, where the case list cannot tell: ties, and what else they
// change.
#include "attention/contract.h"

namespace kith {
namespace {

using namespace test;

template <class T>
class Top : public testing::Test {};
using Types = testing::Types<float, double, bfloat16, float16>;
TYPED_TEST_SUITE(Top, Types, );

TYPED_TEST(Top, EqualWeightsByAscendingKey) {
  // Logits 0, 1 and 2 in turns, exact in every type: 400 keys, so that ties lie in different blocks.
  constexpr Index kKeys = 400, kTop = 150;
  Array<TypeParam, 4> query({1, 1, 1, 1}), key({1, 1, kKeys, 1}), value({1, 1, kKeys, 1});
  query(0, 0, 0, 0) = TypeParam(1.0);
  for (Index j = 0; j < kKeys; ++j) key(0, 0, j, 0) = TypeParam(static_cast<double>(j % 3));
  for (const char* name : instruction_sets()) {
    const ForcedInstructionSet forced(name);
    const auto got = attend(query, key, value, {.similarity = Dot{.scale = 1.0}, .want = {.top = kTop}});
    for (Index t = 0; t < kTop; ++t) {
      const Index expected = t < 133 ? 2 + 3 * t : 1 + 3 * (t - 133);
      ASSERT_EQ(got.top_key(0, 0, 0, t), expected) << name << " rank " << t;
    }
    EXPECT_EQ(got.top_weight(0, 0, 0, 0), got.top_weight(0, 0, 0, 132));
    EXPECT_LT(got.top_weight(0, 0, 0, 133), got.top_weight(0, 0, 0, 132));
  }
}

TYPED_TEST(Top, UniformListsTheFirstVisible) {
  const Array<TypeParam, 4> query({1, 1, 3, 1}), key({1, 1, 250, 1}), value({1, 1, 250, 2});
  const auto got =
      attend(query, key, value, {.similarity = Uniform{}, .mask = exclude_self(), .want = {.top = 4}});
  const Index expected[3][4] = {{1, 2, 3, 4}, {0, 2, 3, 4}, {0, 1, 3, 4}};
  for (Index i = 0; i < 3; ++i) {
    for (Index t = 0; t < 4; ++t) EXPECT_EQ(got.top_key(0, 0, i, t), expected[i][t]);
  }
}

TEST(Outputs, TopMayBeAllKeys) {
  const Case c{.queries = 3, .keys = 17, .depth = 2};
  const Values v = make_values(c);
  AttentionOptions options = v.options;
  options.want.top = 17;
  const auto got = attend(v.query, v.key, v.value, options);
  for (Index i = 0; i < 3; ++i) {
    double sum = 0;
    for (Index t = 0; t < 17; ++t) sum += got.top_weight(0, 0, i, t);
    EXPECT_NEAR(sum, 1, 1e-14);
  }
}

}  // namespace
}  // namespace kith
