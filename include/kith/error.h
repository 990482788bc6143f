// What Kith throws. The library never prints and never aborts.
#pragma once

#include <stdexcept>
#include <string>

namespace kith {

/// Every failure Kith reports. `what()` is one sentence that names the argument or file, what it got
/// and what it needs, for instance `key: 3 heads do not divide query's 8`.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace kith
