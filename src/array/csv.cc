#include "array/csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "array/csv_columns.h"
#include "array/csv_head.h"
#include "array/csv_parser.h"
#include "array/csv_text.h"
#include "kith/error.h"

namespace kith::csv {
namespace {

void check_delimiter(const CsvOptions& options) {
  const char delimiter = options.delimiter;
  if (delimiter == '"' || delimiter == '\n' || delimiter == '\r')
    throw Error(fmt::format("delimiter: got {}, needs a character that is no quote and no line break",
                            shown({&delimiter, 1})));
  if (options.decimal_comma && delimiter == ',')
    throw Error("delimiter: a comma cannot be both the delimiter and the decimal mark");
}

std::vector<Role> roles_of(const std::vector<std::string>& names, const CsvOptions& options,
                           const std::string& source) {
  const auto index = [&](const std::string& name, const std::string& why) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end())
      throw Error(
          fmt::format("{}: no column {}, which {}; it has {}", source, shown(name), why, listed(names)));
    return static_cast<std::size_t>(found - names.begin());
  };

  // First, so that a table for a model lacks what the model needs, however that is read.
  std::vector<bool> wanted(names.size(), options.only.empty());
  for (const std::string& name : options.only) wanted[index(name, "is needed")] = true;

  std::vector<const char*> given(names.size(), nullptr);  // the list that a column is in.
  std::vector<Role> roles(names.size(), Role::automatic);
  const auto give = [&](const std::vector<std::string>& list, const char* list_name, Role role) {
    for (const std::string& name : list) {
      const std::size_t i = index(name, std::string(list_name) + " asks for");
      if (given[i] != nullptr && given[i] != list_name)
        throw Error(fmt::format("{}: column {} is in both {} and {}, needs to be in one", source, shown(name),
                                given[i], list_name));
      given[i] = list_name;
      roles[i] = role;
    }
  };
  give(options.numeric, "numeric", Role::numeric);
  give(options.categorical, "categorical", Role::categorical);
  give(options.ignore, "ignore", Role::skipped);

  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!wanted[i]) roles[i] = Role::skipped;
  }
  if (std::all_of(roles.begin(), roles.end(), [](Role role) { return role == Role::skipped; }))
    throw Error(fmt::format("{}: every column is left out, needs at least one of {}", source, listed(names)));
  return roles;
}

}  // namespace

Table read(Source& source, const CsvOptions& options) {
  check_delimiter(options);
  const char delimiter =
      options.delimiter != 0 ? options.delimiter : find_delimiter(source, options.decimal_comma);
  const std::vector<std::string> names = column_names(source, delimiter, options.header);

  Columns columns(source, names, roles_of(names, options, source.name()), options);
  parse(source, delimiter, names, columns);
  if (columns.rows() == 0)
    throw Error(fmt::format("{}: has a header and no rows, needs at least one", source.name()));
  if (columns.again()) parse(source, delimiter, names, columns);

  Table table;
  table.rows = columns.rows();
  table.columns = columns.take();
  return table;
}

}  // namespace kith::csv

namespace kith {

Table read_csv(const std::string& path, const CsvOptions& options) {
  csv::Source source = csv::Source::open(path);
  Table table = csv::read(source, options);
  table.source = path;
  return table;
}

}  // namespace kith
