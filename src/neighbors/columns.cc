#include "neighbors/columns.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>

namespace kith::neighbors {
namespace {

std::string where(const Table& table) { return table.source.empty() ? "" : table.source + ": "; }

[[noreturn]] void refuse_infinity(const Table& table, const Column& column, Index row) {
  throw Error(
      fmt::format("{}column '{}', row {}: the number is infinite; only finite numbers can be compared",
                  where(table), column.name, row + 1));
}

bool all_blank(const Column& column, const std::vector<Index>& rows) {
  return std::all_of(rows.begin(), rows.end(), [&](Index i) {
    const auto row = static_cast<std::size_t>(i);
    return column.numeric() ? std::isnan(column.number[row]) : column.code[row] == Column::kMissing;
  });
}

/// The table's column for a feature; nullptr if it may be taken as blank throughout.
const Column* find_column(const Table& table, const Feature& feature, bool needed,
                          const std::vector<Index>& rows) {
  const Column* column = table.find(feature.name);
  if (!column) {
    if (!needed) return nullptr;
    throw Error(fmt::format("{}there is no column '{}', which the model needs", where(table), feature.name));
  }
  if (column->kind == feature.kind) return column;
  // Which kind a column without any filled cell was given says nothing.
  if (!needed || all_blank(*column, rows)) return nullptr;
  if (feature.kind == Column::Kind::categorical) {
    throw Error(fmt::format("{}column '{}' holds numbers, the model was fitted on categories such as '{}'",
                            where(table), feature.name, feature.level.empty() ? "" : feature.level.front()));
  }
  std::string example;
  for (Index i : rows) {
    const std::uint32_t code = column->code[static_cast<std::size_t>(i)];
    if (code != Column::kMissing) {
      example = column->level[code];
      break;
    }
  }
  throw Error(fmt::format("{}column '{}' holds categories such as '{}', the model was fitted on numbers",
                          where(table), feature.name, example));
}

/// Codes of the table's levels among the feature's.
std::vector<std::uint32_t> translate(const Column& column, const Feature& feature) {
  std::unordered_map<std::string_view, std::uint32_t> known;
  for (std::size_t l = 0; l < feature.level.size(); ++l)
    known.emplace(feature.level[l], static_cast<std::uint32_t>(l));
  std::vector<std::uint32_t> code(column.level.size(), kUnseen);
  for (std::size_t l = 0; l < code.size(); ++l) {
    if (const auto it = known.find(column.level[l]); it != known.end()) code[l] = it->second;
  }
  return code;
}

void note_surprises(const Feature& feature, std::size_t unseen, std::size_t blank,
                    std::vector<std::string>& notes) {
  if (unseen > 0) {
    notes.push_back(fmt::format("column '{}': {} a category not seen in fitting", feature.name,
                                unseen == 1 ? "1 cell holds" : fmt::format("{} cells hold", unseen)));
  }
  if (blank > 0 && !feature.has_missing) {
    notes.push_back(fmt::format("column '{}': {} blank, as none was in fitting", feature.name,
                                blank == 1 ? "1 cell is" : fmt::format("{} cells are", blank)));
  }
}

}  // namespace

std::vector<Index> all_rows(std::size_t count) {
  std::vector<Index> rows(count);
  std::iota(rows.begin(), rows.end(), Index{0});
  return rows;
}

std::string counted(std::size_t count, const char* noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::vector<Feature> describe_features(const Table& table, const std::string& target,
                                       const std::vector<Index>& rows) {
  std::vector<Feature> features;
  for (const Column& column : table.columns) {
    if (column.name == target) continue;
    Feature feature;
    feature.name = column.name;
    feature.kind = column.kind;
    std::size_t blank = 0;
    if (column.numeric()) {
      for (Index i : rows) {
        const double x = column.number[static_cast<std::size_t>(i)];
        if (std::isinf(x)) refuse_infinity(table, column, i);
        blank += std::isnan(x) ? 1 : 0;
      }
    } else {
      std::vector<bool> seen(column.level.size(), false);
      for (Index i : rows) {
        const std::uint32_t code = column.code[static_cast<std::size_t>(i)];
        if (code == Column::kMissing) {
          ++blank;
        } else {
          seen[code] = true;
        }
      }
      for (std::size_t l = 0; l < seen.size(); ++l) {
        if (seen[l]) feature.level.push_back(column.level[l]);
      }
    }
    feature.has_missing = blank > 0;
    feature.blank = static_cast<double>(blank) / static_cast<double>(rows.size());
    features.push_back(std::move(feature));
  }
  return features;
}

OwnedCells read_cells(const Table& table, const std::vector<Feature>& features,
                      const std::vector<Encoding>& encodings, const std::vector<Index>& rows,
                      std::vector<std::string>* notes) {
  OwnedCells cells;
  cells.rows = static_cast<Index>(rows.size());
  const auto numeric = std::count_if(features.begin(), features.end(),
                                     [](const Feature& f) { return f.kind == Column::Kind::numeric; });
  cells.number = Array<double, 2>({numeric, cells.rows});
  cells.code = Array<std::uint32_t, 2>({static_cast<Index>(features.size()) - numeric, cells.rows});
  std::fill(cells.number.begin(), cells.number.end(), std::numeric_limits<double>::quiet_NaN());
  std::fill(cells.code.begin(), cells.code.end(), Column::kMissing);

  Index next_number = 0, next_code = 0;
  for (std::size_t f = 0; f < features.size(); ++f) {
    const Feature& feature = features[f];
    const bool needed = encodings.empty() || encodings[f].usable;
    const bool is_numeric = feature.kind == Column::Kind::numeric;
    const Index position = is_numeric ? next_number++ : next_code++;
    const Column* column = find_column(table, feature, needed, rows);
    if (!column) {
      if (needed && notes) note_surprises(feature, 0, rows.size(), *notes);
      continue;
    }
    std::size_t unseen = 0, blank = 0;
    if (is_numeric) {
      for (Index i = 0; i < cells.rows; ++i) {
        const double x = column->number[static_cast<std::size_t>(rows[static_cast<std::size_t>(i)])];
        if (std::isinf(x)) refuse_infinity(table, *column, rows[static_cast<std::size_t>(i)]);
        cells.number(position, i) = x;
        blank += std::isnan(x) ? 1 : 0;
      }
    } else {
      const std::vector<std::uint32_t> translated = translate(*column, feature);
      for (Index i = 0; i < cells.rows; ++i) {
        const std::uint32_t code = column->code[static_cast<std::size_t>(rows[static_cast<std::size_t>(i)])];
        const std::uint32_t known = code == Column::kMissing ? code : translated[code];
        cells.code(position, i) = known;
        blank += known == Column::kMissing ? 1 : 0;
        unseen += known == kUnseen ? 1 : 0;
      }
    }
    if (needed && notes) note_surprises(feature, unseen, blank, *notes);
  }
  return cells;
}

}  // namespace kith::neighbors
