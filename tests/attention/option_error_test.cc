// Wrong options: the whole message of `check`, which all calls share.
#include <gtest/gtest.h>

#include <limits>

#include "attention/wrong_call.h"

namespace kith {
namespace {

using namespace test;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr Index kMost = std::numeric_limits<Index>::max();

TEST(Errors, SimilarityNumbers) {
  const auto with = [](const Similarity& similarity) {
    return [similarity](Call& c) { c.options.similarity = similarity; };
  };
  expect_wrong(with(Dot{kNan}), "scale: nan; it needs to be a finite number");
  expect_wrong(with(Dot{kInfinity}), "scale: inf; it needs to be a finite number");
  expect_wrong(with(Cosine{0}), "temperature: 0; it needs to be a finite positive number");
  expect_wrong(with(Cosine{-1.5}), "temperature: -1.5; it needs to be a finite positive number");
  expect_wrong(with(Gaussian{0}), "bandwidth: 0; it needs to be a finite positive number");
  expect_wrong(with(Gaussian{-1.5}), "bandwidth: -1.5; it needs to be a finite positive number");
  expect_wrong(with(Gaussian{kNan}), "bandwidth: nan; it needs to be a finite positive number");
  expect_wrong(with(Gaussian{kInfinity}), "bandwidth: inf; it needs to be a finite positive number");
  expect_wrong(with(Euclidean{0}), "temperature: 0; it needs to be a finite positive number");
  expect_wrong(with(Euclidean{-kInfinity}), "temperature: -inf; it needs to be a finite positive number");
  expect_wrong(with(Laplace{-2}), "bandwidth: -2; it needs to be a finite positive number");
  expect_wrong(with(Compact{CompactKernel::tricube, 0}),
               "bandwidth: 0; it needs to be a finite positive number");
  expect_wrong(with(Compact{static_cast<CompactKernel>(9), 1}),
               "kernel: number 9; it needs to be one of CompactKernel");
  expect_wrong(with(InverseDistance{0}), "power: 0; it needs to be a finite positive number");
  expect_wrong(with(InverseDistance{kNan}), "power: nan; it needs to be a finite positive number");
  expect_right(with(Dot{-2.0}));  // any finite scale is a scale
  expect_right(with(Dot{0.0}));
  expect_right(with(Uniform{}));
}

TEST(Errors, Bilinear) {
  const Filled<double, 2> matrix({4, 4}), narrow({4, 3}), infinite({4, 4}, kInfinity);
  const auto with = [](View<const double, 2> x, double scale = 1) {
    return [=](Call& c) { c.options.similarity = Bilinear{x, scale}; };
  };
  expect_wrong(with({}), "bilinear.matrix: shape [0, 0]; it needs [4, 4]");
  expect_wrong(with(narrow), "bilinear.matrix: shape [4, 3]; it needs [4, 4]");
  expect_wrong(with(null<double, 2>({4, 4})),
               "bilinear.matrix: no data (a null pointer) for 16 elements; it needs memory");
  expect_wrong(with(infinite), "bilinear.matrix: holds inf; it needs finite numbers");
  expect_wrong(with(matrix, kNan), "scale: nan; it needs to be a finite number");
  expect_right(with(matrix, -1));
  expect_right([&](Call& c) {  // keys of a depth of their own
    c.key.shape[3] = 3;
    c.options.similarity = Bilinear{narrow};
  });
}

TEST(Errors, Additive) {
  const Filled<double, 2> weight({5, 4}), other({6, 4}), narrow({5, 3}), bad({5, 4}, kNan);
  const Filled<double, 1> score({5}), bad_score({5}, -kInfinity);
  const auto with = [](View<const double, 2> q, View<const double, 2> k, View<const double, 1> u) {
    return [=](Call& c) { c.options.similarity = Additive{q, k, u}; };
  };
  expect_wrong(with(weight, weight, {}), "additive.score: 0 numbers; it needs at least 1");
  expect_wrong(with(other, weight, score), "additive.query_weight: shape [6, 4]; it needs [5, 4]");
  expect_wrong(with(weight, narrow, score), "additive.key_weight: shape [5, 3]; it needs [5, 4]");
  expect_wrong(with(null<double, 2>({5, 4}), weight, score),
               "additive.query_weight: no data (a null pointer) for 20 elements; it needs memory");
  expect_wrong(with(weight, weight, null<double, 1>({5})),
               "additive.score: no data (a null pointer) for 5 elements; it needs memory");
  expect_wrong(with(weight, bad, score), "additive.key_weight: holds nan; it needs finite numbers");
  expect_wrong(with(bad, weight, score), "additive.query_weight: holds nan; it needs finite numbers");
  expect_wrong(with(weight, weight, bad_score), "additive.score: holds -inf; it needs finite numbers");
  expect_right(with(weight, weight, score));
  expect_right([&](Call& c) {
    c.key.shape[3] = 3;
    c.options.similarity = Additive{weight, narrow, score};
  });
}

TEST(Errors, Metric) {
  const Filled<double, 2> matrix({4, 2}), wrong({3, 2}), bad({4, 2}, kNan);
  const auto with = [](const LearnedMetric& metric, const Similarity& similarity = Gaussian{}) {
    return [=](Call& c) {
      c.options.similarity = similarity;
      c.options.metric = metric;
    };
  };
  const std::vector<double> columns(4, 1.0);
  expect_wrong(with({columns, matrix}),
               "metric: column bandwidths and a matrix are given; it needs one of the two");
  expect_wrong(with({{1, 1, 1}, {}}),
               "metric.column_bandwidth: 3 numbers; it needs one for each of query's 4 columns");
  expect_wrong(with({{1, 1, 0, 1}, {}}),
               "metric.column_bandwidth: 0; it needs to be a finite positive number");
  expect_wrong(with({{}, wrong}), "metric.matrix: shape [3, 2]; it needs [4, any]");
  expect_wrong(with({{}, null<double, 2>({4, 0})}), "metric.matrix: 0 columns; it needs at least 1");
  expect_wrong(with({{}, null<double, 2>({4, 2})}),
               "metric.matrix: no data (a null pointer) for 8 elements; it needs memory");
  expect_wrong(with({{}, bad}), "metric.matrix: holds nan; it needs finite numbers");
  expect_wrong(
      with({{}, View<const double, 2>(matrix.memory.data(), {4, Index{1} << 52}, {0, 0})}),
      "metric: the mapped queries: shape [2, 8, 5, 4503599627370496] has too many elements to address; it "
      "needs fewer than 2^57");
  expect_wrong(with({columns, {}}, Uniform{}),
               "metric: given with uniform similarity; it needs dot, cosine or a distance");
  const Filled<double, 2> bilinear({4, 4});
  expect_wrong(with({columns, {}}, Bilinear{bilinear}),
               "metric: given with bilinear similarity; it needs dot, cosine or a distance");
  for (const Similarity& similarity : {Similarity{Dot{}}, Similarity{Cosine{}}, Similarity{Laplace{}},
                                       Similarity{Compact{}}, Similarity{InverseDistance{}}}) {
    expect_right(with({columns, {}}, similarity));
    expect_right(with({{}, matrix}, similarity));
  }
}

TEST(Errors, AdaptiveBandwidths) {
  const Filled<double, 3> query({2, 8, 5}), key({1, 1, 7}), wrong({2, 4, 5}), zero({2, 8, 5}, 0.0);
  const auto with = [](const AdaptiveBandwidth& adaptive, const Similarity& similarity = Gaussian{}) {
    return [=](Call& c) {
      c.options.similarity = similarity;
      c.options.adaptive = adaptive;
    };
  };
  expect_wrong(with({wrong, {}}), "adaptive.query: shape [2, 4, 5]; it needs [2 or 1, 8 or 1, 5]");
  expect_wrong(with({{}, query}), "adaptive.key: shape [2, 8, 5]; it needs [2 or 1, 4 or 1, 7]");
  expect_wrong(with({zero, {}}), "adaptive.query: holds 0; it needs finite positive numbers");
  expect_wrong(with({null<double, 3>({1, 1, 5}), {}}),
               "adaptive.query: no data (a null pointer) for 5 elements; it needs memory");
  expect_wrong(
      with({query, {}}, Uniform{}),
      "adaptive: given with uniform similarity; it needs one with a bandwidth, temperature or scale");
  expect_right(with({query, key}));
  Filled<double, 3> one_bad({1, 1, 7});
  one_bad.memory(0, 0, 6) = kInfinity;
  expect_wrong(with({{}, one_bad}), "adaptive.key: holds inf; it needs finite positive numbers");
}

TEST(Errors, Rotary) {
  const auto with = [](const Rotary& rotary) { return [=](Call& c) { c.options.rotary = rotary; }; };
  expect_wrong(with({.base = 0}), "rotary.base: 0; it needs to be a finite positive number");
  expect_wrong(with({.scaling = -1}), "rotary.scaling: -1; it needs to be a finite positive number");
  expect_wrong(with({.columns = -2}), "rotary.columns: -2; it needs to be at least 0");
  expect_wrong(with({.columns = 3}), "rotary.columns: 3 of query; it needs an even number");
  expect_wrong(with({.columns = 6}), "rotary.columns: 6; it needs at most query's 4 columns");
  expect_wrong(
      [](Call& c) {
        c.query.shape[3] = c.key.shape[3] = 3;
        c.options.rotary = Rotary{};
      },
      "rotary.columns: 3 of query; it needs an even number");
  expect_wrong(with({.frequency = {1}}),
               "rotary.frequency: 1 numbers; it needs one for each of query's 2 pairs");
  expect_wrong(with({.frequency = {1, kNan}}), "rotary.frequency: nan; it needs to be a finite number");
  expect_wrong(
      with({.query_offset = kMost}),
      "rotary.query_offset: offset 9223372036854775807 is out of range; it needs to be within +-2^60");
  expect_wrong(
      with({.key_offset = -kMost}),
      "rotary.key_offset: offset -9223372036854775807 is out of range; it needs to be within +-2^60");
  const Filled<Index, 2> positions({1, 5});
  expect_wrong(with({.key_position = positions}), "rotary.key_position: shape [1, 5]; it needs [2 or 1, 7]");
  expect_wrong(with({.query_position = null<Index, 2>({2, 5})}),
               "rotary.query_position: no data (a null pointer) for 10 elements; it needs memory");
  expect_right(with({.columns = 2, .frequency = {1}, .query_position = positions}));
}

TEST(Errors, BiasArrays) {
  const Filled<float, 4> array({1, 8, 5, 1}), wrong({2, 4, 5, 7});
  const Filled<double, 4> array64({2, 1, 1, 7});
  const auto with = [](const Bias& bias) { return [=](Call& c) { c.options.bias = bias; }; };
  expect_wrong(with({.array = wrong}),
               "bias.array: shape [2, 4, 5, 7]; it needs [2 or 1, 8 or 1, 5 or 1, 7 or 1]");
  expect_wrong(with({.array = array, .array64 = array64}),
               "bias: array and array64 are given; it needs one of the two");
  expect_wrong(with({.array64 = null<double, 4>({1, 1, 5, 7})}),
               "bias.array64: no data (a null pointer) for 35 elements; it needs memory");
  expect_right(with({.array = array}));
  expect_right(with({.array64 = array64}));
}

TEST(Errors, PositionBiases) {
  const auto with = [](const Bias& bias) { return [=](Call& c) { c.options.bias = bias; }; };
  const Filled<double, 2> table({8, 5}), wrong({4, 5}), bad({1, 4}, kNan), one({1, 1}), odd({1, 5});
  expect_wrong(with({.relative = RelativeTable{wrong, 2}}),
               "bias.relative.table: shape [4, 5]; it needs [8 or 1, any]");
  expect_wrong(with({.relative = RelativeTable{table, 5}}),
               "bias.relative.left: 5; it needs to be one of the table's 5 columns");
  expect_wrong(with({.relative = RelativeTable{table, -1}}),
               "bias.relative.left: -1; it needs to be one of the table's 5 columns");
  expect_wrong(with({.relative = RelativeTable{bad, 1}}),
               "bias.relative.table: holds nan; it needs finite numbers");
  expect_wrong(with({.t5 = T5Buckets{one, false}}), "bias.t5.table: 1 buckets; it needs at least 2");
  expect_wrong(with({.t5 = T5Buckets{odd, true}}),
               "bias.t5.table: 5 buckets; it needs at least 2, an even number for both directions");
  expect_wrong(with({.t5 = T5Buckets{table, false, 2}}),
               "bias.t5.max_distance: 2; it needs to be above the 2 exact distances");
  expect_wrong(with({.t5 = T5Buckets{bad, true}}), "bias.t5.table: holds nan; it needs finite numbers");
  expect_wrong(with({.alibi = {1, 2, 3}}),
               "bias.alibi: 3 slopes; it needs 1 or one for each of query's 8 heads");
  expect_wrong(with({.alibi = {kInfinity}}), "bias.alibi: inf; it needs to be a finite number");
  expect_wrong(with({.offset = kMost}),
               "bias.offset: offset 9223372036854775807 is out of range; it needs to be within +-2^60");
  expect_right(with({.relative = RelativeTable{table, 4}, .alibi = {0.5}, .offset = Index{1} << 60}));
  expect_right(with({.t5 = T5Buckets{table, false, 3}}));
}

TEST(Errors, NumbersOfACall) {
  const auto with = [](const AttentionOptions& options) { return [=](Call& c) { c.options = options; }; };
  expect_wrong(with({.soft_cap = -1}),
               "soft_cap: -1; it needs to be a finite positive number, or 0 for none");
  expect_wrong(with({.soft_cap = kNan}),
               "soft_cap: nan; it needs to be a finite positive number, or 0 for none");
  expect_wrong(with({.sink = {1, 2}}), "sink: 2 logits; it needs 1 or one for each of query's 8 heads");
  expect_wrong(with({.sink = {kNan}}), "sink: nan; it needs to be a finite number or -inf");
  expect_wrong(with({.sink = {kInfinity}}), "sink: inf; it needs to be a finite number or -inf");
  expect_wrong(with({.dropout = {.rate = 1}}), "dropout.rate: 1; it needs to be at least 0 and below 1");
  expect_wrong(with({.dropout = {.rate = -0.5}}),
               "dropout.rate: -0.5; it needs to be at least 0 and below 1");
  expect_wrong(with({.dropout = {.rate = kNan}}), "dropout.rate: nan; it needs to be at least 0 and below 1");
  expect_wrong(with({.dropout = {.first_batch = -1}}), "dropout.first_batch: -1; it needs to be at least 0");
  expect_wrong(with({.want = {.top = -1}}), "top: -1 is negative; it needs 0 to key's 7 rows");
  expect_wrong(with({.want = {.top = 8}}), "top: 8 is more than key's 7 rows");
  expect_wrong(with({.threads = -1}), "threads: -1 is negative; it needs a number, or 0 for all");
  expect_right(with({.sink = {-kInfinity}, .want = {.top = 7}}));
}

TEST(Errors, MaskNumbers) {
  const auto with = [](const Mask& mask) { return [=](Call& c) { c.options.mask = mask; }; };
  expect_wrong(with(causal(kMost)),
               "causal: offset 9223372036854775807 is out of range; it needs to be within +-2^60");
  expect_wrong(with(exclude_self(-kMost)),
               "exclude_self: offset -9223372036854775807 is out of range; it needs to be within +-2^60");
  expect_wrong(with(window(0, 0, kMost)),
               "window: offset 9223372036854775807 is out of range; it needs to be within +-2^60");
  expect_wrong(with(window(-1, 0)), "window.left: -1; it needs to be at least 0");
  expect_wrong(with(window(0, -3)), "window.right: -3; it needs to be at least 0");
  expect_wrong(with({.first_key = 8}), "first_key: 8; it needs 0 to key's 7 rows");
  expect_wrong(with({.first_key = -1}), "first_key: -1; it needs 0 to key's 7 rows");
  expect_wrong(with(key_lengths({7})), "key_length: 1 lengths for a batch of 2; it needs one each");
  expect_wrong(with(key_lengths({7, 7, 7})), "key_length: 3 lengths for a batch of 2; it needs one each");
  expect_wrong(with(key_lengths({7, -1})), "key_length: -1 in batch row 1; it needs 0 to key's 7 rows");
  expect_wrong(with(key_lengths({8, 7})), "key_length: 8 in batch row 0; it needs 0 to key's 7 rows");
  expect_wrong(with(query_lengths({5, 6})), "query_length: 6 in batch row 1; it needs 0 to query's 5 rows");
  expect_wrong(with({.prefix = {2}}),
               "prefix: given without a causal offset; it needs one, as in prefix_causal()");
  expect_wrong(with(prefix_causal({1, 2, 3})), "prefix: 3 numbers for a batch of 2; it needs one each");
  expect_wrong(with(prefix_causal({-1})), "prefix: -1; it needs 0 to key's 7 rows");
  expect_right(with(prefix_causal({7}) & window(kMost, kMost)));
  expect_right(with(key_lengths({0, 7}) & query_lengths({5, 0})));
}

TEST(Errors, RaggedMasks) {
  const auto with = [](const Mask& mask, Index batch = 1) {
    return [=](Call& c) {
      c.query.shape[0] = c.key.shape[0] = c.value.shape[0] = batch;
      c.options.mask = mask;
    };
  };
  expect_wrong(with(ragged({0, 5}, {0, 7}), 2), "ragged: a batch of 2; it needs 1, all sequences in one row");
  expect_wrong(with(ragged({0, 4}, {0, 7})),
               "ragged.query: from 0 to 4; it needs to go from 0 to query's 5 rows");
  expect_wrong(with(ragged({0, 5}, {1, 7})),
               "ragged.key: from 1 to 7; it needs to go from 0 to key's 7 rows");
  expect_wrong(with(ragged({0, 5}, {})), "ragged.key: no offsets; it needs 0 to key's 7 rows");
  expect_wrong(with(ragged({0, 4, 3, 5}, {0, 1, 2, 7})),
               "ragged.query: 4 comes before 3; it needs to ascend");
  expect_wrong(with(ragged({0, 3, 5}, {0, 7})),
               "ragged: 2 sequences of queries and 1 of keys; it needs as many");
  const Mask two = ragged({0, 3, 5}, {0, 2, 7});
  expect_wrong(with(two & key_lengths({2})), "key_length: 1 lengths for 2 sequences; it needs one each");
  expect_wrong(with(two & key_lengths({3, 5})), "key_length: 3 in sequence 0; it needs 0 to key's 2 rows");
  expect_right(with(two & key_lengths({2, 5}) & query_lengths({3, 1})));
  expect_right(with(ragged({0, 0, 5, 5}, {0, 7, 7, 7})));
}

TEST(Errors, MaskArrays) {
  const auto with = [](const Mask& mask) { return [=](Call& c) { c.options.mask = mask; }; };
  const Filled<std::int64_t, 2> ids5({1, 5}), ids7({2, 7}), ids3({3, 7});
  const Filled<double, 2> times5({1, 5}), times7({1, 7});
  const Filled<bool, 4> allow({2, 1, 5, 7}), wrong({2, 1, 4, 7});
  expect_wrong(with(documents(ids7, ids7)), "documents.query: shape [2, 7]; it needs [2 or 1, 5]");
  expect_wrong(with(documents(ids5, {})), "documents.key: shape [0, 0]; it needs [2 or 1, 7]");
  expect_wrong(with(exclude_groups(ids5, ids3)), "groups.key: shape [3, 7]; it needs [2 or 1, 7]");
  expect_wrong(with(exclude_groups(null<std::int64_t, 2>({1, 5}), ids7)),
               "groups.query: no data (a null pointer) for 5 elements; it needs memory");
  expect_wrong(with(before(times7, times7)), "times.query: shape [1, 7]; it needs [2 or 1, 5]");
  expect_wrong(with(before(times5, times5)), "times.key: shape [1, 5]; it needs [2 or 1, 7]");
  expect_wrong(with(block_map({0, 3, Array<bool, 4>({1, 1, 2, 3})})),
               "blocks.query_block: 0; it needs to be at least 1");
  expect_wrong(with(block_map({3, -3, Array<bool, 4>({1, 1, 2, 3})})),
               "blocks.key_block: -3; it needs to be at least 1");
  expect_wrong(with(block_map({3, 3, Array<bool, 4>({1, 1, 2, 2})})),
               "blocks.allowed: shape [1, 1, 2, 2]; it needs [2 or 1, 8 or 1, 2, 3]");
  expect_wrong(with(allowed(wrong)),
               "allowed: shape [2, 1, 4, 7]; it needs [2 or 1, 8 or 1, 5 or 1, 7 or 1]");
  expect_wrong(with(allowed(null<bool, 4>({1, 1, 5, 7}))),
               "allowed: no data (a null pointer) for 35 elements; it needs memory");
  expect_wrong(
      with(allowed(View<const bool, 4>(allow.memory.data(), {1, 1, 5, 7}, {0, 0, kMost, 1}))),
      "allowed: strides [0, 0, 9223372036854775807, 1] of shape [1, 1, 5, 7] lead out of the address "
      "space; it needs memory for all");
  expect_right(with(documents(ids5, ids7) & before(times5, times7) & allowed(allow)));
  expect_right(with(block_map({3, 3, Array<bool, 4>({1, 8, 2, 3})})));
}

TEST(Errors, MasksInConflict) {
  const Filled<std::int64_t, 2> ids({1, 4}), others({1, 4});
  const Filled<double, 2> times({1, 4}), other_times({1, 4});
  const Filled<bool, 4> allow({1, 1, 4, 4}), other_allow({1, 1, 4, 4});
  const auto expect_conflict = [](const Mask& a, const Mask& b, const std::string& message) {
    expect_message([&] { static_cast<void>(a & b); }, message);
  };
  expect_conflict(causal(1), causal(2), "mask: causal is given twice, with offsets 1 and 2");
  expect_conflict(causal(), prefix_causal({2}), "mask: causal is given twice, with different prefixes");
  expect_conflict(exclude_self(0), exclude_self(4),
                  "mask: exclude_self is given twice, with offsets 0 and 4");
  expect_conflict({.first_key = 1}, {.first_key = 2}, "mask: first_key is given twice, with 1 and 2");
  expect_conflict(key_lengths({1, 2}), key_lengths({1, 3}),
                  "mask: key_length is given twice, with different lengths");
  expect_conflict(query_lengths({1}), query_lengths({2}),
                  "mask: query_length is given twice, with different lengths");
  expect_conflict({.prefix = {1}}, {.prefix = {2}}, "mask: prefix is given twice, with different numbers");
  expect_conflict(window(1, 2), window(1, 3), "mask: window is given twice, with different numbers");
  expect_conflict(ragged({0, 1}, {0, 1}), ragged({0, 1}, {0, 2}),
                  "mask: ragged is given twice, with different offsets");
  expect_conflict(documents(ids, ids), documents(ids, others),
                  "mask: documents is given twice, with different arrays");
  expect_conflict(exclude_groups(ids, ids), exclude_groups(others, ids),
                  "mask: groups is given twice, with different arrays");
  expect_conflict(before(times, times), before(times, other_times),
                  "mask: times is given twice, with different arrays");
  expect_conflict(dilated(4, 4, 1, 1, 1), dilated(4, 4, 1, 2, 1),
                  "mask: block map is given twice, with different blocks");
  expect_conflict(allowed(allow), allowed(other_allow),
                  "mask: allowed is given twice, with different arrays");
}

TEST(Errors, BlockPatterns) {
  expect_message([] { dilated(-1, 4, 1, 1, 1); }, "queries: -1; it needs to be at least 0");
  expect_message([] { dilated(4, -4, 1, 1, 1); }, "keys: -4; it needs to be at least 0");
  expect_message([] { dilated(4, 4, 0, 1, 1); }, "block: 0; it needs to be at least 1");
  expect_message([] { dilated(4, 4, 1, 0, 1); }, "dilation: 0; it needs to be at least 1");
  expect_message([] { dilated(4, 4, 1, 1, -1); }, "reach: -1; it needs to be at least 0");
  expect_message([] { global_tokens(4, 4, 1, -1, 1); }, "global: -1; it needs to be at least 0");
  constexpr Index kHuge = Index{1} << 40;
  expect_message([] { global_tokens(kHuge, kHuge, 1, 1, 1); },
                 "block: 1 makes a map of 1099511627776 by 1099511627776 blocks; it needs to be larger");
}

TEST(Errors, DescribedMasks) {
  expect_message([] { describe(causal(), -1, 4); }, "queries: -1; it needs to be at least 0");
  expect_message([] { describe(causal(), 4, 4, 0); }, "most: 0; it needs to be at least 1");
  expect_message([] { describe(key_lengths({5}), 4, 4); },
                 "key_length: 5 in batch row 0; it needs 0 to key's 4 rows");
  expect_message(
      [] {
        describe(key_lengths({4, 4}), 4, 4, 64, 2);
      },
      "b: 2; it needs to be one of the mask's 2 batch rows");
  expect_message(
      [] {
        describe(ragged({0, 4}, {0, 4}), 4, 4, 64, 1);
      },
      "b: 1; it needs to be one of the mask's 1 sequences");
  expect_message(
      [] {
        describe(block_map({4, 4, Array<bool, 4>({1, 2, 1, 1})}), 4, 4, 64, 0, 2);
      },
      "h: 2; it needs to be one of the mask's 2 heads");
  expect_message([] { describe(causal(), 4, 4, 64, -1); },
                 "b: -1; it needs to be one of the mask's 1 batch rows");
}

}  // namespace
}  // namespace kith
