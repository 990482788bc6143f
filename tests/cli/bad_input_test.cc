// What bad input gets: one line that says where it is and what was expected, exit code 1, and no file.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "cli/program.h"

namespace kith::test {
namespace {

void expect_refused(const Outcome& outcome, const std::vector<std::string>& words) {
  EXPECT_EQ(outcome.exit_code, 1) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_TRUE(outcome.err.starts_with("kith: ")) << outcome.err;
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  for (const std::string& word : words)
    EXPECT_NE(outcome.err.find(word), std::string::npos) << word << " in " << outcome.err;
}

struct BadTable {
  const char* name;
  std::string text;
  std::vector<std::string> words;  ///< that the message must hold.
  std::vector<std::string> options{};
};

std::string rows_of(const std::string& row) {
  std::string text;
  for (int i = 0; i < 20; ++i) text += row + "\n";
  return text;
}

std::vector<BadTable> bad_tables() {
  const std::string good = number_table(20);
  return {
      {"TooFewCells", good + "1,2\n", {"t.csv", "22", "2", "5"}},
      {"TooManyCells", good + "1,2,red,3,4,5\n", {"t.csv", "22", "6", "5"}},
      {"UnclosedQuote", good + "1,2,\"red,3,4\n", {"t.csv", "22", "quote"}},
      {"DuplicateHeader", "a,a,y\n" + rows_of("1,2,3"), {"t.csv", "'a'", "column 2"}},
      {"MissingHeader", "a,,y\n" + rows_of("1,2,3"), {"t.csv", "2"}},
      {"Empty", "", {"t.csv"}},
      {"HeaderAlone", "a,y\n", {"t.csv"}},
      {"AbsentTarget", "a,b\n1,2\n3,4\n", {"'y'", "a, b"}},
      {"ConstantTarget", "a,y\n1,5\n2,5\n3,5\n4,5\n", {"y"}},
      {"BlankTarget", "a,y\n1,\n2,NA\n3,?\n", {"y"}},
      {"OverflowingNumber", good + "1e999,2,red,3,4\n", {"t.csv", "22", "1e999", "a"}},
      {"NoNumber", good + "many,2,red,3,4\n", {"t.csv", "22", "many", "a"}, {"--numeric", "a"}},
      {"TargetThatIsNoNumber",
       good + "1,2,red,3,high\n",
       {"t.csv", "22", "high", "y"},
       {"--task", "regression"}},
      {"Binary", std::string("a,y\n1,\0\0\0\x01\x02\n", 12), {"t.csv"}},
      {"UnknownNumericColumn", good, {"nosuch"}, {"--numeric", "nosuch"}},
      {"UnknownIgnoredColumn", good, {"nosuch"}, {"--ignore", "nosuch"}},
  };
}

class BadInput : public testing::TestWithParam<BadTable> {};

TEST_P(BadInput, IsRefused) {
  const TemporaryFolder folder;
  folder.write("t.csv", GetParam().text);
  std::vector<std::string> arguments = {"fit", "t.csv", "--target", "y"};
  arguments.insert(arguments.end(), GetParam().options.begin(), GetParam().options.end());
  expect_refused(kith_run(arguments, {.folder = folder.path()}), GetParam().words);
  EXPECT_EQ(folder.names().size(), 1U) << "the table alone";
}

INSTANTIATE_TEST_SUITE_P(Tables, BadInput, testing::ValuesIn(bad_tables()),
                         [](const auto& test) { return test.param.name; });

TEST(BadFiles, AreRefused) {
  const TemporaryFolder folder;
  expect_refused(kith_run({"fit", folder / "absent.csv", "--target", "y"}, {.folder = folder.path()}),
                 {"absent.csv"});
  expect_refused(kith_run({"fit", folder.path(), "--target", "y"}, {.folder = folder.path()}), {"folder"});
  if (::geteuid() != 0) {
    const std::string locked = folder.write("locked.csv", number_table(20));
    std::filesystem::permissions(locked, std::filesystem::perms::none);
    expect_refused(kith_run({"fit", locked, "--target", "y"}, {.folder = folder.path()}), {"locked.csv"});
  }
}

TEST(OddTables, AreTaken) {
  const TemporaryFolder folder;
  std::string blank = "a,blank,y\n", gaps = "a,b,y\n", quoted = "\xEF\xBB\xBF\"a\r\nb\",y\r\n";
  for (int i = 0; i < 40; ++i) {
    const std::string number = std::to_string(i);
    blank += number + ",," + number + "\n";
    gaps += number + "," + number + "," + (i % 4 == 0 ? "" : number) + "\n";
    quoted += "\"" + number + "\"," + number + "\r\n";
  }
  // A column that is blank throughout carries nothing; it is left out or ignored, and said so.
  folder.write("blank.csv", blank);
  const Outcome all_blank = kith_run({"fit", "blank.csv", "--target", "y"}, {.folder = folder.path()});
  EXPECT_EQ(all_blank.exit_code, 0) << all_blank.err;
  EXPECT_NE(all_blank.err.find("blank"), std::string::npos) << all_blank.err;

  folder.write("gaps.csv", gaps);
  const Outcome left_out = kith_run({"fit", "gaps.csv", "--target", "y"}, {.folder = folder.path()});
  EXPECT_EQ(left_out.exit_code, 0) << left_out.err;
  EXPECT_NE(left_out.err.find("10 "), std::string::npos)
      << "rows without a target are counted: " << left_out.err;

  // A line break in a column's name must not break the lines of what is printed.
  folder.write("quoted.csv", quoted);
  const Outcome line_break = kith_run({"fit", "quoted.csv", "--target", "y"}, {.folder = folder.path()});
  EXPECT_EQ(line_break.exit_code, 0) << line_break.err;
  EXPECT_EQ(line_break.out.find('\r'), std::string::npos);
}

TEST(Prediction, OfATableThatDoesNotFit) {
  const TemporaryFolder folder;
  folder.write("t.csv", number_table(60));
  ASSERT_EQ(kith_run({"fit", "t.csv", "--target", "y", "--quiet"}, {.folder = folder.path()}).exit_code, 0);
  const Setting here{.folder = folder.path()};

  folder.write("lacking.csv", "a,b,c\n1,2,3\n");
  expect_refused(kith_run({"predict", "t.kith", "lacking.csv"}, here), {"lacking.csv", "kind"});
  folder.write("wrong.csv", "a,b,kind,c\n0.1,0.2,red,0.3\n0.1,much,red,0.3\n");
  expect_refused(kith_run({"predict", "t.kith", "wrong.csv"}, here), {"wrong.csv", "3", "much", "b"});
  expect_refused(kith_run({"score", "t.kith", "wrong.csv"}, here), {"wrong.csv", "y"});
  folder.write("no_truth.csv", "a,b,kind,c,y\n0.1,0.2,red,0.3,\n");
  expect_refused(kith_run({"score", "t.kith", "no_truth.csv"}, here), {"y"});

  folder.write("extra.csv", "extra,c,kind,b,a\nanything,0.3,red,0.2,0.1\nmore,0.3,purple,,0.1\n");
  const Outcome extra = kith_run({"predict", "t.kith", "extra.csv"}, here);
  EXPECT_EQ(extra.exit_code, 0) << extra.err;
  EXPECT_EQ(std::count(extra.out.begin(), extra.out.end(), '\n'), 3);
  EXPECT_NE(extra.err.find("kind"), std::string::npos)
      << "a category not seen in fitting is counted: " << extra.err;
}

TEST(Models, ThatAreNone) {
  const TemporaryFolder folder;
  const std::string table = folder.write("t.csv", number_table(60));
  const Setting here{.folder = folder.path()};
  ASSERT_EQ(kith_run({"fit", "t.csv", "--target", "y", "--quiet"}, here).exit_code, 0);
  const std::string model = read_file(folder / "t.kith");

  expect_refused(kith_run({"show", "absent.kith"}, here), {"absent.kith"});
  expect_refused(kith_run({"show", "t.csv"}, here), {"t.csv"});
  expect_refused(kith_run({"show", "."}, here), {"folder"});
  folder.write("empty.kith", "");
  expect_refused(kith_run({"show", "empty.kith"}, here), {"empty.kith"});
  for (const std::size_t length : {std::size_t{4}, std::size_t{9}, model.size() / 2, model.size() - 1}) {
    folder.write("short.kith", model.substr(0, length));
    expect_refused(kith_run({"show", "short.kith"}, here), {"short.kith"});
    expect_refused(kith_run({"predict", "short.kith", "t.csv"}, here), {"short.kith"});
  }
  // One bit anywhere: in the header, in the middle, in the last byte.
  for (const std::size_t place : {std::size_t{0}, std::size_t{20}, model.size() / 2, model.size() - 1}) {
    std::string damaged = model;
    damaged[place] = static_cast<char>(damaged[place] ^ 1);
    folder.write("damaged.kith", damaged);
    expect_refused(kith_run({"show", "damaged.kith"}, here), {"damaged.kith"});
  }
  // A proper safetensors file of somebody else.
  const std::string header = R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  std::string foreign(8, '\0');
  foreign[0] = static_cast<char>(header.size());
  folder.write("foreign.safetensors", foreign + header + std::string(4, '\0'));
  expect_refused(kith_run({"show", "foreign.safetensors"}, here), {"foreign.safetensors"});
}

}  // namespace
}  // namespace kith::test
