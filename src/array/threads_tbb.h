// The one place where TBB is used. A file of its own because the thread sanitizer has to leave it alone: the
// parts of TBB that are in headers would be instrumented and the parts in its library not.
#pragma once

#include "kith/view.h"

namespace kith::detail {

/// run(context, task, worker) for every task in [0, tasks), on at most `threads` (> 1) threads; 0 <= worker <
/// threads.
void run_in_arena(int threads, Index tasks, void (*run)(void* context, Index task, int worker),
                  void* context);

}  // namespace kith::detail
