// Threads: how many, and a parallel loop over independent tasks. TBB stays behind this header.
#pragma once

#include <memory>
#include <type_traits>

#include "kith/error.h"
#include "kith/view.h"

namespace kith {

/// The most threads that can be asked for; a larger number is taken for a mistake.
constexpr int kMaxThreads = 4096;

/// How many threads to use. `requested` > 0: that many. 0: the environment variable KITH_THREADS where it is
/// set, else every CPU this process may use. Error: a negative number, more than kMaxThreads, or a
/// KITH_THREADS that is not a whole number from 1 to kMaxThreads. `tiny`: for work so small that one thread
/// is best unless more are asked for, and that asking the system for its CPUs would slow down.
int resolve_threads(int requested, bool tiny = false);

namespace detail {
using TaskFunction = void (*)(const void* context, Index task);
void parallel_tasks(int threads, Index tasks, TaskFunction run, const void* context);
}  // namespace detail

/// Calls body(task) once for every task in [0, tasks), on up to `threads` threads that steal work from one
/// another. Serial and in order where `threads` or `tasks` is 1. Returns when all are done. The first
/// exception of a body is rethrown here; tasks not begun by then may never run. A body may itself call
/// parallel_for.
template <class F>
void parallel_for(int threads, Index tasks, F&& body) {
  using Body = std::remove_reference_t<F>;
  detail::parallel_tasks(
      threads, tasks,
      [](const void* context, Index task) { (*static_cast<Body*>(const_cast<void*>(context)))(task); },
      std::addressof(body));
}

/// Inside a parallel_for: which worker this is, 0 <= worker_index() < threads; no two tasks that run at the
/// same time share one, so it can pick a worker's scratch memory. The innermost loop counts. 0 outside.
int worker_index();

}  // namespace kith
