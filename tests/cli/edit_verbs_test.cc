// The verbs that look over a model and change it: audit, update, compress.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/program.h"

namespace kith::test {
namespace {

using nlohmann::json;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

class EditVerbs : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    folder_->write("train.csv", number_table(200, 1));
    folder_->write("more.csv", number_table(30, 2));
    folder_->write("classes.csv", class_table(200, 1));
    ASSERT_EQ(kith_run({"fit", at("train.csv"), "--target", "y", "-o", at("n.kith"), "--quiet"}).exit_code,
              0);
    ASSERT_EQ(kith_run({"fit", at("classes.csv"), "--target", "y", "-o", at("c.kith"), "--quiet"}).exit_code,
              0);
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  static std::string at(const std::string& name) { return *folder_ / name; }
  /// One line on standard error, that exit code, no file written.
  static void expect_refused(const std::vector<std::string>& arguments, int code, const std::string& words) {
    const TemporaryFolder here;
    const Outcome outcome = kith_run(arguments, {.folder = here.path()});
    EXPECT_EQ(outcome.exit_code, code) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_NE(outcome.err.find(words), std::string::npos) << outcome.err;
    EXPECT_TRUE(here.names().empty());
  }

  static inline TemporaryFolder* folder_ = nullptr;
};

TEST_F(EditVerbs, AuditPrintsAScreenWritesFindingsAndDraws) {
  const TemporaryFolder here;
  const Outcome outcome = kith_run({"audit", at("n.kith"), "--with", at("train.csv"), "-o", here / "f.csv",
                                    "--picture", here / "p.svg", "--percent", "5"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_LE(lines_of(outcome.out).size(), 40U) << "one screen";
  EXPECT_NE(outcome.out.find("200 of the 200 rows of"), std::string::npos) << outcome.out;
  const std::vector<std::string> findings = lines_of(read_file(here / "f.csv"));
  EXPECT_EQ(findings[0], "kind,row,score,said,neighbors_say,rows");
  EXPECT_EQ(
      std::count_if(findings.begin(), findings.end(), [](const auto& l) { return l.starts_with("shared,"); }),
      200);
  for (const std::string& line : findings) EXPECT_EQ(std::count(line.begin(), line.end(), ','), 5) << line;
  EXPECT_NE(read_file(here / "p.svg").find("Audit of y"), std::string::npos);
}

TEST_F(EditVerbs, AuditJsonHoldsWhatTheFindingsHold) {
  const Outcome outcome = kith_run({"audit", at("c.kith"), "--json", "--percent", "10", "--nearest", "2"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json audit = parse_json(outcome.out);
  EXPECT_EQ(audit.at("rows"), 200);
  EXPECT_FALSE(audit.contains("shared"));
  EXPECT_LE(audit.at("labels").size(), 20U);
  for (const json& label : audit.at("labels")) {
    EXPECT_NE(label.at("said"), label.at("neighbors_say"));
    EXPECT_LE(label.at("against").size(), 2U);
  }
}

TEST_F(EditVerbs, UpdateAddsAndForgets) {
  const TemporaryFolder here;
  Outcome outcome = kith_run({"update", at("n.kith"), at("more.csv"), "-o", here / "m.kith", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  json update = parse_json(outcome.out);
  EXPECT_EQ(update.at("rows"), 230);
  EXPECT_EQ(update.at("added"), 30);
  EXPECT_EQ(update.at("first_row"), 201);
  // In place, by a list in a file and in words.
  here.write("rows.txt", "1-3\n 7, 9\n200\n");
  outcome = kith_run({"update", here / "m.kith", "--forget", "@" + (here / "rows.txt"), "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(parse_json(outcome.out).at("forgotten"), 6);
  outcome = kith_run({"update", here / "m.kith", "--forget", "4,10-12,10", "--json"});
  EXPECT_EQ(parse_json(outcome.out).at("rows"), 220);
  const json show = parse_json(kith_run({"show", here / "m.kith", "--json"}).out);
  EXPECT_EQ(show.at("rows"), 220);
  const std::string notes = show.at("notes").dump();
  for (const char* note : {"30 rows added", "6 rows forgotten", "4 rows forgotten"}) {
    EXPECT_NE(notes.find(note), std::string::npos) << note << " in " << notes;
  }
  EXPECT_EQ(parse_json(kith_run({"show", at("n.kith"), "--json"}).out).at("rows"), 200)
      << "-o leaves MODEL alone";
  const Outcome said = kith_run({"update", here / "m.kith", "--forget", "13"});
  EXPECT_NE(said.out.find("Stored now: 219 rows"), std::string::npos) << said.out;
}

TEST_F(EditVerbs, CompressKeepsAsManyRowsAndSaysWhatItCosts) {
  const TemporaryFolder here;
  const Outcome outcome =
      kith_run({"compress", at("n.kith"), "--rows", "50", "--json"}, {.folder = here.path()});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(here.names(), std::vector<std::string>{"n-50.kith"});
  const json result = parse_json(outcome.out);
  EXPECT_EQ(result.at("rows"), 50);
  EXPECT_GE(result.at("after").at("rmse"), result.at("before").at("rmse"));
  const Outcome said = kith_run({"compress", at("c.kith"), "--rows", "50"}, {.folder = here.path()});
  EXPECT_NE(said.out.find("from those kept"), std::string::npos) << said.out;
  EXPECT_EQ(kith_run({"predict", here / "c-50.kith", at("more.csv")}).exit_code, 0);
}

TEST_F(EditVerbs, WrongCommandsAreRefused) {
  const std::string n = at("n.kith"), c = at("c.kith");
  expect_refused({"update", n}, 2, "nothing to do");
  expect_refused({"update", n, "--forget", ""}, 2, "--forget");
  expect_refused({"update", n, "--forget", "3,x"}, 2, "'x' is no row");
  expect_refused({"update", n, "--forget", "9-3"}, 2, "'9-3' is no row");
  expect_refused({"update", n, "--forget", "0"}, 2, "'0' is no row");
  expect_refused({"update", n, "--forget", ","}, 2, "no rows are named");
  expect_refused({"update", n, "--forget", "500"}, 1, "no row 500 is stored");
  expect_refused({"update", n, "--forget", "1-199"}, 1, "at least two");
  expect_refused({"update", n, "--forget", "@absent.txt"}, 1, "absent.txt");
  expect_refused({"update", n, "--forget", "1", "--new-classes"}, 2, "--new-classes");
  expect_refused({"update", n, at("more.csv"), "-o", at("more.csv")}, 2, "overwritten");
  expect_refused({"update", n, at("more.csv"), "-o", "-"}, 2, "-o");
  expect_refused({"update", n, at("classes.csv")}, 1, "'y'");
  expect_refused({"update", c, at("absent.csv")}, 1, "absent.csv");
  expect_refused({"compress", n}, 2, "--rows");
  expect_refused({"compress", n, "--rows", "1"}, 2, "--rows");
  expect_refused({"compress", n, "--rows", "201"}, 2, "200 rows");
  expect_refused({"compress", n, "--rows", "9", "-o", n}, 2, "overwritten");
  expect_refused({"audit"}, 2, "MODEL");
  expect_refused({"audit", n, "--percent", "101"}, 2, "--percent");
  expect_refused({"audit", n, "--picture", "p.jpg"}, 2, ".svg or .png");
  expect_refused({"audit", n, "-o", "p.svg", "--picture", "p.svg"}, 2, "same file");
  expect_refused({"audit", n, "-o", n}, 2, "overwritten");
  expect_refused({"audit", n, "--with", at("absent.csv")}, 1, "absent.csv");
  expect_refused({"audit", at("train.csv")}, 1, "train.csv");
}

}  // namespace
}  // namespace kith::test
