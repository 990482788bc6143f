// The verbs one after the other, on small tables.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
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

/// One regression and one classification model, fitted once for all tests of the suite.
class Verbs : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    folder_->write("train.csv", number_table(300, 1));
    folder_->write("test.csv", number_table(40, 2));
    folder_->write("classes.csv", class_table(300, 1));
    folder_->write("classes_test.csv", class_table(40, 2));
    numbers_ = kith_run({"fit", at("train.csv"), "--target", "y", "-o", at("numbers.kith"), "--json"});
    classes_ = kith_run({"fit", at("classes.csv"), "--target", "y", "-o", at("classes.kith"), "--json"});
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  static std::string at(const std::string& name) { return *folder_ / name; }

  static inline TemporaryFolder* folder_ = nullptr;
  static inline Outcome numbers_, classes_;
};

TEST_F(Verbs, FitSaysInJsonWhatItLearned) {
  ASSERT_EQ(numbers_.exit_code, 0) << numbers_.err;
  EXPECT_EQ(lines_of(numbers_.out).size(), 1U);
  const json fit = parse_json(numbers_.out);
  EXPECT_EQ(fit.at("model"), at("numbers.kith"));
  EXPECT_EQ(fit.at("rows"), 300);
  EXPECT_EQ(fit.at("columns"), 4);
  EXPECT_EQ(fit.at("metric"), "diagonal");
  EXPECT_EQ(fit.at("target"), "y");
  EXPECT_EQ(fit.at("task"), "regression");
  EXPECT_GE(fit.at("seconds").get<double>(), 0);
  EXPECT_GT(fit.at("loo").at("r2").get<double>(), 0.9);
  for (const char* key : {"rmse", "mae", "interval", "coverage", "crps"})
    EXPECT_TRUE(fit.at("loo").contains(key)) << key;

  ASSERT_EQ(classes_.exit_code, 0) << classes_.err;
  const json classes = parse_json(classes_.out);
  EXPECT_EQ(classes.at("task"), "classification");
  EXPECT_GT(classes.at("loo").at("accuracy").get<double>(), 0.8);
  for (const char* key : {"log_loss", "brier", "auc"}) EXPECT_TRUE(classes.at("loo").contains(key)) << key;
}

TEST_F(Verbs, FitPrintsASummaryAndNamesTheModelAfterTheTable) {
  const TemporaryFolder here;
  const Outcome outcome = kith_run({"fit", at("train.csv"), "--target", "y"}, {.folder = here.path()});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(here.names(), std::vector<std::string>{"train.kith"});
  for (const char* words :
       {"300 rows", "always the mean", "bandwidth", "train.kith", "kind", "kith predict train.kith"}) {
    EXPECT_NE(outcome.out.find(words), std::string::npos) << words << " in\n" << outcome.out;
  }
  EXPECT_EQ(outcome.err.find("step"), std::string::npos) << "progress is for terminals";
  EXPECT_LE(lines_of(outcome.out).size(), 30U) << "one screen";
  const Outcome quiet =
      kith_run({"fit", at("train.csv"), "--target", "y", "--quiet"}, {.folder = here.path()});
  EXPECT_EQ(quiet.exit_code, 0);
  EXPECT_EQ(quiet.out + quiet.err, "");
}

TEST_F(Verbs, SameSeedSameModelOnAnyNumberOfThreads) {
  const TemporaryFolder here;
  for (const char* threads : {"1", "2"}) {
    ASSERT_EQ(kith_run({"fit", at("train.csv"), "--target", "y", "--seed", "7", "--threads", threads, "-o",
                        here / threads})
                  .exit_code,
              0);
  }
  const std::vector<std::string> options = {at("test.csv"), "--interval", "0.9", "--why", "3"};
  std::vector<std::string> one = {"predict", here / "1"}, two = {"predict", here / "2"};
  one.insert(one.end(), options.begin(), options.end());
  two.insert(two.end(), options.begin(), options.end());
  EXPECT_EQ(kith_run(one).out, kith_run(two).out);
}

