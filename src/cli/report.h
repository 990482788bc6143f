// The parts of a model that fit, score and show all print.
#pragma once

#include <string>
#include <vector>

#include "kith/neighbors.h"

namespace kith::cli {

/// "a number" or "a class of 3".
std::string target_kind(const Model& model);

/// The columns, most important first, with their bandwidths and shares as bars; at most `limit` (0: all).
std::string columns_text(const Model& model, std::size_t limit = 0);

/// Errors beside each other, one named line each, and a line that explains the words.
std::string errors_text(Task task, const std::vector<Baseline>& lines);

/// The simplest predictor's error on the stored rows: the mean of a number, the shares of the classes.
Baseline simplest(const Model& model);

/// "90 % intervals hold 91.2 % of rows", or nothing for classes.
std::string coverage_text(Task task, const Errors& errors);

}  // namespace kith::cli
