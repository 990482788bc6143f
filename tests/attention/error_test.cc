// Wrong calls: kith::Error, naming the argument, what it got and what it needs. Shapes and memory, what the
// backward pass needs, and that the public calls check.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "attention/wrong_call.h"

namespace kith {
namespace {

using namespace test;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr Index kMost = std::numeric_limits<Index>::max();

TEST(Errors, TheRightCallHasNone) {
  expect_right([](Call&) {});
  const Call call;
  EXPECT_NO_THROW(attend_backward(call.query, call.key, call.value, call.forward(), call.d_out, call.options,
                                  call.d_lse));
}

TEST(Errors, Shapes) {
  expect_wrong([](Call& c) { c.key.shape[1] = 3; }, "key: 3 heads do not divide query's 8");
  expect_wrong([](Call& c) { c.key.shape[1] = 0; }, "key: 0 heads do not divide query's 8");
  expect_wrong([](Call& c) { c.key.shape[1] = 16; }, "key: 16 heads do not divide query's 8");
  expect_wrong([](Call& c) { c.key.shape[0] = 1; }, "key: batch is 1; it needs query's 2");
  expect_wrong([](Call& c) { c.key.shape[3] = 2; }, "key: 2 columns; it needs query's 4");
  expect_wrong([](Call& c) { c.value.shape[0] = 1; }, "value: batch is 1; it needs query's 2");
  expect_wrong([](Call& c) { c.value.shape[1] = 2; }, "value: 2 heads; it needs key's 4");
  expect_wrong([](Call& c) { c.value.shape[2] = 6; }, "value: 6 rows; it needs key's 7");
  expect_wrong([](Call& c) { c.query.shape[3] = 0; }, "query: 0 columns; it needs at least 1");
  expect_wrong([](Call& c) { c.key.shape[3] = 0; }, "key: 0 columns; it needs at least 1");
  expect_wrong([](Call& c) { c.value.shape[3] = 0; }, "value: 0 columns; it needs at least 1");
  expect_wrong([](Call& c) { c.query.shape[0] = -2; }, "query: batch is -2; it cannot be negative");
  expect_wrong([](Call& c) { c.query.shape[1] = -8; }, "query: heads is -8; it cannot be negative");
  expect_wrong([](Call& c) { c.key.shape[2] = -7; }, "key: rows is -7; it cannot be negative");
  expect_wrong([](Call& c) { c.value.shape[3] = -1; }, "value: columns is -1; it cannot be negative");
  expect_right([](Call& c) { c.query.shape[2] = 0; });
  expect_right([](Call& c) { c.key.shape[2] = c.value.shape[2] = 0; });
  expect_right([](Call& c) { c.query.shape[0] = c.key.shape[0] = c.value.shape[0] = 0; });
}

TEST(Errors, Memory) {
  expect_wrong([](Call& c) { c.query.data = nullptr; },
               "query: no data (a null pointer) for 320 elements; it needs memory");
  expect_wrong([](Call& c) { c.key.data = nullptr; },
               "key: no data (a null pointer) for 224 elements; it needs memory");
  expect_wrong([](Call& c) { c.value.data = nullptr; },
               "value: no data (a null pointer) for 336 elements; it needs memory");
  expect_wrong([](Call& c) { c.query.stride[3] = 2; },
               "query: the last axis has stride 2; it needs 1 (contiguous)");
  expect_wrong([](Call& c) { c.key.stride[3] = 7; },
               "key: the last axis has stride 7; it needs 1 (contiguous)");
  expect_wrong([](Call& c) { c.value.stride[3] = -1; },
               "value: the last axis has stride -1; it needs 1 (contiguous)");
  // A batch row's stride of nothing is a batch of one row repeated.
  expect_right([](Call& c) { c.key.stride[0] = 0; });
}

TEST(Errors, SizesBeyondTheAddressSpace) {
  constexpr Index kHuge = Index{1} << 40;
  expect_wrong(
      [](Call& c) {
        c.query.shape = {kHuge, kHuge, kHuge, 4};
      },
      "query: shape [1099511627776, 1099511627776, 1099511627776, 4] has too many elements to address; "
      "it needs fewer than 2^57");
  // An empty axis does not make the others countable.
  expect_wrong(
      [](Call& c) {
        c.key.shape = {0, kHuge, kHuge, 4};
      },
      "key: shape [0, 1099511627776, 1099511627776, 4] has too many elements to address; it needs fewer "
      "than 2^57");
  expect_wrong([](Call& c) { c.value.stride[0] = Index{1} << 61; },
               "value: strides [2305843009213693952, 42, 6, 1] of shape [2, 4, 7, 6] lead out of the address "
               "space; it needs memory for all");
  expect_wrong(
      [](Call& c) { c.value.stride[2] = std::numeric_limits<Index>::min(); },
      "value: strides [168, 42, -9223372036854775808, 1] of shape [2, 4, 7, 6] lead out of the address "
      "space; it needs memory for all");
  expect_wrong(
      [](Call& c) { c.key.stride[1] = -(Index{1} << 59); },
      "key: strides [112, -576460752303423488, 4, 1] of shape [2, 4, 7, 4] lead out of the address space; "
      "it needs memory for all");
  // Inputs that repeat one row take no memory; the result would.
  expect_wrong(
      [](Call& c) {
        c.query.shape[2] = Index{1} << 49;
        c.query.stride[2] = 0;
        c.value = View<const float, 4>(c.value.data, {2, 4, 7, 512}, {0, 0, 0, 1});
      },
      "out: shape [2, 8, 562949953421312, 512] has too many elements to address; it needs fewer than 2^57");
}

TEST(Errors, WeightsSize) {
  const Geometry g{
      .batch = 2, .heads = 8, .key_heads = 4, .queries = 5, .keys = 7, .depth = 4, .value_depth = 6};
  EXPECT_NO_THROW(check_weights_size(g, 4, 2240));
  expect_message([&] { check_weights_size(g, 4, 2239); },
                 "weights: [2, 8, 5, 7] are 2240 bytes; it needs most_bytes (2239) to allow them");
  Geometry huge = g;
  huge.queries = huge.keys = Index{1} << 30;
  expect_message(
      [&] { check_weights_size(huge, 4, ~std::size_t{0}); },
      "weights: shape [2, 8, 1073741824, 1073741824] has too many elements to address; it needs fewer "
      "than 2^57");
}

/// The forward pass's result and a loss's gradients, all there is, to be made wrong in one place.
struct BackwardCall {
  Geometry g{.batch = 2, .heads = 8, .key_heads = 4, .queries = 5, .keys = 7, .depth = 4, .value_depth = 6};
  Array<float, 4> rows{{2, 8, 5, 6}};
  Array<float, 3> numbers{{2, 8, 5}};
  AttentionResult result;
  Upstream<float> upstream{.out = rows, .lse = numbers, .entropy = numbers, .second_moment = rows};

