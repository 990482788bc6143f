// Text for pictures: any bytes a table holds become one line of valid UTF-8 of a known width.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kith::draw {

/// One line of UTF-8 that XML may hold: control characters become blanks, invalid bytes U+FFFD.
std::string clean(std::string_view text);

/// Estimated width in pixels of clean text in DejaVu Sans at that size.
double text_width(std::string_view text, double size, bool bold = false);

/// `clean(text)`, its middle replaced by an ellipsis where it is wider than `width` pixels: names that share
/// a beginning often differ at the end.
std::string fit_text(std::string_view text, double width, double size, bool bold = false);

/// `clean(text)` in at most `lines` lines, broken after a blank, `_`, `-`, `.` or `/`, each fitted to the
/// width.
std::vector<std::string> wrap_text(std::string_view text, double width, double size, int lines);

/// Four significant digits without needless zeros or exponents: 4123, 0.5, 20640, 1.234e+09.
std::string number_text(double value);

/// A share 0 ... 1 as "12.3 %", and "< 0.1 %" for what would read as none.
std::string percent_text(double share);

/// 20640 as "20,640".
std::string count_text(std::size_t count);

}  // namespace kith::draw
