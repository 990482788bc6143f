// The case list itself: it spells its cases, and no pair of options that matters is missing.
#include <gtest/gtest.h>

#include <set>
#include <stdexcept>
#include <string>

#include "attention/cases.h"

namespace kith {
namespace {

using namespace test;

const std::vector<Case>& list() {
  static const std::vector<Case> cases = make_cases(2500);
  return cases;
}

/// How many of the pairs of two axes occur.
template <class A, class B>
std::size_t pairs(const A& a, const B& b) {
  std::set<std::string> seen;
  for (const Case& c : list()) seen.insert(a(c) + " with " + b(c));
  return seen.size();
}

const auto kSimilarity = [](const Case& c) { return name(c.similarity); };
const auto kMask = [](const Case& c) { return name(c.mask); };
const auto kBias = [](const Case& c) { return name(c.bias); };
const auto kDtype = [](const Case& c) { return std::string(kith::name(c.dtype)); };
const auto kOutputs = [](const Case& c) { return std::to_string(c.outputs); };
const auto kMetric = [](const Case& c) { return std::to_string(static_cast<int>(c.metric)); };
const auto kAdaptive = [](const Case& c) { return std::to_string(static_cast<int>(c.adaptive)); };
const auto kRotary = [](const Case& c) { return std::to_string(static_cast<int>(c.rotary)); };
const auto kUpstream = [](const Case& c) { return std::to_string(c.upstream); };

std::size_t distinct_biases() {
  std::set<std::string> names;
  for (const auto& bias : bias_kinds()) names.insert(name(bias));
  return names.size();
}

TEST(CaseList, EveryPairOccurs) {
  const std::size_t masks = mask_kinds().size(), biases = distinct_biases(), outputs = output_kinds().size();
  EXPECT_EQ(pairs(kSimilarity, kMask), kSimilarityKinds * masks);
  EXPECT_EQ(pairs(kSimilarity, kDtype), kSimilarityKinds * 4);
  EXPECT_EQ(pairs(kMask, kOutputs), masks * outputs);
  EXPECT_EQ(pairs(kSimilarity, kBias), kSimilarityKinds * biases);
  EXPECT_EQ(pairs(kBias, kMask), biases * masks);
  EXPECT_EQ(pairs(kMask, kDtype), masks * 4);
  EXPECT_EQ(pairs(kMask, kUpstream), masks * 5);
  EXPECT_EQ(pairs(kSimilarity, kUpstream), kSimilarityKinds * 5);
  EXPECT_EQ(pairs(kSimilarity, kRotary), kSimilarityKinds * 7);
  EXPECT_EQ(pairs(kMetric, kMask), 3 * masks);
  EXPECT_EQ(pairs(kAdaptive, kMask), 4 * masks);
  // Bilinear, additive and uniform forms take no metric, additive and uniform ones no adaptive bandwidth.
  EXPECT_EQ(pairs(kSimilarity, kMetric), (kSimilarityKinds - 3) * 3 + 3);
  EXPECT_EQ(pairs(kSimilarity, kAdaptive), (kSimilarityKinds - 2) * 4 + 2);
}

TEST(CaseList, EverySizeOccurs) {
  std::set<Index> queries, keys, depths, value_depths;
  bool grouped = false;
  for (const Case& c : list()) {
    queries.insert(c.queries), keys.insert(c.keys), depths.insert(c.depth),
        value_depths.insert(c.value_depth);
    grouped |= c.key_heads > 1 && c.query_heads > c.key_heads;
  }
  for (const Index size : {0, 1, 2, 3, 7, 23, 24, 25, 47, 48, 49, 95, 97, 191, 192, 193, 385}) {
    EXPECT_TRUE(queries.contains(size) && keys.contains(size)) << size;
  }
  for (const Index size : {1919, 1920, 1921, 4000}) EXPECT_TRUE(keys.contains(size)) << size;
  for (const Index size : {1, 2, 3, 5, 8, 9, 16, 17, 31, 33, 64, 65, 128, 200, 512}) {
    EXPECT_TRUE(depths.contains(size) && value_depths.contains(size)) << size;
  }
  EXPECT_TRUE(grouped);
}

TEST(CaseList, LinesReplay) {
  for (const Case& c : list()) ASSERT_EQ(parse(line(c)), c) << line(c);
  EXPECT_THROW(parse("N=3 what=4"), std::invalid_argument);
  EXPECT_THROW(parse("N=3 mask=causal&wall"), std::invalid_argument);
  EXPECT_THROW(parse("N"), std::invalid_argument);
}

/// A longer list begins with the shorter one, so that a case's number means the same in both.
TEST(CaseList, GrowsAtItsEnd) {
  const std::vector<Case> few = make_cases(100);
  EXPECT_TRUE(std::equal(few.begin(), few.end(), list().begin()));
}

}  // namespace
}  // namespace kith
