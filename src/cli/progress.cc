#include "cli/progress.h"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>

#include <fmt/format.h>

#include "cli/text.h"

namespace kith::cli {
namespace {

// Lock-free atomics are what a signal handler may touch.
std::atomic<int> interrupts = 0;
std::atomic<bool> silent = false;
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

struct sigaction old_interrupt, old_terminate;

void on_signal(int signal) {
  if (interrupts.fetch_add(1) != 0) ::_exit(128 + signal);
  if (!silent) {
    constexpr char kText[] = "\nkith: stopping at the best so far; once more leaves at once\n";
    // Nothing can be done about a failure here, and the compiler wants the result looked at.
    if (::write(STDERR_FILENO, kText, sizeof kText - 1) < 0) return;
  }
}

}  // namespace

InterruptGuard::InterruptGuard(bool quiet) {
  interrupts = 0;
  silent = quiet;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGINT, &action, &old_interrupt);
  ::sigaction(SIGTERM, &action, &old_terminate);
}

InterruptGuard::~InterruptGuard() {
  ::sigaction(SIGINT, &old_interrupt, nullptr);
  ::sigaction(SIGTERM, &old_terminate, nullptr);
}

bool InterruptGuard::requested() const { return interrupts != 0; }

void ProgressLine::update(const FitProgress& progress) {
  if (!shown_) return;
  const auto now = std::chrono::steady_clock::now();
  const bool last = progress.step == progress.steps;
  if (drawn_ && !last && now - last_ < std::chrono::milliseconds(100)) return;
  last_ = now;
  drawn_ = true;
  constexpr std::size_t kWidth = 20;
  const double share = progress.steps > 0 ? static_cast<double>(progress.step) / progress.steps : 0;
  const std::string filled = bar(share, kWidth);
  fmt::print(stderr, "\r\033[K{}{} step {}/{}  loss {}  held out {}  {:.1f} s", filled,
             std::string(kWidth - display_width(filled), ' '), progress.step, progress.steps,
             number(progress.loss), number(progress.held_out), progress.seconds);
  std::fflush(stderr);
}

void ProgressLine::clear() {
  if (!drawn_) return;
  fmt::print(stderr, "\r\033[K");
  std::fflush(stderr);
  drawn_ = false;
}

}  // namespace kith::cli
