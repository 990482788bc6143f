// Weights rounded to bfloat16 before they meet the values: what the option changes, by how much, and where it
// must not.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "attention/check.h"
#include "kith/attention.h"

namespace kith {
namespace {

using namespace test;

struct Inputs {
  Array<bfloat16, 4> query, key, value;

  Inputs(Index queries, Index keys, Index depth, Index value_depth)
      : query({1, 4, queries, depth}), key({1, 2, keys, depth}), value({1, 2, keys, value_depth}) {
    Random random(11);
    const auto fill = [&](Array<bfloat16, 4>& a) {
      for (bfloat16& x : a) x = bfloat16(static_cast<float>(random.below(4096)) / 1024 - 2);
    };
    fill(query);
    fill(key);
    fill(value);
  }
};

AttentionOptions plain() {
  AttentionOptions options;
  options.want.lse = true;
  return options;
}
AttentionOptions rounding(AttentionOptions options) {
  options.round_weights = true;
  return options;
}

bool multiplies() { return std::string(instruction_set()) == "AVX3_BF16"; }

// Each weight moves by 2^-8 of itself at most, so an average by 2^-8 of that of the magnitudes.
void expect_rounded(const Inputs& x, const AttentionOptions& options, const std::string& what) {
  const AttentionResult exact = attend(x.query, x.key, x.value, options);
  const AttentionResult rounded = attend(x.query, x.key, x.value, rounding(options));
  Array<bfloat16, 4> magnitude(x.value.shape());
  for (Index i = 0; i < magnitude.size(); ++i) {
    magnitude.data()[i] = bfloat16(std::fabs(static_cast<float>(x.value.data()[i])));
  }
  const AttentionResult bound = attend(x.query, x.key, magnitude, options);
  EXPECT_TRUE(same_bits(exact.lse, rounded.lse)) << what;
  bool moved = false;
  for (Index i = 0; i < exact.out.size(); ++i) {
    const double a = static_cast<double>(exact.out.data()[i]), b = static_cast<double>(rounded.out.data()[i]);
    ASSERT_LE(std::fabs(a - b), 0x1p-8 * static_cast<double>(bound.out.data()[i]) + 1e-6)
        << what << ", " << i;
    moved |= a < b || a > b;
  }
  EXPECT_EQ(moved, multiplies()) << what
                                 << ": the weights are rounded exactly where the CPU multiplies bfloat16";
}

TEST(RoundWeights, MoveTheResultByTheirRounding) {
  for (const Index keys : {2, 47, 48, 49, 191, 193, 500, 2001}) {
    const Inputs x(33, keys, 64, 48);
    AttentionOptions options = plain();
    const std::string what = fmt::format("{} keys", keys);
    expect_rounded(x, options, what);
    options.mask = causal(keys / 2);
    expect_rounded(x, options, what + ", causal");
    options.mask = causal(keys / 2) & window(7, 0);
    expect_rounded(x, options, what + ", window");
    options.mask = {};
    options.soft_cap = 3;
    options.bias.alibi = alibi_slopes(4);
    options.sink = {0.5};
    expect_rounded(x, options, what + ", terms");
  }
}

// Every block of keys raises the maximum, so that rounded weights are scaled again and again.
TEST(RoundWeights, OfLogitsThatGrow) {
  Inputs x(25, 700, 8, 16);
  for (Index h = 0; h < 2; ++h) {
    for (Index j = 0; j < 700; ++j) {
      for (Index c = 0; c < 8; ++c) x.key(0, h, j, c) = bfloat16(static_cast<float>(j / 16));
    }
  }
  for (bfloat16& q : x.query) q = bfloat16(std::fabs(static_cast<float>(q)));
  expect_rounded(x, plain(), "growing");
}

TEST(RoundWeights, RowsKeepTheirBitsInAnyCompany) {
  Inputs x(97, 205, 32, 80);
  x.value(0, 0, 204, 3) = bfloat16(std::numeric_limits<float>::infinity());
  x.value(0, 1, 3, 79) = bfloat16(std::numeric_limits<float>::quiet_NaN());
  AttentionOptions options = rounding(plain());
  options.mask = causal(140);
  const AttentionResult many = attend(x.query, x.key, x.value, options);
  for (const Index count : {1, 2, 7, 24, 25, 96}) {
    for (const int threads : {1, 3}) {
      View<const bfloat16, 4> some = x.query;
      some.shape[2] = count;
      options.threads = threads;
      const AttentionResult few = attend(some, x.key, x.value, options);
      for (Index h = 0; h < 4; ++h) {
        EXPECT_TRUE(same_bits(&few.out(0, h, 0, 0), &many.out(0, h, 0, 0), count * 80)) << count << ", " << h;
      }
    }
  }
}

TEST(RoundWeights, HaveNoEffectElsewhere) {
  const auto same = [](const Inputs& x, const AttentionOptions& options, const char* what) {
    EXPECT_TRUE(same_bits(attend(x.query, x.key, x.value, options),
                          attend(x.query, x.key, x.value, rounding(options))))
        << what;
  };
  same(Inputs(30, 60, 15, 32), plain(), "an odd D");
  same(Inputs(30, 60, 16, 8), plain(), "narrow values");
  AttentionOptions options = plain();
  options.similarity = Gaussian{2};
  same(Inputs(30, 60, 16, 32), options, "a Gaussian");
  options = plain();
  options.want.second_moment = true;
  same(Inputs(30, 60, 16, 32), options, "second moment");
  for (const char* instructions : instruction_sets()) {
    const ForcedInstructionSet forced(instructions);
    if (!multiplies()) same(Inputs(30, 60, 16, 32), plain(), instructions);
  }
}

// Rows that are not aligned to words, and strides of an odd number, give the bits of a plain copy.
TEST(RoundWeights, OfRowsThatAreNotWords) {
  const Inputs x(30, 60, 16, 32);
  for (const Index stride : {17, 18}) {
    for (const Index offset : {0, 1}) {
      std::vector<bfloat16> memory(static_cast<std::size_t>(2 * 60 * stride + offset));
      const View<bfloat16, 4> key(memory.data() + offset, {1, 2, 60, 16}, {0, 60 * stride, stride, 1});
      for (Index h = 0; h < 2; ++h) {
        for (Index j = 0; j < 60; ++j) {
          for (Index c = 0; c < 16; ++c) key(0, h, j, c) = x.key(0, h, j, c);
        }
      }
      for (const Index count : {1, 30}) {
        View<const bfloat16, 4> some = x.query;
        some.shape[2] = count;
        EXPECT_TRUE(same_bits(attend(some, key, x.value, plain()), attend(some, x.key, x.value, plain())))
            << stride << ", " << offset << ", " << count;
      }
    }
  }
}

}  // namespace
}  // namespace kith
