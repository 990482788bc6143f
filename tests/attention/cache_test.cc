#include "kith/cache.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "attention/check.h"
#include "attention/kernels/kernels.h"

namespace kith {
namespace {

constexpr Index kPage = kernels::kKeyChunk;

Array<float, 4> normal(const Shape<4>& shape, unsigned seed) {
  Array<float, 4> x(shape);
  std::mt19937 random(seed);
  std::normal_distribution<float> draw;
  for (float& value : x) value = draw(random);
  return x;
}

/// Rows [first, last) of every head.
View<const float, 4> rows(const Array<float, 4>& x, Index first, Index last) {
  View<const float, 4> part = x.view();
  part.data += first * part.stride[2];
  part.shape[2] = last - first;
  return part;
}

/// Rows [first, last) of `full` are, bit for bit, those of `part`.
template <int R>
void expect_same_rows(const Array<float, R>& part, const Array<float, R>& full, Index first,
                      const char* what) {
  const Index heads = full.shape()[0] * full.shape()[1];
  const Index columns = R == 4 ? full.shape()[3] : 1;
  const Index part_row = part.shape()[2] * columns, full_row = full.shape()[2] * columns;
  for (Index h = 0; h < heads; ++h) {
    EXPECT_EQ(0, std::memcmp(part.data() + h * part_row, full.data() + h * full_row + first * columns,
                             static_cast<std::size_t>(part_row) * sizeof(float)))
        << what << " differs in head " << h;
  }
}

struct Sizes {
  Index batch = 2, heads = 4, key_heads = 2, keys = 0, depth = 16, value_depth = 24;
};

struct Data {
  explicit Data(const Sizes& s)
      : query(normal({s.batch, s.heads, s.keys, s.depth}, 1)),
        key(normal({s.batch, s.key_heads, s.keys, s.depth}, 2)),
        value(normal({s.batch, s.key_heads, s.keys, s.value_depth}, 3)) {}
  Array<float, 4> query, key, value;
};

// Decodes in uneven steps and compares each step with the same rows of the full causal pass.
void decode_equals_full(const Sizes& sizes, const AttentionOptions& options) {
  const Data data(sizes);
  const AttentionResult full = attend(data.query, data.key, data.value, options);
  KeyValueCache cache(sizes.batch, sizes.key_heads, sizes.depth, sizes.value_depth);
  Index length = 0;
  for (const Index step : {Index{1}, Index{1}, Index{7}, Index{24}, Index{100}, sizes.keys}) {
    const Index next = std::min(sizes.keys, length + step);
    cache.append(rows(data.key, length, next), rows(data.value, length, next));
    ASSERT_EQ(cache.length(), next);
    const AttentionResult part = cache.attend(rows(data.query, length, next), options);
    expect_same_rows(part.out, full.out, length, "out");
    if (options.want.lse) expect_same_rows(part.lse, full.lse, length, "lse");
    length = next;
  }
}

TEST(CacheTest, DecodingEqualsTheFullPassBitForBit) {
  decode_equals_full({.keys = 300}, {.mask = causal(), .want = {.lse = true}});
  decode_equals_full({.keys = 2100}, {.mask = causal(), .want = {.lse = true}});
  decode_equals_full({.heads = 6, .key_heads = 1, .keys = 200, .depth = 5, .value_depth = 3},
                     {.mask = causal(), .want = {.lse = true}});
}

TEST(CacheTest, DecodingEqualsTheFullPassWithPositionsAndOtherSimilarities) {
  AttentionOptions options{.mask = causal() & window(50, 0), .want = {.lse = true}};
  options.rotary = Rotary{};
  options.bias.alibi = alibi_slopes(4);
  options.soft_cap = 5;
  options.sink = {0.5};
  decode_equals_full({.keys = 260}, options);
  options.similarity = Gaussian{3};
  decode_equals_full({.keys = 260}, options);
  options.similarity = Cosine{0.2};
  decode_equals_full({.keys = 260}, options);
}

TEST(CacheTest, SlidingEvictionEqualsTheFullPassWithAWindow) {
  const Sizes sizes{.keys = 2 * kPage + 77};
  const Data data(sizes);
  const Index left = 60;
  AttentionOptions options{.mask = causal() & window(left, 0), .want = {.lse = true, .top = 3}};
  options.rotary = Rotary{.base = 500};
  options.bias.alibi = {0.1};
  const AttentionResult full = attend(data.query, data.key, data.value, options);
  KeyValueCache cache(sizes.batch, sizes.key_heads, sizes.depth, sizes.value_depth);
  for (Index length = 0; length < sizes.keys;) {
    const Index next = std::min(sizes.keys, length + 513);
    cache.append(rows(data.key, length, next), rows(data.value, length, next));
    const AttentionResult part = cache.attend(rows(data.query, length, next), options);
    expect_same_rows(part.out, full.out, length, "out");
    expect_same_rows(part.lse, full.lse, length, "lse");
    for (Index i = length; i < next; ++i)
      EXPECT_EQ(part.top_key(1, 3, i - length, 0), full.top_key(1, 3, i, 0));
    cache.evict(std::max<Index>(0, next - left));
    EXPECT_EQ(cache.first(), std::max<Index>(0, next - left));
    length = next;
  }
  // Two pages of five are still held: the one where the window begins and the one where it ends.
  KeyValueCache one_page(sizes.batch, sizes.key_heads, sizes.depth, sizes.value_depth);
  one_page.append(rows(data.key, 0, 1), rows(data.value, 0, 1));
  EXPECT_LE(cache.bytes(), 2 * one_page.bytes());
}

TEST(CacheTest, EvictedKeysHaveNoInfluence) {
  const Sizes sizes{.keys = kPage + 200};
  Data data(sizes);
  const Index gone = kPage + 50;
  for (Index h = 0; h < 2; ++h) data.value(1, h, gone - 1, 0) = data.key(1, h, 3, 0) = std::nanf("");
  KeyValueCache cache(sizes.batch, sizes.key_heads, sizes.depth, sizes.value_depth);
  cache.append(data.key, data.value);
  cache.evict(gone);
  AttentionOptions options;
  options.want = {.lse = true, .received = true, .position = true};
  const auto part = cache.attend(rows(data.query, sizes.keys - 5, sizes.keys), options);
  const auto alone = attend(rows(data.query, sizes.keys - 5, sizes.keys), rows(data.key, gone, sizes.keys),
                            rows(data.value, gone, sizes.keys), options);
  ASSERT_EQ(part.received.shape()[2], sizes.keys);
  for (Index i = 0; i < 5; ++i) {
    EXPECT_NEAR(part.out(1, 2, i, 0), alone.out(1, 2, i, 0), 1e-6);
    EXPECT_NEAR(part.position(1, 2, i), alone.position(1, 2, i) + static_cast<float>(gone), 1e-2);
  }
  EXPECT_EQ(part.received(1, 2, gone - 1), 0);
  EXPECT_NEAR(part.received(1, 2, gone + 3), alone.received(1, 2, 3), 1e-6);
}

/// What a call with evicted keys may hold beside them, with memory for its views.
struct Parts {
  explicit Parts(const Sizes& s, Index queries)
      : ids({s.batch, queries}),
        key_ids({s.batch, s.keys}),
        stamps({s.batch, queries}),
        key_stamps({s.batch, s.keys}),
        allowed({1, s.heads, queries, s.keys}),
        bias({s.batch, 1, queries, s.keys}),
        table({s.heads, 21}),
        t5({1, 8}),
        bandwidths({s.batch, s.key_heads, s.keys}),
        positions({1, s.keys}) {
    std::mt19937 random(5);
    const auto draw = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    for (auto* list : {&ids, &key_ids}) {
      for (std::int64_t& id : *list) id = draw(3);
    }
    for (double& x : stamps) x = 5 + draw(50);
    for (double& x : key_stamps) x = draw(50);
    for (bool& x : allowed) x = draw(3) > 0;
    for (float& x : bias) x = static_cast<float>(draw(100)) / 50;
    for (double& x : table) x = draw(100) / 50.0;
    for (double& x : t5) x = draw(100) / 50.0;
    for (double& x : bandwidths) x = 1 + draw(100) / 50.0;
    for (Index j = 0; j < s.keys; ++j) positions(0, j) = 3 * j % 1000;
  }
  Array<std::int64_t, 2> ids, key_ids;
  Array<double, 2> stamps, key_stamps;
  Array<bool, 4> allowed;
  Array<float, 4> bias;
  Array<double, 2> table, t5;
  Array<double, 3> bandwidths;
  Array<Index, 2> positions;

