// Text for people: aligned columns, bars, numbers with as many digits as a reader wants.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kith::cli {

/// Line breaks, tabs and other control characters become blanks, so that a cell stays on its line.
std::string one_line(std::string_view text);

/// Characters a terminal shows, counting each UTF-8 character as one.
std::size_t display_width(std::string_view text);

/// At most `width` characters, the last one an ellipsis where something was cut.
std::string shortened(std::string_view text, std::size_t width);

/// Four significant digits, without an exponent where the number is of everyday size; "–" for NaN.
std::string number(double value);

/// A cell that reads back as what it was: quoted where it holds a quote, a comma or a line break.
std::string csv_cell(const std::string& text);

/// 0.1234 as "12.3 %".
std::string percent(double share);

/// `share` (0 ... 1) of `width` cells filled, in eighths; a share above 0 shows at least one eighth.
std::string bar(double share, std::size_t width);

/// Rows of cells set in columns. A column is set flush right where all its cells but the first row's start
/// like numbers.
class AlignedTable {
 public:
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  /// Each row on a line of its own, `indent` blanks in front, no blanks behind.
  std::string str(std::size_t indent = 2) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace kith::cli
