#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/program.h"

namespace kith::test {
namespace {

TEST(Bench, GivesEveryKernelWithItsUnit) {
#ifdef KITH_SLOW_BUILD
  GTEST_SKIP() << "minutes in a build that is not optimized";
#endif
  const Outcome outcome = kith_run({"bench", "--json", "--seconds", "0"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const nlohmann::json bench = parse_json(outcome.out);
  EXPECT_TRUE(bench.at("cpu").is_string());
  EXPECT_GT(bench.at("peak_gflops"), 0);
  EXPECT_GT(bench.at("read_gb_s"), 0);
  const char* expected[][2] = {{"forward", "gflops"},
                               {"backward", "gflops"},
                               {"decode", "gb_s"},
                               {"regression", "gpairs_s"},
                               {"causal", "gflops"}};
  ASSERT_EQ(bench.at("kernels").size(), std::size(expected));
  for (std::size_t i = 0; i < std::size(expected); ++i) {
    const nlohmann::json& kernel = bench.at("kernels")[i];
    EXPECT_EQ(kernel.at("name"), expected[i][0]);
    EXPECT_GT(kernel.at(expected[i][1]), 0) << kernel;
    EXPECT_GT(kernel.at("of_limit"), 0) << kernel;
    EXPECT_TRUE(kernel.at("shape").is_string());
    EXPECT_EQ(kernel.at("threads"), 1);
  }
}

}  // namespace
}  // namespace kith::test
