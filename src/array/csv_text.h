// Text of a table in messages: short, printable and in UTF-8 whatever the bytes are.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kith::csv {

/// True if `text` is well-formed UTF-8.
bool is_utf8(std::string_view text);

/// `text` in single quotes, at most about 40 characters of it, with control characters and bytes that are not
/// UTF-8 escaped.
std::string shown(std::string_view text);

/// "'a', 'b', 'c'"; a long list ends with "and 7 more".
std::string listed(const std::vector<std::string>& names);

/// The path, or "standard input" for "-".
std::string source_name(const std::string& path);

}  // namespace kith::csv
