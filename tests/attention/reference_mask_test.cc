// Which keys the reference sees, sequences behind each other, and dropout.
#include <gtest/gtest.h>

#include <cmath>

#include "attention/check.h"
#include "attention/small_call.h"

namespace kith {
namespace {

using Picture = std::vector<std::string>;

Picture picture(const Mask& mask, Index queries, Index keys, Index b = 0, Index h = 0) {
  Picture lines;
  for (Index i = 0; i < queries; ++i) {
    std::string line;
    for (Index j = 0; j < keys; ++j) line += reference::visible(mask, b, i, j, h) ? '#' : '.';
    lines.push_back(line);
  }
  return lines;
}

template <class T>
Array<T, 2> row(std::initializer_list<T> list) {
  Array<T, 2> a({1, static_cast<Index>(list.size())});
  std::copy(list.begin(), list.end(), a.begin());
  return a;
}

TEST(Visible, PartsThatGoByPosition) {
  EXPECT_EQ(picture({}, 2, 3), (Picture{"###", "###"}));
  EXPECT_EQ(picture(causal(), 3, 3), (Picture{"#..", "##.", "###"}));
  EXPECT_EQ(picture(causal(1), 2, 4), (Picture{"##..", "###."}));
  EXPECT_EQ(picture(causal(-2), 3, 2), (Picture{"..", "..", "#."}));
  EXPECT_EQ(picture(exclude_self(), 2, 3), (Picture{".##", "#.#"}));
  EXPECT_EQ(picture(exclude_self(-1), 3, 2), (Picture{"##", ".#", "#."}));
  EXPECT_EQ(picture(window(1, 0), 4, 4), (Picture{"#...", "##..", ".##.", "..##"}));
  EXPECT_EQ(picture(window(0, 1, 1), 2, 4), (Picture{".##.", "..##"}));
  EXPECT_EQ(picture(window(std::numeric_limits<Index>::max(), 0), 3, 3), picture(causal(), 3, 3));
  EXPECT_EQ(picture(prefix_causal({2}), 3, 4), (Picture{"##..", "##..", "###."}));
  EXPECT_EQ(picture(prefix_causal({3, 1}), 2, 3, 1), (Picture{"#..", "##."}));
}

TEST(Visible, KeysBeforeTheFirstAreNot) {
  EXPECT_EQ(picture(Mask{.first_key = 2}, 2, 4), (Picture{"..##", "..##"}));
  EXPECT_EQ(picture(Mask{.causal_offset = 0, .first_key = 1, .prefix = {2}}, 3, 3),
            (Picture{".#.", ".#.", ".##"}));
}

TEST(Visible, LengthsPerBatchRow) {
  EXPECT_EQ(picture(key_lengths({3, 1}), 2, 3, 0), (Picture{"###", "###"}));
  EXPECT_EQ(picture(key_lengths({3, 1}), 2, 3, 1), (Picture{"#..", "#.."}));
  EXPECT_EQ(picture(query_lengths({2, 1}), 2, 2, 1), (Picture{"##", ".."}));
}

TEST(Visible, PartsGivenForEachQueryAndKey) {
  const auto query = row<std::int64_t>({7, 7, 8}), key = row<std::int64_t>({7, 8, 9});
  EXPECT_EQ(picture(documents(query, key), 3, 3), (Picture{"#..", "#..", ".#."}));
  EXPECT_EQ(picture(exclude_groups(query, key), 3, 3), (Picture{".##", ".##", "#.#"}));
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto now = row<double>({1, 2, nan}), then = row<double>({1, nan, 0.5});
  EXPECT_EQ(picture(before(now, then), 3, 3), (Picture{"..#", "#.#", "..."}));
  Array<std::int64_t, 2> rows({2, 1});
  rows(1, 0) = 5;
  const auto five = row<std::int64_t>({5});
  EXPECT_EQ(picture(documents(rows, five), 1, 1, 0), (Picture{"."}));
  EXPECT_EQ(picture(documents(rows, five), 1, 1, 1), (Picture{"#"}));
}

TEST(Visible, BlockMap) {
  BlockMap map{.query_block = 2, .key_block = 3, .allowed = Array<bool, 4>({1, 2, 2, 2})};
  map.allowed(0, 0, 0, 0) = map.allowed(0, 1, 1, 1) = true;
  const Mask mask = block_map(map);
  EXPECT_EQ(picture(mask, 3, 4, 5, 0), (Picture{"###.", "###.", "...."}));
  EXPECT_EQ(picture(mask, 3, 4, 5, 1), (Picture{"....", "....", "...#"}));
}

TEST(Visible, ArrayIsBroadcast) {
  Array<bool, 4> array({2, 1, 1, 3});
  array(0, 0, 0, 1) = array(1, 0, 0, 2) = true;
  EXPECT_EQ(picture(allowed(array), 2, 3, 0, 4), (Picture{".#.", ".#."}));
  EXPECT_EQ(picture(allowed(array), 1, 3, 1), (Picture{"..#"}));
  // Queries and keys exchanged in memory.
  Array<bool, 4> upper({1, 1, 2, 3});
  upper(0, 0, 0, 2) = true;
  const View<const bool, 4> flipped(upper.data(), {1, 1, 3, 2}, {6, 6, 1, 3});
  EXPECT_EQ(picture(allowed(flipped), 3, 2), (Picture{"..", "..", "#."}));
}

TEST(Visible, SequencesCountFromTheirOwnStart) {
  const std::vector<Index> query{0, 2, 2, 5}, key{0, 3, 4, 6};
  EXPECT_EQ(picture(ragged(query, key), 5, 6), (Picture{"###...", "###...", "....##", "....##", "....##"}));
  EXPECT_EQ(picture(ragged(query, key) & causal(), 5, 6),
            (Picture{"#.....", "##....", "....#.", "....##", "....##"}));
  EXPECT_EQ(picture(ragged(query, key) & exclude_self(), 5, 6),
            (Picture{".##...", "#.#...", ".....#", "....#.", "....##"}));
  EXPECT_EQ(picture(ragged(query, key) & window(0, 0), 5, 6),
            (Picture{"#.....", ".#....", "....#.", ".....#", "......"}));
  EXPECT_EQ(picture(ragged(query, key) & key_lengths({1, 1, 2}) & query_lengths({2, 0, 1}), 5, 6),
            (Picture{"#.....", "#.....", "....##", "......", "......"}));
  // Ids keep the packed index.
  const auto own = row<std::int64_t>({1, 1, 1, 1, 2}), other = row<std::int64_t>({1, 2, 2, 2, 2, 1});
  EXPECT_EQ(picture(ragged(query, key) & documents(own, other), 5, 6),
            (Picture{"#.....", "#.....", ".....#", ".....#", "....#."}));
}

TEST(Visible, PartsCompose) {
  EXPECT_EQ(picture(causal(1) & exclude_self() & key_lengths({3}), 3, 4), (Picture{".#..", "#.#.", "##.."}));
}

/// Rows [first, last) of the one batch row.
Array<double, 4> rows(const Array<double, 4>& x, Index first, Index last) {
  const Shape<4>& shape = x.shape();
  Array<double, 4> result({1, shape[1], last - first, shape[3]});
  for (Index h = 0; h < shape[1]; ++h) {
    for (Index i = first; i < last; ++i) {
      for (Index c = 0; c < shape[3]; ++c) result(0, h, i - first, c) = x(0, h, i, c);
    }
  }
  return result;
}

TEST(Ragged, IsTheSequencesApart) {
  for (int kind = 0; kind < test::kSmallSimilarities; ++kind) {
    SCOPED_TRACE(kind);
    test::SmallCall c =
        test::small_call(kind, test::Parts::all, 21, {.heads = 2, .key_heads = 1, .queries = 6, .keys = 8});
    const std::vector<Index> query{0, 2, 6}, key{0, 3, 8};
    c.options.adaptive = {};
    c.options.bias.array64 = {};
    c.options.mask = causal(1);
    AttentionOptions packed = c.options;
    packed.mask = causal(1) & ragged(query, key);
    const Array<double, 4> d_out = test::random_rows({1, 2, 6, 2}, 4);
    const auto whole = reference::attend(c.query, c.key, c.value, packed);
    const auto whole_gradients =
        reference::attend_backward(c.query, c.key, c.value, whole, {.out = d_out}, packed);
    double number = 0;
    for (std::size_t s = 0; s < 2; ++s) {
      c.options.dropout.first_batch = static_cast<Index>(s);
      const auto q = rows(c.query, query[s], query[s + 1]), k = rows(c.key, key[s], key[s + 1]),
                 v = rows(c.value, key[s], key[s + 1]), d = rows(d_out, query[s], query[s + 1]);
      const auto part = reference::attend(q, k, v, c.options);
      const auto gradients = reference::attend_backward(q, k, v, part, {.out = d}, c.options);
      EXPECT_TRUE(test::same_bits(rows(whole.out, query[s], query[s + 1]), part.out));
      for (Index i = query[s]; i < query[s + 1]; ++i)
        EXPECT_EQ(whole.lse(0, 1, i), part.lse(0, 1, i - query[s]));
      EXPECT_TRUE(test::same_bits(rows(whole_gradients.query, query[s], query[s + 1]), gradients.query));
      EXPECT_TRUE(test::same_bits(rows(whole_gradients.key, key[s], key[s + 1]), gradients.key));
      EXPECT_TRUE(test::same_bits(rows(whole_gradients.value, key[s], key[s + 1]), gradients.value));
      number += gradients.parameter;
    }
    EXPECT_NEAR(whole_gradients.parameter, number, 1e-13 * (1 + std::fabs(number)));
  }
}

TEST(RotaryScores, DependOnTheDistanceAlone) {
  test::SmallCall c = test::small_call(0, test::Parts::none, 31, {.queries = 5, .keys = 7, .depth = 6});
  for (const bool interleaved : {false, true}) {
    c.options.rotary = Rotary{.interleaved = interleaved};
    const auto here = reference::attend(c.query, c.key, c.value, c.options);
    c.options.rotary->query_offset = c.options.rotary->key_offset = 13;
    const auto there = reference::attend(c.query, c.key, c.value, c.options);
    c.options.rotary->key_offset = 14;
    const auto elsewhere = reference::attend(c.query, c.key, c.value, c.options);
    double moved = 0;
    for (Index i = 0; i < here.weight.size(); ++i) {
      EXPECT_NEAR(here.weight.data()[i], there.weight.data()[i], 1e-14);
      moved = std::max(moved, std::fabs(here.weight.data()[i] - elsewhere.weight.data()[i]));
    }
    EXPECT_GT(moved, 1e-3);
  }
}

// --- Dropout

TEST(Dropout, MeetsItsRate) {
  constexpr Index kSide = 300;
  for (const double rate : {0.1, 0.5, 0.9}) {
    const Dropout dropout{.rate = rate, .seed = 5};
    Index count = 0, pairs = 0;
    std::vector<Index> by_key(kSide);
    for (Index i = 0; i < kSide; ++i) {
      Index by_query = 0;
      for (Index j = 0; j < kSide; ++j) {
        const bool is_dropped = reference::dropped(dropout, 1, 2, i, j);
        by_query += is_dropped;
        by_key[static_cast<std::size_t>(j)] += is_dropped;
        // neighbors drop independently
        pairs += is_dropped && reference::dropped(dropout, 1, 2, i, j + 1);
      }
      count += by_query;
      EXPECT_NEAR(static_cast<double>(by_query), rate * kSide, 5 * std::sqrt(rate * (1 - rate) * kSide)) << i;
    }
    for (const Index n : by_key) {
      EXPECT_NEAR(static_cast<double>(n), rate * kSide, 5 * std::sqrt(rate * (1 - rate) * kSide));
    }
    constexpr double kAll = kSide * kSide;
    EXPECT_NEAR(static_cast<double>(count), rate * kAll, 5 * std::sqrt(rate * (1 - rate) * kAll));
    const double both = rate * rate;
    // twice the variance of independent draws: neighboring pairs share an element
    EXPECT_NEAR(static_cast<double>(pairs), both * kAll, 5 * std::sqrt(3 * both * (1 - both) * kAll));
  }
}

TEST(Dropout, LeavesTheExpectationAndTheWeights) {
  test::SmallCall c = test::small_call(0, test::Parts::none, 33, {.queries = 2, .keys = 5});
  const auto clean = reference::attend(c.query, c.key, c.value, c.options);
  constexpr int kDraws = 4000;
  Array<double, 4> mean(clean.out.shape()), square(clean.out.shape());
  for (int draw = 0; draw < kDraws; ++draw) {
    c.options.dropout = {.rate = 0.3, .seed = static_cast<std::uint64_t>(draw)};
    const auto r = reference::attend(c.query, c.key, c.value, c.options);
    ASSERT_TRUE(test::same_bits(r.weight, clean.weight));
    ASSERT_TRUE(test::same_bits(r.lse, clean.lse));
    ASSERT_TRUE(test::same_bits(r.entropy, clean.entropy));
    ASSERT_TRUE(test::same_bits(r.received, clean.received));
    for (Index i = 0; i < mean.size(); ++i) {
      mean.data()[i] += r.out.data()[i] / kDraws;
      square.data()[i] += r.out.data()[i] * r.out.data()[i] / kDraws;
    }
  }
  for (Index i = 0; i < mean.size(); ++i) {
    const double variance = square.data()[i] - mean.data()[i] * mean.data()[i];
    EXPECT_GT(variance, 0.01);
    EXPECT_NEAR(mean.data()[i], clean.out.data()[i], 5 * std::sqrt(variance / kDraws));
  }
}

TEST(Dropout, ActsWhereWeightsAverage) {
  test::SmallCall c = test::small_call(0, test::Parts::none, 34, {.queries = 3, .keys = 6});
  c.options.dropout = {.rate = 0.4, .seed = 1};
  const auto r = reference::attend(c.query, c.key, c.value, c.options);
  Index dropped = 0;
  for (Index i = 0; i < 3; ++i) {
    double out = 0, moment = 0, position = 0;
    for (Index j = 0; j < 6; ++j) {
      if (reference::dropped(c.options.dropout, 0, 0, i, j)) {
        ++dropped;
        continue;
      }
      const double weight = r.weight(0, 0, i, j) / 0.6, v = c.value(0, 0, j, 1);
      out += weight * v, moment += weight * v * v, position += weight * static_cast<double>(j);
    }
    EXPECT_NEAR(r.out(0, 0, i, 1), out, 1e-14);
    EXPECT_NEAR(r.second_moment(0, 0, i, 1), moment, 1e-14);
    EXPECT_NEAR(r.position(0, 0, i), position, 1e-14);
  }
  EXPECT_GT(dropped, 0);
}

TEST(Dropout, FollowsTheBatchRow) {
  test::SmallCall c = test::small_call(0, test::Parts::none, 35, {.batch = 2, .queries = 4, .keys = 9});
  c.options.dropout = {.rate = 0.5, .seed = 3};
  const auto both = reference::attend(c.query, c.key, c.value, c.options);
  const auto second = [](const Array<double, 4>& x) {
    return View<const double, 4>(&x(1, 0, 0, 0), {1, x.shape()[1], x.shape()[2], x.shape()[3]});
  };
  c.options.dropout.first_batch = 1;
  const auto alone = reference::attend(second(c.query), second(c.key), second(c.value), c.options);
  EXPECT_TRUE(test::same_bits(&both.out(1, 0, 0, 0), alone.out.data(), alone.out.size()));
  c.options.dropout.first_batch = 0;
  const auto other = reference::attend(second(c.query), second(c.key), second(c.value), c.options);
  EXPECT_FALSE(test::same_bits(other.out, alone.out));
}

}  // namespace
}  // namespace kith
