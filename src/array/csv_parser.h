// CSV bytes to cells: libcsv, with line numbers and messages.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "array/csv_source.h"

namespace kith::csv {

/// Where the parser is. Lines count from 1 and include the line breaks inside quotes.
struct Cursor {
  std::size_t line = 1;         ///< line on which the cell starts.
  std::size_t record_line = 1;  ///< line on which the record starts.
  std::size_t cell = 0;         ///< cells of the record before this one; in record(): cells of the record.
};

/// Takes the cells in the order of the file.
class Handler {
 public:
  virtual ~Handler() = default;
  /// One cell: without its quotes, and without the blanks around it if it has none.
  virtual void cell(std::string_view text, const Cursor& at) = 0;
  /// The end of a record; empty lines are none. False: no more is wanted.
  virtual bool record(const Cursor& at) = 0;
};

/// Reads `source` from its start and hands its cells to `handler`. kith::Error names file, line and column
/// (from `names`, or by number) where the bytes are no CSV; what `handler` throws is passed on.
void parse(Source& source, char delimiter, const std::vector<std::string>& names, Handler& handler);

/// "data.csv, line 3" and "data.csv, line 3, column 'age'" or "..., column 2", for messages.
std::string place(const Source& source, std::size_t line);
std::string place(const Source& source, std::size_t line, std::size_t column,
                  const std::vector<std::string>& names);

}  // namespace kith::csv
