// Which bandwidths: first one for all columns, then one a column, then which columns can go.
#pragma once

#include <functional>
#include <vector>

#include "kith/neighbors.h"
#include "neighbors/objective.h"

namespace kith::neighbors {

struct SearchProblem {
  Rows train;     ///< in random order: any slice is a sample.
  Rows held_out;  ///< decides when to stop; without rows, the leave-one-out loss of `train` decides.
  std::vector<double> spread;  ///< per feature: variance of its coordinates, summed. 0: it has none.
};

/// Counts a fit's steps and hands them to the caller, who may ask to stop.
class Progress {
 public:
  Progress(int steps, std::function<bool(const FitProgress&)> report)
      : steps_(steps), report_(std::move(report)) {}

  void step(double loss, double held_out) {
    ++step_;
    if (!stopped_ && report_)
      stopped_ = !report_({.step = step_, .steps = steps_, .loss = loss, .held_out = held_out});
  }
  bool stopped() const { return stopped_; }

 private:
  int step_ = 0, steps_ = 0;
  std::function<bool(const FitProgress&)> report_;
  bool stopped_ = false;
};

inline constexpr int kOneBandwidthSteps = 17;  ///< and as many again for classes if thorough.
inline constexpr int kDescentSteps = 60;       ///< at most.
inline constexpr int kSweepStepsPerColumn = 8;

/// The best single bandwidth, in units of the encoded columns, or in multiples of each column's spread if
/// `own_units`: as one bandwidth a feature, +inf where it has no coordinates. `thorough`: over all rows, not
/// a sample.
Smoother find_one_bandwidth(Objective& objective, const SearchProblem& problem, bool own_units, bool thorough,
                            Progress& progress);

/// How much higher `after` is than `before`, in standard errors of the mean of the rows' differences.
double rise_in_errors(const Loss& before, const Loss& after);

/// The mean loss of `queries` predicted from `keys` at variables x; its gradient, if asked for, is x's.
using LossAt = std::function<Loss(const Rows& keys, const Rows& queries, std::optional<Index> self,
                                  const std::vector<double>& x, bool gradient)>;

/// Lowers the leave-one-out loss of `train` from x on, first of a sample, then of as many rows as are
/// affordable, until the held-out rows find it worse by more than chance. No variable moves further than
/// `longest_step` at once. A stopped descent gives the best so far.
std::vector<double> descend(const SearchProblem& problem, std::vector<double> x, double longest_step,
                            const LossAt& loss_at, Progress& progress);

/// The best bandwidth for each feature, from `start`. A stopped search gives the best so far.
Smoother find_bandwidths(Objective& objective, const SearchProblem& problem, const Smoother& start,
                         Progress& progress);

/// By how much the leave-one-out error would rise without each feature: RMSE or mean log loss, relative to
/// what it is; 0 where it would not.
std::vector<double> rise_without(Objective& objective, const SearchProblem& problem,
                                 const Smoother& smoother);

/// Backward elimination, least important first: a column goes (bandwidth +inf) unless it raises the
/// leave-one-out likelihood by what a column of noise seldom does. Returns those that went.
std::vector<std::size_t> drop_useless(Objective& objective, const SearchProblem& problem, Smoother& smoother);

}  // namespace kith::neighbors
