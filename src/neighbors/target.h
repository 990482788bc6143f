// The column to predict: what it is in fitting, and its truth in a table to score.
#pragma once

#include <string>
#include <vector>

#include "kith/neighbors.h"
#include "neighbors/model.h"

namespace kith::neighbors {

/// More classes than this are an identifier or a number taken for a category.
inline constexpr std::size_t kMaxClasses = 1000;

/// Decides the task and fills in `model`'s target, classes, center, deviation and notes. Returns the rows
/// (from 0) whose target is filled, with their numbers or codes. Errors: the target is absent, all blank,
/// constant, infinite somewhere, of the wrong kind for the task, or has too many classes.
std::vector<Index> learn_target(const Table& table, const FitOptions& options, Model::Impl& model,
                                std::vector<double>& number, std::vector<std::uint32_t>& code);

/// The filled targets of a table.
struct Truth {
  std::vector<Index> rows;          ///< from 0.
  std::vector<double> number;       ///< regression.
  std::vector<std::uint32_t> code;  ///< classification: into the model's classes, kUnseen for others.
};

/// Errors: the target column is absent or of the wrong kind.
Truth read_truth(const Model::Impl& model, const Table& table);

}  // namespace kith::neighbors
