#include "draw/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace kith::draw {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
constexpr std::string_view kEllipsis = "\xE2\x80\xA6";

struct CodePoint {
  std::uint32_t value = 0;
  std::size_t length = 0;  ///< bytes; 0: the bytes here are not UTF-8.
};

// RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
CodePoint decode(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const std::uint32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return {};
  std::uint32_t value = first & (0x7FU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return {};
    value = value << 6U | (byte(i) & 0x3FU);
  }
  const bool overlong = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
  const bool surrogate = value >= 0xD800 && value < 0xE000;
  return overlong || surrogate || value > 0x10FFFF ? CodePoint{} : CodePoint{value, length};
}

// Widths of DejaVu Sans in ems, rounded up within each group.
double em_width(std::uint32_t c) {
  if (c >= 0x2E80) return 1.05;  // East Asian scripts, pictographs
  if (c >= 0x80) return 0.68;
  const char ascii = static_cast<char>(c);
  if (std::string_view("iljI'|.,:; ").find(ascii) != std::string_view::npos) return 0.32;
  if (std::string_view("ftr()[]-/!\"`\\").find(ascii) != std::string_view::npos) return 0.41;
  if (std::string_view("mwMW%@").find(ascii) != std::string_view::npos) return 0.96;
  if (c >= 'A' && c <= 'Z') return 0.72;
  return 0.63;
}

}  // namespace

std::string clean(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const CodePoint c = decode(text);
    if (c.length == 0 || c.value == 0xFFFE || c.value == 0xFFFF) {
      out += kReplacement;
    } else if (c.value < 0x20 || (c.value >= 0x7F && c.value < 0xA0) || c.value == 0x2028 ||
               c.value == 0x2029) {
      out += ' ';
    } else {
      out += text.substr(0, c.length);
    }
    text.remove_prefix(std::max<std::size_t>(c.length, 1));
  }
  return out;
}

double text_width(std::string_view text, double size, bool bold) {
  double ems = 0;
  while (!text.empty()) {
    const CodePoint c = decode(text);
    ems += em_width(c.value);
    text.remove_prefix(std::max<std::size_t>(c.length, 1));
  }
  return ems * size * (bold ? 1.12 : 1.0);
}

std::string fit_text(std::string_view text, double width, double size, bool bold) {
  std::string whole = clean(text);
  if (text_width(whole, size, bold) <= width) return whole;

  std::vector<std::string_view> letters;
  for (std::string_view rest = whole; !rest.empty(); rest.remove_prefix(letters.back().size())) {
    letters.push_back(rest.substr(0, decode(rest).length));
  }
  // Letters are taken from the front and the back in turn while they fit; two thirds stay in front.
  double left = width - text_width(kEllipsis, size, bold);
  std::string front, back;
  std::size_t begin = 0, end = letters.size();
  while (begin < end) {
    const bool from_front = begin <= 2 * (letters.size() - end);
    const std::string_view letter = from_front ? letters[begin] : letters[end - 1];
    left -= text_width(letter, size, bold);
    if (left < 0) break;
    if (from_front) {
      front += letter;
      ++begin;
    } else {
      back.insert(0, letter);
      --end;
    }
  }
  return front.append(kEllipsis).append(back);
}

std::vector<std::string> wrap_text(std::string_view text, double width, double size, int lines) {
  const std::string whole = clean(text);
  std::vector<std::string> out;
  std::string line;
  std::string_view rest = whole;
  while (!rest.empty()) {
    const std::size_t at = rest.find_first_of(" _-./");
    const std::string_view word = rest.substr(0, at == std::string_view::npos ? at : at + 1);
    const bool last_line = static_cast<int>(out.size()) + 1 >= lines;
    if (!line.empty() && !last_line && text_width(line, size) + text_width(word, size) > width) {
      out.push_back(fit_text(line, width, size));
      line.clear();
    }
    line += word;
    rest.remove_prefix(word.size());
  }
  out.push_back(fit_text(line, width, size));
  return out;
}

std::string number_text(double value) {
  const double size = std::abs(value);
  if (!std::isfinite(value) || value == 0 || size < 1e-4 || size >= 1e9) return fmt::format("{:.4g}", value);
  const int decimals = std::max(0, 3 - static_cast<int>(std::floor(std::log10(size))));
  std::string out = fmt::format("{:.{}f}", value, decimals);
  if (decimals > 0) {
    out.erase(out.find_last_not_of('0') + 1);
    if (out.back() == '.') out.pop_back();
  }
  return out;
}

std::string percent_text(double share) {
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  return fmt::format("{:.1f} %", 100 * share);
}

std::string count_text(std::size_t count) {
  std::string digits = std::to_string(count);
  for (std::size_t at = digits.size(); at > 3;) {
    at -= 3;
    digits.insert(at, 1, ',');
  }
  return digits;
}

}  // namespace kith::draw