  BackwardCall() {
    result.out = result.second_moment = rows;
    result.lse = result.entropy = numbers;
  }
};

void expect_wrong_backward(const std::function<void(BackwardCall&)>& spoil, const std::string& message) {
  BackwardCall call;
  EXPECT_NO_THROW(check_backward(call.g, call.result, call.upstream));
  spoil(call);
  expect_message([&] { check_backward(call.g, call.result, call.upstream); }, message);
}

TEST(Errors, BackwardNeedsTheForwardResult) {
  expect_wrong_backward([](BackwardCall& c) { c.result.lse = {}; },
                        "result.lse: empty; the forward call needs want.lse = true");
  expect_wrong_backward([](BackwardCall& c) { c.result.entropy = {}; },
                        "result.entropy: empty; the forward call needs want.entropy = true");
  expect_wrong_backward([](BackwardCall& c) { c.result.second_moment = {}; },
                        "result.second_moment: empty; the forward call needs want.second_moment = true");
  expect_wrong_backward(
      [](BackwardCall& c) {
        c.result.out = Array<float, 4>({2, 8, 5, 5});
      },
      "result.out: shape [2, 8, 5, 5]; it needs [2, 8, 5, 6]");
  expect_wrong_backward(
      [](BackwardCall& c) {
        c.result.lse = Array<float, 3>({2, 8, 4});
      },
      "result.lse: shape [2, 8, 4]; it needs [2, 8, 5]");
  BackwardCall without;  // what no gradient goes through is not needed
  without.upstream.entropy = {};
  without.upstream.second_moment = {};
  without.result.entropy = {};
  without.result.second_moment = {};
  EXPECT_NO_THROW(check_backward(without.g, without.result, without.upstream));
}

TEST(Errors, BackwardGradients) {
  expect_wrong_backward([](BackwardCall& c) { c.upstream.out = {}; },
                        "d_out: shape [0, 0, 0, 0]; it needs [2, 8, 5, 6]");
  expect_wrong_backward([](BackwardCall& c) { c.upstream.out.shape[3] = 5; },
                        "d_out: shape [2, 8, 5, 5]; it needs [2, 8, 5, 6]");
  expect_wrong_backward([](BackwardCall& c) { c.upstream.out.data = nullptr; },
                        "d_out: no data (a null pointer) for 480 elements; it needs memory");
  expect_wrong_backward([](BackwardCall& c) { c.upstream.out.stride[3] = 2; },
                        "d_out: the last axis has stride 2; it needs 1 (contiguous)");
  expect_wrong_backward([](BackwardCall& c) { c.upstream.lse.shape[2] = 4; },
                        "d_lse: shape [2, 8, 4]; it needs [2, 8, 5]");
  expect_wrong_backward([](BackwardCall& c) { c.upstream.lse.data = nullptr; },
                        "d_lse: no data (a null pointer) for 80 elements; it needs memory");
  expect_wrong_backward([](BackwardCall& c) { c.upstream.entropy.shape[0] = 1; },
                        "d_entropy: shape [1, 8, 5]; it needs [2, 8, 5]");
  expect_wrong_backward([](BackwardCall& c) { c.upstream.second_moment.stride[3] = 3; },
                        "d_second_moment: the last axis has stride 3; it needs 1 (contiguous)");
}

/// The public calls, forward and backward, check what they share.
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

TEST(Errors, PublicCallsCheck) {
  expect_both([](Call& c) { c.key.shape[1] = 3; }, "key", {"3", "8"});
  expect_both([](Call& c) { c.query.data = nullptr; }, "query", {"null"});
  expect_both([](Call& c) { c.options.similarity = Gaussian{-1.5}; }, "bandwidth", {"-1.5"});
  expect_both([](Call& c) { c.options.mask = key_lengths({8, 7}); }, "key_length", {"8", "7"});
  expect_both([](Call& c) { c.options.dropout.rate = 2; }, "dropout.rate", {"2"});
  expect_both([](Call& c) { c.options.want.top = 8; }, "top", {"8", "7"});
  expect_both([](Call& c) { c.options.threads = -1; }, "threads", {"-1"});
  Call call;
  const AttentionResult result = call.forward();
  const auto backward = [&] {
    attend_backward(call.query, call.key, call.value, result, call.d_out, call.options, call.d_lse);
  };
  call.d_lse = {};
  EXPECT_NO_THROW(backward());
  call.d_out.shape[3] = 5;
  expect_error(backward, "d_out", {"5", "6"});
  expect_error([&] { attention_weights(call.query, call.key, {}, 100); }, "weights", {"2240", "100"});
}

TEST(Errors, OffsetsBeyondAnyPositionAreHarmlessUpToTheLimit) {
  Call call;
  constexpr Index kFar = Index{1} << 60;
  for (const Mask& mask : {causal(-kFar), window(0, 0, kFar), window(0, 0, -kFar)}) {
    call.options.mask = mask;
    const AttentionResult result = call.forward();
    for (const float x : result.out) EXPECT_EQ(x, 0);
    for (const float x : result.lse) EXPECT_EQ(x, -kInfinity);
  }
  call.options.mask = causal(kFar) & exclude_self(-kFar) & window(kMost, kMost, kFar);
  const AttentionResult result = call.forward();
  for (const float x : result.lse) EXPECT_NEAR(x, std::log(7.0), 1e-6);
}

TEST(Errors, UnknownInstructionSet) {
  expect_error([] { force_instruction_set("AVX9"); }, "instruction set", {"AVX9"});
  EXPECT_STREQ(instruction_set(), instruction_sets().front());
}

}  // namespace
}  // namespace kith
