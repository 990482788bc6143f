// Rows that are the same in every column a model can use.
#pragma once

#include <memory>
#include <vector>

#include "neighbors/model.h"

namespace kith::neighbors {

class SameRows {
 public:
  /// Of the stored rows.
  explicit SameRows(const Model::Impl& model);
  ~SameRows();
  SameRows(const SameRows&) = delete;
  SameRows& operator=(const SameRows&) = delete;

  /// Positions (from 0, ascending) of stored rows that are the same; groups by their first row, single rows
  /// too.
  const std::vector<std::vector<Index>>& groups() const;
  /// The group that row i of `cells` belongs to, or nullptr.
  const std::vector<Index>* find(const Cells& cells, Index i) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kith::neighbors
