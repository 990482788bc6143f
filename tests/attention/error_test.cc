// Wrong calls: kith::Error, naming the argument, what it got and what it needs.
#include <gtest/gtest.h>

#include <functional>

#include "attention/cases.h"
#include "attention/check.h"

namespace kith {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// The call fails; its message starts with the argument's name and holds the telling figures.
void expect_error(const std::function<void()>& call, const std::string& argument,
                  const std::vector<std::string>& figures = {}) {
  try {
    call();
    ADD_FAILURE() << argument << ": no error";
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.substr(0, argument.size() + 1), argument + ":") << message;
    for (const std::string& figure : figures) {
      EXPECT_NE(message.find(figure), std::string::npos) << '"' << message << "\" lacks " << figure;
    }
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

/// A right call, to be made wrong in one place: B 2, Hq 8, Hk 4, N 5, M 7, D 3, Dv 6.
struct Call {
  Array<float, 4> query_memory{{2, 8, 5, 3}}, key_memory{{2, 4, 7, 3}}, value_memory{{2, 4, 7, 6}};
  Array<float, 4> d_out_memory{{2, 8, 5, 6}};
  Array<float, 3> d_lse_memory{{2, 8, 5}};
  View<const float, 4> query = query_memory, key = key_memory, value = value_memory, d_out = d_out_memory;
  View<const float, 3> d_lse = d_lse_memory;
  AttentionOptions options{.want = {.lse = true}};

  Call() = default;
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  AttentionResult forward() const { return attend(query, key, value, options); }
};

/// Both directions check what they share.
void expect_both(const std::function<void(Call&)>& spoil, const std::string& argument,
                 const std::vector<std::string>& figures = {}) {
  Call call;
  const AttentionResult result = call.forward();
  spoil(call);
  expect_error([&] { call.forward(); }, argument, figures);
  expect_error(
      [&] {
        attend_backward(call.query, call.key, call.value, result, call.d_out, call.options, call.d_lse);
      },
      argument, figures);
}

TEST(Errors, TheRightCallHasNone) {
  const Call call;
  EXPECT_NO_THROW(attend_backward(call.query, call.key, call.value, call.forward(), call.d_out, call.options,
                                  call.d_lse));
}

TEST(Errors, Shapes) {
  expect_both([](Call& c) { c.key.shape = {2, 3, 7, 3}; }, "key", {"3", "8"});
  expect_both([](Call& c) { c.key.shape = {2, 0, 7, 3}; }, "key", {"0", "8"});
  expect_both([](Call& c) { c.key.shape = {2, 16, 7, 3}; }, "key", {"16", "8"});
  expect_both([](Call& c) { c.key.shape = {1, 4, 7, 3}; }, "key", {"1", "2"});
  expect_both([](Call& c) { c.key.shape = {2, 4, 7, 2}; }, "key", {"2", "3"});
  expect_both([](Call& c) { c.value.shape = {1, 4, 7, 6}; }, "value", {"1", "2"});
  expect_both([](Call& c) { c.value.shape = {2, 2, 7, 6}; }, "value", {"2", "4"});
  expect_both([](Call& c) { c.value.shape = {2, 4, 6, 6}; }, "value", {"6", "7"});
  expect_both([](Call& c) { c.query.shape[3] = c.key.shape[3] = 0; }, "query", {"0"});
  expect_both([](Call& c) { c.value.shape = {2, 4, 7, 0}; }, "value", {"0"});
  expect_both([](Call& c) { c.query.shape[2] = -1; }, "query", {"-1"});
  expect_both([](Call& c) { c.key.shape[2] = c.value.shape[2] = -7; }, "key", {"-7"});
  // Sizes whose product wraps around.
  constexpr Index kHuge = Index{1} << 40;
  expect_both([](Call& c) { c.query.shape = {kHuge, kHuge, kHuge, 3}; }, "query");
}

TEST(Errors, Memory) {
  expect_both([](Call& c) { c.query.data = nullptr; }, "query", {"null"});
  expect_both([](Call& c) { c.key.data = nullptr; }, "key", {"null"});
  expect_both([](Call& c) { c.value.data = nullptr; }, "value", {"null"});
  expect_both([](Call& c) { c.query.stride[3] = 2; }, "query", {"2", "1"});
  expect_both([](Call& c) { c.key.stride[3] = 7; }, "key", {"7", "1"});
  expect_both([](Call& c) { c.value.stride[3] = -1; }, "value", {"-1"});
}

TEST(Errors, SimilarityNumbers) {
  const double infinity = test::kInfinity;
  for (const double wrong : {0.0, -1.5, kNan, -infinity}) {
    expect_both([&](Call& c) { c.options.similarity = Gaussian{.bandwidth = wrong}; }, "bandwidth",
                {"positive"});
    expect_both([&](Call& c) { c.options.similarity = Cosine{.temperature = wrong}; }, "temperature",
                {"positive"});
    expect_both([&](Call& c) { c.options.similarity = Euclidean{.temperature = wrong}; }, "temperature",
                {"positive"});
  }
  expect_both([](Call& c) { c.options.similarity = Gaussian{.bandwidth = -1.5}; }, "bandwidth", {"-1.5"});
  expect_both([](Call& c) { c.options.similarity = Dot{.scale = kNan}; }, "scale", {"nan"});
  expect_both([&](Call& c) { c.options.similarity = Dot{.scale = infinity}; }, "scale", {"inf"});
  Call fine;
  fine.options.similarity = Dot{.scale = -2.0};  // any finite scale is a scale
  EXPECT_NO_THROW(fine.forward());
  fine.options.similarity = Dot{.scale = 0.0};
  EXPECT_NO_THROW(fine.forward());
}

TEST(Errors, KeyLengths) {
  expect_both([](Call& c) { c.options.mask = key_lengths({7}); }, "key_length", {"1", "2"});
  expect_both([](Call& c) { c.options.mask = key_lengths({7, 7, 7}); }, "key_length", {"3", "2"});
  expect_both([](Call& c) { c.options.mask = key_lengths({7, -1}); }, "key_length", {"-1", "7"});
  expect_both([](Call& c) { c.options.mask = key_lengths({8, 7}); }, "key_length", {"8", "7"});
}

TEST(Errors, Top) {
  Call call;
  call.options.want.top = -1;
  expect_error([&] { call.forward(); }, "top", {"-1"});
  call.options.want.top = 8;
  expect_error([&] { call.forward(); }, "top", {"8", "7"});
  call.options.want.top = 7;
  EXPECT_NO_THROW(call.forward());
}

TEST(Errors, Threads) {
  Call call;
  call.options.threads = -1;
  expect_error([&] { call.forward(); }, "threads", {"-1"});
}

TEST(Errors, MasksInConflict) {
  expect_error([] { static_cast<void>(causal(1) & causal(2)); }, "mask", {"causal", "1", "2"});
  expect_error([] { static_cast<void>(exclude_self(0) & exclude_self(4)); }, "mask",
               {"exclude_self", "0", "4"});
  expect_error([] { static_cast<void>(key_lengths({1, 2}) & key_lengths({1, 3})); }, "mask", {"key_length"});
}

TEST(Errors, OffsetsBeyondAnyPositionAreErrorsOrHarmless) {
  Call call;
  constexpr Index kFar = std::numeric_limits<Index>::max();
  for (const Index offset : {kFar, -kFar, std::numeric_limits<Index>::min()}) {
    for (const Mask& mask : {causal(offset), exclude_self(offset)}) {
      call.options.mask = mask;
      try {
        const AttentionResult result = call.forward();
        for (const float x : result.out) EXPECT_EQ(x, 0);
      } catch (const Error&) {
      }
    }
  }
}

TEST(Errors, BackwardNeedsTheForwardResult) {
  const Call call;
  const auto backward = [&](const AttentionResult& result) {
    attend_backward(call.query, call.key, call.value, result, call.d_out, call.options, call.d_lse);
  };
  Call without;
  without.options.want.lse = false;
  const AttentionResult no_lse = without.forward();
  expect_error([&] { backward(no_lse); }, "result.lse", {"want.lse"});
  AttentionResult wrong = call.forward();
  wrong.out = Array<float, 4>({2, 8, 5, 5});
  expect_error([&] { backward(wrong); }, "result.out", {"5", "6"});
  wrong = call.forward();
  wrong.lse = Array<float, 3>({2, 8, 4});
  expect_error([&] { backward(wrong); }, "result.lse", {"4", "5"});
}

TEST(Errors, BackwardGradientShapes) {
  Call call;
  const AttentionResult result = call.forward();
  const auto backward = [&] {
    attend_backward(call.query, call.key, call.value, result, call.d_out, call.options, call.d_lse);
  };
  const View<const float, 4> d_out = call.d_out;
  const View<const float, 3> d_lse = call.d_lse;
  call.d_out.shape[3] = 5;
  expect_error(backward, "d_out", {"5", "6"});
  call.d_out = d_out;
  call.d_out.data = nullptr;
  expect_error(backward, "d_out", {"null"});
  call.d_out = d_out;
  call.d_out.stride[3] = 2;
  expect_error(backward, "d_out", {"2", "1"});
  call.d_out = d_out;
  call.d_lse.shape[2] = 4;
  expect_error(backward, "d_lse", {"4", "5"});
  call.d_lse = d_lse;
  call.d_lse.data = nullptr;
  call.d_lse.shape = d_lse.shape;
  expect_error(backward, "d_lse", {"null"});
  call.d_lse = {};
  EXPECT_NO_THROW(backward());
}

TEST(Errors, UnknownInstructionSet) {
  expect_error([] { force_instruction_set("AVX9"); }, "instruction set", {"AVX9"});
  EXPECT_STREQ(instruction_set(), instruction_sets().front());
}

}  // namespace
}  // namespace kith
