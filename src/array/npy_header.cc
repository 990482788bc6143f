// The header's dict, parsed by a grammar as small as what NumPy writes: strings without escapes, True and
// False, a tuple of whole numbers.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include "array/npy_format.h"
#include "array/safetensors_header.h"

namespace kith::npy {
namespace {

using safetensors::show_name;

/// The first spelling of a type is the one that is written.
constexpr std::array<std::pair<std::string_view, Dtype>, 12> kDtypes{{{"<f4", Dtype::float32},
                                                                      {"<f8", Dtype::float64},
                                                                      {"<f2", Dtype::float16},
                                                                      {"<V2", Dtype::bfloat16},
                                                                      {"|V2", Dtype::bfloat16},
                                                                      {"bfloat16", Dtype::bfloat16},
                                                                      {"|b1", Dtype::boolean},
                                                                      {"<b1", Dtype::boolean},
                                                                      {"|u1", Dtype::uint8},
                                                                      {"<u1", Dtype::uint8},
                                                                      {"<i4", Dtype::int32},
                                                                      {"<i8", Dtype::int64}}};

Dtype dtype_from(std::string_view descr) {
  for (const auto& [spelling, dtype] : kDtypes)
    if (spelling == descr) return dtype;
  throw Error(fmt::format("dtype {}{}, needs one of f4, f8, f2, b1, u1, i4, i8 and bfloat16, little-endian",
                          show_name(descr), descr.starts_with('>') ? " is big-endian" : " is not supported"));
}

class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  Header parse() {
    std::optional<Dtype> dtype;
    std::optional<bool> fortran_order;
    std::optional<std::vector<Index>> shape;
    expect('{');
    while (!accept('}')) {
      const std::string_view key = string();
      expect(':');
      if (key == "descr") {
        once(key, dtype, this->dtype());
      } else if (key == "fortran_order") {
        once(key, fortran_order, boolean());
      } else if (key == "shape") {
        once(key, shape, tuple());
      } else {
        fail(fmt::format("has the key {}, which the format does not know", show_name(key)));
      }
      if (accept('}')) break;
      expect(',');
    }
    skip_space();
    if (at_ < text_.size()) unexpected("nothing more");
    if (!dtype) fail("has no descr");
    if (!fortran_order) fail("has no fortran_order");
    if (!shape) fail("has no shape");
    return {*dtype, *fortran_order, std::move(*shape)};
  }

 private:
  [[noreturn]] static void fail(const std::string& what) { throw Error("damaged: its header " + what); }

  [[noreturn]] void unexpected(std::string_view needed) const {
    if (at_ == text_.size()) fail(fmt::format("ends where it needs {}", needed));
    constexpr std::size_t kShown = 20;
    fail(fmt::format("has {} at byte {}, needs {}", show_name(text_.substr(at_, kShown)), at_, needed));
  }

  template <class T>
  static void once(std::string_view key, std::optional<T>& place, T value) {
    if (place) fail(fmt::format("has {} twice", key));
    place = std::move(value);
  }

  void skip_space() { at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size()); }

  bool accept(char wanted) {
    skip_space();
    const bool found = at_ < text_.size() && text_[at_] == wanted;
    if (found) ++at_;
    return found;
  }

  void expect(char wanted) {
    if (!accept(wanted)) unexpected(fmt::format("'{}'", wanted));
  }

  bool accept_word(std::string_view word) {
    skip_space();
    const bool found = text_.substr(at_).starts_with(word);
    if (found) at_ += word.size();
    return found;
  }

  std::string_view string() {
    for (const char quote : {'\'', '"'}) {
      if (!accept(quote)) continue;
      const std::size_t end = text_.find(quote, at_);
      const std::string_view content = text_.substr(at_, end - at_);
      if (end == std::string_view::npos || content.find_first_of("\\\n") != std::string_view::npos)
        fail(fmt::format("has a string without end at byte {}", at_ - 1));
      at_ = end + 1;
      return content;
    }
    unexpected("a string");
  }

  Dtype dtype() {
    skip_space();
    if (at_ < text_.size() && text_[at_] == '[')  // a structured type is a list of fields
      throw Error(fmt::format("dtype {} is structured, needs elements that are numbers",
                              show_name(text_.substr(at_))));
    return dtype_from(string());
  }

  bool boolean() {
    if (accept_word("True")) return true;
    if (accept_word("False")) return false;
    unexpected("True or False");
  }

  Index whole_number() {
    skip_space();
    const char* const begin = text_.data() + at_;
    const char* const end = text_.data() + text_.size();
    if (begin == end || *begin < '0' || *begin > '9') unexpected("a whole number from 0 on");
    Index value = 0;
    const auto [stop, error] = std::from_chars(begin, end, value);
    if (error != std::errc{}) unexpected("a number below 2^63");
    if (*begin == '0' && stop != begin + 1) unexpected("a number without zeros before it");
    at_ += static_cast<std::size_t>(stop - begin);
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;  // Python 2's long
    return value;
  }

  /// A tuple of one has a comma, `(3,)`: `(3)` is a number to Python.
  std::vector<Index> tuple() {
    std::vector<Index> extents;
    expect('(');
    while (!accept(')')) {
      if (extents.size() == kMaxRank) throw Error(fmt::format("has more than {} axes", kMaxRank));
      extents.push_back(whole_number());
      if (extents.size() > 1 && accept(')')) break;
      expect(',');
    }
    return extents;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

Header parse_header(std::string_view text) { return HeaderParser(text).parse(); }

std::string render(Dtype dtype, std::span<const Index> shape) {
  constexpr std::size_t kPrefix = 10, kAlignment = 64;
  const auto spelling = std::find_if(kDtypes.begin(), kDtypes.end(),
                                     [dtype](const auto& entry) { return entry.second == dtype; });
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}",
                                 spelling->first, fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
  // NumPy adds up to 20 spaces for the first extent to grow into. With them or without, 8 axes whose product
  // fits 64 bits end between byte 64 and byte 128.
  text.append(kAlignment - (kPrefix + text.size() + 1) % kAlignment, ' ');
  text += '\n';
  std::string result("\x93NUMPY\x01\x00", 8);
  result += static_cast<char>(text.size() & 0xff);
  result += static_cast<char>(text.size() >> 8);
  return result + text;
}

}  // namespace kith::npy
