// A table's columns as a model sees them: which are features, of which kind, and their cells.
#pragma once

#include <string>
#include <vector>

#include "kith/neighbors.h"
#include "neighbors/encoding.h"

namespace kith::neighbors {

/// Cells in memory of their own.
struct OwnedCells {
  Array<double, 2> number;
  Array<std::uint32_t, 2> code;
  Index rows = 0;

  Cells view() const { return {number.view(), code.view(), rows}; }
};

/// Every column but the target becomes a feature (name, kind, levels that occur in `rows`, blanks); rows
/// count from 0. Errors: an infinite number.
std::vector<Feature> describe_features(const Table& table, const std::string& target,
                                       const std::vector<Index>& rows);

/// The features' cells in `rows`, categories coded by the features' levels and kUnseen. A feature that is not
/// needed
/// (`encodings` not usable) may be absent and is blank then. Errors: a needed column absent or of the other
/// kind, an infinite number. `notes`, if given, gets one sentence a column on unseen categories and
/// unexpected blanks.
OwnedCells read_cells(const Table& table, const std::vector<Feature>& features,
                      const std::vector<Encoding>& encodings, const std::vector<Index>& rows,
                      std::vector<std::string>* notes);

/// 0 ... count - 1.
std::vector<Index> all_rows(std::size_t count);

/// "1 row", "3 rows".
std::string counted(std::size_t count, const char* noun);

}  // namespace kith::neighbors
