// Output that cannot be written, and files that must survive it.
#include <gtest/gtest.h>
#include <unistd.h>

#include "cli/program.h"

namespace kith::test {
namespace {

class Outputs : public testing::Test {
 protected:
  void SetUp() override {
    folder_.write("t.csv", number_table(400));
    ASSERT_EQ(kith_run({"fit", "t.csv", "--target", "y", "--quiet"}, here_).exit_code, 0);
    names_ = folder_.names().size();
    model_ = read_file(folder_ / "t.kith");
  }

  TemporaryFolder folder_;
  Setting here_{.folder = folder_.path()};
  std::size_t names_ = 0;
  std::string model_;
};

TEST_F(Outputs, AFullStandardOutputIsAnError) {
  Setting full = here_;
  full.output_path = "/dev/full";
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"--help"},
                                                                     {"show", "t.kith"},
                                                                     {"show", "t.kith", "--json"},
                                                                     {"predict", "t.kith", "t.csv"},
                                                                     {"score", "t.kith", "t.csv"}}) {
    const Outcome outcome = kith_run(arguments, full);
    EXPECT_EQ(outcome.exit_code, 1) << arguments[0];
    EXPECT_NE(outcome.err.find("standard output"), std::string::npos) << outcome.err;
  }
}

TEST_F(Outputs, ADeviceIsWrittenToAndNotReplaced) {
  const Outcome full = kith_run({"predict", "t.kith", "t.csv", "-o", "/dev/full"}, here_);
  EXPECT_EQ(full.exit_code, 1);
  EXPECT_NE(full.err.find("/dev/full"), std::string::npos) << full.err;
  const Outcome null = kith_run({"predict", "t.kith", "t.csv", "-o", "/dev/null"}, here_);
  EXPECT_EQ(null.exit_code, 0) << null.err;
  const Outcome model = kith_run({"fit", "t.csv", "--target", "y", "-o", "/dev/full"}, here_);
  EXPECT_EQ(model.exit_code, 1);
  EXPECT_NE(model.err.find("/dev/full"), std::string::npos) << model.err;
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/full"));
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
}

TEST_F(Outputs, AFullDiskLeavesTheOldFiles) {
  Setting small = here_;
  small.largest_file = 2048;
  const Outcome fit = kith_run({"fit", "t.csv", "--target", "y", "--seed", "5", "--metric", "scalar"}, small);
  EXPECT_EQ(fit.exit_code, 1) << fit.err;
  EXPECT_NE(fit.err.find("t.kith"), std::string::npos) << fit.err;
  EXPECT_EQ(read_file(folder_ / "t.kith"), model_);
  folder_.write("out.csv", "old");
  const Outcome predict = kith_run({"predict", "t.kith", "t.csv", "--why", "3", "-o", "out.csv"}, small);
  EXPECT_EQ(predict.exit_code, 1) << predict.err;
  EXPECT_EQ(read_file(folder_ / "out.csv"), "old");
  EXPECT_EQ(folder_.names().size(), names_ + 1) << "no temporary file stays behind";
}

TEST_F(Outputs, FoldersAreCheckedBeforeTheWork) {
  for (const char* path : {"absent/m.kith", ".", "t.csv/m.kith"}) {
    const Outcome outcome = kith_run({"fit", "t.csv", "--target", "nothing", "-o", path}, here_);
    EXPECT_EQ(outcome.exit_code, 1) << path;
    EXPECT_NE(outcome.err.find("-o"), std::string::npos)
        << "before the target is looked for: " << outcome.err;
  }
  EXPECT_EQ(kith_run({"predict", "t.kith", "t.csv", "-o", "absent/out.csv"}, here_).exit_code, 1);
  EXPECT_EQ(kith_run({"show", "t.kith", "--picture", "absent/p.svg"}, here_).exit_code, 1);
  // Nobody, not even root, creates files there.
  EXPECT_EQ(kith_run({"fit", "t.csv", "--target", "y", "-o", "/proc/m.kith"}, here_).exit_code, 1);
  EXPECT_EQ(kith_run({"predict", "t.kith", "t.csv", "-o", "/proc/out.csv"}, here_).exit_code, 1);
}

TEST_F(Outputs, AReadOnlyFolderIsAnError) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write anywhere";
  std::filesystem::create_directory(folder_ / "locked");
  std::filesystem::permissions(folder_ / "locked",
                               std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  const Outcome outcome = kith_run({"fit", "t.csv", "--target", "y", "-o", "locked/m.kith"}, here_);
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_NE(outcome.err.find("locked"), std::string::npos) << outcome.err;
}

TEST_F(Outputs, AReaderThatLeavesIsNoError) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ::close(ends[0]);
  Setting broken = here_;
  broken.output_descriptor = ends[1];
  const Outcome outcome = kith_run({"predict", "t.kith", "t.csv"}, broken);
  ::close(ends[1]);
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.err, "");
}

TEST_F(Outputs, AnExistingFileIsReplaced) {
  folder_.write("out.csv", "old");
  ASSERT_EQ(kith_run({"predict", "t.kith", "t.csv", "-o", "out.csv"}, here_).exit_code, 0);
  EXPECT_TRUE(read_file(folder_ / "out.csv").starts_with("prediction\n"));
  EXPECT_EQ(kith_run({"predict", "t.kith", "t.csv", "-o", "t.csv"}, here_).exit_code, 2) << "its own input";
  EXPECT_EQ(kith_run({"predict", "t.kith", "t.csv", "-o", "t.kith"}, here_).exit_code, 2) << "its own model";
  EXPECT_EQ(read_file(folder_ / "t.kith"), model_);
}

}  // namespace
}  // namespace kith::test
