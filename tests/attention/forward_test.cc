// kith::attend against the reference: the whole case list, every instruction set, every number of threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "attention/agree.h"
#include "attention/check.h"

namespace kith {
namespace {

using namespace test;

Flat reference_outputs(const Case& c, const Values& v) {
  // What double is measured against has to be better than double.
  if (c.dtype == Dtype::float64)
    return outputs_of(reference::attend_long(v.query, v.key, v.value, v.options));
  return outputs_of(reference::attend(v.query, v.key, v.value, v.options));
}

std::vector<std::string> wanted(const Want& want) {
  std::vector<std::string> names = {"out"};
  if (want.lse) names.emplace_back("lse");
  if (want.entropy) names.emplace_back("entropy");
  if (want.largest) names.emplace_back("largest");
  if (want.received) names.emplace_back("received");
  if (want.position) names.emplace_back("position");
  if (want.second_moment) names.emplace_back("second_moment");
  return names;
}

/// The listed keys are visible, distinct and in falling order of weight, and rank by rank as heavy as the
/// reference's; where two weights differ by less than rounding either order is right.
template <class Real>
std::string wrong_top(const Case& c, const Values& v, const BasicAttentionResult<Real>& got,
                      const std::vector<double>& weight, const Numbers& plain) {
  const Index top = v.options.want.top;
  if (got.top_weight.shape() != Shape<4>{c.batch, c.query_heads, c.queries, top} ||
      got.top_key.shape() != got.top_weight.shape()) {
    return "top: another shape";
  }
  for (Index r = 0; r < c.batch * c.query_heads * c.queries; ++r) {
    const Index b = r / (c.query_heads * c.queries), h = r / c.queries % c.query_heads, i = r % c.queries;
    const auto first = static_cast<std::size_t>(r * c.keys), size = static_cast<std::size_t>(c.keys);
    std::vector<double> order;
    double scale = 0, plain_error = 0;
    for (std::size_t j = first; j < first + size; ++j) {
      scale = std::max(scale, plain.scale[j]);
      plain_error = std::max(plain_error, std::fabs(plain.value[j] - weight[j]));
      if (weight[j] > 0) order.push_back(weight[j]);
    }
    std::sort(order.rbegin(), order.rend());
    const double tolerance = 2 * plain_error + unit_roundoff(c.dtype) * scale + 4 * smallest_number(c.dtype);
    if (!std::isfinite(tolerance)) continue;
    std::set<Index> distinct;
    double before = 2;
    for (Index t = 0; t < top; ++t) {
      const Index key = got.top_key(b, h, i, t);
      const auto has = static_cast<double>(got.top_weight(b, h, i, t));
      const auto rank = static_cast<std::size_t>(t);
      const auto where = fmt::format("top[{}, {}, {}, {}]: key {}, weight {}", b, h, i, t, key, has);
      if (key == -1) {
        // Nothing left, or nothing whose weight rounding could tell from 0.
        if (has != 0 || (rank < order.size() && order[rank] > tolerance)) return where + "; a key is missing";
        continue;
      }
      if (key < 0 || key >= c.keys || !reference::visible(v.options.mask, b, i, key, h)) {
        return where + "; the key is not visible";
      }
      if (!distinct.insert(key).second) return where + "; the key is there twice";
      if (has > before) return where + "; heavier than the one before";
      before = has;
      const double expected = rank < order.size() ? order[rank] : 0,
                   own = weight[first + static_cast<std::size_t>(key)];
      if (std::fabs(has - expected) > tolerance || std::fabs(has - own) > tolerance) {
        return where + fmt::format("; the reference has {}, and {} at that rank (tolerance {:.3g})", own,
                                   expected, tolerance);
      }
    }
  }
  return {};
}

/// float64 is right to 1e-14 of the results' scale on small cases, whatever the plain formula does.
std::string wrong_double(const Case& c, const Flat& got, const Flat& expected, const Values& v,
                         const Named& plain) {
  if (c.dtype != Dtype::float64 || c.data != Data::normal) return {};
  // Where a compact kernel ends its logarithm magnifies any rounding; so do a turn by thousands of radians
  // and the power of a small distance between rows that were mapped and rounded. Numbers whose terms are that
  // sensitive are left to `disagreement`.
  const bool inverse =
      c.similarity >= SimilarityKind::inverse_1 && c.similarity <= SimilarityKind::inverse_3_5;
  const bool sensitive = compact(c.similarity) || c.rotary == RotaryKind::positions ||
                         (inverse && (c.metric != MetricKind::none || c.rotary != RotaryKind::none));
  const bool small = c.queries <= 50 && c.keys <= 100 && c.depth <= 64;
  const double largest = largest_magnitude(v.value);
  for (const auto& [name, unit] :
       {std::pair{"out", largest}, {"lse", 10.0}, {"second_moment", largest * largest}}) {
    for (std::size_t n = 0; n < got.at(name).size(); ++n) {
      const double a = got.at(name)[n], b = expected.at(name)[n];
      if (a == b) continue;
      const double bound = (small ? 1e-14 : 1e-13) * (unit + std::fabs(b)) / (1 - c.dropout);
      if (sensitive && !(unit_roundoff(c.dtype) * plain.at(name).scale[n] <= bound)) continue;
      if (!(std::fabs(a - b) <= bound))
        return fmt::format("{}[{}]: {}, exactly {}; beyond {:.3g}", name, n, a, b, bound);
    }
  }
  return {};
}

template <class T>
void check(const Case& c) {
  const Values v = make_values(c);
  const Call<T> call(c, v);
  const Flat expected = reference_outputs(c, v);
  const Named plain = plain_outputs<compute_t<T>>(v);
  for (const auto& [name, numbers] : expected) {
    const std::string wrong = plain_disagreement(c, name, numbers, plain.at(name));
    ASSERT_EQ(wrong, "") << replay(c);
  }
  AttentionOptions options = v.options;
  const std::vector<const char*> names = instruction_sets();
  for (const char* instructions : names) {
    const ForcedInstructionSet forced(instructions);
    ASSERT_STREQ(instruction_set(), instructions);
    const auto result = call.forward(options);
    const Flat got = outputs_of(result);
    for (const std::string& name : wanted(options.want)) {
      const std::string wrong = disagreement(c, name, got.at(name), expected.at(name), plain.at(name));
      ASSERT_EQ(wrong, "") << instructions << replay(c);
    }
    std::size_t filled = 0;
    for (const auto& [name, numbers] : got) filled += numbers.empty() ? 0 : 1;
    if (!result.out.empty() && c.keys > 0) {
      ASSERT_EQ(filled, wanted(options.want).size()) << "an output that was not asked for" << replay(c);
    }
    if (options.want.top > 0) {
      const std::string wrong = wrong_top(c, v, result, expected.at("weight"), plain.at("weight"));
      ASSERT_EQ(wrong, "") << instructions << replay(c);
    }
    const std::string wrong = wrong_double(c, got, expected, v, plain);
    ASSERT_EQ(wrong, "") << instructions << replay(c);
    // Threads have nothing to do with vectors: each case tries them on one instruction set.
    if (instructions != names[c.seed % names.size()]) continue;
    for (const int threads : {1, 2, 3, 8}) {
      options.threads = threads;
      ASSERT_TRUE(same_bits(result, call.forward(options)))
          << threads << " threads, " << instructions << replay(c);
    }
    options.threads = c.threads;
  }
}

/// The list in eight parts, so that ctest can run them side by side.
class Forward : public testing::TestWithParam<std::size_t> {};
INSTANTIATE_TEST_SUITE_P(Part, Forward, testing::Range<std::size_t>(0, 8));

TEST_P(Forward, AgreesWithTheReference) {
  for (std::size_t n = GetParam(); n < cases().size(); n += 8) {
    const Case& c = cases()[n];
    with_type(c.dtype, [&]<class T>() {
      try {
        check<T>(c);
      } catch (const std::exception& error) {
        ADD_FAILURE() << error.what() << replay(c);
      }
    });
  }
}

TEST(Forward, InstructionSetsCanBeForced) {
  const auto names = instruction_sets();
  ASSERT_FALSE(names.empty());
  for (const char* name : names) {
    const ForcedInstructionSet forced(name);
    EXPECT_STREQ(instruction_set(), name);
  }
  EXPECT_STREQ(instruction_set(), names.front());
}

TEST(Forward, ShortCallIsTheDefaultOptions) {
  const Case c{
      .batch = 2, .query_heads = 4, .key_heads = 2, .queries = 11, .keys = 70, .depth = 9, .value_depth = 5};
  const Values v = make_values(c);
  const Laid<float> query(v.query, c.layout), key(v.key, c.layout), value(v.value, c.layout);
  const AttentionResult full = attend(query.view(), key.view(), value.view(), AttentionOptions{});
  EXPECT_TRUE(same_bits(attend(query.view(), key.view(), value.view()), full.out));
  EXPECT_TRUE(full.lse.empty());
  EXPECT_TRUE(full.top_weight.empty());
  EXPECT_TRUE(full.top_key.empty());
}

/// Keys far below the others, as padding under a large negative bias leaves them, weigh nothing wherever they
/// stand: also before all others, where a row's first logits are theirs.
template <class T>
void check_padding(Index value_depth, double logit, bool by_bias) {
  constexpr Index kPadding = 100;  // whole tiles and a part, on every instruction set
  const Case c{.query_heads = 2, .queries = 30, .keys = 300, .depth = 16, .value_depth = value_depth};
  Values v = make_values(c);
  AttentionOptions options{.similarity = Dot{.scale = 1.0}, .want = {.lse = true, .entropy = true}};
  Array<float, 4> bias({1, 1, 1, c.keys});
  for (Index j = 0; j < kPadding; ++j) bias(0, 0, 0, j) = static_cast<float>(logit);
  if (by_bias) {
    options.bias.array = bias;
  } else {
    for (Index h = 0; h < 2; ++h) {
      for (Index i = 0; i < c.queries; ++i) v.query(0, h, i, 0) = 1;
    }
    for (Index j = 0; j < c.keys; ++j) v.key(0, 0, j, 0) = j < kPadding ? logit : 0;
  }
  const Laid<T> query(v.query, c.layout), key(v.key, c.layout), value(v.value, c.layout);
  const auto behind = [](View<const T, 4> rows) {
    rows.data += kPadding * rows.stride[2];
    rows.shape[2] -= kPadding;
    return rows;
  };
  AttentionOptions unpadded = options;
  unpadded.bias = Bias();
  const double rounding = 32 * (sizeof(T) == sizeof(double) ? 0x1p-53 : 0x1p-24);
  for (const char* instructions : instruction_sets()) {
    const ForcedInstructionSet forced(instructions);
    const auto got = attend(query.view(), key.view(), value.view(), options);
    const auto expected = attend(query.view(), behind(key.view()), behind(value.view()), unpadded);
    const auto compare = [&](const auto& a, const auto& b, double scale, const char* name) {
      for (Index i = 0; i < a.size(); ++i) {
        ASSERT_NEAR(static_cast<double>(a.data()[i]), static_cast<double>(b.data()[i]), rounding * scale)
            << name << ' ' << i << ", padding " << logit << (by_bias ? " by bias, " : ", ") << instructions;
      }
    };
    compare(got.out, expected.out, largest_magnitude(v.value), "out");
    compare(got.lse, expected.lse, 10, "lse");
    compare(got.entropy, expected.entropy, 10, "entropy");
  }
}

TEST(Forward, PaddingBeforeTheKeysWeighsNothing) {
  for (const Index value_depth : {3, 24}) {
    for (const double logit : {-1e4, -65504.0, -1e9}) {
      for (const bool by_bias : {true, false}) {
        check_padding<float>(value_depth, logit, by_bias);
        check_padding<double>(value_depth, logit, by_bias);
      }
    }
  }
}

/// The weights by name, the only quadratic output, are those that make the output.
TEST(Forward, WeightsByName) {
  for (std::size_t n = 0; n < cases().size(); n += 10) {
    const Case& c = cases()[n];
    if (c.batch * c.query_heads * c.queries * c.keys > 20000) continue;
    with_type(c.dtype, [&]<class T>() {
      const Values v = make_values(c);
      const Laid<T> query(v.query, c.layout), key(v.key, c.layout);
      const auto got = attention_weights(query.view(), key.view(), v.options);
      const Flat expected = reference_outputs(c, v);
      const Named plain = plain_outputs<compute_t<T>>(v);
      EXPECT_EQ(disagreement(c, "weight", flat(got), expected.at("weight"), plain.at("weight")), "")
          << replay(c);
    });
  }
}

}  // namespace
}  // namespace kith
