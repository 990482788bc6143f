// `kith attend` with wrong commands, wrong files and no room to write; what it says, draws and leaves behind.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <sstream>

#include <nlohmann/json.hpp>

#include "cli/attend_data.h"
#include "kith/npy.h"

namespace kith::test {
namespace {

using Words = std::vector<std::string>;

struct Wrong {
  Words words;  ///< added to a command that is right
  const char* message;
  int exit_code = 2;
};

void PrintTo(const Wrong& wrong, std::ostream* out) {
  for (const std::string& word : wrong.words) *out << word << ' ';
}

Words command(const Words& more) {
  Words words = {"-q", "query.npy", "-k", "key.npy", "-v", "value.npy", "-o", "result.npy"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

class AttendWrong : public testing::TestWithParam<Wrong> {
 protected:
  /// Files that are wrong in one way or another.
  AttendWrong() {
    write_npy(folder_ / "one.npy", AttendData(1).query);
    write_npy(folder_ / "row.npy", Array<double, 1>({4}));
    write_npy(folder_ / "counts.npy", data_.query_id);
    folder_.write("text.npy", "not an array");
    const std::string whole = read_file(folder_ / "row.npy");
    folder_.write("short.npy", whole.substr(0, whole.size() - 8));
  }
  const AttendData data_{kBatch};
  TemporaryFolder folder_;
};

TEST_P(AttendWrong, IsOneLineThatSaysWhatIsWrongAndNothingIsWritten) {
  const Outcome outcome = data_.run(folder_, GetParam().words);
  EXPECT_EQ(outcome.exit_code, GetParam().exit_code) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_TRUE(outcome.err.starts_with("kith: ")) << outcome.err;
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  EXPECT_NE(outcome.err.find(GetParam().message), std::string::npos) << outcome.err;
  for (const char* name : {"result.npy", "o.npy"}) EXPECT_FALSE(std::filesystem::exists(folder_ / name));
}

INSTANTIATE_TEST_SUITE_P(
    Commands, AttendWrong,
    testing::Values(
        Wrong{{}, "--query is required"}, Wrong{{"-q", "query.npy"}, "--key is required"},
        Wrong{{"-q", "query.npy", "-k", "key.npy", "-o", "o.npy"}, "--value is required"},
        Wrong{{"-q", "query.npy", "-k", "key.npy", "-v", "value.npy"}, "--out is required"},
        Wrong{{"-q", "", "-k", "key.npy", "-v", "value.npy", "-o", "o.npy"}, "--query: the name is empty"},
        Wrong{command({"more"}), "'more' is one argument too many"},
        Wrong{command({"--casual"}), "did you mean --causal?"},
        Wrong{command({"--similarity", "gausian"}), "did you mean gaussian?"},
        Wrong{command({"--bandwidth", "2"}),
              "--bandwidth: means nothing to --similarity dot; it is for gaussian"},
        Wrong{command({"--similarity", "cosine", "--scale", "2"}),
              "--scale: means nothing to --similarity cosine"},
        Wrong{command({"--similarity", "laplace", "--tau", "2"}), "--tau: means nothing"},
        Wrong{command({"--power", "2"}), "it is for inverse-distance"},
        Wrong{command({"--matrix", "matrix.npy"}), "it is for bilinear"},
        Wrong{command({"--score", "1,2"}), "it is for additive"},
        Wrong{command({"--similarity", "uniform", "--soft-cap", "2"}), "--soft-cap: means nothing"},
        Wrong{command({"--similarity", "uniform", "--column-bandwidths", "1,2,3,4"}), "--column-bandwidths"},
        Wrong{command({"--similarity", "additive", "--query-weight", "query_weight.npy", "--key-weight",
                       "key_weight.npy", "--score", "score.npy", "--query-bandwidths", "1"}),
              "--query-bandwidths: means nothing"},
        Wrong{command({"--similarity", "bilinear"}), "--matrix: needed by --similarity bilinear"},
        Wrong{command({"--similarity", "additive", "--score", "1"}), "--query-weight: needed"},
        Wrong{command({"--similarity", "gaussian", "--bandwidth", "1", "--tau", "2"}),
              "--bandwidth and --tau"},
        Wrong{command({"--column-bandwidths", "1", "--metric-matrix", "metric.npy"}),
              "--column-bandwidths and"},
        Wrong{command({"--method", "skipp"}), "did you mean skip?"},
        Wrong{command({"--scale", "nan"}), "--scale: needs a number, got nan"},
        Wrong{command({"--similarity", "cosine", "--temperature", "0"}), "needs a number above 0, got 0"},
        Wrong{command({"--similarity", "gaussian", "--bandwidth", "-1"}),
              "--bandwidth: needs a number above 0"},
        Wrong{command({"--dropout", "1"}), "--dropout: needs a number from 0 to below 1, got 1"},
        Wrong{command({"--first-batch", "1"}), "--first-batch: needs --dropout"},
        Wrong{command({"--offset", "1"}), "--offset: needs --causal or"},
        Wrong{command({"--causal", "--offset", "1.5"}), "--offset: needs a whole number, got 1.5"},
        Wrong{command({"--window", "3"}), "--window: needs two whole numbers"},
        Wrong{command({"--window", "-1,2"}), "--window: needs two whole numbers"},
        Wrong{command({"--first-key", "-1"}), "--first-key: needs a whole number, 0 or more"},
        Wrong{command({"--prefix", "2"}), "--prefix: needs --causal"},
        Wrong{command({"--key-lengths", "3,x"}), "--key-lengths: needs a .npy file or whole numbers"},
        Wrong{command({"--key-lengths", "3,2.5"}), "--key-lengths: needs a .npy file or whole numbers"},
        Wrong{command({"--ragged-query", "0,6"}), "--ragged-query: needs --ragged-key"},
        Wrong{command({"--query-documents", "0,1"}), "--query-documents: needs --key-documents"},
        Wrong{command({"--key-groups", "0,1"}), "--key-groups: needs --query-groups"},
        Wrong{command({"--query-times", "0,1"}), "--query-times: needs --key-times"},
        Wrong{command({"--block-size", "2,2"}), "--block-size: needs --block-map"},
        Wrong{command({"--block-map", "blocks.npy", "--block-size", "0,2"}), "--block-size: needs two"},
        Wrong{command({"--relative", "relative.npy"}), "--relative: needs --relative-left"},
        Wrong{command({"--t5-one-way"}), "--t5-one-way: needs --t5"},
        Wrong{command({"--alibi", "steep"}), "--alibi: needs auto, a .npy file or numbers"},
        Wrong{command({"--rotary", "whole"}), "--rotary: needs half or interleaved"},
        Wrong{command({"--rotary-base", "10"}), "--rotary-base: needs --rotary"},
        Wrong{command({"--rotary", "half", "--query-positions", "1", "--query-offset", "1"}),
              "--query-positions and"},
        Wrong{command({"--mask", "bias.npy", "--bias", "bias.npy"}), "--mask: bias.npy holds numbers to add"},
        Wrong{command({"--outputs", "lse,entropi"}), "did you mean entropy?"},
        Wrong{command({"--outputs", "top"}), "--outputs top: needs --top K"},
        Wrong{command({"--top", "0"}), "--top: needs a whole number, 1 or more"},
        Wrong{command({"--weights-limit", "9"}), "--weights-limit: needs --outputs weights"},
        Wrong{command({"--gradient-lse", "d_lse.npy"}), "--gradient-lse: needs --gradient"},
        Wrong{command({"--gradient", "d_out.npy", "--gradient-lse", "d_lse.npy", "--tangent-key",
                       "tangent_key.npy"}),
              "--gradient-lse: derivatives of gradients"},
        Wrong{command({"--gradient", "d_out.npy", "--tangent-gradient", "d_out.npy"}),
              "--tangent-gradient: needs"},
        Wrong{command({"--dtype", "int8"}), "--dtype: needs float32"},
        Wrong{command({"--mask", "-", "--bias", "-"}), "standard input can be read once"},
        Wrong{{"-q", "query.npy", "-k", "key.npy", "-v", "value.npy", "-o", "-", "--json"},
              "-o: standard output"},
        Wrong{{"-q", "query.npy", "-k", "key.npy", "-v", "value.npy", "-o", "value.npy"},
              "value.npy is read by this command"}));

INSTANTIATE_TEST_SUITE_P(
    Files, AttendWrong,
    testing::Values(
        Wrong{command({"--bias", "none.npy"}), "none.npy: does not exist", 1},
        Wrong{command({"--bias", "text.npy"}), "text.npy: not a .npy file", 1},
        Wrong{command({"--bias", "short.npy"}), "short.npy: truncated", 1},
        Wrong{{"-q", "row.npy", "-k", "key.npy", "-v", "value.npy", "-o", "o.npy"},
              "row.npy: has 1 axis; --query needs 2",
              1},
        Wrong{{"-q", "counts.npy", "-k", "key.npy", "-v", "value.npy", "-o", "o.npy"},
              "counts.npy: is int64, needs a floating-point type",
              1},
        Wrong{{"-q", "query.npy", "-k", "one.npy", "-v", "value.npy", "-o", "o.npy"}, "--key (one.npy): ", 1},
        Wrong{{"-q", "query.npy", "-k", "key.npy", "-v", "row.npy", "-o", "o.npy"}, "row.npy: has 1 axis", 1},
        Wrong{{"-q", "query.npy", "-k", "key.npy", "-v", "metric.npy", "-o", "o.npy"},
              "--value (metric.npy): ",
              1},
        Wrong{command({"--mask", "counts.npy"}), "counts.npy: is int64; --mask needs bool", 1},
        Wrong{command({"--bias", "metric.npy"}), "--bias (metric.npy): shape", 1},
        Wrong{command({"--block-map", "bias.npy"}), "bias.npy: is float64, needs bool", 1},
        Wrong{command({"--query-documents", "bias.npy", "--key-documents", "key_id.npy"}), "bias.npy: ", 1},
        Wrong{command({"--key-lengths", "1,2,3"}), "--key-lengths: ", 1},
        Wrong{command({"--key-lengths", "1,99"}), "--key-lengths: ", 1},
        Wrong{command({"--column-bandwidths", "1,2"}), "--column-bandwidths: ", 1},
        Wrong{command({"--column-bandwidths", "1,2,3,-4"}), "--column-bandwidths: ", 1},
        Wrong{command({"--top", "8"}), "--top: 8", 1},
        Wrong{command({"--outputs", "weights", "--weights-limit", "100"}), "--weights-limit (100)", 1},
        Wrong{command({"--gradient", "d_lse.npy"}), "--gradient (d_lse.npy): ", 1},
        Wrong{command({"--first-key", "8"}), "--first-key: 8", 1},
        Wrong{command({"--sink", "1,2,3"}), "--sink: 3", 1},
        Wrong{{"-q", "query.npy", "-k", "key.npy", "-v", "value.npy", "-o", "none/o.npy"},
              "there is no folder none",
              1},
        Wrong{{"-q", "query.npy", "-k", "key.npy", "-v", "value.npy", "-o", "."}, "is a folder", 1}));

class AttendFiles : public testing::Test {
 protected:
  Outcome run(const Words& more, const Setting& setting = {}) const {
    return data_.run(folder_, command(more), setting);
  }
  /// Of the outputs, put in place or not.
  std::size_t results() const {
    const auto names = folder_.names();
    return static_cast<std::size_t>(std::count_if(names.begin(), names.end(), [](const std::string& name) {
      return name.starts_with("result.") || name.starts_with(".");
    }));
  }
  const AttendData data_{kBatch};
  TemporaryFolder folder_;
};

TEST_F(AttendFiles, AnOutputBesideOutDoesNotReplaceAnInput) {
  write_npy(folder_ / "result.lse.npy", data_.bias);
  const std::string before = read_file(folder_ / "result.lse.npy");
  const Outcome outcome = run({"--bias", "result.lse.npy", "--outputs", "lse"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_NE(outcome.err.find("result.lse.npy is read by this command"), std::string::npos) << outcome.err;
  EXPECT_EQ(read_file(folder_ / "result.lse.npy"), before);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "result.npy"));
}

TEST_F(AttendFiles, AllAreWrittenOrNone) {
  folder_.write("result.lse.npy", "old");
  // The output and lse fit, the weights do not.
  Setting small;
  small.largest_file = 128 + 8 * kBatch * kHeads * kQueries * kValueDepth;
  const Outcome outcome = run({"--outputs", "lse,weights"}, small);
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_NE(outcome.err.find("result.weights.npy"), std::string::npos) << outcome.err;
  EXPECT_EQ(read_file(folder_ / "result.lse.npy"), "old");
  EXPECT_EQ(results(), 1U);

  std::filesystem::create_directory(folder_ / "result.weights.npy");
  const Outcome blocked = run({"--outputs", "lse,weights"});
  EXPECT_EQ(blocked.exit_code, 1);
  EXPECT_NE(blocked.err.find("result.weights.npy"), std::string::npos) << blocked.err;
  EXPECT_EQ(read_file(folder_ / "result.lse.npy"), "old");
  EXPECT_EQ(results(), 2U);

  std::filesystem::remove(folder_ / "result.weights.npy");
  EXPECT_EQ(run({"--outputs", "lse,weights"}).exit_code, 0);
  EXPECT_NE(read_file(folder_ / "result.lse.npy"), "old");
  EXPECT_EQ(results(), 3U);
}

TEST_F(AttendFiles, ALinkedFileIsReplacedAndNotItsLink) {
  folder_.write("elsewhere", "old");
  std::filesystem::create_symlink("elsewhere", folder_ / "result.npy");
  ASSERT_EQ(run({}).exit_code, 0);
  EXPECT_TRUE(std::filesystem::is_symlink(folder_ / "result.npy"));
  EXPECT_EQ(read_npy(folder_ / "elsewhere").shape.size(), 4U);
}

TEST_F(AttendFiles, StandardInputAndOutput) {
  ASSERT_EQ(run({}).exit_code, 0);
  const Outcome outcome = data_.run(folder_, {"-q", "-", "-k", "key.npy", "-v", "value.npy", "-o", "-"},
                                    {.input = read_file(folder_ / "query.npy")});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, read_file(folder_ / "result.npy"));
}

TEST_F(AttendFiles, TheSummaryNamesWhatWasDone) {
  const Outcome outcome = run({"--similarity", "cosine", "--outputs", "lse", "--top", "2"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.err, "");
  for (const char* words : {"result.npy: float64 [2, 4, 6, 3]", "cosine", "result.lse.npy",
                            "result.top_weight.npy", "result.top_key.npy"}) {
    EXPECT_NE(outcome.out.find(words), std::string::npos) << outcome.out;
  }
  const Outcome quiet = run({"--quiet"});
  EXPECT_EQ(quiet.exit_code, 0);
  EXPECT_EQ(quiet.out + quiet.err, "");
}

TEST_F(AttendFiles, Json) {
  const Outcome outcome = run({"--json", "--outputs", "second-moment"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const nlohmann::json json = parse_json(outcome.out);
  EXPECT_EQ(json.at("shape"), (std::vector<Index>{kBatch, kHeads, kQueries, kValueDepth}));
  EXPECT_EQ(json.at("dtype"), "float64");
  EXPECT_EQ(json.at("similarity"), "dot");
  EXPECT_EQ(json.at("method"), "direct");
  EXPECT_GE(json.at("seconds").get<double>(), 0);
  EXPECT_EQ(json.at("files").at("out"), "result.npy");
  EXPECT_EQ(json.at("files").at("second_moment"), "result.second_moment.npy");
  EXPECT_EQ(json.at("files").size(), 2U);
}

TEST_F(AttendFiles, TheSummaryNamesAMethodThatDoesNotSumOverAllPairs) {
  const std::vector<std::string> command = {"--dtype",  "float32",  "--similarity",
                                            "gaussian", "--method", "skip"};
  const Outcome outcome = run(command);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("method skip"), std::string::npos) << outcome.out;
  const Outcome causal =
      run({"--dtype", "float32", "--similarity", "gaussian", "--method", "skip", "--causal"});
  EXPECT_EQ(causal.exit_code, 1);
  EXPECT_NE(causal.err.find("--method: skip; it needs no mask"), std::string::npos) << causal.err;
}

TEST_F(AttendFiles, DescribeDrawsTheMaskAndComputesNothing) {
  const Words words = {"-q", "query.npy",     "-k", "key.npy", "--causal", "--offset",
                       "1",  "--key-lengths", "7,2"};
  const auto with = [&](const Words& more) {
    Words all = words;
    all.insert(all.end(), more.begin(), more.end());
    return data_.run(folder_, all);
  };
  const Mask mask = causal(1) & key_lengths({7, 2});
  const Outcome first = with({"--describe"}), second = with({"--describe-at", "1,3"});
  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(first.out, describe(mask, kQueries, kKeys));
  EXPECT_EQ(second.out, describe(mask, kQueries, kKeys, 64, 1, 3));
  EXPECT_NE(first.out, second.out);
  const nlohmann::json json = parse_json(with({"--describe", "--json"}).out);
  EXPECT_EQ(json.at("mask"), first.out);
  EXPECT_EQ(json.at("queries"), kQueries);
  EXPECT_EQ(json.at("keys"), kKeys);
  EXPECT_NE(with({"--describe-at", "2,0"}).err.find("--describe-at: 2"), std::string::npos);
  EXPECT_EQ(run({"--describe"}).exit_code, 0);
  EXPECT_EQ(results(), 0U);
}

TEST(AttendHelp, ExplainsTheVerbWithAnExample) {
  const Outcome outcome = kith_run({"attend", "--help"});
  EXPECT_EQ(outcome.exit_code, 0);
  for (const char* words : {"Usage: kith attend", "Example: kith attend", "--similarity", "--json", "--seed"})
    EXPECT_NE(outcome.out.find(words), std::string::npos) << words;
  EXPECT_NE(kith_run({"--help"}).out.find("kith attend"), std::string::npos);
}

/// The shell blocks of docs/attend.md, each with "set -e" before it.
std::vector<std::string> documented_commands() {
  std::ifstream page(KITH_SOURCE_DIR "/docs/attend.md");
  std::vector<std::string> blocks;
  bool inside = false;
  for (std::string line; std::getline(page, line);) {
    if (line == "```sh") blocks.emplace_back("set -e\n");
    if (line.starts_with("```")) {
      inside = line == "```sh";
    } else if (inside) {
      blocks.back() += line + '\n';
    }
  }
  return blocks;
}

TEST_F(AttendFiles, WhatThePageShowsWorks) {
  write_npy(folder_ / "q.npy", data_.query), write_npy(folder_ / "k.npy", data_.key);
  write_npy(folder_ / "v.npy", data_.value), write_npy(folder_ / "d.npy", data_.d_out);
  const std::vector<std::string> blocks = documented_commands();
  ASSERT_GE(blocks.size(), 5U);
  const std::string path = std::filesystem::path(KITH_PROGRAM).parent_path().string();
  for (const std::string& block : blocks) {
    folder_.write("block.sh", block);
    const std::string line =
        "cd '" + folder_.path() + "' && PATH='" + path + "':\"$PATH\" sh block.sh > log 2>&1";
    EXPECT_EQ(std::system(line.c_str()), 0) << block << read_file(folder_ / "log");
  }
}

}  // namespace
}  // namespace kith::test
