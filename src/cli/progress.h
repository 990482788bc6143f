// What a person at a terminal sees of a running fit, and how they stop it.
#pragma once

#include <chrono>
#include <string>

#include "kith/neighbors.h"

namespace kith::cli {

/// While it lives: the first Ctrl-C (or SIGTERM) asks the fit to stop, the second leaves the process at once.
class InterruptGuard {
 public:
  explicit InterruptGuard(bool quiet);
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  bool requested() const;
};

/// One line on standard error that is drawn over; nothing at all unless that is a terminal.
class ProgressLine {
 public:
  explicit ProgressLine(bool shown) : shown_(shown) {}
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  void update(const FitProgress& progress);
  void clear();

 private:
  bool shown_ = false, drawn_ = false;
  std::chrono::steady_clock::time_point last_{};
};

}  // namespace kith::cli
