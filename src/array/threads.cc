#include "array/threads.h"

#include <fmt/core.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <string_view>
#include <thread>

#include "array/threads_tbb.h"

namespace kith {
namespace {

thread_local int current_worker = 0;

/// The worker index while a task runs. A thread that waits inside a nested loop runs that loop's tasks and
/// then goes on with its own, so the index is restored.
class WorkerScope {
 public:
  explicit WorkerScope(int worker) : before_(current_worker) { current_worker = worker; }
  ~WorkerScope() { current_worker = before_; }
  WorkerScope(const WorkerScope&) = delete;
  WorkerScope& operator=(const WorkerScope&) = delete;

 private:
  int before_;
};

int usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int count = sched_getaffinity(0, sizeof(set), &set) == 0
                        ? CPU_COUNT(&set)
                        : static_cast<int>(std::thread::hardware_concurrency());
  return std::clamp(count, 1, kMaxThreads);
}

}  // namespace

int resolve_threads(int requested, bool tiny) {
  if (requested < 0 || requested > kMaxThreads)
    throw Error(fmt::format("threads: got {}, needs 1 to {}, or 0 for all", requested, kMaxThreads));
  if (requested > 0) return requested;
  const char* text = std::getenv("KITH_THREADS");
  if (text == nullptr) return tiny ? 1 : usable_cpus();
  const std::string_view value = text;
  int threads = 0;
  const auto [end, problem] = std::from_chars(value.data(), value.data() + value.size(), threads);
  if (problem != std::errc{} || end != value.data() + value.size() || threads < 1 || threads > kMaxThreads)
    throw Error(
        fmt::format("environment variable KITH_THREADS: got \"{}\", needs a whole number from 1 to {}", value,
                    kMaxThreads));
  return threads;
}

int worker_index() { return current_worker; }

void detail::parallel_tasks(int threads, Index tasks, TaskFunction run, const void* context) {
  if (threads <= 1 || tasks <= 1) {
    const WorkerScope scope(0);
    for (Index task = 0; task < tasks; ++task) run(context, task);
    return;
  }
  // What the caller wrote is seen by the tasks, and what they wrote by the caller. TBB sees to that, but its
  // library is not instrumented: without `begun` and `ended` the thread sanitizer takes every loop for a data
  // race.
  struct Loop {
    TaskFunction run;
    const void* context;
    std::atomic<bool> begun;
    std::atomic<Index> ended;
    ~Loop() { static_cast<void>(ended.load(std::memory_order_acquire)); }
  };
  struct Ending {
    std::atomic<Index>& ended;
    ~Ending() { ended.fetch_add(1, std::memory_order_release); }
  };
  Loop loop{run, context, {false}, {0}};
  loop.begun.store(true, std::memory_order_release);
  run_in_arena(
      threads, tasks,
      [](void* shared, Index task, int worker) {
        Loop& self = *static_cast<Loop*>(shared);
        static_cast<void>(self.begun.load(std::memory_order_acquire));
        const Ending ending{self.ended};
        const WorkerScope scope(worker);
        self.run(self.context, task);
      },
      &loop);
}

}  // namespace kith
