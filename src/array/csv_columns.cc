#include "array/csv_columns.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "array/csv_text.h"
#include "kith/error.h"

namespace kith::csv {
namespace {

constexpr double kBlank = std::numeric_limits<double>::quiet_NaN();

// `text` is `word` (lower case) but for the case of its letters.
bool is_word(std::string_view text, std::string_view word) {
  return std::equal(text.begin(), text.end(), word.begin(), word.end(), [](char have, char want) {
    return (have >= 'A' && have <= 'Z' ? static_cast<char>(have - 'A' + 'a') : have) == want;
  });
}

}  // namespace

Columns::Columns(const Source& source, const std::vector<std::string>& names, const std::vector<Role>& roles,
                 const CsvOptions& options)
    : source_(source),
      names_(names),
      options_(options),
      parse_cell_(options.decimal_comma ? parse_number_with_comma : parse_number),
      slots_(names.size()),
      in_header_(options.header) {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    Slot& slot = slots_[i];
    slot.kept = roles[i] != Role::skipped;
    slot.forced = roles[i] == Role::numeric || roles[i] == Role::categorical;
    if (slot.kept) slot.state = roles[i] == Role::categorical ? State::category : State::number;
    slot.column.name = names[i];
    if (slot.state == State::category) slot.column.kind = Column::Kind::categorical;
  }
}

void Columns::cell(std::string_view text, const Cursor& at) {
  // Cells beyond the last column are reported with the record they make ragged.
  if (in_header_ || at.cell >= slots_.size()) return;
  Slot& slot = slots_[at.cell];
  if (slot.state == State::number) {
    add_number(slot, text, at);
  } else if (slot.state == State::category) {
    add_category(slot, text, at);
  }
}

bool Columns::record(const Cursor& at) {
  if (in_header_) {
    in_header_ = false;
    return true;
  }
  if (at.cell != slots_.size())
    throw Error(fmt::format("{}: the row has {} cell{}, needs {}, as many as the {}",
                            place(source_, at.record_line), at.cell, at.cell == 1 ? "" : "s", slots_.size(),
                            options_.header ? "header" : "first row"));
  ++rows_;
  return true;
}

void Columns::add_number(Slot& slot, std::string_view text, const Cursor& at) {
  double value = kBlank;
  const bool masked = !options_.missing.empty() && missing(text);
  const Parsed parsed = masked ? Parsed::number : parse_cell_(text, value);
  if (parsed == Parsed::not_a_number) {
    if (!missing(text)) {
      add_first_text(slot, text, at);
      return;
    }
  } else if (!masked) {
    slot.filled = true;
  }
  if (parsed == Parsed::too_large && slot.large_line == 0) {
    // No error yet: a later cell may make this a column of text.
    slot.large_line = at.line;
    slot.large_cell = text;
  }
  push(slot.column.number, value);
}

// A cell of a column so far numeric is no number.
void Columns::add_first_text(Slot& slot, std::string_view text, const Cursor& at) {
  if (slot.forced) {
    double value = 0.0;
    const bool comma = !options_.decimal_comma && parse_number_with_comma(text, value) == Parsed::number;
    throw Error(fmt::format("{}: the cell {} is not a number, and the column was said to be numeric{}",
                            place(source_, at.line, at.cell, names_), shown(text),
                            comma ? "; if the file has decimal commas, say so" : ""));
  }
  slot.column.kind = Column::Kind::categorical;
  slot.column.number = {};
  if (slot.filled) {
    slot.state = State::second_pass;
  } else {
    slot.state = State::category;
    slot.column.code.assign(rows_, Column::kMissing);
    add_category(slot, text, at);
  }
}

void Columns::add_category(Slot& slot, std::string_view text, const Cursor& at) {
  if (missing(text)) {
    push(slot.column.code, Column::kMissing);
    return;
  }
  auto found = slot.codes.find(text);
  if (found == slot.codes.end()) {
    if (!is_utf8(text))
      throw Error(fmt::format("{}: the cell {} is not UTF-8; convert the file to UTF-8",
                              place(source_, at.line, at.cell, names_), shown(text)));
    const auto code = static_cast<std::uint32_t>(slot.levels.size());
    found = slot.codes.emplace(slot.levels.emplace_back(text), code).first;
  }
  push(slot.column.code, found->second);
}

bool Columns::missing(std::string_view text) const {
  text = trimmed(text);
  switch (text.size()) {
    case 0:
      return true;
    case 1:
      if (text == "?") return true;
      break;
    case 2:
      if (is_word(text, "na")) return true;
      break;
    case 3:
      if (is_word(text, "n/a") || is_word(text, "nan")) return true;
      break;
    case 4:
      if (is_word(text, "null")) return true;
      break;
    default:
      break;
  }
  return std::find(options_.missing.begin(), options_.missing.end(), text) != options_.missing.end();
}

// Grows by what the source's size promises, since doubling may cost as much memory again as the table.
template <class T>
void Columns::push(std::vector<T>& values, T value) {
  if (values.size() == values.capacity()) {
    const double rows = static_cast<double>(values.size() + 1) * static_cast<double>(source_.size()) /
                        static_cast<double>(source_.position());
    const std::size_t least = values.size() + values.size() / 4 + 16;
    const std::size_t most = 16 * least;  // the first rows may not be typical.
    values.reserve(std::clamp(static_cast<std::size_t>(1.02 * rows), least, most));
  }
  values.push_back(value);
}

bool Columns::again() {
  const Slot* large = nullptr;
  bool needed = false;
  for (const Slot& slot : slots_) {
    const bool number = slot.state == State::number;
    if (number && slot.large_line > 0 && (large == nullptr || slot.large_line < large->large_line))
      large = &slot;
    needed = needed || slot.state == State::second_pass;
  }
  if (large != nullptr)
    throw Error(fmt::format(
        "{}: the number {} is too large, needs at most {}",
        place(source_, large->large_line, static_cast<std::size_t>(large - slots_.data()), names_),
        shown(large->large_cell), format_number(std::numeric_limits<double>::max())));
  for (Slot& slot : slots_) slot.state = slot.state == State::second_pass ? State::category : State::skipped;
  if (!needed) return false;
  in_header_ = options_.header;
  rows_of_first_pass_ = rows_;
  rows_ = 0;
  return true;
}

std::vector<Column> Columns::take() {
  if (rows_of_first_pass_ != 0 && rows_ != rows_of_first_pass_)
    throw Error(fmt::format("{}: changed while it was read, {} rows at first and {} then", source_.name(),
                            rows_of_first_pass_, rows_));
  std::vector<Column> columns;
  for (Slot& slot : slots_) {
    if (!slot.kept) continue;
    slot.codes.clear();
    slot.column.level.assign(std::make_move_iterator(slot.levels.begin()),
                             std::make_move_iterator(slot.levels.end()));
    columns.push_back(std::move(slot.column));
  }
  return columns;
}

}  // namespace kith::csv
