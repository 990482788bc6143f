#include "array/number.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <locale>
#include <sstream>

namespace kith {
namespace {

// from_chars says "out of range" for what is too small as well as for what is too large; a stream tells them
// apart.
Parsed parse_extreme(std::string_view text, double& value) {
  std::istringstream stream{std::string(text)};
  stream.imbue(std::locale::classic());
  double read = 0.0;
  if (!(stream >> read)) return Parsed::too_large;
  value = read;
  return Parsed::number;
}

}  // namespace

Parsed parse_number(std::string_view text, double& value) {
  text = trimmed(text);
  // from_chars takes no plus sign.
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  const char* const end = text.data() + text.size();
  double read = 0.0;
  const auto [stop, error] = std::from_chars(text.data(), end, read);
  if (error == std::errc::invalid_argument || stop != end) return Parsed::not_a_number;
  if (error == std::errc::result_out_of_range) return parse_extreme(text, value);
  if (!std::isfinite(read)) return Parsed::not_a_number;
  value = read;
  return Parsed::number;
}

Parsed parse_number_with_comma(std::string_view text, double& value) {
  text = trimmed(text);
  if (text.find('.') != std::string_view::npos) return Parsed::not_a_number;
  const std::size_t comma = text.find(',');
  if (comma == std::string_view::npos) return parse_number(text, value);
  std::array<char, 64> small{};
  if (text.size() <= small.size()) {
    std::copy(text.begin(), text.end(), small.begin());
    small[comma] = '.';
    return parse_number({small.data(), text.size()}, value);
  }
  std::string large(text);
  large[comma] = '.';
  return parse_number(large, value);
}

std::string format_number(double value) {
  std::array<char, 32> digits{};  // the longest double, -1.2345678901234567e-308, takes 24.
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  return {digits.data(), end};
}

}  // namespace kith
