// Changing a fitted model without fitting it again: rows added, rows forgotten, fewer rows that do the work
// of all. Each call returns a new model; the old one stays as it is.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kith/neighbors.h"

namespace kith {

struct AddOptions {
  /// A class that no stored row has is refused, since most of them are slips of the pen; true: it is learned.
  bool new_classes = false;
  int threads = 0;
};

struct Added {
  Model model;
  std::size_t rows = 0;       ///< added.
  std::size_t left_out = 0;   ///< their target is blank.
  std::size_t first_row = 0;  ///< Model::table_row of the table's first row; its row i is first_row + i - 1.
  std::vector<std::string> notes;  ///< what was new in them: one sentence each.
};

/// Stores the table's rows behind the model's. Metric and encoding stay; errors, calibration and effective
/// neighbors are taken anew. Rows count on from the model's largest table row.
///  - A category that fitting did not see gets a group of its own (the shared one where a column has more
///  than
///    255): scalar and diagonal metrics know what that means, under others it is an error.
///  - A blank in a column that had none is stored as one. Columns the model could not use are stored as far
///  as
///    the table has them.
///  - A class not seen before: an error, or learned (AddOptions::new_classes).
/// Errors also name the column where the table lacks one or holds it in another kind, and an infinite number.
Added add_rows(const Model& model, const Table& table, const AddOptions& options = {});

/// Removes stored rows, named by their `Model::table_row`. Whatever was taken from single rows is taken again
/// from those that stay: quantiles and scales of columns, the target's mean and deviation, categories and
/// classes (those without rows go), the residuals of the calibration. What stays as fitted is the metric
/// (bandwidths, matrix, each column's rise), a few numbers learned from all rows together.
/// Errors: a row that is not stored, a row named twice; fewer than two rows, two classes, two different
/// targets or no usable column left.
Model forget_rows(const Model& model, const std::vector<std::size_t>& table_rows, int threads = 0);

struct CompressOptions {
  std::size_t rows = 0;  ///< to keep, from 2 to Model::rows().
  int threads = 0;
};

struct Compressed {
  Model model;
  Errors before, after;  ///< of the old model's rows, each predicted without itself: from all, from the kept.
  double wider = 1;      ///< every bandwidth was multiplied by this, as fewer rows need wider ones.
};

/// Keeps rows that stand for all of them (prototypes): rows that are near many others, and say what those
/// say; for classes, so many of each that their shares stay, everywhere. Bandwidths are widened together, and
/// the weight of the classes' shares fitted, for the least error over all old rows; errors and calibration of
/// the new model are theirs, too. Errors: a number of rows that cannot be kept.
Compressed compress(const Model& model, const CompressOptions& options);

}  // namespace kith
