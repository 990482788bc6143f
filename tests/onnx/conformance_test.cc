// Kith's operator gives what ONNX's own node tests say it should.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <iostream>
#include <map>
#include <string>

#include "onnx/cases_folder.h"
#include "onnx/operators.h"

namespace kith::test::onnx {
namespace {

// Those of ONNX's own runner (onnx/backend/test/case/node), which sets none apart for float16: the next
// float16 is at most 2^-10 away.
constexpr double kRelative = 1e-3;
constexpr double kAbsolute = 1e-7;

/// The only cases that are not tried, and why.
const std::map<std::string, std::string> kSkipped{
    {"test_flexattention_prob_mod",
     "changes the weights after the softmax, where the operator has no place to"},
};

Output expected(const Tensor& tensor) {
  Output result{.shape = tensor.shape, .values = {}};
  const auto append = [&](const auto& values) {
    for (const auto x : values) result.values.push_back(static_cast<double>(x));
  };
  switch (tensor.dtype) {
    case Dtype::float32:
      append(tensor.values<float>());
      break;
    case Dtype::float64:
      append(tensor.values<double>());
      break;
    case Dtype::float16:
      append(tensor.values<float16>());
      break;
    default:
      throw Error(fmt::format("{}: {} is not expected of an output", tensor.name, name(tensor.dtype)));
  }
  return result;
}

bool close(double got, double want) {
  if (!std::isfinite(want)) return got == want;
  return std::fabs(got - want) <= kAbsolute + kRelative * std::fabs(want);
}

/// What is wrong with an output; nothing if it is as expected.
std::string difference(const Output& got, const Output& want) {
  if (got.shape != want.shape || got.values.size() != want.values.size()) return "another shape";
  for (std::size_t i = 0; i < want.values.size(); ++i) {
    if (!close(got.values[i], want.values[i]))
      return fmt::format("element {} is {}; should be {}", i, got.values[i], want.values[i]);
  }
  return {};
}

/// The same for a case's first outputs, up to `places` in the node's signature.
std::string difference(const Case& c, const std::vector<Output>& outputs, std::size_t places) {
  std::size_t k = 0;
  for (std::size_t place = 0; place < places; ++place) {
    const Tensor* tensor = c.output(place);
    if (!tensor) continue;
    if (k == outputs.size()) return fmt::format("{}: no such output", tensor->name);
    const std::string wrong = difference(outputs[k++], expected(*tensor));
    if (!wrong.empty()) return fmt::format("{}: {}", tensor->name, wrong);
  }
  return k == outputs.size() ? "" : "more outputs than expected";
}

std::string difference_of_run(const Case& c) { return difference(c, run(c), c.node.outputs.size()); }
/// A cache gives Y, present_key and present_value.
std::string difference_of_run_from_cache(const Case& c) { return difference(c, run_from_cache(c), 3); }

/// Tries all of these; there have to be as many as ONNX has.
void expect_conformance(const char* what, const std::vector<std::string>& names, std::size_t cases,
                        std::string (*try_case)(const Case&)) {
  std::size_t passed = 0, skipped = 0, failed = 0;
  for (const std::string& name : names) {
    if (const auto skip = kSkipped.find(name); skip != kSkipped.end()) {
      std::cout << name << " skipped: " << skip->second << '\n';
      ++skipped;
      continue;
    }
    std::string wrong;
    try {
      wrong = try_case(load_case(cases_folder() / name));
    } catch (const Error& error) {
      wrong = error.what();
    }
    if (wrong.empty()) {
      ++passed;
    } else {
      ADD_FAILURE() << name << ": " << wrong;
      ++failed;
    }
  }
  std::cout << what << ": " << passed << " passed, " << skipped << " skipped, " << failed << " failed\n";
  EXPECT_EQ(names.size(), cases);
}

using OnnxConformance = FetchedCases;

TEST_F(OnnxConformance, Attention) {
  expect_conformance("Attention", case_names(cases_folder(), "test_attention_"), 64, difference_of_run);
}

TEST_F(OnnxConformance, AttentionWithAPastFromACache) {
  std::vector<std::string> names = case_names(cases_folder(), "test_attention_");
  std::erase_if(names, [](const std::string& name) { return name.find("_with_past_") == std::string::npos; });
  expect_conformance("Attention from a cache", names, 19, difference_of_run_from_cache);
}

TEST_F(OnnxConformance, RotaryEmbedding) {
  expect_conformance("RotaryEmbedding", case_names(cases_folder(), "test_rotary_embedding"), 8,
                     difference_of_run);
}

TEST_F(OnnxConformance, FlexAttention) {
  expect_conformance("FlexAttention", case_names(cases_folder(), "test_flexattention"), 11,
                     difference_of_run);
}

// ONNX's boolean masks hide nothing, and where its masks are shorter than the keys, lengths hide the rest
// anyway. This case's mask is 0 for four keys and -inf for two, so it can be said in those other ways.
TEST_F(OnnxConformance, MasksThatHideTheSameInOtherWays) {
  Case c = load_case(cases_folder() / "test_attention_4d_softcap_neginf_mask_poison");
  Tensor& mask = c.inputs.at("attn_mask");
  ASSERT_EQ(mask.shape, (std::vector<Index>{4, 6}));
  ASSERT_EQ(mask.dtype, Dtype::float32);
  mask = {.name = mask.name, .dtype = Dtype::boolean, .shape = {4, 6}, .bytes = {}};
  for (int row = 0; row < 4; ++row) mask.bytes += std::string{1, 1, 1, 1, 0, 0};
  EXPECT_EQ(difference_of_run(c), "");
  mask = {.name = mask.name, .dtype = Dtype::boolean, .shape = {4, 4}, .bytes = std::string(16, 1)};
  EXPECT_EQ(difference_of_run(c), "");
  mask = {.name = mask.name, .dtype = Dtype::float32, .shape = {4, 4}, .bytes = std::string(64, 0)};
  EXPECT_EQ(difference_of_run(c), "");
  mask = {.name = mask.name, .dtype = Dtype::boolean, .shape = {4, 6}, .bytes = std::string(24, 1)};
  EXPECT_NE(difference_of_run(c), "");
}

TEST(OnnxComparison, ComparesEveryElementAndShape) {
  const Output want{.shape = {2}, .values = {1.0, -INFINITY}};
  EXPECT_EQ(difference(want, want), "");
  EXPECT_EQ(difference({.shape = {2}, .values = {1.0009, -INFINITY}}, want), "");
  EXPECT_NE(difference({.shape = {2}, .values = {1.0011, -INFINITY}}, want), "");
  EXPECT_NE(difference({.shape = {2}, .values = {1.0, INFINITY}}, want), "");
  EXPECT_NE(difference({.shape = {2}, .values = {1.0, -1e30}}, want), "");
  EXPECT_NE(difference({.shape = {2}, .values = {NAN, -INFINITY}}, want), "");
  EXPECT_NE(difference({.shape = {1, 2}, .values = want.values}, want), "");
  EXPECT_NE(difference({.shape = {1}, .values = {1.0}}, want), "");
}

}  // namespace
}  // namespace kith::test::onnx
