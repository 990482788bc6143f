// What `kith attend` writes, option by option, against the reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "cli/attend_cases.h"
#include "kith/derivatives.h"
#include "kith/npy.h"
#include "kith/reference.h"

namespace kith::test {
namespace {

using Words = std::vector<std::string>;
using Data = AttendData;
using Options = AttentionOptions;
using Files = std::map<std::string, std::vector<double>>;  ///< what is in RESULT.NAME.npy, by NAME

using Case = AttendCase;

constexpr Index kTop = 3;

template <class A>
std::vector<double> values(const A& array) {
  return {array.begin(), array.end()};
}

/// The largest weights of each row and their keys, as the contract says: missing ones are 0 and -1.
void add_top(const Array<double, 4>& weight, Files& files) {
  std::vector<double>&top_weight = files["top_weight"], &top_key = files["top_key"];
  const Index keys = weight.shape()[3];
  for (const double* row = weight.begin(); row != weight.end(); row += keys) {
    std::vector<Index> order(static_cast<std::size_t>(keys));
    std::iota(order.begin(), order.end(), Index{0});
    std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return row[a] > row[b]; });
    for (std::size_t k = 0; k < kTop; ++k) {
      top_weight.push_back(row[order[k]]);
      top_key.push_back(row[order[k]] > 0 ? static_cast<double>(order[k]) : -1);
    }
  }
}

/// Everything that a command with all outputs and a gradient through all of them writes.
Files expected_files(const Case& c, const Data& d, const Options& options) {
  const reference::Result result = reference::attend(d.query, d.key, d.value, options);
  Files files = {{"out", values(result.out)},
                 {"lse", values(result.lse)},
                 {"entropy", values(result.entropy)},
                 {"largest", values(result.largest)},
                 {"received", values(result.received)},
                 {"position", values(result.position)},
                 {"second_moment", values(result.second_moment)},
                 {"weights", values(result.weight)}};
  add_top(result.weight, files);

  const bool bias = options.bias.has_array();
  const reference::Gradients g = reference::attend_backward(d.query, d.key, d.value, result,
                                                            {.out = d.d_out,
                                                             .lse = d.d_lse,
                                                             .entropy = d.d_entropy,
                                                             .second_moment = d.d_second_moment,
                                                             .bias = bias},
                                                            options);
  const auto add = [&](const std::string& name, const auto& gradient) {
    if (gradient.begin() != gradient.end()) files[name] = values(gradient);
  };
  add("d_query", g.query), add("d_key", g.key), add("d_value", g.value);
  if (*c.parameter != '\0') files[std::string("d_") + c.parameter] = {g.parameter};
  add("d_column_bandwidths", g.column_bandwidth), add("d_metric_matrix", g.metric);
  add("d_query_bandwidths", g.query_bandwidth), add("d_key_bandwidths", g.key_bandwidth);
  add("d_matrix", g.bilinear), add("d_query_weight", g.query_weight), add("d_key_weight", g.key_weight);
  add("d_score", g.score), add(c.added, g.bias), add("d_relative", g.relative), add("d_t5", g.t5);
  add("d_alibi", g.alibi), add("d_sink", g.sink);
  if (options.soft_cap > 0) files["d_soft_cap"] = {g.soft_cap};
  return files;
}

std::vector<double> numbers_in(const std::string& path) {
  const NpyArray array = read_npy(path);
  Index count = 1;
  for (const Index extent : array.shape) count *= extent;
  std::vector<double> numbers(static_cast<std::size_t>(count));
  array.convert(numbers.data());
  return numbers;
}

/// RESULT.npy as "out", RESULT.NAME.npy as NAME.
Files written_files(const TemporaryFolder& folder) {
  Files files;
  for (const std::string& file : folder.names()) {
    if (!file.starts_with("result.")) continue;
    const std::string name = file == "result.npy" ? "out" : file.substr(7, file.size() - 7 - 4);
    files[name] = numbers_in(folder / file);
  }
  return files;
}

/// One failure for an array, however many of its numbers are off.
void expect_close(const std::vector<double>& got, const std::vector<double>& want, double tolerance,
                  const std::string& name) {
  ASSERT_EQ(got.size(), want.size()) << name;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double most = tolerance * (1 + std::abs(want[i]));
    if (got[i] == want[i] || std::abs(got[i] - want[i]) <= most) continue;
    ADD_FAILURE() << name << ": number " << i << " is " << got[i] << ", not " << want[i];
    return;
  }
}

// Both sides sum at most a few hundred products of order 1 in double precision, in different orders; an
// option that did not arrive changes the numbers by percents.
constexpr double kDouble = 1e-11;

class Attend : public testing::TestWithParam<Case> {};