  /// Each part alone.
  std::vector<std::pair<const char*, AttentionOptions>> options(const Sizes& s, Index queries) const {
    std::vector<std::pair<const char*, AttentionOptions>> list;
    const auto add = [&](const char* name) -> AttentionOptions& {
      return list.emplace_back(name, AttentionOptions{}).second;
    };
    const Index edge = s.keys - 40;
    add("causal").mask = causal();
    add("window").mask = window(70, 1);
    add("self").mask = exclude_self();
    add("prefix").mask = prefix_causal({edge, edge + 10}, -100);
    add("lengths").mask = key_lengths({edge, edge + 20});
    add("documents").mask = documents(ids, key_ids);
    add("groups").mask = exclude_groups(ids, key_ids);
    add("times").mask = before(stamps, key_stamps);
    BlockMap map{.query_block = 7, .key_block = 60, .allowed = {}};
    map.allowed = Array<bool, 4>({1, s.heads, (queries + 6) / 7, (s.keys + 59) / 60});
    for (Index n = 0; n < map.allowed.size(); ++n) map.allowed.data()[n] = n % 3 != 1;
    add("blocks").mask = block_map(std::move(map));
    add("allowed").mask = kith::allowed(allowed);
    add("bias").bias.array = bias;
    add("relative").bias.relative = RelativeTable{table, 18};
    add("t5").bias.t5 = T5Buckets{.table = t5, .bidirectional = true, .max_distance = 100};
    add("alibi").bias.alibi = alibi_slopes(s.heads);
    AttentionOptions& gaussian = add("bandwidths");
    gaussian.similarity = Gaussian{2};
    gaussian.adaptive.key = bandwidths;
    add("rotary").rotary = Rotary{.base = 100};
    add("positions").rotary = Rotary{.base = 100, .key_position = positions};
    add("sink").sink = {0.5, 1, 4, 6};
    return list;
  }
};

// Every part of the options counts positions of the whole sequence, whether or not its first keys are there.
TEST(CacheTest, EvictionMovesEveryPartOfTheOptions) {
  const Sizes sizes{.keys = kPage + 200};
  const Data data(sizes);
  const Index gone = kPage + 37;
  KeyValueCache cache(sizes.batch, sizes.key_heads, sizes.depth, sizes.value_depth);
  cache.append(data.key, data.value);
  cache.evict(gone);
  for (const Index count : {5, 30}) {  // read from the pages, and from a copy
    const View<const float, 4> query = rows(data.query, sizes.keys - count, sizes.keys);
    const Parts parts(sizes, count);
    for (const auto& part : parts.options(sizes, count)) {
      SCOPED_TRACE(testing::Message() << part.first << ", " << count << " queries");
      AttentionOptions options = part.second;
      options.want = {.lse = true, .top = 3, .entropy = true};
      const auto compare = [&] {
        const AttentionResult kept = cache.attend(query, options);
        AttentionOptions full = options;
        const Index past = sizes.keys - count;
        full.mask.first_key = gone;
        if (full.mask.causal_offset) *full.mask.causal_offset += past;
        if (full.mask.self_offset) *full.mask.self_offset += past;
        if (full.mask.window) full.mask.window->offset += past;
        full.bias.offset += past;
        if (full.rotary) full.rotary->query_offset += past;
        const AttentionResult whole = attend(query, data.key, data.value, full);
        expect_same_rows(kept.out, whole.out, 0, "out");
        expect_same_rows(kept.lse, whole.lse, 0, "lse");
        expect_same_rows(kept.entropy, whole.entropy, 0, "entropy");
        EXPECT_TRUE(std::equal(kept.top_key.begin(), kept.top_key.end(), whole.top_key.begin()));
        if (kept.received.empty()) return;
        ASSERT_EQ(kept.received.shape(), whole.received.shape());
        expect_same_rows(kept.received, whole.received, 0, "received");
        for (Index n = 0; n < kept.position.size(); ++n) {
          EXPECT_NEAR(kept.position.data()[n], whole.position.data()[n], 2e-3) << n;
        }
      };
      compare();
      options.want.received = options.want.position = true;
      compare();
    }
  }
}

// A few queries read the pages where they are, more of them a gathered copy: no bit shows which.
TEST(CacheTest, FewAndManyQueriesReadTheSameRows) {
  using Storage = KeyValueCache::Storage;
  const Index length = 2 * kPage + 77;
  for (const Storage storage : {Storage::float32, Storage::bfloat16, Storage::float16}) {
    for (const Index value_depth : {24, 16, 5}) {
      for (const bool finite : {true, false}) {
        const Sizes sizes{.keys = length, .value_depth = value_depth};
        Data data(sizes);
        if (!finite) {
          data.value(1, 0, kPage + 3, 1) = INFINITY;
          data.value(0, 1, length - 1, 0) = NAN;
        }
        KeyValueCache cache(sizes.batch, sizes.key_heads, sizes.depth, sizes.value_depth, storage);
        cache.append(data.key, data.value);
        const Array<float, 4> key = cache.key(), value = cache.value();
        for (const Index count : {1, 5, 24, 25}) {
          const View<const float, 4> query = rows(data.query, length - count, length);
          AttentionOptions options{.mask = causal(), .want = {.lse = true, .top = 2, .entropy = true}};
          const AttentionResult cached = cache.attend(query, options);
          options.mask = causal(length - count);
          const AttentionResult plain = attend(query, key, value, options);
          SCOPED_TRACE(count);
          expect_same_rows(cached.out, plain.out, 0, "out");
          expect_same_rows(cached.lse, plain.lse, 0, "lse");
          expect_same_rows(cached.entropy, plain.entropy, 0, "entropy");
          EXPECT_TRUE(std::equal(cached.top_key.begin(), cached.top_key.end(), plain.top_key.begin()));
        }
      }
    }
  }
}

TEST(CacheTest, TruncateForgets) {
  const Sizes sizes{.keys = kPage + 30};
  const Data data(sizes);
  KeyValueCache cache(sizes.batch, sizes.key_heads, sizes.depth, sizes.value_depth);
  cache.append(data.key, data.value);
  const std::size_t two_pages = cache.bytes();
  cache.truncate(100);
  EXPECT_EQ(cache.length(), 100);
  EXPECT_EQ(2 * cache.bytes(), two_pages);
  cache.append(rows(data.key, 100, 150), rows(data.value, 100, 150));
  const auto part = cache.attend(rows(data.query, 149, 150), {});
  const auto full = attend(rows(data.query, 149, 150), rows(data.key, 0, 150), rows(data.value, 0, 150), {});
  expect_same_rows(part.out, full.out, 0, "out");
  EXPECT_THROW(cache.truncate(151), Error);
  EXPECT_THROW(cache.truncate(-1), Error);
}

TEST(CacheTest, CopiesShareTheirPrefixAndPartWhenTheyWrite) {
  const Sizes sizes{.keys = kPage + 100};
  const Data data(sizes);
  KeyValueCache prefix(sizes.batch, sizes.key_heads, sizes.depth, sizes.value_depth);
  prefix.append(data.key, data.value);
  KeyValueCache left = prefix, right = prefix;
  EXPECT_EQ(left.shared_bytes(), left.bytes());
  const auto key = normal({2, 2, 10, 16}, 8), value = normal({2, 2, 10, 24}, 9);
  left.append(key, value);
  right.append(rows(key, 0, 5), rows(value, 0, 5));
  EXPECT_LT(left.shared_bytes(), left.bytes());
  EXPECT_GT(left.shared_bytes(), 0u);  // the first page is still one for all
  EXPECT_EQ(prefix.length(), sizes.keys);
  EXPECT_EQ(left.length(), sizes.keys + 10);
  const auto kept = prefix.key();
  EXPECT_TRUE(std::equal(kept.begin(), kept.end(), data.key.begin()));
  const auto left_key = left.key();
  EXPECT_EQ(left_key(1, 1, sizes.keys + 9, 3), key(1, 1, 9, 3));
}

TEST(CacheTest, HalfStorageHoldsTheRoundedRows) {
  const Sizes sizes{.keys = 40};
  const Data data(sizes);
  for (const auto storage : {KeyValueCache::Storage::bfloat16, KeyValueCache::Storage::float16}) {
    KeyValueCache cache(sizes.batch, sizes.key_heads, sizes.depth, sizes.value_depth, storage);
    cache.append(data.key, data.value);
    const auto round = [&](float x) {
      return storage == KeyValueCache::Storage::bfloat16 ? static_cast<float>(bfloat16(x))
                                                         : static_cast<float>(float16(x));
    };
    Array<float, 4> key = data.key, value = data.value;
    for (float& x : key) x = round(x);
    for (float& x : value) x = round(x);
    const auto part = cache.attend(rows(data.query, 39, 40), {});
    const auto full = attend(rows(data.query, 39, 40), key, value, {});
    expect_same_rows(part.out, full.out, 0, "out");
    KeyValueCache wide(sizes.batch, sizes.key_heads, sizes.depth, sizes.value_depth);
    wide.append(data.key, data.value);
    EXPECT_EQ(2 * cache.bytes(), wide.bytes());
  }
}

TEST(CacheTest, BadInputLeavesTheCacheAsItWas) {
  KeyValueCache cache(1, 2, 4, 4);
  cache.append(normal({1, 2, 3, 4}, 1), normal({1, 2, 3, 4}, 2));
  EXPECT_THROW(cache.append(normal({1, 2, 3, 5}, 1), normal({1, 2, 3, 4}, 2)), Error);
  EXPECT_THROW(cache.append(normal({1, 2, 3, 4}, 1), normal({1, 2, 2, 4}, 2)), Error);
  EXPECT_THROW(cache.evict(4), Error);
  EXPECT_EQ(cache.length(), 3);
  EXPECT_EQ(cache.first(), 0);
  EXPECT_THROW(KeyValueCache(0, 1, 1, 1), Error);
  AttentionOptions options;
  options.dropout.rate = 0.5;
  EXPECT_THROW(cache.attend(normal({1, 2, 1, 4}, 3), options), Error);
}

}  // namespace
}  // namespace kith
