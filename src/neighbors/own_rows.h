// A model's rows in memory of their own, to make another model of them.
#pragma once

#include <memory>
#include <vector>

#include "neighbors/columns.h"
#include "neighbors/model.h"

namespace kith::neighbors {

/// Whether the metric was learned for single coordinates (a matrix, a network), so that none may come or go.
/// A bandwidth holds for a column, however many coordinates it has.
inline bool fixed_coordinates(const Model::Impl& model) {
  return model.metric != Metric::scalar && model.metric != Metric::diagonal;
}

struct OwnRows {
  Array<float, 2> key;
  OwnedCells cells;
  std::vector<double> target_number;
  std::vector<std::uint32_t> target_code;
  std::vector<std::uint32_t> table_row;
};

/// The stored rows of these positions (from 0); without keys.
OwnRows copy_rows(const Model::Impl& model, const std::vector<Index>& rows);

/// Gives the model these rows: targets standardized and, unless `rows` brings keys, encoded anew. Errors and
/// calibration are those of before.
void put_rows(Model::Impl& model, OwnRows rows);

}  // namespace kith::neighbors
