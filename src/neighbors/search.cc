#include "neighbors/search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "neighbors/encoding.h"
#include "neighbors/lbfgs.h"

namespace kith::neighbors {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Queries of a quick look at the leave-one-out loss.
constexpr Index kSample = 4096;
/// And of the many looks of a sweep.
constexpr Index kSweepQueries = 1024;
/// What one evaluation may cost, with and without a gradient, in pairs times (coordinates + kPairCost). It
/// bounds a fit's time on wide or long tables, which are then fitted on samples.
constexpr Index kGradientWork = 6'000'000'000;
constexpr Index kLossWork = 12'000'000'000;
/// A pair's exponential and values, in coordinates.
constexpr Index kPairCost = 16;

Index affordable_pairs(Index work, const Rows& rows) { return work / (rows.key.shape[1] + kPairCost); }

constexpr int kGridSteps = 9;
constexpr int kGoldenSteps = kOneBandwidthSteps - kGridSteps;

/// Leave-one-out over `at_most` rows, or as many as the budget allows, each against all rows.
Loss leave_one_out(Objective& objective, const Rows& rows, const std::vector<double>& parameters,
                   Index at_most) {
  const Index affordable = affordable_pairs(kLossWork, rows) / std::max<Index>(1, rows.count());
  const Index queries = std::min({rows.count(), at_most, std::max<Index>(256, affordable)});
  return objective.evaluate(rows, rows.slice(0, queries), 0, parameters, false);
}

/// Where a function of one variable is smallest: over a grid, then by golden section around its best point.
template <class F>
double minimize(double from, double to, int grid, int refine, const F& loss_at) {
  double best = from, best_loss = kInfinity;
  const auto try_at = [&](double x) {
    const double loss = loss_at(x);
    if (loss < best_loss) {
      best_loss = loss;
      best = x;
    }
    return loss;
  };
  const double step = (to - from) / (grid - 1);
  for (int g = 0; g < grid; ++g) try_at(from + g * step);
  double left = best - step, right = best + step;
  constexpr double kGolden = 0.6180339887498949;
  double a = right - kGolden * (right - left), b = left + kGolden * (right - left);
  double loss_a = try_at(a), loss_b = try_at(b);
  for (int r = 2; r < refine; ++r) {
    if (loss_a < loss_b) {
      right = b;
      b = a;
      loss_b = loss_a;
      a = right - kGolden * (right - left);
      loss_a = try_at(a);
    } else {
      left = a;
      a = b;
      loss_a = loss_b;
      b = left + kGolden * (right - left);
      loss_b = try_at(b);
    }
  }
  return best;
}

/// What a sweep adds to the logarithm of a bandwidth, and how often it goes around.
constexpr double kMoves[] = {-2, -1, 1, 2};
constexpr int kSweepRounds = kSweepStepsPerColumn / static_cast<int>(std::size(kMoves));

/// Tries each variable alone at a few far apart places, twice around: a descent from one bandwidth for all
/// would end in whichever valley is near, and columns differ by orders of magnitude.
template <class F>
std::vector<double> coarse_sweep(std::vector<double> x, const F& loss_at) {
  double lowest = loss_at(x);
  for (int round = 0; round < kSweepRounds; ++round) {
    for (double& variable : x) {
      const double start = variable;
      double best = start;
      for (const double move : kMoves) {
        variable = start + move;
        const double loss = loss_at(x);
        if (loss < lowest) {
          lowest = loss;
          best = variable;
        }
      }
      variable = best;
    }
  }
  return x;
}

/// The queries and keys of one stage of the descent.
struct Sample {
  Rows keys;
  Index queries;
};

/// At most `work` products. Every row is a key as long as that leaves `kSample` queries; keys left out make
/// bandwidths too wide, so they are the last to be saved on.
Sample sample_of(const Rows& train, Index work) {
  const Index pairs = affordable_pairs(work, train);
  const Index keys = std::min(train.count(), std::max<Index>(kSample, pairs / kSample));
  return {train.slice(0, keys), std::clamp<Index>(pairs / keys, std::min<Index>(keys, 512), keys)};
}

}  // namespace

