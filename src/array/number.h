// Numbers from text and back, whatever the locale.
#pragma once

#include <string>
#include <string_view>

namespace kith {

enum class Parsed { number, not_a_number, too_large };

/// Reads all of `text` as a decimal number: optional sign, digits, optional fraction and exponent, blanks
/// around it. `value` is set for Parsed::number only, and is then finite; what is too small for a double
/// becomes 0. "inf", "nan", hexadecimal digits and thousands separators are not numbers.
Parsed parse_number(std::string_view text, double& value);

/// The same with a decimal comma; a point is then no part of a number, because 1.234 may mean 1234.
Parsed parse_number_with_comma(std::string_view text, double& value);

/// The shortest digits that read back as `value`.
std::string format_number(double value);

/// Without the spaces and tabs at both ends.
inline std::string_view trimmed(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace kith
