#include "array/threads_tbb.h"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/partitioner.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <vector>

namespace kith::detail {
namespace {

/// TBB prints a warning when asked for more workers than it may start, so loops do not ask.
int allowed_parallelism() {
  return static_cast<int>(tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism));
}

/// A TBB arena that no other loop uses meanwhile: a thread that waits for a nested loop then cannot pick up
/// an outer task, which would use the scratch memory of the task it interrupted. Arenas are kept for the next
/// loop, because a fresh one costs 10 to 200 us.
class ArenaLease {
 public:
  explicit ArenaLease(int threads) {
    const std::lock_guard lock(pool_mutex);
    // Never destroyed: loops may run until the process is gone. Made under the mutex rather than as a local
    // static, whose guard the thread sanitizer cannot see in this file.
    if (pool == nullptr) pool = new Pool;
    auto& idle = pool->idle;
    const auto fits = [=](const auto& arena) { return arena->max_concurrency() == threads; };
    if (const auto found = std::find_if(idle.begin(), idle.end(), fits); found != idle.end()) {
      arena_ = std::move(*found);
      idle.erase(found);
    } else {
      idle.reserve(++pool->made);  // so that giving back cannot fail
      arena_ = std::make_unique<tbb::task_arena>(threads);
    }
  }
  ~ArenaLease() {
    const std::lock_guard lock(pool_mutex);
    pool->idle.push_back(std::move(arena_));
  }
  ArenaLease(const ArenaLease&) = delete;
  ArenaLease& operator=(const ArenaLease&) = delete;

  tbb::task_arena& arena() { return *arena_; }

 private:
  struct Pool {
    std::vector<std::unique_ptr<tbb::task_arena>> idle;
    std::size_t made = 0;
  };
  static inline constinit std::mutex pool_mutex;
  static inline constinit Pool* pool = nullptr;

  std::unique_ptr<tbb::task_arena> arena_;
};

}  // namespace

void run_in_arena(int threads, Index tasks, void (*run)(void* context, Index task, int worker),
                  void* context) {
  ArenaLease lease(std::min(threads, allowed_parallelism()));
  lease.arena().execute([=] {
    tbb::parallel_for(
        tbb::blocked_range<Index>(0, tasks, 1),
        [=](const tbb::blocked_range<Index>& range) {
          const int worker = tbb::this_task_arena::current_thread_index();
          for (Index task = range.begin(); task != range.end(); ++task) run(context, task, worker);
        },
        tbb::simple_partitioner{});
  });
}

}  // namespace kith::detail
