// Minimizing a smooth function of few variables.
#pragma once

#include <functional>
#include <vector>

namespace kith::neighbors {

struct LbfgsOptions {
  int iterations = 50;
  double longest_step = 1.0;     ///< no variable moves further in one iteration.
  double least_decrease = 1e-5;  ///< relative; two iterations in a row below it end the search.
};

/// The function's value at x; fills in the gradient, whose size is x's.
using Differentiable = std::function<double(const std::vector<double>& x, std::vector<double>& gradient)>;

/// Limited-memory BFGS (Nocedal & Wright 2006, algorithm 7.5) with a backtracking line search. `accepted`
/// sees each iterate and its value; false ends the search. Returns the last iterate.
std::vector<double> minimize_lbfgs(
    const Differentiable& function, std::vector<double> x, const LbfgsOptions& options,
    const std::function<bool(const std::vector<double>& x, double value)>& accepted);

}  // namespace kith::neighbors