Smoother find_one_bandwidth(Objective& objective, const SearchProblem& problem, bool own_units, bool thorough,
                            Progress& progress) {
  const std::vector<double>& spread = problem.spread;
  double total = 0, columns = 0;
  for (double s : spread) {
    total += own_units && s > 0 ? 1.0 : s;
    columns += s > 0 ? 1 : 0;
  }
  const double typical = 0.5 * std::log(total / columns);
  Smoother found;
  const auto set = [&](double log_factor) {
    found.bandwidth.clear();
    for (double s : spread) {
      found.bandwidth.push_back(s > 0 ? std::exp(log_factor) * (own_units ? std::sqrt(s) : 1.0) : kInfinity);
    }
  };
  const Index queries = thorough ? problem.train.count() : kSample / 4;
  const auto loss_of_found = [&] {
    if (progress.stopped()) return kInfinity;
    const double loss = leave_one_out(objective, problem.train, objective.parameters(found), queries).mean;
    progress.step(loss, loss);
    return loss;
  };
  set(minimize(typical + std::log(0.02), typical + std::log(5.12), kGridSteps, kGoldenSteps,
               [&](double log_factor) {
                 set(log_factor);
                 return loss_of_found();
               }));
  if (objective.classifies() && thorough) {
    found.prior_log_weight = minimize(-12, 4, kGridSteps, kGoldenSteps, [&](double log_weight) {
      found.prior_log_weight = log_weight;
      return loss_of_found();
    });
  }
  return found;
}

double rise_in_errors(const Loss& before, const Loss& after) {
  const double rise = after.mean - before.mean;
  double squares = 0;
  for (std::size_t i = 0; i < after.row.size(); ++i) {
    const double d = after.row[i] - before.row[i] - rise;
    squares += d * d;
  }
  const double error = std::sqrt(squares) / static_cast<double>(after.row.size());
  return rise == 0 ? 0 : rise / error;
}

std::vector<double> descend(const SearchProblem& problem, std::vector<double> x, double longest_step,
                            const LossAt& loss_at, Progress& progress) {
  const Rows& train = problem.train;
  const Index affordable = std::max<Index>(256, affordable_pairs(kLossWork, train) / train.count());
  const Rows held_out = problem.held_out.slice(0, std::min(problem.held_out.count(), affordable));
  // A tenth of the work finds the neighborhood of the optimum, where few dear steps remain.
  for (const bool rough : {true, false}) {
    if (progress.stopped()) break;
    const Sample sample = sample_of(train, rough ? kGradientWork / 10 : kGradientWork);
    if (rough && sample.queries == train.count()) continue;
    const Differentiable function = [&](const std::vector<double>& at, std::vector<double>& gradient) {
      Loss loss = loss_at(sample.keys, sample.keys.slice(0, sample.queries), 0, at, true);
      gradient = std::move(loss.gradient);
      return loss.mean;
    };
    // The leave-one-out loss falls with each iterate; the last one is taken that the held-out rows do not
    // find worse than their best by more than chance.
    Loss lowest;
    std::vector<double> chosen = x;
    int worse = 0;
    const LbfgsOptions options{
        .iterations = kDescentSteps / 2, .longest_step = longest_step, .least_decrease = rough ? 1e-3 : 2e-4};
    minimize_lbfgs(function, x, options, [&](const std::vector<double>& at, double loss) {
      const bool holds_out = held_out.count() > 0;
      Loss checked;
      if (holds_out) checked = loss_at(train, held_out, std::nullopt, at, false);
      const bool first = lowest.row.empty();
      constexpr double kChance = 2;
      if (!holds_out || first || rise_in_errors(lowest, checked) <= kChance) {
        chosen = at;
        worse = 0;
      } else {
        ++worse;
      }
      progress.step(loss, holds_out ? checked.mean : loss);
      if (holds_out && (first || checked.mean < lowest.mean)) lowest = std::move(checked);
      constexpr int kPatience = 3;
      return !progress.stopped() && worse < kPatience;
    });
    x = chosen;
  }
  return x;
}

