// Tables: named columns, read from CSV.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "kith/error.h"

namespace kith {

/// One column. Numeric: `number`, NaN where the cell is missing. Categorical: `code` into `level` (levels in
/// order of first appearance), kMissing where the cell is missing. Only the vector that belongs to the kind
/// is filled.
struct Column {
  enum class Kind { numeric, categorical };
  static constexpr std::uint32_t kMissing = std::numeric_limits<std::uint32_t>::max();

  std::string name;
  Kind kind = Kind::numeric;
  std::vector<double> number;
  std::vector<std::uint32_t> code;
  std::vector<std::string> level;

  bool numeric() const { return kind == Kind::numeric; }
  std::size_t size() const { return numeric() ? number.size() : code.size(); }
  bool missing(std::size_t row) const;
  /// The cell as text: shortest digits that read back as the number, the level's name, or "" when missing.
  std::string text(std::size_t row) const;
};

struct Table {
  std::string source;  ///< where it came from, for messages: a path, or "-" for standard input.
  std::size_t rows = 0;
  std::vector<Column> columns;

  /// The column of that name, or nullptr.
  const Column* find(const std::string& name) const;
  /// The column of that name; kith::Error names the columns there are.
  const Column& at(const std::string& name) const;
};

struct CsvOptions {
  char delimiter = 0;          ///< 0: found among , ; tab |
  bool header = true;          ///< false: columns are named c1, c2, ...
  bool decimal_comma = false;  ///< 3,14 is a number; the delimiter is then not a comma.
  /// Cells that count as missing beside: blank, NA, N/A, NaN, null (these in any case), ?
  std::vector<std::string> missing = {};
  std::vector<std::string> numeric = {};  ///< columns that must be numeric: a cell that is not is an error.
  std::vector<std::string> categorical = {};  ///< columns taken as categorical whatever they hold.
  std::vector<std::string> ignore = {};       ///< columns left out.
  /// If not empty, the columns to keep; others are left out unread. A name the file lacks is an error.
  std::vector<std::string> only = {};
};

/// Reads RFC 4180 CSV (quotes, line breaks inside quotes, byte-order mark, CRLF or LF), "-" for standard
/// input. A column is numeric if every filled cell parses as a finite number, else categorical; blanks around
/// a cell do not count. Errors name file, line, column, the cell and what was expected.
Table read_csv(const std::string& path, const CsvOptions& options = {});

}  // namespace kith
