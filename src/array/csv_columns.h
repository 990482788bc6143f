// Cells to typed columns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "array/csv_parser.h"
#include "array/number.h"
#include "kith/table.h"

namespace kith::csv {

enum class Role { skipped, automatic, numeric, categorical };

/// Collects the columns of a table. A column of automatic type is taken as numeric until a cell says
/// otherwise. Its earlier cells are then needed as they were written, so such columns are collected by a
/// second pass over the source:
///
///   parse(source, ..., columns);
///   if (columns.again()) parse(source, ..., columns);
///   table.columns = columns.take();
class Columns : public Handler {
 public:
  Columns(const Source& source, const std::vector<std::string>& names, const std::vector<Role>& roles,
          const CsvOptions& options);

  void cell(std::string_view text, const Cursor& at) override;
  bool record(const Cursor& at) override;

  /// To be called after the first pass: true if there must be a second.
  bool again();
  std::size_t rows() const { return rows_; }
  /// The columns that were not skipped.
  std::vector<Column> take();

 private:
  enum class State { skipped, number, category, second_pass };

  struct Slot {
    State state = State::skipped;
    bool kept = false;
    bool forced = false;         // the caller said which type.
    bool filled = false;         // some cell held a number.
    std::size_t large_line = 0;  // of the first number too large for a double; 0: none.
    std::string large_cell;
    Column column;
    std::deque<std::string> levels;  // a deque, because the keys of `codes` point into it.
    std::unordered_map<std::string_view, std::uint32_t> codes;
  };

  void add_number(Slot& slot, std::string_view text, const Cursor& at);
  void add_category(Slot& slot, std::string_view text, const Cursor& at);
  void add_first_text(Slot& slot, std::string_view text, const Cursor& at);
  bool missing(std::string_view text) const;
  template <class T>
  void push(std::vector<T>& values, T value);

  const Source& source_;
  const std::vector<std::string>& names_;
  const CsvOptions& options_;
  Parsed (*const parse_cell_)(std::string_view, double&);
  std::vector<Slot> slots_;
  bool in_header_;
  std::size_t rows_ = 0;
  std::size_t rows_of_first_pass_ = 0;
};

}  // namespace kith::csv
