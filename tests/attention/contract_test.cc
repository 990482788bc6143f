// The contract in kith/attention.h, line by line.
#include <gtest/gtest.h>

#include "attention/contract.h"

namespace kith {
namespace {

using namespace test;

bool sees_a_key(const Case& c, Index b, Index i) {
  for (Index j = 0; j < c.keys; ++j) {
    if (reference::visible(c.mask, b, i, j)) return true;
  }
  return false;
}

void expect_empty_row(const Computed& x, Index b, Index h, Index i) {
  EXPECT_TRUE(row_is(x.result.out, b, h, i, 0.0F)) << "out of row " << i;
  EXPECT_EQ(x.result.lse(b, h, i), -kInf) << "row " << i;
  if (!x.result.top_key.empty()) {
    EXPECT_TRUE(row_is(x.result.top_key, b, h, i, Index{-1})) << "row " << i;
    EXPECT_TRUE(row_is(x.result.top_weight, b, h, i, 0.0F)) << "row " << i;
  }
  EXPECT_TRUE(row_is(x.gradients.query, b, h, i, 0.0F)) << "row " << i;
}

// --- A row that sees no key: output 0, lse -inf, all gradients 0, no top entries. Never NaN.

TEST(Contract, RowsThatSeeNothing) {
  for_each([](const Case& c) {
    const Inputs in = make_inputs(c);
    const Computed x = compute(in, c);
    for (Index b = 0; b < c.batch; ++b) {
      for (Index i = 0; i < c.queries; ++i) {
        for (Index h = 0; h < c.query_heads; ++h) {
          if (!sees_a_key(c, b, i)) expect_empty_row(x, b, h, i);
          EXPECT_EQ(std::isfinite(x.result.lse(b, h, i)), sees_a_key(c, b, i)) << "row " << i;
        }
      }
    }
  });
}

TEST(Contract, NoRowSeesAnything) {
  for (const Mask& mask :
       {causal(-50), key_lengths({0, 0}), causal(0) & exclude_self(0) & key_lengths({1, 0})}) {
    Case c{.batch = 2,
           .query_heads = 2,
           .key_heads = 1,
           .queries = 40,
           .keys = 60,
           .depth = 4,
           .value_depth = 3};
    c.mask = mask;
    if (mask.self_offset) c.queries = 1;  // query 0 sees key 0 at most, which is itself
    const Computed x = compute(make_inputs(c), c);
    for (Index b = 0; b < 2; ++b) {
      for (Index h = 0; h < 2; ++h) {
        for (Index i = 0; i < c.queries; ++i) expect_empty_row(x, b, h, i);
      }
    }
    EXPECT_EQ(x.gradients.parameter, 0);
    for (const float g : x.gradients.key) EXPECT_EQ(g, 0);
    for (const float g : x.gradients.value) EXPECT_EQ(g, 0);
  }
}

TEST(Contract, NoKeys) {
  for (int similarity = 0; similarity < test::kSimilarityKinds; ++similarity) {
    Case c{
        .batch = 2, .query_heads = 2, .key_heads = 1, .queries = 3, .keys = 0, .depth = 4, .value_depth = 5};
    c.similarity = test::make_similarity(similarity, c.depth);
    const Computed x = compute(make_inputs(c), c);
    ASSERT_EQ(x.result.out.shape(), (Shape<4>{2, 2, 3, 5}));
    for (Index i = 0; i < 3; ++i) expect_empty_row(x, 1, 1, i);
    EXPECT_EQ(x.gradients.key.shape(), (Shape<4>{2, 1, 0, 4}));
    EXPECT_EQ(x.gradients.parameter, 0);
  }
}

TEST(Contract, NoQueries) {
  for (int similarity = 0; similarity < test::kSimilarityKinds; ++similarity) {
    Case c{
        .batch = 2, .query_heads = 2, .key_heads = 1, .queries = 0, .keys = 7, .depth = 4, .value_depth = 5};
    c.similarity = test::make_similarity(similarity, c.depth);
    const Computed x = compute(make_inputs(c), c);
    EXPECT_EQ(x.result.out.shape(), (Shape<4>{2, 2, 0, 5}));
    EXPECT_EQ(x.gradients.key.shape(), (Shape<4>{2, 1, 7, 4}));
    for (const float g : x.gradients.key) EXPECT_EQ(g, 0);
    for (const float g : x.gradients.value) EXPECT_EQ(g, 0);
    EXPECT_EQ(x.gradients.parameter, 0);
  }
}

TEST(Contract, NoBatch) {
  Case c{.batch = 0, .queries = 3, .keys = 7, .depth = 4, .value_depth = 5};
  EXPECT_EQ(compute(make_inputs(c), c).result.out.shape(), (Shape<4>{0, 1, 3, 5}));
}

TEST(Contract, LogitsOfMinusInfinityAloneCountAsNothing) {
  for (const Similarity& similarity : {Similarity(Dot{}), Similarity(Gaussian{}), Similarity(Euclidean{})}) {
    const Case c{.queries = 3, .keys = 40, .depth = 1, .value_depth = 2, .similarity = similarity};
    Inputs in = make_inputs(c);
    for (float& x : in.query) x = 1;
    for (float& x : in.key) x = -kInf;
    expect_empty_row(compute(in, c), 0, 0, 1);
    in.key(0, 0, 33, 0) = 2;  // one key to see: it gets all the weight
    const Computed x = compute(in, c);
    EXPECT_FLOAT_EQ(x.result.out(0, 0, 1, 0), in.value(0, 0, 33, 0));
    EXPECT_EQ(x.result.top_key(0, 0, 1, 0), 33);
    EXPECT_TRUE(std::isfinite(x.gradients.query(0, 0, 1, 0)));
  }
}

// --- What is masked has no influence, even if it holds NaN or infinities.

TEST(Contract, KeysNobodySees) {
  for_each([](Case c) {
    c.mask.key_length = {200, 77};
    Inputs in = make_inputs(c);
    const Computed clean = compute(in, c);
    for (Index b = 0; b < c.batch; ++b) {
      for (Index j = c.mask.key_length[static_cast<std::size_t>(b)]; j < c.keys; ++j) {
        const float dirt = j % 3 == 0 ? kNan : j % 3 == 1 ? kInf : -kInf;
        fill_row(in.key, b, 0, j, dirt);
        fill_row(in.value, b, 0, j, j % 2 == 0 ? kNan : dirt);
      }
    }
    const Computed dirty = compute(in, c);
    EXPECT_TRUE(same_bits(clean.result, dirty.result));
    EXPECT_TRUE(same_numbers(clean.gradients.query, dirty.gradients.query));
    EXPECT_TRUE(same_numbers(clean.gradients.key, dirty.gradients.key));
    EXPECT_TRUE(same_numbers(clean.gradients.value, dirty.gradients.value));
    EXPECT_EQ(clean.gradients.parameter, dirty.gradients.parameter);
    for (Index j = 200; j < c.keys; ++j) {
      EXPECT_TRUE(row_is(dirty.gradients.key, 0, 0, j, 0.0F)) << "key " << j;
      EXPECT_TRUE(row_is(dirty.gradients.value, 0, 0, j, 0.0F)) << "key " << j;
    }
  });
}

TEST(Contract, QueriesThatSeeNothing) {
  for_each([](Case c) {
    c.mask = Mask{.causal_offset = -9, .self_offset = c.mask.self_offset, .key_length = {c.keys, 0}};
    Inputs in = make_inputs(c);
    const Computed clean = compute(in, c);
    for (Index b = 0; b < c.batch; ++b) {
      for (Index i = 0; i < c.queries; ++i) {
        if (sees_a_key(c, b, i)) continue;
        for (Index h = 0; h < c.query_heads; ++h) {
          fill_row(in.query, b, h, i, i % 2 == 0 ? kNan : kInf);
          fill_row(in.d_out, b, h, i, i % 3 == 0 ? kNan : -kInf);
          in.d_lse(b, h, i) = kNan;
        }
      }
    }
    const Computed dirty = compute(in, c);
    EXPECT_TRUE(same_bits(clean.result, dirty.result));
    EXPECT_TRUE(same_numbers(clean.gradients.query, dirty.gradients.query));
    EXPECT_TRUE(same_numbers(clean.gradients.key, dirty.gradients.key));
    EXPECT_TRUE(same_numbers(clean.gradients.value, dirty.gradients.value));
    EXPECT_EQ(clean.gradients.parameter, dirty.gradients.parameter);
  });
}

TEST(Contract, UniformReadsNoKey) {
  const Case c{.queries = 30, .keys = 60, .depth = 3, .value_depth = 2, .similarity = Uniform{}};
  Inputs in = make_inputs(c);
  const Computed clean = compute(in, c);
  for (float& x : in.key) x = kNan;
  for (float& x : in.query) x = kInf;
  const Computed dirty = compute(in, c);
  EXPECT_TRUE(same_bits(clean.result, dirty.result));
  EXPECT_TRUE(same_bits(clean.gradients, dirty.gradients));
}

// --- A NaN that is visible makes exactly the rows that see it NaN.

TEST(Contract, VisibleNanInAKey) {
  for_each([](const Case& c) {
    if (std::holds_alternative<Uniform>(c.similarity)) return;
    for (const Index bad : {0, 5, 61, 192, 299}) {
      Inputs in = make_inputs(c);
      const Computed clean = compute(in, c);
      in.key(0, 0, bad, c.depth / 2) = kNan;
      const Computed dirty = compute(in, c);
      for (Index b = 0; b < c.batch; ++b) {
        for (Index h = 0; h < c.query_heads; ++h) {
          for (Index i = 0; i < c.queries; ++i) {
            SCOPED_TRACE("key " + std::to_string(bad) + " batch " + std::to_string(b) + " row " +
                         std::to_string(i));
            if (b == 0 && reference::visible(c.mask, b, i, bad)) {
              ASSERT_TRUE(row_is_nan(dirty.result.out, b, h, i));
              ASSERT_TRUE(std::isnan(dirty.result.lse(b, h, i)));
              ASSERT_TRUE(row_is_nan(dirty.gradients.query, b, h, i));
            } else {
              ASSERT_TRUE(same_row(clean.result.out, dirty.result.out, b, h, i));
              ASSERT_TRUE(same_bits(&clean.result.lse(b, h, i), &dirty.result.lse(b, h, i), 1));
              ASSERT_TRUE(same_row(clean.result.top_key, dirty.result.top_key, b, h, i));
              ASSERT_TRUE(same_row(clean.result.top_weight, dirty.result.top_weight, b, h, i));
              ASSERT_TRUE(same_row_numbers(clean.gradients.query, dirty.gradients.query, b, h, i));
            }
          }
        }
      }
    }
  });
}

TEST(Contract, VisibleNanOrInfinityInAValue) {
  for_each([](const Case& c) {
    for (const Index bad : {0, 63, 299}) {
      for (const float dirt : {kNan, kInf}) {
        Inputs in = make_inputs(c);
        const Computed clean = compute(in, c);
        const Index column = c.value_depth - 1;
        in.value(0, 0, bad, column) = dirt;
        const Computed dirty = compute(in, c);
        EXPECT_TRUE(same_bits(clean.result.lse, dirty.result.lse));
        for (Index b = 0; b < c.batch; ++b) {
          for (Index h = 0; h < c.query_heads; ++h) {
            for (Index i = 0; i < c.queries; ++i) {
              SCOPED_TRACE("key " + std::to_string(bad) + " batch " + std::to_string(b) + " row " +
                           std::to_string(i));
              if (b == 0 && reference::visible(c.mask, b, i, bad)) {
                ASSERT_FALSE(std::isfinite(dirty.result.out(b, h, i, column)));
              } else {
                ASSERT_TRUE(same_row(clean.result.out, dirty.result.out, b, h, i));
                ASSERT_TRUE(same_row_numbers(clean.gradients.query, dirty.gradients.query, b, h, i));
              }
            }
          }
        }
      }
    }
  });
}

/// A query (or d_out row) that holds a NaN spoils the gradients of the keys it sees, and no others.
TEST(Contract, VisibleNanInAQueryOrGradient) {
  for_each([](const Case& c) {
    for (const bool in_query : {true, false}) {
      if (in_query && std::holds_alternative<Uniform>(c.similarity)) continue;
      for (const Index bad : {0, 3, 95, 129}) {
        Inputs in = make_inputs(c);
        const Computed clean = compute(in, c);
        (in_query ? in.query : in.d_out)(0, 1, bad, 0) = kNan;
        const Computed dirty = compute(in, c);
        SCOPED_TRACE((in_query ? "query row " : "d_out row ") + std::to_string(bad));
        for (Index i = 0; i < c.queries; ++i) {
          if (i == bad) continue;
          ASSERT_TRUE(same_row(clean.result.out, dirty.result.out, 0, 1, i)) << i;
          ASSERT_TRUE(same_row_numbers(clean.gradients.query, dirty.gradients.query, 0, 1, i)) << i;
        }
        EXPECT_EQ(row_is_nan(dirty.result.out, 0, 1, bad), in_query && sees_a_key(c, 0, bad));
        for (Index j = 0; j < c.keys; ++j) {
          if (reference::visible(c.mask, 0, bad, j)) {
            ASSERT_TRUE(std::isnan(dirty.gradients.value(0, 0, j, 0))) << "key " << j;
            if (!std::holds_alternative<Uniform>(c.similarity)) {
              ASSERT_TRUE(std::isnan(dirty.gradients.key(0, 0, j, 0))) << "key " << j;
            }
          } else {
            ASSERT_TRUE(same_row_numbers(clean.gradients.value, dirty.gradients.value, 0, 0, j))
                << "key " << j;
            ASSERT_TRUE(same_row_numbers(clean.gradients.key, dirty.gradients.key, 0, 0, j)) << "key " << j;
          }
        }
      }
    }
  });
}

// --- Masks compose with `&`.

TEST(Contract, MasksCompose) {
  const Mask both = causal(3) & exclude_self(1) & key_lengths({4, 5});
  EXPECT_EQ(both.causal_offset, 3);
  EXPECT_EQ(both.self_offset, 1);
  EXPECT_EQ(both.key_length, (std::vector<Index>{4, 5}));
  EXPECT_EQ((causal(3) & causal(3)).causal_offset, 3);  // the same again is no conflict
  EXPECT_EQ((exclude_self() & Mask{}).self_offset, 0);
  for (Index i = 0; i < 6; ++i) {
    for (Index j = 0; j < 8; ++j) {
      EXPECT_EQ(reference::visible(both, 1, i, j), j <= i + 3 && j != i + 1 && j < 5);
    }
  }
}

// --- A workspace is memory, nothing else.

TEST(Contract, WorkspaceAndResultAreReused) {
  Workspace workspace;
  AttentionResult reused;
  for (int round = 0; round < 2; ++round) {
    for_each([&](Case c) {
      if (c.seed % 3 != 0) return;
      c.queries = 20 + static_cast<Index>(c.seed % 5) * 31;
      c.mask.key_length.clear();
      const Inputs in = make_inputs(c);
      const AttentionOptions options{.similarity = c.similarity,
                                     .mask = c.mask,
                                     .want = {.lse = c.seed % 2 == 0, .top = static_cast<int>(c.seed % 4)},
                                     .threads = 2};
      attend(in.query, in.key, in.value, options, reused, workspace);
      EXPECT_TRUE(same_bits(attend(in.query, in.key, in.value, options), reused));
    });
  }
  const std::size_t bytes = workspace.bytes();
  EXPECT_GT(bytes, 0U);
  Workspace moved(std::move(workspace));
  EXPECT_EQ(moved.bytes(), bytes);
}

}  // namespace
}  // namespace kith
