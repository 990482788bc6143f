// A row's bits do not depend on the batch around it, the number of threads, the order of work or the strides
// of its views.
#include <gtest/gtest.h>

#include "attention/contract.h"

namespace kith {
namespace {

using namespace test;

TEST(Invariance, ThreadsDoNotMatter) {
  for_each(
      [](const Case& c) {
        const Inputs in = make_inputs(c);
        const Computed one = compute(in, c, 1);
        for (const int threads : {2, 3, 0}) {
          const Computed many = compute(in, c, threads);
          EXPECT_TRUE(same_bits(one.result, many.result)) << threads << " threads";
          EXPECT_TRUE(same_bits(one.gradients, many.gradients)) << threads << " threads";
        }
      },
      301, 2100);
}

/// Rows [first, first + count) of batch row b and head h, with the mask moved along.
Case part_of(const Case& c, Index b, Index first, Index count) {
  Case part = c;
  part.batch = part.query_heads = part.key_heads = 1;
  part.queries = count;
  if (c.mask.causal_offset) part.mask.causal_offset = *c.mask.causal_offset + first;
  if (c.mask.self_offset) part.mask.self_offset = *c.mask.self_offset + first;
  if (!c.mask.key_length.empty()) part.mask.key_length = {c.mask.key_length[static_cast<std::size_t>(b)]};
  return part;
}

Array<float, 4> rows_of(const Array<float, 4>& a, Index b, Index h, Index first, Index count) {
  Array<float, 4> rows({1, 1, count, a.shape()[3]});
  if (!rows.empty()) std::copy_n(&a(b, h, first, 0), rows.size(), rows.data());
  return rows;
}

TEST(Invariance, ARowAloneHasTheSameBits) {
  for (const char* name : instruction_sets()) {
    const ForcedInstructionSet forced(name);
    SCOPED_TRACE(name);
    for_each([](const Case& c) {
      const Inputs in = make_inputs(c);
      const Computed whole = compute(in, c);
      for (Index b = 0; b < c.batch; ++b) {
        for (const auto& [first, count] :
             {std::pair<Index, Index>{0, 1}, {1, 1}, {5, 2}, {97, 1}, {60, 69}, {129, 1}}) {
          const Index h = (first + b) % 2;
          const Case part = part_of(c, b, first, count);
          Inputs alone{rows_of(in.query, b, h, first, count), rows_of(in.key, b, 0, 0, c.keys),
                       rows_of(in.value, b, 0, 0, c.keys), rows_of(in.d_out, b, h, first, count),
                       Array<float, 3>({1, 1, count})};
          std::copy_n(&in.d_lse(b, h, first), count, alone.d_lse.data());
          const Computed x = compute(alone, part);
          SCOPED_TRACE("rows " + std::to_string(first) + " + " + std::to_string(count));
          EXPECT_TRUE(same_bits(x.result.out, rows_of(whole.result.out, b, h, first, count)));
          EXPECT_TRUE(same_bits(x.result.lse.data(), &whole.result.lse(b, h, first), count));
          EXPECT_TRUE(same_bits(x.result.top_key.data(), &whole.result.top_key(b, h, first, 0), count * 4));
          EXPECT_TRUE(
              same_bits(x.result.top_weight.data(), &whole.result.top_weight(b, h, first, 0), count * 4));
          EXPECT_TRUE(same_bits(x.gradients.query, rows_of(whole.gradients.query, b, h, first, count)));
        }
      }
    });
  }
}

TEST(Invariance, ABatchRowAloneHasTheSameBits) {
  for_each([](Case c) {
    c.batch = 3, c.query_heads = 4, c.key_heads = 2;
    if (!c.mask.key_length.empty()) c.mask.key_length = {c.keys, 17, c.keys - 30};
    const Inputs in = make_inputs(c);
    const Computed whole = compute(in, c, 2);
    const auto slice = [](const auto& a, Index b) {
      auto shape = a.shape();
      shape[0] = 1;
      std::remove_cvref_t<decltype(a)> one(shape);
      std::copy_n(a.data() + b * one.size(), one.size(), one.data());
      return one;
    };
    for (Index b = 0; b < c.batch; ++b) {
      Case alone = c;
      alone.batch = 1;
      if (!c.mask.key_length.empty())
        alone.mask.key_length = {c.mask.key_length[static_cast<std::size_t>(b)]};
      const Computed x = compute(
          {slice(in.query, b), slice(in.key, b), slice(in.value, b), slice(in.d_out, b), slice(in.d_lse, b)},
          alone);
      EXPECT_TRUE(same_bits(x.result.out, slice(whole.result.out, b)));
      EXPECT_TRUE(same_bits(x.result.lse, slice(whole.result.lse, b)));
      EXPECT_TRUE(same_bits(x.result.top_key, slice(whole.result.top_key, b)));
      EXPECT_TRUE(same_bits(x.gradients.query, slice(whole.gradients.query, b)));
      EXPECT_TRUE(same_bits(x.gradients.key, slice(whole.gradients.key, b)));
      EXPECT_TRUE(same_bits(x.gradients.value, slice(whole.gradients.value, b)));
    }
  });
}

TEST(Invariance, ShuffledQueriesGiveShuffledRows) {
  const Case c{
      .queries = 211, .keys = 150, .depth = 6, .value_depth = 5, .similarity = Gaussian{.bandwidth = 0.8}};
  const Inputs in = make_inputs(c);
  Inputs shuffled = make_inputs(c);
  const auto place = [](Index i) { return i * 100 % 211; };
  for (Index i = 0; i < c.queries; ++i)
    std::copy_n(&in.query(0, 0, i, 0), c.depth, &shuffled.query(0, 0, place(i), 0));
  const AttentionOptions options{.similarity = c.similarity};
  const auto a = attend(in.query, in.key, in.value, options).out;
  const auto b = attend(shuffled.query, in.key, in.value, options).out;
  for (Index i = 0; i < c.queries; ++i) {
    ASSERT_TRUE(same_bits(&a(0, 0, i, 0), &b(0, 0, place(i), 0), c.value_depth)) << "row " << i;
  }
}

// --- Views are strided; the last axis is contiguous. [N, D] alone is accepted as B = H = 1.

/// A copy whose rows lie `gap` apart in memory that starts one float off its alignment; between rows lies
/// NaN.
struct Scattered {
  Scattered(const Array<float, 4>& a, Index gap) {
    const Shape<4>& shape = a.shape();
    const Index row = shape[3] + gap, head = shape[2] * row + 5, batch = shape[1] * head + 3;
    memory = Array<float, 1>({shape[0] * batch + 1});
    for (float& x : memory) x = kNan;
    view = View<float, 4>(memory.data() + 1, shape, Shape<4>{batch, head, row, 1});
    for (Index b = 0; b < shape[0]; ++b) {
      for (Index h = 0; h < shape[1]; ++h) {
        for (Index i = 0; i < shape[2]; ++i) {
          for (Index c = 0; c < shape[3]; ++c) view(b, h, i, c) = a(b, h, i, c);
        }
      }
    }
  }
  Array<float, 1> memory;
  View<float, 4> view;
};

TEST(Invariance, StridedAndMisalignedViews) {
  for_each([](const Case& c) {
    const Inputs in = make_inputs(c);
    const Computed dense = compute(in, c);
    const Scattered query(in.query, 3), key(in.key, 1), value(in.value, 7), d_out(in.d_out, 2);
    const AttentionOptions options{
        .similarity = c.similarity, .mask = c.mask, .want = {.lse = true, .top = 4}};
    const AttentionResult result = attend(query.view, key.view, value.view, options);
    EXPECT_TRUE(same_bits(dense.result, result));
    EXPECT_TRUE(same_bits(dense.gradients, attend_backward(query.view, key.view, value.view, result,
                                                           d_out.view, options, in.d_lse)));
  });
}

TEST(Invariance,
     HeadsMayLieBetweenColumns) {  // [B, N, H, D] memory read as [B, H, N, D], as networks keep it
  const Case c{
      .batch = 2, .query_heads = 3, .key_heads = 3, .queries = 20, .keys = 20, .depth = 4, .value_depth = 4};
  const Inputs in = make_inputs(c);
  Array<float, 4> memory({2, 20, 3, 4});
  const View<float, 4> view(memory.data(), {2, 3, 20, 4}, {20 * 12, 4, 12, 1});
  for (Index i = 0; i < in.key.size(); ++i) {
    const Index x = i % 4, n = i / 4 % 20, h = i / 80 % 3, b = i / 240;
    view(b, h, n, x) = in.key.data()[i];
  }
  EXPECT_TRUE(same_bits(attend(in.query, in.key, in.value), attend(in.query, view, in.value)));
}

TEST(Invariance, SharedKeysByStrideZero) {  // one key set for the whole batch, without copies
  const Case c{.queries = 9, .keys = 31, .depth = 4, .value_depth = 3};
  const Inputs in = make_inputs(c);
  const View<const float, 4> query(in.query.data(), {2, 1, 9, 4}, {0, 0, 4, 1});
  const View<const float, 4> key(in.key.data(), {2, 1, 31, 4}, {0, 0, 4, 1});
  const View<const float, 4> value(in.value.data(), {2, 1, 31, 3}, {0, 0, 3, 1});
  const auto one = attend(in.query, in.key, in.value);
  const auto two = attend(query, key, value);
  EXPECT_TRUE(same_bits(one.data(), two.data(), one.size()));
  EXPECT_TRUE(same_bits(one.data(), two.data() + one.size(), one.size()));
}

TEST(Invariance, MatricesAreOneHead) {
  const Case c{.queries = 9, .keys = 31, .depth = 4, .value_depth = 3};
  const Inputs in = make_inputs(c);
  const auto matrix = [](const Array<float, 4>& a) {
    Array<float, 2> m({a.shape()[2], a.shape()[3]});
    std::copy(a.begin(), a.end(), m.begin());
    return m;
  };
  const Array<float, 2> query = matrix(in.query), key = matrix(in.key), value = matrix(in.value);
  const Array<float, 4> expected = attend(in.query, in.key, in.value);
  EXPECT_TRUE(same_bits(expected, attend(query, key, value)));
  EXPECT_TRUE(same_bits(expected, attend(query.view(), key.view(), value.view())));
}

TEST(Invariance, GroupedHeadsReadTheirKeyHead) {
  const Case c{
      .batch = 2, .query_heads = 6, .key_heads = 2, .queries = 7, .keys = 40, .depth = 5, .value_depth = 3};
  const Inputs in = make_inputs(c);
  const Array<float, 4> grouped = attend(in.query, in.key, in.value);
  for (Index b = 0; b < 2; ++b) {
    for (Index h = 0; h < 6; ++h) {
      const auto alone = attend(rows_of(in.query, b, h, 0, 7), rows_of(in.key, b, h / 3, 0, 40),
                                rows_of(in.value, b, h / 3, 0, 40));
      EXPECT_TRUE(same_bits(alone.data(), &grouped(b, h, 0, 0), alone.size())) << "head " << h;
    }
  }
}

}  // namespace
}  // namespace kith
