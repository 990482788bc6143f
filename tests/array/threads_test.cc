#include "array/threads.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace kith {
namespace {

/// Sets KITH_THREADS for a test's length.
class ThreadsVariable {
 public:
  explicit ThreadsVariable(const char* value) {
    if (const char* before = std::getenv("KITH_THREADS")) before_ = before;
    if (value == nullptr)
      unsetenv("KITH_THREADS");
    else
      setenv("KITH_THREADS", value, 1);
  }
  ~ThreadsVariable() {
    if (before_.empty())
      unsetenv("KITH_THREADS");
    else
      setenv("KITH_THREADS", before_.c_str(), 1);
  }

 private:
  std::string before_;
};

std::string refusal(int requested) {
  try {
    resolve_threads(requested);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(ResolveThreads, ArgumentThenEnvironmentThenCpus) {
  {
    const ThreadsVariable variable("5");
    EXPECT_EQ(resolve_threads(3), 3);
    EXPECT_EQ(resolve_threads(0), 5);
  }
  const ThreadsVariable variable(nullptr);
  cpu_set_t set;
  ASSERT_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
  EXPECT_EQ(resolve_threads(0), CPU_COUNT(&set));
}

TEST(ResolveThreads, RefusalsNameWhatTheyGot) {
  EXPECT_EQ(refusal(-1), "threads: got -1, needs 1 to 4096, or 0 for all");
  EXPECT_EQ(refusal(5000), "threads: got 5000, needs 1 to 4096, or 0 for all");
  for (const std::string value : {"", "0", "-2", "two", "2 ", " 2", "2.0", "4097", "99999999999999999999"}) {
    const ThreadsVariable variable(value.c_str());
    EXPECT_EQ(refusal(0), "environment variable KITH_THREADS: got \"" + value +
                              "\", needs a whole number from 1 to 4096");
    EXPECT_EQ(refusal(2), "accepted") << "an argument makes the variable irrelevant";
  }
}

TEST(ParallelFor, RunsEveryTaskOnce) {
  for (int threads : {1, 2, 3, 8}) {
    for (Index tasks : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(tasks));
      parallel_for(threads, tasks, [&](Index task) { ++runs[static_cast<std::size_t>(task)]; });
      for (const auto& count : runs) EXPECT_EQ(count, 1);
    }
  }
}

TEST(ParallelFor, OneThreadIsInOrder) {
  std::vector<Index> order;
  parallel_for(1, 5, [&](Index task) { order.push_back(task); });
  EXPECT_EQ(order, (std::vector<Index>{0, 1, 2, 3, 4}));
}

TEST(ParallelFor, UsesASecondThreadWhereThereIsACpu) {
  cpu_set_t set;
  ASSERT_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
  if (CPU_COUNT(&set) < 2) GTEST_SKIP() << "only one CPU";
  // Both tasks wait for each other, which only two threads can end before the deadline.
  std::atomic<int> met{0};
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  parallel_for(2, 2, [&](Index) {
    ++met;
    while (met < 2 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    EXPECT_EQ(met, 2);
  });
}

TEST(ParallelFor, FirstExceptionComesOutAndTheNextLoopWorks) {
  for (int threads : {1, 2, 3}) {
    EXPECT_THROW(parallel_for(threads, 100,
                              [](Index task) {
                                if (task == 57) throw Error("task 57");
                              }),
                 Error);
    EXPECT_EQ(worker_index(), 0);
    std::atomic<Index> sum{0};
    parallel_for(threads, 10, [&](Index task) { sum += task; });
    EXPECT_EQ(sum, 45);
  }
}

TEST(ParallelFor, AWorkerIndexIsUsedByOneTaskAtATimeEvenWhenNested) {
  constexpr int kThreads = 3;
  std::vector<std::atomic<int>> busy(kThreads);
  std::atomic<Index> inner_tasks{0};
  parallel_for(kThreads, 60, [&](Index) {
    const int worker = worker_index();
    ASSERT_GE(worker, 0);
    ASSERT_LT(worker, kThreads);
    auto& mine = busy[static_cast<std::size_t>(worker)];
    EXPECT_EQ(mine.fetch_add(1), 0);
    std::vector<std::atomic<int>> inner_busy(2);
    parallel_for(2, 20, [&](Index) {
      const auto inner = static_cast<std::size_t>(worker_index());
      ASSERT_LT(inner, 2U);
      EXPECT_EQ(inner_busy[inner].fetch_add(1), 0);
      parallel_for(1, 2, [&](Index) {
        EXPECT_EQ(worker_index(), 0);
        ++inner_tasks;
      });
      EXPECT_EQ(static_cast<std::size_t>(worker_index()), inner);
      inner_busy[inner].fetch_sub(1);
    });
    EXPECT_EQ(worker_index(), worker);
    mine.fetch_sub(1);
  });
  EXPECT_EQ(inner_tasks, 60 * 20 * 2);
}

TEST(ParallelFor, LoopsOfIndependentThreadsDoNotMeet) {
  std::atomic<Index> sum{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      for (int round = 0; round < 100; ++round) {
        std::vector<std::atomic<int>> busy(2);
        parallel_for(2, 10, [&](Index) {
          auto& mine = busy[static_cast<std::size_t>(worker_index())];
          EXPECT_EQ(mine.fetch_add(1), 0);
          ++sum;
          mine.fetch_sub(1);
        });
      }
    });
  }
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(sum, 4 * 100 * 10);
}

}  // namespace
}  // namespace kith
