// A fit that is interrupted, politely and not: the model file is the old one or a new one, never a broken
// one.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "cli/program.h"

namespace kith::test {
namespace {

using Clock = std::chrono::steady_clock;

class Interrupted : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_terminals()) GTEST_SKIP() << "no pseudo-terminal to be had here (is /dev/pts there?)";
    table_ = folder_.write("t.csv", number_table(20000));
  }

  Running start() const {
    return kith_start_on_terminal({"fit", table_, "--target", "y", "-o", folder_ / "m.kith"},
                                  folder_ / "out");
  }
  TemporaryFolder folder_;
  std::string table_;
};

TEST_F(Interrupted, OnceWritesTheBestSoFar) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const Running running = start();
    std::string seen;
    ASSERT_TRUE(read_until(running, "step", seen)) << "a terminal sees progress: " << seen;
    ::kill(running.process, signal);
    EXPECT_TRUE(read_until(running, "best so far", seen)) << seen;
    EXPECT_TRUE(read_until(running, "m.kith", seen)) << "it says what it wrote: " << seen;
    EXPECT_EQ(wait_for(running.process), 0) << seen;
    ::close(running.terminal);
    const Outcome show = kith_run({"show", folder_ / "m.kith", "--json"});
    ASSERT_EQ(show.exit_code, 0) << show.err;
    EXPECT_EQ(parse_json(show.out).at("stopped_early"), true);
    std::filesystem::remove(folder_ / "m.kith");
  }
}

TEST_F(Interrupted, TwiceLeavesAtOnceAndKeepsTheOldFile) {
  folder_.write("m.kith", "old");
  const Running running = start();
  std::string seen;
  ASSERT_TRUE(read_until(running, "step", seen)) << seen;
  ::kill(running.process, SIGINT);
  ASSERT_TRUE(read_until(running, "once more", seen)) << seen;
  ::kill(running.process, SIGINT);
  EXPECT_EQ(wait_for(running.process), 130) << seen;
  ::close(running.terminal);
  EXPECT_EQ(read_file(folder_ / "m.kith"), "old");
}

TEST(Killed, AtRandomInstantsLeavesTheOldModelOrTheNew) {
  const TemporaryFolder folder;
  std::string text = number_table(300);
  const std::string table = folder.write("t.csv", text);
  const std::string model = folder / "m.kith";
  const auto fit = [&](const char* target) {
    return std::vector<std::string>{"fit", table,     "--target",  target, "-o",
                                    model, "--quiet", "--threads", "1"};
  };
  ASSERT_EQ(kith_run(fit("y")).exit_code, 0);
  const auto start = Clock::now();
  ASSERT_EQ(kith_run(fit("y")).exit_code, 0);
  const auto whole = Clock::now() - start;

  std::mt19937 generator(1);
  for (int i = 0; i < 50; ++i) {
    // Targets take turns, so that old and new can be told apart. Half of the instants are near the end, where
    // the file is written.
    const std::string before = parse_json(kith_run({"show", model, "--json"}).out).at("target");
    const std::string after = before == "y" ? "a" : "y";
    const double share = static_cast<double>(generator()) / 4294967296.0;
    const double instant = i % 2 == 0 ? share : 0.8 + 0.3 * share;
    const pid_t process = kith_start(fit(after.c_str()));
    std::this_thread::sleep_for(std::chrono::duration_cast<std::chrono::microseconds>(whole * instant));
    ::kill(process, SIGKILL);
    wait_for(process);
    const Outcome show = kith_run({"show", model, "--json"});
    ASSERT_EQ(show.exit_code, 0) << show.err;
    const std::string target = parse_json(show.out).at("target");
    EXPECT_TRUE(target == before || target == after) << target;
  }
}

}  // namespace
}  // namespace kith::test
