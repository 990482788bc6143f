// Rows added to a model without fitting it again.
#include "kith/edit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <unordered_set>

#include "neighbors/assess.h"
#include "neighbors/own_rows.h"
#include "neighbors/target.h"

namespace kith {
namespace {

using neighbors::Encoding;
using neighbors::fixed_coordinates;
using neighbors::kUnseen;
using neighbors::OwnedCells;
using neighbors::OwnRows;

std::string where(const Table& table) { return table.source.empty() ? "" : table.source + ": "; }

/// Makes a feature's levels of all texts that `rows` hold, each new one with a group of its own.
void learn_levels(const Table& table, const std::vector<Index>& rows, Model::Impl& model, std::size_t f,
                  std::vector<std::string>& notes) {
  Feature& feature = model.features[f];
  Encoding& e = model.encodings[f];
  const Column* column = table.find(feature.name);
  if (!column || column->numeric()) return;
  const std::unordered_set<std::string> levels(feature.level.begin(), feature.level.end());
  std::vector<bool> known;
  for (const std::string& level : column->level) known.push_back(levels.contains(level));
  std::size_t learned = 0;
  for (Index i : rows) {
    const std::uint32_t code = column->code[static_cast<std::size_t>(i)];
    if (code == Column::kMissing || known[code]) continue;
    if (e.usable && fixed_coordinates(model)) {
      throw Error(
          fmt::format("{}column '{}', row {}: the category '{}' was not seen in fitting, and a {} metric has "
                      "no place for a "
                      "new one; fit again",
                      where(table), feature.name, i + 1, column->level[code], name(model.metric)));
    }
    known[code] = true;
    ++learned;
    feature.level.push_back(column->level[code]);
    e.group.push_back(std::min(e.groups, static_cast<std::uint32_t>(neighbors::kMaxLevels)));
    e.groups = std::max(e.groups, e.group.back() + 1);
  }
  if (learned > 0 && e.usable) {
    notes.push_back(fmt::format("column '{}': {} not seen in fitting, now told apart from the others",
                                feature.name,
                                learned == 1 ? "1 category" : fmt::format("{} categories", learned)));
  }
}

/// How many of the new cells are blank; a column that had none gets an indicator for them, as in fitting,
/// unless its coordinates are fixed: then a blank is as far from all others as predict takes it.
void learn_blanks(const OwnedCells& added, Model::Impl& model, std::vector<std::string>& notes) {
  const auto before = static_cast<double>(model.rows()), rows = before + static_cast<double>(added.rows);
  Index next_number = 0, next_code = 0;
  for (std::size_t f = 0; f < model.features.size(); ++f) {
    Feature& feature = model.features[f];
    Index blank = 0;
    if (feature.kind == Column::Kind::numeric) {
      for (Index i = 0; i < added.rows; ++i) blank += std::isnan(added.number(next_number, i)) ? 1 : 0;
      ++next_number;
    } else {
      for (Index i = 0; i < added.rows; ++i) blank += added.code(next_code, i) == Column::kMissing ? 1 : 0;
      ++next_code;
    }
    feature.blank = (feature.blank * before + static_cast<double>(blank)) / rows;
    if (blank == 0 || feature.has_missing) continue;
    if (model.encodings[f].usable) {
      notes.push_back(fmt::format("column '{}': {} blank, as none was in fitting", feature.name,
                                  blank == 1 ? "1 cell is" : fmt::format("{} cells are", blank)));
    }
    if (fixed_coordinates(model)) continue;
    feature.has_missing = model.encodings[f].has_missing = true;
  }
}

template <class T>
Array<T, 2> joined(const Array<T, 2>& a, const Array<T, 2>& b) {
  const Index rows = a.shape()[0], n = a.shape()[1], m = b.shape()[1];
  Array<T, 2> out({rows, n + m});
  for (Index r = 0; r < rows; ++r) {
    std::copy_n(a.data() + r * n, n, out.data() + r * (n + m));
    std::copy_n(b.data() + r * m, m, out.data() + r * (n + m) + n);
  }
  return out;
}

/// Adds the classes of `table` that the model lacks, in their place among the others.
void learn_classes(const Table& table, Model::Impl& model, OwnRows& stored) {
  const Column& column = table.at(model.target);
  std::vector<std::string> all = model.classes;
  for (std::size_t i = 0; i < table.rows; ++i) {
    if (!column.missing(i) && std::find(all.begin(), all.end(), column.text(i)) == all.end()) {
      all.push_back(column.text(i));
    }
  }
  if (all.size() > neighbors::kMaxClasses) {
    throw Error(
        fmt::format("{}target '{}': {} different classes with those of the model, at most {} can be told "
                    "apart",
                    where(table), model.target, all.size(), neighbors::kMaxClasses));
  }
  const bool numbers = model.target_kind == Column::Kind::numeric;
  std::sort(all.begin(), all.end(), [&](const std::string& a, const std::string& b) {
    return numbers ? std::strtod(a.c_str(), nullptr) < std::strtod(b.c_str(), nullptr) : a < b;
  });
  std::vector<std::uint32_t> place;
  for (const std::string& text : model.classes) {
    place.push_back(static_cast<std::uint32_t>(std::find(all.begin(), all.end(), text) - all.begin()));
  }
  for (std::uint32_t& code : stored.target_code) code = place[code];
  model.classes = std::move(all);
}

/// The filled targets, whose classes the model knows or learns.
neighbors::Truth targets(const Table& table, const AddOptions& options, Model::Impl& model, OwnRows& stored,
                         std::vector<std::string>& notes) {
  neighbors::Truth truth = neighbors::read_truth(model, table);
  const auto strange = std::find(truth.code.begin(), truth.code.end(), kUnseen);
  if (strange == truth.code.end()) {
    for (std::size_t i = 0; i < truth.number.size(); ++i) {
      if (std::abs(truth.number[i]) <= 1e150) continue;
      throw Error(
          fmt::format("{}target '{}', row {}: {} is too large to be averaged; numbers up to 1e150 are",
                      where(table), model.target, truth.rows[i] + 1, truth.number[i]));
    }
    return truth;
  }
  const Index row = truth.rows[static_cast<std::size_t>(strange - truth.code.begin())];
  if (!options.new_classes) {
    throw Error(fmt::format(
        "{}target '{}', row {}: no stored row has the class '{}'; the model's are {}", where(table),
        model.target, row + 1, table.at(model.target).text(static_cast<std::size_t>(row)),
        fmt::join(model.classes.begin(),
                  model.classes.begin() +
                      static_cast<std::ptrdiff_t>(std::min<std::size_t>(model.classes.size(), 8)),
                  ", ")));
  }
  const std::size_t before = model.classes.size();
  learn_classes(table, model, stored);
  notes.push_back(fmt::format("target '{}': {} new", model.target,
                              neighbors::counted(model.classes.size() - before, "class")
                                  .append(model.classes.size() - before == 1 ? " is" : "es are")));
  return neighbors::read_truth(model, table);
}

}  // namespace

Added add_rows(const Model& model, const Table& table, const AddOptions& options) {
  const Model::Impl& old = model.impl();
  auto next = std::make_shared<Model::Impl>(old);
  OwnRows stored = neighbors::copy_rows(old, neighbors::all_rows(model.rows()));
  std::vector<std::string> notes;
  neighbors::Truth truth = targets(table, options, *next, stored, notes);
  const std::size_t first = std::size_t{stored.table_row.back()} + 1;
  if (first - 1 + table.rows >= std::numeric_limits<std::uint32_t>::max()) {
    throw Error(fmt::format("{}{} rows behind the model's row {}: rows can be numbered up to {}",
                            where(table), table.rows, first - 1,
                            std::numeric_limits<std::uint32_t>::max() - 1));
  }
  for (std::size_t f = 0; f < next->features.size(); ++f) learn_levels(table, truth.rows, *next, f, notes);
  const OwnedCells cells = neighbors::read_cells(table, next->features, next->encodings, truth.rows, nullptr);
  learn_blanks(cells, *next, notes);

  stored.cells.number = joined(stored.cells.number, cells.number);
  stored.cells.code = joined(stored.cells.code, cells.code);
  stored.cells.rows += cells.rows;
  stored.target_number.insert(stored.target_number.end(), truth.number.begin(), truth.number.end());
  stored.target_code.insert(stored.target_code.end(), truth.code.begin(), truth.code.end());
  for (Index row : truth.rows) {
    stored.table_row.push_back(static_cast<std::uint32_t>(first + static_cast<std::size_t>(row)));
  }
  neighbors::put_rows(*next, std::move(stored));
  if (!truth.rows.empty()) {
    next->notes.push_back(
        fmt::format("{} added after the fit", neighbors::counted(truth.rows.size(), "row")));
  }
  neighbors::assess(*next, options.threads);
  return {.model = Model(std::move(next)),
          .rows = truth.rows.size(),
          .left_out = table.rows - truth.rows.size(),
          .first_row = first,
          .notes = std::move(notes)};
}

}  // namespace kith
