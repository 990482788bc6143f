// Any bytes under any options: a table whose columns are whole, or kith::Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "array/csv.h"
#include "kith/error.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void check(const kith::Table& table) {
  require(table.rows > 0 && !table.columns.empty());
  for (const kith::Column& column : table.columns) {
    require(column.size() == table.rows);
    require(column.numeric() ? column.code.empty() && column.level.empty() : column.number.empty());
    std::size_t levels_seen = 0;
    for (std::size_t row = 0; row < table.rows; ++row) {
      require(column.text(row).empty() == column.missing(row));
      if (column.numeric() || column.missing(row)) continue;
      require(column.code[row] <= levels_seen);  // levels are numbered by first appearance.
      if (column.code[row] == levels_seen) ++levels_seen;
    }
    require(levels_seen == column.level.size());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const unsigned choice = data[0];
  kith::CsvOptions options;
  options.header = (choice & 1U) == 0;
  options.decimal_comma = (choice & 2U) != 0;
  constexpr std::string_view kDelimiters("\0;\t|", 4);
  options.delimiter = kDelimiters[(choice >> 2U) & 3U];
  if ((choice & 16U) != 0) options.missing = {"0", "x"};
  if (!options.header && (choice & 32U) != 0) options.numeric = {"c1"};
  if (!options.header && (choice & 64U) != 0) options.categorical = {"c2"};
  if (!options.header && (choice & 128U) != 0) options.ignore = {"c3"};
  try {
    kith::csv::Source source =
        kith::csv::Source::over("fuzz", {reinterpret_cast<const char*>(data) + 1, size - 1});
    check(kith::csv::read(source, options));
  } catch (const kith::Error&) {
  }
  return 0;
}
