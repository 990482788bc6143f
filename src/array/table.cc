#include "kith/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "array/csv_text.h"
#include "array/number.h"

namespace kith {

bool Column::missing(std::size_t row) const {
  return numeric() ? std::isnan(number[row]) : code[row] == kMissing;
}

std::string Column::text(std::size_t row) const {
  if (missing(row)) return {};
  return numeric() ? format_number(number[row]) : level[code[row]];
}

const Column* Table::find(const std::string& name) const {
  const auto found =
      std::find_if(columns.begin(), columns.end(), [&](const Column& column) { return column.name == name; });
  return found == columns.end() ? nullptr : &*found;
}

const Column& Table::at(const std::string& name) const {
  if (const Column* column = find(name)) return *column;
  std::vector<std::string> names;
  for (const Column& column : columns) names.push_back(column.name);
  throw Error(fmt::format("{}: no column {}; it has {}", csv::source_name(source), csv::shown(name),
                          csv::listed(names)));
}

}  // namespace kith
