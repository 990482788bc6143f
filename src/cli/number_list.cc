#include "cli/number_list.h"

#include <charconv>
#include <cstring>
#include <string_view>
#include <vector>

#include "array/number.h"

namespace kith::cli {
namespace {

std::optional<Index> parse_whole(std::string_view text) {
  Index value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size()) return std::nullopt;
  return value;
}

template <class T>
NpyArray array_of(const std::vector<T>& numbers) {
  NpyArray array;
  array.dtype = dtype_of<T>();
  array.shape = {static_cast<Index>(numbers.size())};
  array.bytes = Array<std::byte, 1>({static_cast<Index>(numbers.size() * sizeof(T))});
  std::memcpy(array.bytes.data(), numbers.data(), numbers.size() * sizeof(T));
  return array;
}

}  // namespace

bool names_a_file(const std::string& text) {
  return text == "-" || text.ends_with(".npy") || text.find('/') != std::string::npos;
}

std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> words;
  for (std::string_view rest = text;;) {
    const std::size_t comma = rest.find(',');
    words.emplace_back(trimmed(rest.substr(0, comma)));
    if (comma == std::string_view::npos) return words;
    rest.remove_prefix(comma + 1);
  }
}

std::optional<NpyArray> parse_number_list(const std::string& text) {
  std::vector<Index> whole;
  std::vector<double> numbers;
  for (const std::string& part : split_at_commas(text)) {
    double value = 0;
    if (parse_number(part, value) != Parsed::number) return std::nullopt;
    numbers.push_back(value);
    if (const auto index = parse_whole(part)) whole.push_back(*index);
  }
  return whole.size() == numbers.size() ? array_of(whole) : array_of(numbers);
}

}  // namespace kith::cli