TEST_F(Verbs, PredictGivesOneCsvRowForEachRow) {
  const Outcome plain = kith_run({"predict", at("numbers.kith"), at("test.csv")});
  ASSERT_EQ(plain.exit_code, 0) << plain.err;
  ASSERT_EQ(lines_of(plain.out).size(), 41U);
  EXPECT_EQ(lines_of(plain.out)[0], "prediction");

  const Outcome full =
      kith_run({"predict", at("numbers.kith"), at("test.csv"), "--interval", "0.9", "--why", "2"});
  EXPECT_EQ(lines_of(full.out)[0],
            "prediction,lower,upper,why_1_row,why_1_weight,why_1_target,why_2_row,why_2_weight,why_2_target");

  const Outcome classes = kith_run({"predict", at("classes.kith"), at("classes_test.csv")});
  ASSERT_EQ(classes.exit_code, 0) << classes.err;
  const std::string header = lines_of(classes.out)[0];
  EXPECT_TRUE(header.starts_with("prediction,p_")) << header;
  for (const char* name : {"p_low", "p_middle", "p_high"}) EXPECT_NE(header.find(name), std::string::npos);
}

TEST_F(Verbs, PredictJsonLinesAgreeWithTheCsv) {
  const Outcome csv = kith_run({"predict", at("numbers.kith"), at("test.csv"), "--interval", "0.8"});
  const Outcome outcome =
      kith_run({"predict", at("numbers.kith"), at("test.csv"), "--interval", "0.8", "--why", "3", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const std::vector<json> rows = parse_json_lines(outcome.out);
  const std::vector<std::string> csv_rows = lines_of(csv.out);
  const std::vector<std::string> train = lines_of(number_table(300, 1));
  ASSERT_EQ(rows.size(), 40U);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const json& row = rows[i];
    EXPECT_LE(row.at("lower"), row.at("prediction"));
    EXPECT_LE(row.at("prediction"), row.at("upper"));
    EXPECT_EQ(std::stod(csv_rows.at(i + 1)), row.at("prediction").get<double>());
    ASSERT_EQ(row.at("why").size(), 3U);
    double last = 1;
    for (const json& neighbor : row.at("why")) {
      EXPECT_LE(neighbor.at("weight").get<double>(), last);
      last = neighbor.at("weight");
      // Row numbers count the data rows of the fitted table from 1, so its line there holds the target.
      const std::string& line = train.at(neighbor.at("row"));
      EXPECT_EQ(std::stod(line.substr(line.rfind(',') + 1)), neighbor.at("target").get<double>());
      for (const char* column : {"a", "b", "kind", "c"})
        EXPECT_GE(neighbor.at("apart").at(column), 0) << column;
    }
  }
}

TEST_F(Verbs, PredictJsonOfClassesHasProbabilities) {
  const Outcome outcome =
      kith_run({"predict", at("classes.kith"), at("classes_test.csv"), "--json", "--why", "1"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  for (const json& row : parse_json_lines(outcome.out)) {
    double sum = 0, best = 0;
    for (const auto& [name, p] : row.at("probability").items()) {
      sum += p.get<double>();
      best = std::max(best, p.get<double>());
    }
    EXPECT_NEAR(sum, 1, 1e-6);
    EXPECT_EQ(row.at("probability").at(row.at("prediction").get<std::string>()), best);
    EXPECT_TRUE(row.at("why").at(0).at("target").is_string());
  }
  const Outcome interval =
      kith_run({"predict", at("classes.kith"), at("classes_test.csv"), "--interval", "0.9"});
  EXPECT_EQ(interval.exit_code, 2);
}

TEST_F(Verbs, PredictTextShowsReasonsToPeople) {
  const Outcome outcome = kith_run(
      {"predict", at("numbers.kith"), at("test.csv"), "--format", "text", "--why", "2", "--interval", "0.9"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  for (const char* words : {"Row 1: y ", "Row 40: y ", "90 % interval", "weight", "differs most in", "→"}) {
    EXPECT_NE(outcome.out.find(words), std::string::npos) << words << " in\n" << outcome.out.substr(0, 600);
  }
}

TEST_F(Verbs, StandardInputAndOutput) {
  const TemporaryFolder here;
  const Outcome fit = kith_run({"fit", "-", "--target", "y", "-o", here / "m.kith", "--json"},
                               {.input = number_table(300, 1)});
  ASSERT_EQ(fit.exit_code, 0) << fit.err;
  const Outcome by_file = kith_run({"predict", at("numbers.kith"), at("test.csv")});
  const Outcome by_pipe =
      kith_run({"predict", here / "m.kith", "-", "-o", "-"}, {.input = number_table(40, 2)});
  EXPECT_EQ(by_pipe.exit_code, 0) << by_pipe.err;
  EXPECT_EQ(by_pipe.out, by_file.out);
  const Outcome to_file = kith_run({"predict", at("numbers.kith"), at("test.csv"), "-o", here / "out.csv"});
  EXPECT_EQ(to_file.exit_code, 0) << to_file.err;
  EXPECT_EQ(to_file.out, "");
  EXPECT_EQ(read_file(here / "out.csv"), by_file.out);
}

TEST_F(Verbs, ScoreWithBaselines) {
  const Outcome outcome =
      kith_run({"score", at("numbers.kith"), at("test.csv"), "--baselines", "--json", "--interval", "0.8"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json score = parse_json(outcome.out);
  EXPECT_EQ(score.at("rows"), 40);
  EXPECT_EQ(score.at("task"), "regression");
  EXPECT_EQ(score.at("interval"), 0.8);
  for (const char* key : {"rmse", "mae", "r2", "coverage", "crps"})
    EXPECT_TRUE(score.at(key).is_number()) << key;
  ASSERT_GE(score.at("baselines").size(), 3U);
  for (const json& baseline : score.at("baselines")) {
    EXPECT_TRUE(baseline.at("name").is_string());
    EXPECT_GT(baseline.at("rmse").get<double>(), score.at("rmse").get<double>()) << baseline;
  }
  const Outcome text = kith_run({"score", at("numbers.kith"), at("test.csv"), "--baselines"});
  EXPECT_EQ(text.exit_code, 0);
  for (const char* words : {"kith", "kNN", "mean", "40 rows"})
    EXPECT_NE(text.out.find(words), std::string::npos) << text.out;

  const Outcome classes = kith_run({"score", at("classes.kith"), at("classes_test.csv"), "--json"});
  ASSERT_EQ(classes.exit_code, 0) << classes.err;
  for (const char* key : {"accuracy", "log_loss", "brier", "auc"})
    EXPECT_TRUE(parse_json(classes.out).contains(key)) << key;
}

TEST_F(Verbs, ScoreIsTheErrorOfThePredictions) {
  const json score = parse_json(kith_run({"score", at("numbers.kith"), at("test.csv"), "--json"}).out);
  const auto rows = parse_json_lines(kith_run({"predict", at("numbers.kith"), at("test.csv"), "--json"}).out);
  const std::vector<std::string> truth = lines_of(number_table(40, 2));
  double squares = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double y = std::stod(truth[i + 1].substr(truth[i + 1].rfind(',') + 1));
    squares += std::pow(rows[i].at("prediction").get<double>() - y, 2);
  }
  EXPECT_NEAR(score.at("rmse").get<double>(), std::sqrt(squares / 40), 1e-5);
}

TEST_F(Verbs, ShowListsColumnsAndWhatTheyAreWorth) {
  const Outcome outcome = kith_run({"show", at("numbers.kith"), "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json shown = parse_json(outcome.out);
  std::map<std::string, double> importance;
  double sum = 0;
  for (const json& feature : shown.at("features")) {
    importance[feature.at("name")] = feature.at("importance");
    sum += feature.at("importance").get<double>();
  }
  ASSERT_EQ(importance.size(), 4U);
  EXPECT_NEAR(sum, 1, 1e-6);
  EXPECT_GT(importance["a"], importance["c"]);
  EXPECT_GT(importance["kind"], importance["b"]);
  EXPECT_GT(shown.at("effective_neighbors").get<double>(), 1);

  const Outcome text = kith_run({"show", at("classes.kith")});
  EXPECT_EQ(text.exit_code, 0);
  for (const char* words :
       {"kind", "3 categories", "Effective neighbors", "low", "always the classes' shares"}) {
    EXPECT_NE(text.out.find(words), std::string::npos) << words << " in\n" << text.out;
  }
}

TEST_F(Verbs, PicturesAppear) {
  const TemporaryFolder here;
  ASSERT_EQ(kith_run({"show", at("numbers.kith"), "--picture", here / "show.svg"}).exit_code, 0);
  EXPECT_NE(read_file(here / "show.svg").find("<svg"), std::string::npos);
  const Outcome why =
      kith_run({"predict", at("numbers.kith"), at("test.csv"), "--picture", here / "why.png", "--row", "3"});
  ASSERT_EQ(why.exit_code, 0) << why.err;
  EXPECT_TRUE(read_file(here / "why.png").starts_with("\x89PNG"));
  EXPECT_EQ(lines_of(why.out)[0], "prediction") << "the picture's rows are not asked for in the CSV";
  const Outcome beyond =
      kith_run({"predict", at("numbers.kith"), at("test.csv"), "--picture", here / "no.png", "--row", "41"});
  EXPECT_EQ(beyond.exit_code, 2);
}

TEST_F(Verbs, TheTableMayBeWrittenInOtherWays) {
  const TemporaryFolder here;
  std::string text = number_table(120, 1);
  text.erase(0, text.find('\n') + 1);
  for (char& c : text) c = c == ',' ? ';' : c == '.' ? ',' : c;
  const std::string table = here.write("t.csv", text);
  const Outcome fit = kith_run({"fit", table, "--no-header", "--decimal", "comma", "--target", "c5",
                                "--ignore", "c4", "-o", here / "m.kith", "--json"});
  ASSERT_EQ(fit.exit_code, 0) << fit.err;
  EXPECT_EQ(parse_json(fit.out).at("columns"), 3);
  const Outcome predict = kith_run({"predict", here / "m.kith", table, "--no-header", "--decimal", "comma"});
  ASSERT_EQ(predict.exit_code, 0) << predict.err;
  EXPECT_EQ(lines_of(predict.out).size(), 121U);
}

TEST_F(Verbs, AValidationTableIsReadWithTheTrainingTablesTypes) {
  const TemporaryFolder here;
  // All of its `kind` cells look like numbers, which the training table's do not.
  const std::string validation = here.write("v.csv", "y,kind,c,b,a\n1,7,0,0,0.3\n2,7,1,1,0.5\n");
  const Outcome fit = kith_run(
      {"fit", at("train.csv"), "--target", "y", "--validation", validation, "-o", here / "m.kith", "--json"});
  EXPECT_EQ(fit.exit_code, 0) << fit.err;
  const std::string lacking = here.write("w.csv", "y,kind,c,b\n1,red,0,0\n");
  const Outcome refused =
      kith_run({"fit", at("train.csv"), "--target", "y", "--validation", lacking, "-o", here / "n.kith"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_NE(refused.err.find("w.csv"), std::string::npos) << refused.err;
  EXPECT_FALSE(std::filesystem::exists(here / "n.kith"));
}

TEST_F(Verbs, NumbersCanBeClasses) {
  const TemporaryFolder here;
  std::string text = "a,y\n";
  for (int i = 0; i < 60; ++i) text += std::to_string(i) + "," + (i < 30 ? "0" : "1") + "\n";
  const std::string table = here.write("t.csv", text);
  const Outcome fit =
      kith_run({"fit", table, "--target", "y", "--task", "classification", "-o", here / "m.kith", "--json"});
  ASSERT_EQ(fit.exit_code, 0) << fit.err;
  EXPECT_EQ(parse_json(fit.out).at("task"), "classification");
  const Outcome score = kith_run({"score", here / "m.kith", table, "--json"});
  ASSERT_EQ(score.exit_code, 0) << score.err;
  EXPECT_GT(parse_json(score.out).at("accuracy").get<double>(), 0.9);
}

TEST(Penguins, FitScorePredictShow) {
  const std::string table = KITH_SOURCE_DIR "/examples/data/penguins.csv";
  const TemporaryFolder here;
  const Outcome fit =
      kith_run({"fit", table, "--target", "body_mass_g", "-o", here / "penguins.kith", "--json"});
  ASSERT_EQ(fit.exit_code, 0) << fit.err;
  EXPECT_GT(parse_json(fit.out).at("loo").at("r2").get<double>(), 0.7);
  EXPECT_NE(fit.err.find("left out"), std::string::npos) << "two penguins were not weighed";
  const Outcome score = kith_run({"score", here / "penguins.kith", table, "--baselines"});
  EXPECT_EQ(score.exit_code, 0) << score.err;
  const Outcome predict =
      kith_run({"predict", here / "penguins.kith", table, "--why", "3", "--interval", "0.9"});
  ASSERT_EQ(predict.exit_code, 0) << predict.err;
  EXPECT_EQ(lines_of(predict.out).size(), lines_of(read_file(table)).size());
  const Outcome species =
      kith_run({"fit", table, "--target", "species", "-o", here / "species.kith", "--json"});
  ASSERT_EQ(species.exit_code, 0) << species.err;
  EXPECT_GT(parse_json(species.out).at("loo").at("accuracy").get<double>(), 0.95);
}

}  // namespace
}  // namespace kith::test
