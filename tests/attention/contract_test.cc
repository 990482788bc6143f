// The contract in kith/attention.h, line by line, over the case list.
#include "attention/contract.h"

#include <functional>

namespace kith {
namespace {

using namespace test;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// Every `step`th case, in its type.
template <class Check>
void for_cases(std::size_t step, const Check& check) {
  const std::size_t first = cases().size() > 1 ? step / 2 : 0;
  for (std::size_t n = first; n < cases().size(); n += step) {
    const Case& c = cases()[n];
    with_type(c.dtype, [&]<class T>() {
      try {
        check.template operator()<T>(c);
      } catch (const std::exception& error) {
        ADD_FAILURE() << error.what() << replay(c);
      }
    });
  }
}

int failures() { return testing::UnitTest::GetInstance()->current_test_info()->result()->total_part_count(); }

/// Up to the first row that fails: one row of a case is enough to look at.
template <class Body>
void for_rows(const Case& c, Index heads, Index rows, const Body& body) {
  const int before = failures();
  for (Index b = 0; b < c.batch; ++b) {
    for (Index h = 0; h < heads; ++h) {
      for (Index i = 0; i < rows && failures() == before; ++i) body(b, h, i);
    }
  }
}

// --- A row that sees no key: output 0, lse -inf (the sink's logit if there is one), all gradients 0, no top
// entries. Never NaN.

TEST(Contract, RowsThatSeeNothing) {
  for_cases(3, []<class T>(const Case& c) {
    const Values v = make_values(c);
    const Computed<T> x = compute<T>(c, v);
    for_rows(c, c.query_heads, c.queries, [&](Index b, Index h, Index i) {
      const auto& r = x.result;
      ASSERT_FALSE(std::isnan(r.lse(b, h, i))) << replay(c);
      if (sees_any(c, v, b, h, i)) return;
      SCOPED_TRACE(fmt::format("row {}, {}, {}{}", b, h, i, replay(c)));
      const auto& sink = v.options.sink;
      if (sink.empty()) {
        ASSERT_EQ(static_cast<double>(r.lse(b, h, i)), -kInfinity);
      } else {
        const double logit = sink[sink.size() == 1 ? 0 : static_cast<std::size_t>(h)];
        ASSERT_NEAR(static_cast<double>(r.lse(b, h, i)), logit,
                    4 * unit_roundoff(c.dtype) * (1 + std::fabs(logit)));
      }
      ASSERT_TRUE(row_is(r.out, b, h, i, 0) && row_is(r.second_moment, b, h, i, 0));
      ASSERT_EQ(r.entropy(b, h, i), 0);
      ASSERT_EQ(r.largest(b, h, i), 0);
      ASSERT_EQ(r.position(b, h, i), 0);
      ASSERT_TRUE(row_is(r.top_key, b, h, i, -1) && row_is(r.top_weight, b, h, i, 0));
      ASSERT_TRUE(row_is(x.gradients.query, b, h, i, 0));
    });
    for_rows(c, c.key_heads, c.keys, [&](Index b, Index g, Index j) {
      if (seen_by_any(c, v, b, g, j)) return;
      ASSERT_TRUE(row_is(x.gradients.key, b, g, j, 0) && row_is(x.gradients.value, b, g, j, 0)) << replay(c);
    });
  });
}

// --- What is masked has no influence, even if it holds NaN or infinities.

/// NaN and infinities into the keys that nobody sees, and into the queries that see nothing.
std::size_t spoil_unseen(const Case& c, Values& v) {
  std::size_t spoiled = 0;
  const auto dirt = [&](Index n) { return n % 3 == 0 ? kNan : n % 3 == 1 ? kInfinity : -kInfinity; };
  for_rows(c, c.key_heads, c.keys, [&](Index b, Index g, Index j) {
    if (seen_by_any(c, v, b, g, j)) return;
    fill_row(v.key, b, g, j, dirt(j));
    fill_row(v.value, b, g, j, dirt(j + 1));
    ++spoiled;
  });
  for_rows(c, c.query_heads, c.queries, [&](Index b, Index h, Index i) {
    if (sees_any(c, v, b, h, i)) return;
    fill_row(v.query, b, h, i, dirt(i));
    fill_row(v.d_out, b, h, i, dirt(i + 1));
    fill_row(v.d_second_moment, b, h, i, dirt(i + 2));
    v.d_entropy(b, h, i) = dirt(i);
    if (v.options.sink.empty())
      v.d_lse(b, h, i) = dirt(i);  // else lse is the sink's, and its gradient counts
    ++spoiled;
  });
  return spoiled;
}

template <class Real>
bool same_gradient_numbers(const BasicAttentionGradients<Real>& a, const BasicAttentionGradients<Real>& b) {
  const Flat x = gradients_of(a), y = gradients_of(b);
  return x == y;
}

TEST(Contract, WhatIsMaskedHasNoInfluence) {
  std::size_t spoiled = 0;
  for_cases(2, [&]<class T>(const Case& c) {
    Values v = make_values(c);
    const Computed<T> clean = compute<T>(c, v);
    const std::size_t now = spoil_unseen(c, v);
    if (now == 0) return;
    spoiled += now;
    const Computed<T> dirty = compute<T>(c, v);
    ASSERT_TRUE(same_bits(clean.result, dirty.result)) << replay(c);
    for (const auto& [name, numbers] : gradients_of(clean.gradients)) {
      ASSERT_TRUE(numbers == gradients_of(dirty.gradients).at(name)) << "d_" << name << replay(c);
    }
    ASSERT_TRUE(same_gradient_numbers(clean.gradients, dirty.gradients)) << replay(c);
  });
  EXPECT_TRUE(spoiled > 1000 || cases().size() < 1000);
}

TEST(Contract, UniformReadsNoKey) {
  const Case c{
      .queries = 30, .keys = 60, .depth = 3, .value_depth = 2, .similarity = SimilarityKind::uniform};
  Values v = make_values(c);
  const Computed<float> clean = compute<float>(c, v);
  for (double& x : v.key) x = kNan;
  for (double& x : v.query) x = kInfinity;
  const Computed<float> dirty = compute<float>(c, v);
  EXPECT_TRUE(same_bits(clean.result, dirty.result));
  EXPECT_TRUE(same_bits(clean.gradients, dirty.gradients));
}

// --- A NaN that is visible makes exactly the rows that see it NaN.

/// Cases where a NaN's way is the mask's alone.
bool traceable(const Case& c) {
  return c.queries > 0 && c.keys > 0 && c.data == Data::normal && c.dropout == 0 &&
         c.similarity != SimilarityKind::uniform;
}

TEST(Contract, VisibleNanInAKey) {
  for_cases(5, []<class T>(const Case& c) {
    if (!traceable(c)) return;
    Values v = make_values(c);
    const Computed<T> clean = compute<T>(c, v);
    Random random(c.seed);
    const Index bad = random.below(c.keys), bad_b = random.below(c.batch), bad_g = random.below(c.key_heads);
    v.key(bad_b, bad_g, bad, v.key.shape()[3] / 2) = kNan;
    const Computed<T> dirty = compute<T>(c, v);
    for_rows(c, c.query_heads, c.queries, [&](Index b, Index h, Index i) {
      SCOPED_TRACE(fmt::format("key {}, {}, {}; row {}, {}, {}{}", bad_b, bad_g, bad, b, h, i, replay(c)));
      if (b == bad_b && h / (c.query_heads / c.key_heads) == bad_g && sees(v, b, h, i, bad)) {
        ASSERT_TRUE(row_is_nan(dirty.result.out, b, h, i) && std::isnan(dirty.result.lse(b, h, i)));
        ASSERT_TRUE(row_is_nan(dirty.result.second_moment, b, h, i) &&
                    std::isnan(dirty.result.entropy(b, h, i)));
        ASSERT_TRUE(std::isnan(dirty.result.position(b, h, i)) && std::isnan(dirty.result.largest(b, h, i)));
        ASSERT_TRUE(row_is_nan(dirty.gradients.query, b, h, i));
      } else {
        ASSERT_TRUE(same_result_row(clean.result, dirty.result, b, h, i));
        ASSERT_TRUE(same_row_numbers(clean.gradients.query, dirty.gradients.query, b, h, i));
      }
    });
  });
}

TEST(Contract, VisibleNanOrInfinityInAValue) {
  for_cases(5, []<class T>(const Case& c) {
    if (!traceable(c)) return;
    Values v = make_values(c);
    const Computed<T> clean = compute<T>(c, v);
    Random random(c.seed);
    const Index bad = random.below(c.keys), bad_b = random.below(c.batch), bad_g = random.below(c.key_heads);
    const Index column = random.below(c.value_depth);
    v.value(bad_b, bad_g, bad, column) = c.seed % 2 == 0 ? kNan : kInfinity;
    const Computed<T> dirty = compute<T>(c, v);
    ASSERT_TRUE(same_bits(clean.result.lse, dirty.result.lse)) << replay(c);
    ASSERT_TRUE(same_bits(clean.result.received, dirty.result.received)) << replay(c);
    for_rows(c, c.query_heads, c.queries, [&](Index b, Index h, Index i) {
      SCOPED_TRACE(fmt::format("value {}, {}, {}, {}; row {}, {}, {}{}", bad_b, bad_g, bad, column, b, h, i,
                               replay(c)));
      if (b == bad_b && h / (c.query_heads / c.key_heads) == bad_g && sees(v, b, h, i, bad)) {
        if (compact(c.similarity)) return;  // may lie outside
        ASSERT_FALSE(std::isfinite(dirty.result.out(b, h, i, column)));
        ASSERT_FALSE(std::isfinite(dirty.result.second_moment(b, h, i, column)));
        for (Index x = 0; x < c.value_depth; ++x) {
          if (x == column) continue;
          ASSERT_TRUE(same_bits(&clean.result.out(b, h, i, x), &dirty.result.out(b, h, i, x), 1));
        }
      } else {
        ASSERT_TRUE(same_result_row(clean.result, dirty.result, b, h, i));
        ASSERT_TRUE(same_row_numbers(clean.gradients.query, dirty.gradients.query, b, h, i));
      }
    });
  });
}

/// A query (or d_out row) that holds a NaN spoils the gradients of the keys it sees, and no others.
TEST(Contract, VisibleNanInAQueryOrGradient) {
  for_cases(5, []<class T>(const Case& c) {
    if (!traceable(c) || compact(c.similarity)) return;
    const bool in_query = c.seed % 2 == 0;
    Values v = make_values(c);
    const Computed<T> clean = compute<T>(c, v);
    Random random(c.seed);
    const Index bad = random.below(c.queries), bad_b = random.below(c.batch),
                bad_h = random.below(c.query_heads);
    (in_query ? v.query : v.d_out)(bad_b, bad_h, bad, 0) = kNan;
    const Computed<T> dirty = compute<T>(c, v);
    SCOPED_TRACE(fmt::format("{} {}, {}, {}{}", in_query ? "query" : "d_out", bad_b, bad_h, bad, replay(c)));
    for_rows(c, c.query_heads, c.queries, [&](Index b, Index h, Index i) {
      if (b == bad_b && h == bad_h && i == bad) {
        ASSERT_EQ(row_is_nan(dirty.result.out, b, h, i), in_query && sees_any(c, v, b, h, i));
        return;
      }
      ASSERT_TRUE(same_result_row(clean.result, dirty.result, b, h, i)) << b << ' ' << h << ' ' << i;
      ASSERT_TRUE(same_row_numbers(clean.gradients.query, dirty.gradients.query, b, h, i))
          << b << ' ' << h << ' ' << i;
    });
    for_rows(c, c.key_heads, c.keys, [&](Index b, Index g, Index j) {
      const bool hit = b == bad_b && g == bad_h / (c.query_heads / c.key_heads) && sees(v, b, bad_h, bad, j);
      if (hit) {
        ASSERT_TRUE(std::isnan(dirty.gradients.value(b, g, j, 0))) << "key " << j;
        ASSERT_TRUE(std::isnan(dirty.gradients.key(b, g, j, 0))) << "key " << j;
      } else {
        ASSERT_TRUE(same_row_numbers(clean.gradients.value, dirty.gradients.value, b, g, j)) << "key " << j;
        ASSERT_TRUE(same_row_numbers(clean.gradients.key, dirty.gradients.key, b, g, j)) << "key " << j;
      }
    });
  });
}

/// Whatever the reference says is NaN is NaN, and nothing else is: also where a compact kernel hides it.
TEST(Contract, NanWhereTheReferenceHasThem) {
  for_cases(6, []<class T>(const Case& c) {
    if (c.keys == 0 || c.queries == 0 || c.data != Data::normal) return;
    Values v = make_values(c);
    Random random(c.seed);
    for (Array<double, 4>* rows : {&v.key, &v.value}) {
      for (double& x : *rows) {
        if (random.chance(0.3 / static_cast<double>(rows->shape()[2] * rows->shape()[3]))) x = kNan;
      }
    }
    const AttentionOptions options = all_outputs(c, v);
    const Flat expected = outputs_of(reference::attend(v.query, v.key, v.value, options));
    const Flat got = outputs_of(Call<T>(c, v).forward(options));
    for (const auto& [name, numbers] : got) {
      for (std::size_t n = 0; n < numbers.size(); ++n) {
        ASSERT_EQ(std::isnan(numbers[n]), std::isnan(expected.at(name)[n])) << name << ' ' << n << replay(c);
      }
    }
  });
}

// --- Empty axes have their shapes.

TEST(Contract, EmptyAxes) {
  for (std::size_t kind = 0; kind < kSimilarityKinds; ++kind) {
    for (const auto& [batch, heads, key_heads, queries, keys] : {std::array<Index, 5>{2, 2, 1, 3, 0},
                                                                 {2, 2, 1, 0, 7},
                                                                 {0, 2, 1, 3, 7},
                                                                 {2, 2, 1, 0, 0},
                                                                 {2, 0, 2, 3, 7},
                                                                 {2, 0, 0, 3, 7}}) {
      const Case c{.batch = batch,
                   .query_heads = heads,
                   .key_heads = key_heads,
                   .queries = queries,
                   .keys = keys,
                   .depth = 4,
                   .value_depth = 5,
                   .similarity = static_cast<SimilarityKind>(kind)};
      const Values v = make_values(c);
      const Computed<float> x = compute<float>(c, v);
      EXPECT_EQ(x.result.out.shape(), (Shape<4>{batch, heads, queries, 5})) << replay(c);
      EXPECT_EQ(x.result.received.shape(), (Shape<3>{batch, heads, keys})) << replay(c);
      EXPECT_EQ(x.gradients.query.shape(), v.query.shape()) << replay(c);
      EXPECT_EQ(x.gradients.key.shape(), v.key.shape()) << replay(c);
      EXPECT_EQ(x.gradients.value.shape(), v.value.shape()) << replay(c);
      EXPECT_EQ(x.gradients.parameter, 0) << replay(c);
    }
  }
}

/// A view of nothing may have no memory, and any strides.
TEST(Contract, EmptyViewsWithoutMemory) {
  const auto empty = [](Shape<4> shape) { return View<const float, 4>(nullptr, shape, {5, 3, 2, 1}); };
  const Array<float, 4> rows({2, 2, 3, 4});
  for (const Want& want : {Want{.lse = true}, Want{.lse = true, .received = true, .second_moment = true}}) {
    for (const Similarity& similarity : {Similarity(Dot{}), Similarity(Gaussian{}), Similarity(Cosine{})}) {
      const AttentionOptions options{.similarity = similarity, .want = want};
      const View<const float, 4> no_keys = empty({2, 2, 0, 4}), no_queries = empty({2, 2, 0, 4});
      const auto blind = attend(rows, no_keys, no_keys, options);
      EXPECT_TRUE(std::all_of(blind.out.begin(), blind.out.end(), [](float x) { return x == 0; }));
      EXPECT_TRUE(attend_backward(rows, no_keys, no_keys, blind, {.out = rows}, options).key.empty());
      const auto nobody = attend(no_queries, rows, rows, options);
      EXPECT_TRUE(nobody.out.empty());
      const auto gradients = attend_backward(no_queries, rows, rows, nobody, {.out = no_queries}, options);
      EXPECT_TRUE(std::all_of(gradients.key.begin(), gradients.key.end(), [](float x) { return x == 0; }));
    }
  }
}

// --- A workspace is memory, nothing else.

TEST(Contract, WorkspaceAndResultAreReused) {
  Workspace workspace;
  AttentionResult reused;
  for (std::size_t n = 0; n < cases().size(); n += 11) {
    Case c = cases()[n];
    c.dtype = Dtype::float32;
    const Values v = make_values(c);
    const Laid<float> query(v.query, c.layout), key(v.key, c.layout), value(v.value, c.layout);
    attend(query.view(), key.view(), value.view(), v.options, reused, workspace);
    ASSERT_TRUE(same_bits(attend(query.view(), key.view(), value.view(), v.options), reused)) << replay(c);
  }
  const std::size_t bytes = workspace.bytes();
  EXPECT_GT(bytes, 0U);
  Workspace moved(std::move(workspace));
  EXPECT_EQ(moved.bytes(), bytes);
}

}  // namespace
}  // namespace kith
