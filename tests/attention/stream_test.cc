// Calls of few queries read keys and values as they are stored; calls of more prepare them first. A row must
// not show which.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "attention/check.h"
#include "kith/attention.h"

namespace kith {
namespace {

using namespace test;

constexpr Index kMany = 31;  // more queries than stream

struct Sizes {
  Index heads, key_heads, keys, depth, value_depth;
};

template <class T>
struct Inputs {
  Array<T, 4> query, key, value;

  explicit Inputs(const Sizes& n)
      : query({1, n.heads, kMany, n.depth}),
        key({1, n.key_heads, n.keys, n.depth}),
        value({1, n.key_heads, n.keys, n.value_depth}) {
    Random random(7);
    const auto fill = [&](Array<T, 4>& a) {
      for (T& x : a) x = static_cast<T>(static_cast<float>(random.below(4096)) / 1024 - 2);
    };
    fill(query);
    fill(key);
    fill(value);
  }

  View<const T, 4> first_queries(Index count) const {
    View<const T, 4> some = query;
    some.shape[2] = count;
    return some;
  }
};

// Rows 0 .. count - 1 of a call of `count` queries against those of a call of kMany: the same bits, NaN and
// all.
template <class T>
void expect_rows_of_many(const Inputs<T>& x, const AttentionOptions& options, std::string what) {
  what += fmt::format(", {}", instruction_set());
  const auto many = attend(x.query, x.key, x.value, options);
  for (const Index count : {1, 2, 3, 5, 8, 24}) {
    const auto few = attend(x.first_queries(count), x.key, x.value, options);
    for (Index h = 0; h < x.query.shape()[1]; ++h) {
      EXPECT_TRUE(same_bits(&few.out(0, h, 0, 0), &many.out(0, h, 0, 0), count * x.value.shape()[3]))
          << what << ", " << count << " queries, head " << h;
      EXPECT_TRUE(same_bits(&few.lse(0, h, 0), &many.lse(0, h, 0), count)) << what << ", " << count;
    }
  }
}

template <class T>
class Stream : public testing::Test {};
using Types = testing::Types<float, double, bfloat16, float16>;
TYPED_TEST_SUITE(Stream, Types);

// Depths around the squares that are transposed, values around the vectors, keys around tiles and blocks,
// heads that share keys.
TYPED_TEST(Stream, FewQueriesAreRowsOfMany) {
  const Sizes sizes[] = {{1, 1, 48, 64, 64},   {2, 1, 191, 63, 80}, {8, 1, 193, 33, 128}, {8, 2, 240, 8, 96},
                         {3, 3, 47, 1, 17},    {1, 1, 500, 17, 1},  {4, 1, 96, 128, 272}, {1, 1, 1, 2, 16},
                         {16, 1, 200, 40, 48}, {1, 1, 2000, 16, 32}};
  for (const Sizes& n : sizes) {
    const Inputs<TypeParam> x(n);
    AttentionOptions options;
    options.want.lse = true;
    const std::string what = fmt::format("heads {}, {}, keys {}, D {}, Dv {}", n.heads, n.key_heads, n.keys,
                                         n.depth, n.value_depth);
    for (const char* instructions : instruction_sets()) {
      const ForcedInstructionSet forced(instructions);
      options.mask = {};
      expect_rows_of_many(x, options, what);
      options.mask = causal(5);
      expect_rows_of_many(x, options, what + ", causal");
    }
  }
}

// The first value that is not finite is seen by no row, the second by all, the third, beyond the first block,
// from row 3 on.
TYPED_TEST(Stream, ValuesThatAreNotFiniteReachTheRowsThatSeeThem) {
  for (const Index value_depth : {16, 40, 64, 128, 144}) {
    Inputs<TypeParam> x({2, 1, 210, 24, value_depth});
    const auto infinity = static_cast<TypeParam>(std::numeric_limits<float>::infinity());
    const auto nan = static_cast<TypeParam>(std::numeric_limits<float>::quiet_NaN());
    x.value(0, 0, 209, value_depth - 1) = nan;
    x.value(0, 0, 40, 3) = infinity;
    x.value(0, 0, 203, 1) = infinity;
    AttentionOptions options;
    options.want.lse = true;
    options.mask = causal(200);
    options.mask.key_length = {209};
    for (const char* instructions : instruction_sets()) {
      const ForcedInstructionSet forced(instructions);
      expect_rows_of_many(x, options, fmt::format("Dv {}", value_depth));
    }
    const auto few = attend(x.first_queries(5), x.key, x.value, options);
    for (Index i = 0; i < 5; ++i) {
      for (Index c = 0; c < value_depth; ++c) {
        const double y = static_cast<double>(few.out(0, 1, i, c));
        const bool infinite = c == 3 || (c == 1 && i >= 3);
        EXPECT_EQ(std::isinf(y), infinite) << "Dv " << value_depth << ", row " << i << ", column " << c;
        EXPECT_FALSE(std::isnan(y)) << "Dv " << value_depth << ", row " << i << ", column " << c;
      }
    }
  }
}

}  // namespace
}  // namespace kith
