// Rows forgotten: nothing that came from one of them alone stays.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kith/edit.h"
#include "neighbors/assess.h"
#include "neighbors/own_rows.h"

namespace kith {
namespace {

using neighbors::Encoding;
using neighbors::fixed_coordinates;
using neighbors::OwnRows;

/// Positions of the rows that stay.
std::vector<Index> rows_without(const Model& model, std::vector<std::size_t> forgotten) {
  std::sort(forgotten.begin(), forgotten.end());
  if (const auto twice = std::adjacent_find(forgotten.begin(), forgotten.end()); twice != forgotten.end()) {
    throw Error(fmt::format("row {} is to be forgotten twice", *twice));
  }
  std::vector<Index> kept;
  auto next = forgotten.begin();
  for (std::size_t row = 1; row <= model.rows(); ++row) {
    const std::size_t table_row = model.table_row(row);
    if (next != forgotten.end() && *next < table_row) break;
    if (next != forgotten.end() && *next == table_row) {
      ++next;
    } else {
      kept.push_back(static_cast<Index>(row - 1));
    }
  }
  if (next != forgotten.end()) {
    throw Error(fmt::format("row {} is not stored; the model's rows are {} of those from {} to {}", *next,
                            model.rows(), model.table_row(1), model.table_row(model.rows())));
  }
  if (kept.size() < 2) {
    throw Error(fmt::format("{} of {} rows are to be forgotten; a model needs at least two", forgotten.size(),
                            model.rows()));
  }
  return kept;
}

/// Codes that count the used ones of `size` from 0 in their order; the others are `unused`.
std::vector<std::uint32_t> renumber(const std::uint32_t* code, Index count, std::size_t size) {
  std::vector<bool> used(size, false);
  for (Index i = 0; i < count; ++i) {
    if (code[i] != Column::kMissing) used[code[i]] = true;
  }
  std::vector<std::uint32_t> to(size, Column::kMissing);
  std::uint32_t next = 0;
  for (std::size_t c = 0; c < size; ++c) {
    if (used[c]) to[c] = next++;
  }
  return to;
}

std::vector<std::string> kept_names(const std::vector<std::string>& names,
                                    const std::vector<std::uint32_t>& to) {
  std::vector<std::string> kept;
  for (std::size_t c = 0; c < names.size(); ++c) {
    if (to[c] != Column::kMissing) kept.push_back(names[c]);
  }
  return kept;
}

void forget_classes(Model::Impl& model, OwnRows& rows) {
  const auto count = static_cast<Index>(rows.target_code.size());
  const std::vector<std::uint32_t> to = renumber(rows.target_code.data(), count, model.classes.size());
  model.classes = kept_names(model.classes, to);
  for (std::uint32_t& code : rows.target_code) code = to[code];
  if (model.classes.size() < 2) {
    throw Error(fmt::format("target '{}': only '{}' would be left; a model needs two classes", model.target,
                            model.classes.front()));
  }
}

/// Where coordinates are fixed a category keeps its place, and loses its name.
void forget_levels(Model::Impl& model, Feature& feature, Encoding& e, std::uint32_t* code, Index count) {
  const std::vector<std::uint32_t> to = renumber(code, count, feature.level.size());
  if (fixed_coordinates(model)) {
    std::size_t number = 0;
    for (std::size_t l = 0; l < to.size(); ++l) {
      if (to[l] != Column::kMissing) continue;
      do {
        feature.level[l] = fmt::format("(forgotten {})", ++number);
      } while (std::count(feature.level.begin(), feature.level.end(), feature.level[l]) > 1);
    }
    return;
  }
  feature.level = kept_names(feature.level, to);
  for (Index i = 0; i < count; ++i) {
    if (code[i] != Column::kMissing) code[i] = to[code[i]];
  }
  e = neighbors::fit_categorical(code, count, feature.level.size());
}

/// Quantiles and scales from the values that are left.
void forget_numbers(const Model::Impl& model, Encoding& e, const double* value, Index count) {
  Encoding fresh = neighbors::fit_numeric(value, count, model.scale);
  fresh.and_value = e.and_value;
  if (fixed_coordinates(model)) {
    fresh.usable = e.usable;
    fresh.has_missing = e.has_missing;
    if (fresh.usable && fresh.scale == Scale::quantile && fresh.quantile.empty()) {
      // All the same now, or all blank: any place will do.
      const double* filled = std::find_if(value, value + count, [](double x) { return !std::isnan(x); });
      fresh.quantile.assign(2, filled == value + count ? 0.0 : *filled);
    }
  }
  e = std::move(fresh);
}

/// Encodings, levels and blanks as fitting would have found them without the forgotten rows.
void describe_again(Model::Impl& model, OwnRows& rows) {
  const Index n = rows.cells.rows;
  Index next_number = 0, next_code = 0;
  bool any = false;
  for (std::size_t f = 0; f < model.features.size(); ++f) {
    Feature& feature = model.features[f];
    Encoding& e = model.encodings[f];
    const bool was_usable = e.usable;
    Index blank = 0;
    if (feature.kind == Column::Kind::numeric) {
      const double* value = rows.cells.number.data() + n * next_number++;
      blank = std::count_if(value, value + n, [](double x) { return std::isnan(x); });
      forget_numbers(model, e, value, n);
    } else {
      std::uint32_t* code = rows.cells.code.data() + n * next_code++;
      blank = std::count(code, code + n, Column::kMissing);
      forget_levels(model, feature, e, code, n);
    }
    feature.blank = static_cast<double>(blank) / static_cast<double>(n);
    feature.has_missing = blank > 0;
    // A column that fitting could not use has no bandwidth to be used with.
    e.usable = e.usable && was_usable;
    if (was_usable && !e.usable && std::isfinite(feature.bandwidth)) {
      model.notes.push_back(
          fmt::format("column '{}' is ignored: the rows that are left do not differ in it", feature.name));
    }
    if (!e.usable) {
      feature.bandwidth = model.one_bandwidth.bandwidth[f] = std::numeric_limits<double>::infinity();
      feature.rise = feature.importance = 0;
    }
    any = any || std::isfinite(feature.bandwidth);
  }
  if (!any) throw Error("the rows that would be left do not differ in any column the model uses");
}

}  // namespace

Model forget_rows(const Model& model, const std::vector<std::size_t>& table_rows, int threads) {
  if (table_rows.empty()) return model;
  auto next = std::make_shared<Model::Impl>(model.impl());
  OwnRows rows = neighbors::copy_rows(*next, rows_without(model, table_rows));
  if (next->task == Task::classification) {
    forget_classes(*next, rows);
  } else if (const auto [low, high] =
                 std::minmax_element(rows.target_number.begin(), rows.target_number.end());
             *low == *high) {
    throw Error(
        fmt::format("target '{}': every row that would be left has {}; a model needs two different "
                    "targets",
                    next->target, neighbors::number_text(*low)));
  }
  describe_again(*next, rows);
  neighbors::put_rows(*next, std::move(rows));
  next->notes.push_back(
      fmt::format("{} forgotten after the fit", neighbors::counted(table_rows.size(), "row")));
  neighbors::assess(*next, threads);
  return Model(std::move(next));
}

}  // namespace kith
