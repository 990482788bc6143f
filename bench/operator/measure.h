// Contestants in turns, A B C A B C ..., and what their ratios say.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace kith::bench {

/// How long and how often.
struct Effort {
  int pairs = 9;        ///< rounds that count, at least
  double slice = 0.03;  ///< seconds a contestant works in a round, at least
  double limit_slice = 0.04;
  double row_seconds = 120;  ///< no new round after this
};

/// Seconds of one run: the mean over runs that together take `at_least`, after one that warms the caches.
/// That one counts alone if it takes so long by itself. Peers in processes of their own do the same
/// (peers/driver.py).
double seconds(const std::function<void()>& run, double at_least);

/// Median and quartiles.
struct Spread {
  double median = 0, low = 0, high = 0;
};
Spread spread_of(std::vector<double> values);

struct Contestant {
  std::string name;
  std::function<double()> rate;  ///< units a second
};

struct Rounds {
  std::vector<std::vector<double>> rate;  ///< [contestant][round], those that count
  int thrown_out = 0;                     ///< rounds disturbed by others on the machine
  bool is_disturbed = false;              ///< time was up before there were enough of the others
  Spread rates(std::size_t contestant) const { return spread_of(rate[contestant]); }
  /// Of rates, round by round.
  Spread ratio(std::size_t a, std::size_t b) const;
};

/// A canary (multiply-adds on registers) runs before and after every contestant; a round during which it is
/// below 0.95 of its best is thrown out. If none is left when time is up, all count.
Rounds compete(const std::vector<Contestant>& contestants, int threads, const Effort& effort);

}  // namespace kith::bench