TEST_P(Attend, WritesWhatTheReferenceSays) {
  const Case& c = GetParam();
  const Data data(c.batch);
  const TemporaryFolder folder;
  Words words = {"-q",
                 "query.npy",
                 "-k",
                 "key.npy",
                 "-v",
                 "value.npy",
                 "-o",
                 "result.npy",
                 "--outputs",
                 "lse,entropy,largest,received,position,second-moment,weights,top",
                 "--top",
                 "3",
                 "--gradient",
                 "d_out.npy",
                 "--gradient-lse",
                 "d_lse.npy",
                 "--gradient-entropy",
                 "d_entropy.npy",
                 "--gradient-second-moment",
                 "d_second_moment.npy"};
  words.insert(words.end(), c.words.begin(), c.words.end());
  const Outcome outcome = data.run(folder, words);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;

  Options options;
  if (c.set) c.set(data, options);
  const Files want = expected_files(c, data, options), got = written_files(folder);
  for (const auto& [name, numbers] : got) EXPECT_TRUE(want.contains(name)) << name << " is not expected";
  for (const auto& [name, numbers] : want) {
    ASSERT_TRUE(got.contains(name)) << name << " is missing";
    expect_close(got.at(name), numbers, kDouble, name);
  }
  // The case would prove nothing if what it sets made no difference.
  if (c.set) {
    EXPECT_NE(reference::attend(data.query, data.key, data.value, options).out.view()(0, 0, 3, 0),
              reference::attend(data.query, data.key, data.value, Options{}).out.view()(0, 0, 3, 0));
  }
}

INSTANTIATE_TEST_SUITE_P(Options, Attend, testing::ValuesIn(attend_cases()),
                         [](const auto& test) { return std::string(test.param.name); });

/// Rows rounded to T.
template <class T>
Array<double, 4> rounded(const Array<double, 4>& x) {
  Array<double, 4> result(x.shape());
  std::transform(x.begin(), x.end(), result.begin(), [](double v) { return static_cast<double>(T(v)); });
  return result;
}

