// Measures of prediction against truth.
#pragma once

#include <cstdint>
#include <vector>

#include "kith/neighbors.h"
#include "neighbors/interval.h"

namespace kith::neighbors {

/// rmse, mae, r2 (relative to the truth's own mean; 0 where the truth is constant).
Errors regression_errors(const std::vector<double>& truth, const std::vector<double>& value);

/// Fills in interval, coverage and crps. `truth` is standardized as the neighborhoods are; `deviation` undoes
/// it.
void add_interval_errors(Errors& errors, const Calibration& calibration,
                         const std::vector<Neighborhood>& rows, const std::vector<double>& truth,
                         double deviation, double interval);

/// accuracy, log_loss (probabilities from 1e-15), auc, and brier: the mean squared error of the second
/// class's probability for two classes, of all of them together for more. A truth that is no class (>=
/// classes) counts as wrong with probability 0 and is left out of auc.
Errors classification_errors(const std::vector<std::uint32_t>& truth, const Array<double, 2>& probability);

/// The likeliest class of each row; the first of equals.
std::vector<std::uint32_t> likeliest(const Array<double, 2>& probability);

/// Area under the ROC curve: the chance that a positive scores above a negative, ties counting half. 0.5 if
/// either is absent.
double auc(const std::vector<double>& score, const std::vector<bool>& positive);

}  // namespace kith::neighbors