Smoother find_bandwidths(Objective& objective, const SearchProblem& problem, const Smoother& start,
                         Progress& progress) {
  const std::vector<double> initial = objective.parameters(start);
  std::vector<std::size_t> free;  // the variables; features without coordinates are none.
  std::vector<double> x;
  for (std::size_t p = 0; p < initial.size(); ++p) {
    if (!std::isfinite(initial[p])) continue;
    free.push_back(p);
    x.push_back(initial[p]);
  }
  const auto all_parameters = [&](const std::vector<double>& variables) {
    std::vector<double> full = initial;
    for (std::size_t i = 0; i < free.size(); ++i) full[free[i]] = variables[i];
    return full;
  };
  x = coarse_sweep(x, [&](const std::vector<double>& at) {
    if (progress.stopped()) return kInfinity;
    const double loss = leave_one_out(objective, problem.train, all_parameters(at), kSweepQueries).mean;
    progress.step(loss, loss);
    return loss;
  });
  x = descend(
      problem, x, 2.0,
      [&](const Rows& keys, const Rows& queries, std::optional<Index> self, const std::vector<double>& at,
          bool gradient) {
        Loss loss = objective.evaluate(keys, queries, self, all_parameters(at), gradient);
        if (!gradient) return loss;
        std::vector<double> of_free;
        for (std::size_t p : free) of_free.push_back(loss.gradient[p]);
        loss.gradient = std::move(of_free);
        return loss;
      },
      progress);
  return objective.smoother(all_parameters(x));
}

std::vector<double> rise_without(Objective& objective, const SearchProblem& problem,
                                 const Smoother& smoother) {
  constexpr Index kQueries = 2048;
  const std::vector<double> parameters = objective.parameters(smoother);
  const double with = leave_one_out(objective, problem.train, parameters, kQueries).mean;
  std::vector<double> rise(smoother.bandwidth.size(), 0.0);
  const auto used = std::count_if(smoother.bandwidth.begin(), smoother.bandwidth.end(),
                                  [](double h) { return std::isfinite(h); });
  for (std::size_t f = 0; f < rise.size(); ++f) {
    if (!std::isfinite(smoother.bandwidth[f])) continue;
    std::vector<double> without = parameters;
    // The only column cannot go, but it can be made to tell no rows apart.
    without[f] = used == 1 ? std::log(kMaxBandwidth) : kInfinity;
    const double ratio = leave_one_out(objective, problem.train, without, kQueries).mean / with;
    rise[f] = std::max(0.0, (objective.classifies() ? ratio : std::sqrt(ratio)) - 1);
    if (!std::isfinite(rise[f])) rise[f] = 0;
  }
  return rise;
}

std::vector<std::size_t> drop_useless(Objective& objective, const SearchProblem& problem,
                                      Smoother& smoother) {
  std::vector<double>& bandwidth = smoother.bandwidth;
  std::vector<double> share(bandwidth.size(), 0.0);
  std::vector<std::size_t> order, dropped;
  for (std::size_t f = 0; f < bandwidth.size(); ++f) {
    if (!std::isfinite(bandwidth[f])) continue;
    share[f] = problem.spread[f] / (bandwidth[f] * bandwidth[f]);
    order.push_back(f);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return share[a] < share[b]; });
  std::vector<double> parameters = objective.parameters(smoother);
  double kept = leave_one_out(objective, problem.train, parameters, kSample).mean;
  for (std::size_t f : order) {
    // In bandwidths the descent left it far wider than noise would be.
    constexpr double kClearlyUsed = 4;
    if (f == order.back() || share[f] > kClearlyUsed) break;
    std::vector<double> without = parameters;
    without[f] = kInfinity;
    const Loss loss = leave_one_out(objective, problem.train, without, kSample);
    // Twice the log likelihood that noise gains by its own bandwidth is at most chi-squared with one degree
    // of freedom; n log(mean square) is twice the normal log likelihood.
    constexpr double kChiSquared = 4;
    const auto n = static_cast<double>(loss.row.size());
    const double gain = objective.classifies() ? 2 * n * (loss.mean - kept) : n * std::log(loss.mean / kept);
    if (gain > kChiSquared) continue;
    parameters = std::move(without);
    kept = loss.mean;
    bandwidth[f] = kInfinity;
    dropped.push_back(f);
  }
  return dropped;
}

}  // namespace kith::neighbors
