#include "array/csv_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace kith::csv {
namespace {

// Bytes of the well-formed UTF-8 sequence that `text` begins with (RFC 3629: no overlong forms, no
// surrogates); 0 if there is none.
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t i) -> unsigned {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const auto follows = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned lead = byte(0);
  if (text.empty()) return 0;
  if (lead < 0x80U) return 1;
  if (lead >= 0xC2U && lead <= 0xDFU) return follows(1) ? 2 : 0;
  if (lead >= 0xE0U && lead <= 0xEFU) {
    const bool overlong = lead == 0xE0U && byte(1) < 0xA0U;
    const bool surrogate = lead == 0xEDU && byte(1) > 0x9FU;
    return follows(1) && follows(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (lead >= 0xF0U && lead <= 0xF4U) {
    const bool overlong = lead == 0xF0U && byte(1) < 0x90U;
    const bool beyond = lead == 0xF4U && byte(1) > 0x8FU;
    return follows(1) && follows(2) && follows(3) && !overlong && !beyond ? 4 : 0;
  }
  return 0;
}

}  // namespace

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = sequence_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string shown(std::string_view text) {
  constexpr int kLongest = 40;
  std::string out = "'";
  for (int characters = 0; !text.empty(); ++characters) {
    if (characters == kLongest) {
      out += "…";
      break;
    }
    const std::size_t length = sequence_length(text);
    const auto lead = static_cast<unsigned char>(text.front());
    // U+0080 to U+009F are control characters too.
    const bool c1 = length == 2 && lead == 0xC2U && static_cast<unsigned char>(text[1]) < 0xA0U;
    if (text.front() == '\n') {
      out += "\\n";
    } else if (text.front() == '\r') {
      out += "\\r";
    } else if (text.front() == '\t') {
      out += "\\t";
    } else if (length == 0 || lead < 0x20U || lead == 0x7FU || c1) {
      for (std::size_t i = 0; i < std::max<std::size_t>(length, 1); ++i)
        out += fmt::format("\\x{:02X}", static_cast<unsigned char>(text[i]));
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out + "'";
}

std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 20;
  std::string out;
  for (std::size_t i = 0; i < std::min(names.size(), kMost); ++i) {
    if (i > 0) out += ", ";
    out += shown(names[i]);
  }
  if (names.size() > kMost) out += fmt::format(" and {} more", names.size() - kMost);
  return out;
}

std::string source_name(const std::string& path) { return path == "-" ? "standard input" : path; }

}  // namespace kith::csv
