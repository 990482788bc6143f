#include "measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "attention/kernels/limits.h"

namespace kith::bench {
namespace {

using Clock = std::chrono::steady_clock;

// The mean rate of 10 ms or so. `seconds` = 0 is one slice of well under a millisecond: the best of several
// would hide just what the canary is to notice.
double canary(int threads) {
  constexpr int kSlices = 12;
  double time = 0;
  for (int i = 0; i < kSlices; ++i) time += 1 / kernels::measure_fma_gflops(threads, 0);
  return kSlices / time;
}

double quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

struct Round {
  std::vector<double> rate;
  double canary = 0;
};

Rounds keep(const std::vector<Round>& rounds, double lowest, std::size_t contestants) {
  Rounds kept;
  kept.rate.resize(contestants);
  for (const Round& round : rounds) {
    if (round.canary < lowest) {
      ++kept.thrown_out;
      continue;
    }
    for (std::size_t c = 0; c < contestants; ++c) kept.rate[c].push_back(round.rate[c]);
  }
  return kept;
}

}  // namespace

double seconds(const std::function<void()>& run, double at_least) {
  const auto time = [&](int runs) {
    const auto start = Clock::now();
    for (int i = 0; i < runs; ++i) run();
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  const double first = time(1);
  if (first >= at_least) return first;
  const int runs = static_cast<int>(std::ceil(at_least / std::max(first, 1e-7)));
  return time(runs) / runs;
}

Spread spread_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  return {quantile(values, 0.5), quantile(values, 0.25), quantile(values, 0.75)};
}

Spread Rounds::ratio(std::size_t a, std::size_t b) const {
  std::vector<double> ratios(rate[a].size());
  for (std::size_t r = 0; r < ratios.size(); ++r) ratios[r] = rate[a][r] / rate[b][r];
  return spread_of(ratios);
}

Rounds compete(const std::vector<Contestant>& contestants, int threads, const Effort& effort) {
  const auto start = Clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  std::vector<Round> rounds;
  Rounds kept;
  double best = 0;
  constexpr double kUndisturbed = 0.95;
  const auto enough = [&] { return static_cast<int>(kept.rate[0].size()) >= effort.pairs; };
  do {
    Round round;
    round.canary = canary(threads);
    for (const Contestant& contestant : contestants) {
      round.rate.push_back(contestant.rate());
      const double now = canary(threads);
      best = std::max(best, now);
      round.canary = std::min(round.canary, now);
    }
    best = std::max(best, round.canary);
    rounds.push_back(std::move(round));
    kept = keep(rounds, kUndisturbed * best, contestants.size());
  } while (!enough() && elapsed() < effort.row_seconds);
  if (kept.rate[0].empty()) kept = keep(rounds, 0, contestants.size());
  kept.is_disturbed = !enough();
  return kept;
}

}  // namespace kith::bench
