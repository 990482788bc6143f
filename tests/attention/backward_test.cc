// kith::attend_backward against the reference and against finite differences: the gradients of every input
// and parameter, through every output that has one.
#include <gtest/gtest.h>

#include <functional>

#include "attention/agree.h"
#include "attention/check.h"

namespace kith {
namespace {

using namespace test;

template <class T>
void check(const Case& c) {
  const Values v = make_values(c);
  const Call<T> call(c, v);
  AttentionOptions options = backward_options(c, v);
  const Upstream<double> u = upstream(c, v);
  const auto reference_result = reference::attend(v.query, v.key, v.value, options);
  const Flat expected =
      gradients_of(reference::attend_backward(v.query, v.key, v.value, reference_result, u, options));
  Named plain = plain_gradients<compute_t<T>>(v, u);
  for (const auto& [name, numbers] : expected) {
    const std::string wrong = plain_disagreement(c, name, numbers, plain[name]);
    ASSERT_EQ(wrong, "") << replay(c);
  }
  const std::vector<const char*> names = instruction_sets();
  for (const char* instructions : names) {
    const ForcedInstructionSet forced(instructions);
    ASSERT_STREQ(instruction_set(), instructions);
    const auto result = call.forward(options);
    const auto gradients = call.backward(result, options);
    for (const auto& [name, numbers] : gradients_of(gradients)) {
      const std::string wrong = disagreement(c, "d_" + name, numbers, expected.at(name), plain[name]);
      ASSERT_EQ(wrong, "") << instructions << replay(c);
    }
    // Threads have nothing to do with vectors: each case tries them on one instruction set.
    if (instructions != names[c.seed % names.size()]) continue;
    for (const int threads : {1, 2, 3, 8}) {
      options.threads = threads;
      ASSERT_TRUE(same_bits(gradients, call.backward(result, options)))
          << threads << " threads, " << instructions << replay(c);
    }
    options.threads = c.threads;
  }
}

/// 10^15 times a weight's rounding is as large as the gradient itself: nothing to compare, but it is finite.
template <class T>
void check_finite(const Case& c) {
  const Values v = make_values(c);
  const Call<T> call(c, v);
  const AttentionOptions options = backward_options(c, v);
  for (const auto& [name, numbers] : gradients_of(call.backward(call.forward(options), options))) {
    for (const double x : numbers) ASSERT_TRUE(std::isfinite(x)) << "d_" << name << replay(c);
  }
}

/// The list in eight parts, so that ctest can run them side by side.
class Backward : public testing::TestWithParam<std::size_t> {};
INSTANTIATE_TEST_SUITE_P(Part, Backward, testing::Range<std::size_t>(0, 8));

TEST_P(Backward, AgreesWithTheReference) {
  for (std::size_t n = GetParam(); n < cases().size(); n += 8) {
    const Case& c = cases()[n];
    with_type(c.dtype, [&]<class T>() {
      try {
        c.data == Data::giant ? check_finite<T>(c) : check<T>(c);
      } catch (const std::exception& error) {
        ADD_FAILURE() << error.what() << replay(c);
      }
    });
  }
}

// The only key a row sees weighs less than the rounding of the sink's logit, and its weight is dropped: lse
// and out are those of a row that sees nothing, the gradient through lse is not.
TEST(BackwardCases, AKeyLostBesideTheSinkStillHasItsGradient) {
  for (const char* text : {"B=1 Hq=1 Hk=1 N=192 M=2 D=65 Dv=16 similarity=euclidean adaptive=key "
                           "rotary=partial bias=relative_heads "
                           "sink=one mask=times&array_rows dropout=0.3 dtype=float16 outputs=received "
                           "upstream=lse layout=rows seed=15577",
                           "B=1 Hq=1 Hk=1 N=47 M=23 D=9 Dv=33 similarity=laplace metric=matrix "
                           "adaptive=query bias=array_column sink=one "
                           "mask=ragged&causal dropout=0.3 dtype=float64 outputs=largest upstream=lse "
                           "layout=unaligned data=spread "
                           "seed=3882"}) {
    const Case c = parse(text);
    with_type(c.dtype, [&]<class T>() { check<T>(c); });
  }
}

// --- Finite differences of the public call in double, along one random direction per input and parameter.

double loss(const Case& c, const Values& v) {
  const AttentionOptions options = backward_options(c, v);
  const auto r = attend(v.query, v.key, v.value, options);
  const Upstream<double> u = upstream(c, v);
  const auto along = [](const auto& output, const auto& d) {
    double sum = 0;
    for (Index i = 0; i < d.size(); ++i) {
      if (std::isfinite(output.data()[i])) sum += output.data()[i] * d.data[i];
    }
    return sum;
  };
  return along(r.out, u.out) + along(r.lse, u.lse) + along(r.entropy, u.entropy) +
         along(r.second_moment, u.second_moment);
}

/// Where an input or parameter lies; the values own it all.
struct Place {
  std::vector<double*> numbers;

