// What a fitted model's own rows tell about the table they came from: targets that their neighbors
// contradict, rows that are there twice, rows that weigh in too many predictions, columns that do nothing.
#pragma once

#include <string>
#include <vector>

#include "kith/neighbors.h"

namespace kith {

struct AuditOptions {
  double share =
      0.01;         ///< of the rows, 0 ... 1: list at most this many doubts, and as many hubs; at least one.
  double hub = 10;  ///< a hub weighs this many times what a row weighs on average.
  int nearest = 5;  ///< rows named behind each doubt.
  /// Another part of the data (a test table): which of its rows are stored in the model? It needs the model's
  /// columns; a target is compared where it has one.
  const Table* with = nullptr;
  int threads = 0;
};

/// A row whose own target its neighbors contradict: a wrong label, or a row that the columns cannot explain.
struct Doubt {
  std::size_t row = 0;  ///< of the fitted table, from 1; everywhere here.
  /// Regression: |target - leave-one-out prediction| in units of the calibrated scale there (a usual miss is
  /// 1). Classification: 1 - the leave-one-out probability of the row's own class.
  double score = 0;
  std::string said;               ///< its target cell
  std::string neighbors_say;      ///< the prediction without it: a number, or the likeliest class
  std::vector<Neighbor> against;  ///< heaviest rows nearer to what the neighbors say; `apart` is empty.
};

/// Rows that are the same in every column the model can use, blanks counting as equal.
struct Duplicates {
  std::vector<std::size_t> rows;    ///< ascending
  std::vector<std::string> target;  ///< of each
  bool contradict = false;          ///< their targets differ.
};

/// A row of AuditOptions::with that is stored.
struct SharedRow {
  std::size_t row = 0;              ///< in that table, from 1.
  std::string said;                 ///< its target cell, "" without one.
  std::vector<std::size_t> stored;  ///< the same rows of the fitted table
  std::vector<std::string> target;  ///< of each
  bool contradict = false;          ///< its target is given, and none of theirs.
};

struct Hub {
  std::size_t row = 0;
  /// The sum of its weights in the predictions of all other rows, each made without itself: 1 on average.
  double received = 0;
  double share = 0;  ///< of all weights
  std::string said, neighbors_say;
};

struct IdleColumn {
  std::string name;
  std::string reason;
};

struct Audit {
  std::size_t rows = 0;
  std::vector<Doubt> doubts;     ///< highest score first
  std::size_t contradicted = 0;  ///< rows with score > 3 (regression), or likelier of another class; not cut.
  std::vector<Duplicates> duplicates;  ///< contradicting ones first
  std::vector<SharedRow> shared;       ///< by row
  std::size_t rows_with = 0;           ///< of AuditOptions::with
  std::vector<Hub> hubs;               ///< heaviest first
  std::size_t hub_rows = 0;            ///< not cut
  std::vector<IdleColumn> idle;

  std::vector<double> score;     ///< of each stored row, as Doubt::score
  std::vector<double> received;  ///< of each stored row, as Hub::received
};

/// One pass of every stored row against all others. Errors: an option out of range, a table that lacks a
/// column.
Audit audit(const Model& model, const AuditOptions& options = {});

}  // namespace kith
