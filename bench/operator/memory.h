// How much memory a piece of work takes at its peak.
#pragma once

#include <functional>

namespace kith::bench {

/// Bytes by which the process grows at most while work() runs; 0 where the system does not tell.
double peak_growth(const std::function<void()>& work);

}  // namespace kith::bench