  template <int R>
  void add(const View<const double, R>& view) {
    for (Index i = 0; i < view.size(); ++i) numbers.push_back(const_cast<double*>(view.data) + i);
  }
  void add(std::vector<double>& list) {
    for (double& x : list) numbers.push_back(&x);
  }
};

void add_similarity(std::map<std::string, Place>& places, Similarity& similarity, Index depth) {
  Place& parameter = places["parameter"];
  if (auto* s = std::get_if<Dot>(&similarity)) {
    if (!s->scale) s->scale = 1 / std::sqrt(static_cast<double>(depth));
    parameter.numbers = {&*s->scale};
  }
  if (auto* s = std::get_if<Cosine>(&similarity)) parameter.numbers = {&s->temperature};
  if (auto* s = std::get_if<Gaussian>(&similarity)) parameter.numbers = {&s->bandwidth};
  if (auto* s = std::get_if<Euclidean>(&similarity)) parameter.numbers = {&s->temperature};
  if (auto* s = std::get_if<Laplace>(&similarity)) parameter.numbers = {&s->bandwidth};
  if (auto* s = std::get_if<Compact>(&similarity)) parameter.numbers = {&s->bandwidth};
  if (auto* s = std::get_if<InverseDistance>(&similarity)) parameter.numbers = {&s->power};
  if (auto* s = std::get_if<Bilinear>(&similarity)) {
    parameter.numbers = {&s->scale};
    places["bilinear"].add(s->matrix);
  }
  if (auto* s = std::get_if<Additive>(&similarity)) {
    places["query_weight"].add(s->query_weight), places["key_weight"].add(s->key_weight);
    places["score"].add(s->score);
  }
}

/// By the names of the gradients.
std::map<std::string, Place> places_of(Values& v) {
  std::map<std::string, Place> places;
  AttentionOptions& o = v.options;
  places["query"].add(View<const double, 4>(v.query)), places["key"].add(View<const double, 4>(v.key));
  places["value"].add(View<const double, 4>(v.value));
  add_similarity(places, o.similarity, v.query.shape()[3]);
  places["column_bandwidth"].add(o.metric.column_bandwidth), places["metric"].add(o.metric.matrix);
  places["query_bandwidth"].add(o.adaptive.query), places["key_bandwidth"].add(o.adaptive.key);
  if (o.soft_cap > 0) places["soft_cap"].numbers = {&o.soft_cap};
  places["bias"].add(o.bias.array64);
  if (o.bias.relative) places["relative"].add(o.bias.relative->table);
  if (o.bias.t5) places["t5"].add(o.bias.t5->table);
  places["alibi"].add(o.bias.alibi), places["sink"].add(o.sink);
  return places;
}

void check_slopes(const Case& c) {
  Values v = make_values(c);
  auto places = places_of(v);
  const AttentionOptions options = backward_options(c, v);
  const auto result = attend(v.query, v.key, v.value, options);
  const Flat gradients =
      gradients_of(attend_backward(v.query, v.key, v.value, result, upstream(c, v), options));
  Random random(c.seed);
  for (auto& entry : places) {
    const std::string& name = entry.first;
    Place& place = entry.second;
    ASSERT_EQ(place.numbers.empty() ? 0U : gradients.at(name).size(), place.numbers.size())
        << name << replay(c);
    std::vector<double> at, direction;
    double slope = 0, terms = 0;
    for (std::size_t n = 0; n < place.numbers.size(); ++n) {
      at.push_back(*place.numbers[n]);
      direction.push_back(random.normal());
      slope += gradients.at(name)[n] * direction[n];
      terms += std::fabs(gradients.at(name)[n] * direction[n]);
    }
    const auto loss_at = [&](double step) {
      for (std::size_t n = 0; n < at.size(); ++n) *place.numbers[n] = at[n] + step * direction[n];
      const double value = loss(c, v);
      for (std::size_t n = 0; n < at.size(); ++n) *place.numbers[n] = at[n];
      return value;
    };
    // Richardson's extrapolation of central differences errs by step^4 f'''''/30 + 1e-16 f / step. Steps
    // shrink until two agree; a wrong gradient agrees with none.
    double best = kInfinity, tolerance = 0;
    for (const double step : {1e-3, 1e-4, 1e-5}) {
      const double wide = (loss_at(step) - loss_at(-step)) / (2 * step);
      const double narrow = (loss_at(step / 2) - loss_at(-step / 2)) / step;
      best = std::min(best, std::fabs((4 * narrow - wide) / 3 - slope));
      tolerance = 1e-6 * (1 + terms);
      if (best <= tolerance) break;
    }
    ASSERT_LE(best, tolerance) << "d_" << name << ", slope " << slope << replay(c);
  }
}

TEST(Backward, AgreesWithFiniteDifferences) {
  std::size_t checked = 0;
  for (Case c : cases()) {
    if (checked == 200) break;
    c.dtype = Dtype::float64, c.layout = Layout::dense;
    if (c.data != Data::normal ||
        c.batch * c.query_heads * c.queries * c.keys * (c.depth + c.value_depth) > 30000)
      continue;
    if (c.queries * c.keys == 0 && checked % 10 != 0) continue;
    check_slopes(c);
    ++checked;
  }
  EXPECT_TRUE(checked == 200 || cases().size() < 1000) << checked;
}

// --- What follows from the formula alone.

TEST(Backward, MissingUpstreamIsZeroUpstream) {
  for (std::size_t n = 0; n < cases().size(); n += 20) {
    Case c = cases()[n];
    c.dtype = Dtype::float64;
    Values v = make_values(c);
    AttentionOptions options = backward_options(c, v);
    options.want = {.lse = true, .entropy = true, .second_moment = true};
    const auto result = attend(v.query, v.key, v.value, options);
    const Array<double, 3> zero(v.d_lse.shape());
    const Array<double, 4> zeros(v.d_out.shape());
    Upstream<double> none, all;
    none.out = all.out = v.d_out;
    all.lse = all.entropy = zero, all.second_moment = zeros;
    const auto without = attend_backward(v.query, v.key, v.value, result, none, options);
    const auto with = attend_backward(v.query, v.key, v.value, result, all, options);
    EXPECT_TRUE(same_numbers(without.query, with.query)) << replay(c);
    EXPECT_TRUE(same_numbers(without.key, with.key)) << replay(c);
    EXPECT_TRUE(same_numbers(without.value, with.value)) << replay(c);
    EXPECT_TRUE(without.bias.empty()) << replay(c);
  }
}

// With d_out = 0 all that flows comes through lse: its gradient in the logits is the weights.
TEST(Backward, LseAlone) {
  const Case c{
      .queries = 40, .keys = 90, .depth = 6, .value_depth = 3, .dtype = Dtype::float64, .upstream = kLse};
  Values v = make_values(c);
  for (double& x : v.d_out) x = 0;
  for (double& x : v.d_lse) x = 1;
  v.options.similarity = Dot{.scale = 1.0};
  const AttentionOptions options = backward_options(c, v);
  const auto result = attend(v.query, v.key, v.value, options);
  const auto got = attend_backward(v.query, v.key, v.value, result, upstream(c, v), options);
  const Array<double, 4> mean_key = attend(v.query, v.key, v.key, options).out;
  for (Index i = 0; i < mean_key.size(); ++i) EXPECT_NEAR(got.query.data()[i], mean_key.data()[i], 1e-13);
  for (const double x : got.value) EXPECT_EQ(x, 0);
}

/// Gradients of queries [first, first + count) alone, every one by its name.
Flat gradients_of_part(const Case& c, const Values& v, Index first, Index count, int threads) {
  const auto cut = [&](auto view) {
    if (view.data == nullptr || view.shape[2] == 1) return view;
    view.data += first * view.stride[2];
    view.shape[2] = count;
    return view;
  };
  AttentionOptions o = backward_options(c, v);
  if (o.mask.causal_offset) *o.mask.causal_offset += first;
  o.bias.offset += first;
  o.bias.array64 = cut(o.bias.array64);
  o.adaptive.query = cut(o.adaptive.query);
  o.threads = threads;
  const View<const double, 4> query = cut(View<const double, 4>(v.query));
  Upstream<double> u = upstream(c, v);
  u.out = cut(u.out), u.lse = cut(u.lse), u.entropy = cut(u.entropy);
  const auto result = attend(query, v.key, v.value, o);
  return gradients_of(attend_backward(query, v.key, v.value, result, u, o));
}

// More queries than the kernels take in one stretch (8,192): each has its own gradient, and what is summed
// over them is the sum of two smaller calls.
TEST(Backward, StretchesOfQueriesAddUp) {
  constexpr Index kQueries = 8300, kFirst = 4000;
  for (const char* text : {"Hq=2 Hk=1 N=8300 M=300 D=2 Dv=1 similarity=dot mask=causal upstream=lse",
                           "Hq=2 Hk=1 N=8300 M=500 D=3 Dv=2 similarity=gaussian metric=columns adaptive=both "
                           "bias=array_column+relative_heads+t5+alibi_heads sink=heads mask=causal "
                           "upstream=lse+entropy",
                           "Hq=1 Hk=1 N=8300 M=40 D=2 Dv=1 similarity=additive cap=1.5 upstream=lse"}) {
    Case c = parse(text);
    c.dtype = Dtype::float64;
    const Values v = make_values(c);
    const Flat front = gradients_of_part(c, v, 0, kFirst, 1),
               back = gradients_of_part(c, v, kFirst, kQueries - kFirst, 1);
    for (const int threads : {1, 3}) {
      for (const auto& [name, all] : gradients_of_part(c, v, 0, kQueries, threads)) {
        const bool of_rows = name == "query" || name == "query_bandwidth" || name == "bias";
        const auto &a = front.at(name), &b = back.at(name);
        const std::size_t heads = name == "query" ? static_cast<std::size_t>(c.query_heads) : 1;
        for (std::size_t n = 0; n < all.size(); ++n) {
          double expected = a[of_rows ? 0 : n] + b[of_rows ? 0 : n];
          if (of_rows) {
            const std::size_t row = all.size() / heads, head = n / row, at = n % row,
                              before = a.size() / heads;
            expected = at < before ? a[head * before + at] : b[head * (row - before) + at - before];
          }
          ASSERT_NEAR(all[n], expected, 1e-10 * (1 + std::fabs(expected)))
              << "d_" << name << '[' << n << "], " << threads << " threads" << replay(c);
        }
      }
    }
  }
}

// The kinks, where the gradient is 0 by definition and the formula is 0/0.
TEST(Backward, Kinks) {
  for (const SimilarityKind kind :
       {SimilarityKind::euclidean, SimilarityKind::cosine, SimilarityKind::laplace,
        SimilarityKind::triangular, SimilarityKind::inverse_2}) {
    const Case c{
        .queries = 60, .keys = 60, .depth = 4, .value_depth = 2, .similarity = kind, .upstream = kLse};
    Values v = make_values(c);
    v.key = v.query;
    for (Index x = 0; x < c.depth; ++x) v.query(0, 0, 7, x) = v.key(0, 0, 9, x) = 0;
    const AttentionOptions options = backward_options(c, v);
    const Upstream<double> u = upstream(c, v);
    const auto r = reference::attend(v.query, v.key, v.value, options);
    const Flat expected = gradients_of(reference::attend_backward(v.query, v.key, v.value, r, u, options));
    Named plain = plain_gradients<float>(v, u);
    const Call<float> call(c, v);
    for (const char* instructions : instruction_sets()) {
      const ForcedInstructionSet forced(instructions);
      for (const auto& [name, numbers] : gradients_of(call.backward(call.forward(options), options))) {
        EXPECT_EQ(disagreement(c, name, numbers, expected.at(name), plain[name]), "")
            << instructions << replay(c);
      }
    }
  }
}

}  // namespace
}  // namespace kith
