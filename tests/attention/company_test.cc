// The same rows in different company give the same bits: a batch around them, a place in it, a ragged pack,
// more keys that are masked, fewer queries beside them, another number of threads. 200 random companies, or
// four times as many as KITH_CASES says.
#include <cstdlib>

#include "attention/contract.h"

namespace kith {
namespace {

using namespace test;

enum class Company { batch, pack, masked_keys, fewer_queries, threads };

/// Rows of a whole call: where the ones that are compared lie.
struct Slice {
  Index batch = 0, first_query = 0, queries = 0, first_key = 0, keys = 0;
};

/// Copies `from` [1, H, n, ...] into rows [first, first + n) of batch row b.
template <int R>
void put(Array<double, R>& into, const Array<double, R>& from, Index b, Index first) {
  if (from.empty()) return;
  const Shape<R>&to = into.shape(), &shape = from.shape();
  Index row = 1;
  for (std::size_t x = 3; x < R; ++x) row *= to[x];
  for (Index h = 0; h < shape[1]; ++h) {
    std::copy_n(from.data() + h * shape[2] * row, shape[2] * row,
                into.data() + ((b * to[1] + h) * to[2] + first) * row);
  }
}

/// Rows [first, first + count) of batch row b, [1, H, count, ...].
template <class T, int R>
Array<T, R> take(const Array<T, R>& from, Index b, Index first, Index count) {
  Shape<R> shape = from.shape();
  const Index rows = shape[2];
  shape[0] = 1, shape[2] = count;
  Array<T, R> taken(shape);
  Index row = 1;
  for (std::size_t x = 3; x < R; ++x) row *= shape[x];
  for (Index h = 0; h < shape[1] && !taken.empty(); ++h) {
    std::copy_n(from.data() + ((b * shape[1] + h) * rows + first) * row, count * row,
                taken.data() + h * count * row);
  }
  return taken;
}

/// Inputs of other sizes, random; the options and their memory stay.
Values other_rows(const Case& c, const Values& v, std::uint64_t seed) {
  Case plain = c;
  plain.seed = seed, plain.mask = {}, plain.bias = {}, plain.rotary = RotaryKind::none;
  plain.similarity = SimilarityKind::dot, plain.metric = MetricKind::none,
  plain.adaptive = AdaptiveKind::none;
  Values rows = make_values(plain);
  if (v.key.shape()[3] != rows.key.shape()[3]) {
    Random random(seed);
    rows.key = Array<double, 4>({c.batch, c.key_heads, c.keys, v.key.shape()[3]});
    for (double& x : rows.key) x = static_cast<double>(random.below(100)) / 64;
  }
  rows.options = v.options;
  rows.memory = v.memory;
  return rows;
}

void put_all(Values& into, const Values& from, const Slice& at) {
  put(into.query, from.query, at.batch, at.first_query),
      put(into.d_out, from.d_out, at.batch, at.first_query);
  put(into.d_second_moment, from.d_second_moment, at.batch, at.first_query);
  put(into.d_lse, from.d_lse, at.batch, at.first_query),
      put(into.d_entropy, from.d_entropy, at.batch, at.first_query);
  put(into.key, from.key, at.batch, at.first_key), put(into.value, from.value, at.batch, at.first_key);
}

template <class T>
void compare(const Computed<T>& alone, const Computed<T>& company, const Slice& at, Company kind) {
  using Real = compute_t<T>;
  const auto rows4 = [&](const Array<Real, 4>& a) { return take(a, at.batch, at.first_query, at.queries); };
  const auto rows3 = [&](const Array<Real, 3>& a) { return take(a, at.batch, at.first_query, at.queries); };
  const auto &x = alone.result, &y = company.result;
  EXPECT_TRUE(same_bits(x.out, rows4(y.out))) << "out";
  EXPECT_TRUE(same_bits(x.lse, rows3(y.lse))) << "lse";
  EXPECT_TRUE(same_bits(x.entropy, rows3(y.entropy))) << "entropy";
  EXPECT_TRUE(same_bits(x.largest, rows3(y.largest))) << "largest";
  EXPECT_TRUE(same_bits(x.second_moment, rows4(y.second_moment))) << "second_moment";
  EXPECT_TRUE(same_bits(x.top_weight, rows4(y.top_weight))) << "top_weight";
  Array<Index, 4> key = take(y.top_key, at.batch, at.first_query, at.queries);
  for (Index& j : key) j -= j < 0 ? 0 : at.first_key;
  EXPECT_TRUE(same_bits(x.top_key, key)) << "top_key";
  if (at.first_key == 0) {
    EXPECT_TRUE(same_bits(x.position, rows3(y.position))) << "position";
  }
  EXPECT_TRUE(same_bits(alone.gradients.query, rows4(company.gradients.query))) << "d_query";
  if (kind == Company::fewer_queries) return;  // which are fewer terms in what belongs to a key
  const auto keys4 = [&](const Array<Real, 4>& a) { return take(a, at.batch, at.first_key, at.keys); };
  EXPECT_TRUE(same_bits(x.received, take(y.received, at.batch, at.first_key, at.keys))) << "received";
  EXPECT_TRUE(same_bits(alone.gradients.key, keys4(company.gradients.key))) << "d_key";
  EXPECT_TRUE(same_bits(alone.gradients.value, keys4(company.gradients.value))) << "d_value";
}

/// A list of one number per batch row, with `own` at row b.
std::vector<Index> around(const std::vector<Index>& own, Index rows, Index b, Index most, Random& random) {
  if (own.empty()) return own;
  std::vector<Index> all;
  for (Index r = 0; r < rows; ++r) all.push_back(r == b ? own[0] : random.below(most + 1));
  return all;
}

template <class T>
void in_batch(const Case& c, Values& v, Random& random) {
  Case many = c;
  many.batch = 2 + random.below(3);
  const Slice at{random.below(many.batch), 0, c.queries, 0, c.keys};
  Values all = other_rows(many, v, random.bits());
  put_all(all, v, at);
  Mask& mask = all.options.mask;
  mask.key_length = around(mask.key_length, many.batch, at.batch, c.keys, random);
  mask.query_length = around(mask.query_length, many.batch, at.batch, c.queries, random);
  v.options.dropout.first_batch += at.batch;
  compare(compute<T>(c, v), compute<T>(many, all), at, Company::batch);
}

template <class T>
void in_pack(const Case& c, const Values& v, Random& random) {
  const Index queries_before = random.below(100), keys_before = random.below(300);
  const Index queries_behind = random.below(50), keys_behind = random.below(100);
  Case pack = c;
  pack.queries += queries_before + queries_behind, pack.keys += keys_before + keys_behind;
  const Slice at{0, queries_before, c.queries, keys_before, c.keys};
  Values all = other_rows(pack, v, random.bits());
  put_all(all, v, at);
  Mask& mask = all.options.mask;
  mask.ragged = {{0, queries_before, queries_before + c.queries, pack.queries},
                 {0, keys_before, keys_before + c.keys, pack.keys}};
  if (!mask.key_length.empty()) mask.key_length = {keys_before / 2, mask.key_length[0], keys_behind};
  if (!mask.query_length.empty())
    mask.query_length = {queries_before / 2, mask.query_length[0], queries_behind};
  Values alone = make_values(c);
  alone.options.dropout.first_batch += 1;
  compare(compute<T>(c, alone), compute<T>(pack, all), at, Company::pack);
}

template <class T>
void with_masked_keys(const Case& c, const Values& v, Random& random) {
  Case longer = c;
  longer.keys += 1 + random.below(400);
  const Slice at{0, 0, c.queries, 0, c.keys};
  Values all = other_rows(longer, v, random.bits());
  for (double& x : all.key) x = std::nan("");
  for (double& x : all.value) x = kInfinity;
  put_all(all, v, at);
  if (all.options.mask.key_length.empty()) all.options.mask.key_length = {c.keys};
  compare(compute<T>(c, v), compute<T>(longer, all), at, Company::masked_keys);
}

template <class T>
void with_fewer_queries(const Case& c, Values& v, Random& random) {
  const Index first = random.below(c.queries), count = 1 + random.below(c.queries - first);
  const Slice at{0, first, count, 0, c.keys};
  v.options.dropout.rate = 0;  // it counts queries from the first
  Case few = c;
  few.queries = count;
  Values part = other_rows(few, v, 1);
  part.query = take(v.query, 0, first, count), part.key = v.key, part.value = v.value;
  part.d_out = take(v.d_out, 0, first, count),
  part.d_second_moment = take(v.d_second_moment, 0, first, count);
  part.d_lse = take(v.d_lse, 0, first, count), part.d_entropy = take(v.d_entropy, 0, first, count);
  AttentionOptions& o = part.options;
  if (o.mask.causal_offset) *o.mask.causal_offset += first;
  if (o.mask.self_offset) *o.mask.self_offset += first;
  if (o.mask.window) o.mask.window->offset += first;
  if (!o.mask.query_length.empty())
    o.mask.query_length = {std::clamp<Index>(o.mask.query_length[0] - first, 0, count)};
  if (o.rotary) o.rotary->query_offset += first;
  o.bias.offset += first;
  compare(compute<T>(few, part), compute<T>(c, v), at, Company::fewer_queries);
}

template <class T>
void with_threads(Case& c, Values& v, Random& random) {
  const Computed<T> alone = compute<T>(c, v);
  v.options.threads = 2 + static_cast<int>(random.below(7));
  const Computed<T> many = compute<T>(c, v);
  compare(alone, many, {0, 0, c.queries, 0, c.keys}, Company::threads);
  EXPECT_TRUE(same_parameter_bits(alone.gradients, many.gradients));
}

/// A case of one batch row. In a batch arrays are shared, so that every option may be there; elsewhere arrays
/// would have to grow with the rows, so only options that follow from positions are.
Case draw(Company kind, std::uint64_t seed) {
  Random random(seed);
  Case c;
  const auto& masks = mask_kinds();
  const auto& biases = bias_kinds();
  const auto positional_mask = [](const std::vector<MaskPart>& parts) {
    return std::all_of(parts.begin(), parts.end(), [](MaskPart p) {
      return p <= MaskPart::query_length || p == MaskPart::prefix || p == MaskPart::self;
    });
  };
  const auto positional_bias = [](const std::vector<BiasPart>& parts) {
    return std::all_of(parts.begin(), parts.end(), [](BiasPart p) { return p >= BiasPart::relative; });
  };
  const bool any = kind == Company::batch || kind == Company::threads;
  do c.mask = masks[static_cast<std::size_t>(random.below(static_cast<Index>(masks.size())))];
  while (any ? has(c.mask, MaskPart::ragged) : !positional_mask(c.mask));
  do c.bias = biases[static_cast<std::size_t>(random.below(static_cast<Index>(biases.size())))];
  while (!any && !positional_bias(c.bias));
  c.similarity = static_cast<SimilarityKind>(random.below(kSimilarityKinds));
  c.query_heads = 1 + random.below(4);
  c.key_heads = c.query_heads % 2 == 0 && random.chance(0.5) ? c.query_heads / 2 : 1;
  c.queries = 1 + random.below(120);
  c.keys = 4 + (random.chance(0.1) ? random.below(2500) : random.below(300));  // as many as `top` lists
  c.depth = 1 + random.below(40), c.value_depth = 1 + random.below(40);
  if (takes_metric(c.similarity)) c.metric = static_cast<MetricKind>(random.below(3));
  if (takes_adaptive(c.similarity) && any) c.adaptive = static_cast<AdaptiveKind>(random.below(4));
  if (c.depth % 2 == 0) c.rotary = static_cast<RotaryKind>(random.below(any ? 7 : 6));
  if (random.chance(0.2)) c.soft_cap = 2;
  c.sink = static_cast<SinkKind>(random.below(3));
  c.dropout = random.chance(0.2) ? 0.25 : 0;
  c.dtype = random.of(kDtypes);
  constexpr unsigned kUpstreams[] = {0, kLse, kEntropy, kMoment, kLse | kEntropy | kMoment};
  c.upstream = random.of(kUpstreams);
  // An odd seed: a prefix is one number a batch row there, and a block map or an array one for all rows.
  c.seed = 2 * seed + 1;
  return c;
}

void check(std::uint64_t seed) {
  const auto kind = static_cast<Company>(seed % 5);
  Case c = draw(kind, seed);
  SCOPED_TRACE(fmt::format("company {}, seed {}{}", seed % 5, seed, replay(c)));
  with_type(c.dtype, [&]<class T>() {
    Random random(seed + 77);
    Values v = make_values(c);
    switch (kind) {
      case Company::batch:
        return in_batch<T>(c, v, random);
      case Company::pack:
        return in_pack<T>(c, v, random);
      case Company::masked_keys:
        return with_masked_keys<T>(c, v, random);
      case Company::fewer_queries:
        return with_fewer_queries<T>(c, v, random);
      case Company::threads:
        return with_threads<T>(c, v, random);
    }
  });
}

TEST(Company, RowsHaveTheSameBits) {
  const char* count = std::getenv("KITH_CASES");
  const std::uint64_t companies = count != nullptr ? std::stoull(count) * 4 : 200;
  for (std::uint64_t seed = 0; seed < companies; ++seed) {
    ASSERT_NO_THROW(check(seed)) << seed;
    if (testing::Test::HasFailure()) return;  // one is enough to look at
  }
}

TEST(Company, OnEveryInstructionSet) {
  for (const char* instructions : instruction_sets()) {
    const ForcedInstructionSet forced(instructions);
    ASSERT_STREQ(instruction_set(), instructions);
    for (std::uint64_t seed = 1000; seed < 1040; ++seed) {
      SCOPED_TRACE(instructions);
      ASSERT_NO_THROW(check(seed)) << seed;
      if (testing::Test::HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace kith