template <class T>
void expect_dtype(const char* name) {
  const Data data(kBatch);
  const TemporaryFolder folder;
  const Outcome outcome = data.run(
      folder, {"-q", "query.npy", "-k", "key.npy", "-v", "value.npy", "-o", "result.npy", "--dtype", name,
               "--outputs", "lse", "--gradient", "d_out.npy", "--bias", "bias.npy", "--quiet"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out + outcome.err, "");
  const Array<double, 4> q = rounded<T>(data.query), k = rounded<T>(data.key), v = rounded<T>(data.value);
  Options options;
  options.bias.array64 = data.bias;
  const reference::Result want = reference::attend(q, k, v, options);
  const reference::Gradients g = reference::attend_backward(q, k, v, want, {.out = data.d_out}, options);
  EXPECT_EQ(read_npy(folder / "result.npy").dtype, dtype_of<compute_t<T>>());
  const Files got = written_files(folder);
  // Sums of at most kKeys x kQueries products of order 1 in float32; a wrong rounding of the inputs (2^-8 for
  // bfloat16) would be a hundred times as much.
  constexpr double kSingle = 2e-5;
  expect_close(got.at("out"), values(want.out), kSingle, "out");
  expect_close(got.at("lse"), values(want.lse), kSingle, "lse");
  expect_close(got.at("d_query"), values(g.query), kSingle, "d_query");
  expect_close(got.at("d_value"), values(g.value), kSingle, "d_value");
}

TEST(AttendTypes, Float32) { expect_dtype<float>("float32"); }
TEST(AttendTypes, Bfloat16) { expect_dtype<bfloat16>("bfloat16"); }
TEST(AttendTypes, RoundedWeights) {
  const Data data(kBatch);
  const TemporaryFolder folder;
  // Values of more than 8 columns and an even depth, which the rounding needs.
  Array<double, 4> query({1, 1, 30, 4}), key({1, 1, 40, 4}), value({1, 1, 40, 16});
  Index n = 0;
  for (Array<double, 4>* a : {&query, &key, &value}) {
    for (double& x : *a) x = static_cast<double>(n++ * 7919 % 64) / 32 - 1;
  }
  write_npy(folder / "q.npy", query);
  write_npy(folder / "k.npy", key);
  write_npy(folder / "v.npy", value);
  const Outcome outcome = data.run(folder, {"-q", "q.npy", "-k", "k.npy", "-v", "v.npy", "-o", "result.npy",
                                            "--dtype", "bfloat16", "--round-weights", "--quiet"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto stored = [](const Array<double, 4>& x) {
    Array<bfloat16, 4> result(x.shape());
    std::transform(x.begin(), x.end(), result.begin(), [](double v) { return bfloat16(v); });
    return result;
  };
  AttentionOptions options;
  options.round_weights = true;
  const AttentionResult want = attend(stored(query), stored(key), stored(value), options);
  expect_close(written_files(folder).at("out"), values(want.out), 1e-6, "out");
}
TEST(AttendTypes, Float16) { expect_dtype<float16>("float16"); }

TEST(AttendShapes, OutputsHaveTheRankOfTheQueries) {
  const Data data(1);
  const TemporaryFolder folder;
  const auto file = [&](const char* name, const double* from, std::vector<Index> shape) {
    std::vector<Index> stride(shape.size(), 1);
    for (std::size_t a = shape.size() - 1; a-- > 0;) stride[a] = stride[a + 1] * shape[a + 1];
    write_npy(folder / name, Dtype::float64, shape, stride, from);
  };
  const auto run = [&] {
    return data.run(folder, {"-q", "q.npy", "-k", "k.npy", "-v", "v.npy", "-o", "result.npy", "--outputs",
                             "lse,received,weights", "--top", "2", "--gradient", "d.npy"});
  };
  const auto shape = [&](const char* name) { return read_npy(folder / name).shape; };
  using Shape = std::vector<Index>;
  file("q.npy", data.query.data(), {kQueries, kDepth});
  file("k.npy", data.key.data(), {kKeys, kDepth});
  file("v.npy", data.value.data(), {kKeys, kValueDepth});
  file("d.npy", data.d_out.data(), {kQueries, kValueDepth});
  ASSERT_EQ(run().exit_code, 0);
  EXPECT_EQ(shape("result.npy"), (Shape{kQueries, kValueDepth}));
  EXPECT_EQ(shape("result.lse.npy"), Shape{kQueries});
  EXPECT_EQ(shape("result.received.npy"), Shape{kKeys});
  EXPECT_EQ(shape("result.weights.npy"), (Shape{kQueries, kKeys}));
  EXPECT_EQ(shape("result.top_key.npy"), (Shape{kQueries, 2}));
  EXPECT_EQ(shape("result.d_key.npy"), (Shape{kKeys, kDepth}));
  EXPECT_EQ(shape("result.d_scale.npy"), Shape{});
  EXPECT_EQ(read_npy(folder / "result.top_key.npy").dtype, Dtype::int64);

  file("q.npy", data.query.data(), {kHeads, kQueries, kDepth});
  file("d.npy", data.d_out.data(), {kHeads, kQueries, kValueDepth});
  ASSERT_EQ(run().exit_code, 0);
  EXPECT_EQ(shape("result.npy"), (Shape{kHeads, kQueries, kValueDepth}));
  EXPECT_EQ(shape("result.lse.npy"), (Shape{kHeads, kQueries}));
  EXPECT_EQ(shape("result.d_query.npy"), (Shape{kHeads, kQueries, kDepth}));
  EXPECT_EQ(shape("result.d_key.npy"), (Shape{kKeys, kDepth})) << "the gradient has its array's own rank";
}

TEST(AttendTangents, AreTheSlopesOfTheReferenceAlongThem) {
  const Data data(kBatch);
  const TemporaryFolder folder;
  const Outcome outcome = data.run(folder, {"-q",
                                            "query.npy",
                                            "-k",
                                            "key.npy",
                                            "-v",
                                            "value.npy",
                                            "-o",
                                            "result.npy",
                                            "--similarity",
                                            "gaussian",
                                            "--bandwidth",
                                            "1.2",
                                            "--causal",
                                            "--tangent-query",
                                            "tangent_query.npy",
                                            "--tangent-key",
                                            "tangent_key.npy",
                                            "--tangent-value",
                                            "tangent_value.npy",
                                            "--tangent-parameter",
                                            "0.5",
                                            "--gradient",
                                            "d_out.npy",
                                            "--tangent-gradient",
                                            "tangent_d_out.npy"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  // A step of 1e-5 makes an error of 1e-10 by the third derivative and of 1e-11 by rounding.
  constexpr double kStep = 1e-5, kTolerance = 1e-8;
  const auto at = [&](double step) {
    const auto moved = [&](const Array<double, 4>& x, const Array<double, 4>& direction) {
      Array<double, 4> result = x;
      for (Index i = 0; i < x.size(); ++i) result.data()[i] += step * direction.data()[i];
      return result;
    };
    const Options options{.similarity = Gaussian{1.2 + 0.5 * step}, .mask = causal()};
    const Array<double, 4> q = moved(data.query, data.tangent_query), k = moved(data.key, data.tangent_key),
                           v = moved(data.value, data.tangent_value),
                           d = moved(data.d_out, data.tangent_d_out);
    const reference::Result result = reference::attend(q, k, v, options);
    const reference::Gradients g = reference::attend_backward(q, k, v, result, {.out = d}, options);
    return Files{{"jvp_out", values(result.out)},  {"jvp_lse", values(result.lse)},
                 {"jvp_d_query", values(g.query)}, {"jvp_d_key", values(g.key)},
                 {"jvp_d_value", values(g.value)}, {"jvp_d_bandwidth", {g.parameter}}};
  };
  const Files before = at(-kStep), after = at(kStep), got = written_files(folder);
  for (const auto& [name, numbers] : before) {
    ASSERT_TRUE(got.contains(name)) << name;
    std::vector<double> slope = after.at(name);
    for (std::size_t i = 0; i < slope.size(); ++i) slope[i] = (slope[i] - numbers[i]) / (2 * kStep);
    expect_close(got.at(name), slope, kTolerance, name);
  }
}

}  // namespace
}  // namespace kith::test
