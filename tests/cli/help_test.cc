#include <gtest/gtest.h>

#include "cli/program.h"

namespace kith::test {
namespace {

using Arguments = std::vector<std::string>;

class Help : public testing::TestWithParam<const char*> {};

TEST_P(Help, ExplainsTheVerbWithAnExample) {
  const Outcome outcome = kith_run({GetParam(), "--help"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.err, "");
  EXPECT_NE(outcome.out.find(std::string("Usage: kith ") + GetParam()), std::string::npos);
  EXPECT_NE(outcome.out.find(std::string("Example: kith ") + GetParam()), std::string::npos);
  for (const char* option : {"--json", "--quiet", "--threads", "--seed", "--version", "--help"}) {
    EXPECT_NE(outcome.out.find(option), std::string::npos) << option;
  }
}

TEST_P(Help, VerbKnowsTheVersion) {
  const Outcome outcome = kith_run({GetParam(), "--version"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.out, kith_run({"--version"}).out);
  EXPECT_TRUE(outcome.out.starts_with("kith ")) << outcome.out;
}

INSTANTIATE_TEST_SUITE_P(Verbs, Help,
                         testing::Values("fit", "predict", "score", "show", "audit", "update", "compress",
                                         "attend", "bench"));

TEST(HelpOfTheProgram, NamesEveryVerb) {
  const Outcome outcome = kith_run({"--help"});
  EXPECT_EQ(outcome.exit_code, 0);
  for (const char* verb : {"kith fit", "kith predict", "kith score", "kith show", "kith audit", "kith update", "kith compress",
                           "kith attend", "kith bench"}) {
    EXPECT_NE(outcome.out.find(verb), std::string::npos) << verb;
  }
}

struct WrongCommand {
  Arguments arguments;
  const char* words;  ///< that the message must hold.
};

/// For the names of tests: the command rather than the bytes of the struct.
void PrintTo(const WrongCommand& command, std::ostream* out) {
  *out << "kith";
  for (const std::string& argument : command.arguments) *out << ' ' << argument;
}

class Usage : public testing::TestWithParam<WrongCommand> {};

TEST_P(Usage, IsRefusedWithOneLineAndExitCodeTwo) {
  const TemporaryFolder folder;
  const Outcome outcome = kith_run(GetParam().arguments, {.folder = folder.path()});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_EQ(outcome.out, "");
  EXPECT_TRUE(outcome.err.starts_with("kith: ")) << outcome.err;
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  EXPECT_NE(outcome.err.find(GetParam().words), std::string::npos) << outcome.err;
  EXPECT_TRUE(folder.names().empty());
}

INSTANTIATE_TEST_SUITE_P(
    Commands, Usage,
    testing::Values(
        WrongCommand{{}, "no verb"}, WrongCommand{{"fti"}, "did you mean fit?"},
        WrongCommand{{"--nonsense"}, "--nonsense"}, WrongCommand{{"fit"}, "TABLE"},
        WrongCommand{{"fit", "t.csv"}, "--target"}, WrongCommand{{"fit", "t.csv", "--target"}, "--target"},
        WrongCommand{{"fit", "t.csv", "--target", ""}, "--target"},
        WrongCommand{{"fit", "t.csv", "--targte", "y"}, "did you mean --target?"},
        WrongCommand{{"fit", "t.csv", "u.csv", "--target", "y"}, "u.csv"},
        WrongCommand{{"fit", "t.csv", "--target", "y", "--target", "z"}, "--target"},
        WrongCommand{{"fit", "t.csv", "--target", "y", "--metric", "diagonl"}, "did you mean diagonal?"},
        WrongCommand{{"fit", "t.csv", "--target", "y", "--scale", "log"}, "--scale"},
        WrongCommand{{"fit", "t.csv", "--target", "y", "--task", "guess"}, "--task"},
        WrongCommand{{"fit", "t.csv", "--target", "y", "--threads", "-1"}, "--threads"},
        WrongCommand{{"fit", "t.csv", "--target", "y", "--threads", "many"}, "--threads"},
        WrongCommand{{"fit", "t.csv", "--target", "y", "--seed", "-1"}, "--seed"},
        WrongCommand{{"fit", "t.csv", "--target", "y", "--delimiter", "ab"}, "--delimiter"},
        WrongCommand{{"fit", "t.csv", "--target", "y", "--delimiter", ",", "--decimal", "comma"}, "comma"},
        WrongCommand{{"fit", "t.csv", "--target", "y", "--decimal", "dot"}, "--decimal"},
        WrongCommand{{"fit", "t.csv", "--target", "y", "--ignore", "a,y"}, "target"},
        WrongCommand{{"fit", "t.csv", "--target", "y", "--numeric", "a", "--categorical", "b,a"}, "'a'"},
        WrongCommand{{"fit", "t.csv", "--target", "y", "--task", "regression", "--categorical", "y"},
                     "--task"},
        WrongCommand{{"fit", "t.csv", "--target", "y", "--picture", "p.jpg"}, ".svg or .png"},
        WrongCommand{{"fit", "-", "--target", "y"}, "-o"},
        WrongCommand{{"fit", "t.csv", "--target", "y", "-o", "-"}, "-o"},
        WrongCommand{{"predict", "m.kith"}, "TABLE"},
        WrongCommand{{"predict", "m.kith", "t.csv", "--interval", "1.5"}, "--interval"},
        WrongCommand{{"predict", "m.kith", "t.csv", "--interval", "0"}, "--interval"},
        WrongCommand{{"predict", "m.kith", "t.csv", "--interval", "nan"}, "--interval"},
        WrongCommand{{"predict", "m.kith", "t.csv", "--why", "-1"}, "--why"},
        WrongCommand{{"predict", "m.kith", "t.csv", "--why", "2.5"}, "--why"},
        WrongCommand{{"predict", "m.kith", "t.csv", "--row", "1"}, "--row"},
        WrongCommand{{"predict", "m.kith", "t.csv", "--row", "0", "--picture", "p.svg"}, "--row"},
        WrongCommand{{"predict", "m.kith", "t.csv", "--json", "--format", "csv"}, "--json"},
        WrongCommand{{"score", "m.kith", "t.csv", "--interval", "90"}, "--interval"},
        WrongCommand{{"show"}, "MODEL"}, WrongCommand{{"bench", "--seconds", "nan"}, "--seconds"}));

TEST(UsageOfFiles, AModelOverItsTableIsRefused) {
  const TemporaryFolder folder;
  const std::string text = number_table(20);
  const std::string table = folder.write("t.csv", text);
  const Outcome outcome = kith_run({"fit", table, "--target", "y", "-o", table});
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_EQ(read_file(table), text);
  // The default name can hit the table too.
  folder.write("t.kith", text);
  EXPECT_EQ(kith_run({"fit", "t.kith", "--target", "y"}, {.folder = folder.path()}).exit_code, 2);
  EXPECT_EQ(read_file(folder / "t.kith"), text);
}

}  // namespace
}  // namespace kith::test
