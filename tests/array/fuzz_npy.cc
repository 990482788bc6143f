// The .npy reader on arbitrary bytes: it either throws kith::Error or what it returns is safe to use.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "array/npy_format.h"

namespace {

template <class T>
double sum(const kith::NpyArray& array) {
  const auto converted = array.as<T, 8>();
  double total = 0;
  for (const T& x : converted) total += static_cast<double>(x);
  return total;
}

/// What is read converts, and written again it is read as the same.
void try_file(std::span<const std::byte> file) try {
  const kith::NpyArray array = kith::npy::decode(file);
  if (static_cast<std::size_t>(array.bytes.size()) > file.size()) std::abort();
  std::string again = kith::npy::render(array.dtype, array.shape);
  again.append(reinterpret_cast<const char*>(array.bytes.data()),
               static_cast<std::size_t>(array.bytes.size()));
  const kith::NpyArray second = kith::npy::decode(std::as_bytes(std::span(again)));
  if (second.dtype != array.dtype || second.shape != array.shape ||
      !std::equal(array.bytes.begin(), array.bytes.end(), second.bytes.begin(), second.bytes.end()))
    std::abort();
  // The numbers must not be optimized away.
  [[maybe_unused]] volatile double used =
      sum<float>(array) + sum<double>(array) + sum<kith::bfloat16>(array) + sum<kith::float16>(array);
  used = sum<kith::Index>(array) + sum<bool>(array);
} catch (const kith::Error&) {
  return;
}

/// The fuzzer need not guess the format's words: bytes from 0x80 on stand for them.
std::string with_words(const std::string& text) {
  constexpr std::array<const char*, 20> kWords = {"'descr': ",  "'fortran_order': ",
                                                  "'shape': (", "True",
                                                  "False",      "'<f4'",
                                                  "'<f8'",      "'<f2'",
                                                  "'<V2'",      "'|b1'",
                                                  "'|u1'",      "'<i4'",
                                                  "'<i8'",      "'>f4'",
                                                  ", ",         "{",
                                                  "}",          "(2, 3)",
                                                  "(0,)",       "9223372036854775807"};
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80)
      result += c;
    else
      result += kWords[byte % kWords.size()];
  }
  return result;
}

/// A file around a header's text and its data.
void try_parts(const std::string& header, const std::string& data) {
  if (header.size() > 0xffff) return;
  std::string file("\x93NUMPY\x01\x00", 8);
  file += static_cast<char>(header.size() & 0xff);
  file += static_cast<char>(header.size() >> 8);
  file += header + data;
  try_file(std::as_bytes(std::span(file)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try_file(std::as_bytes(std::span(data, size)));
  // Header and data with a line feed between them: the fuzzer need not guess the length.
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::size_t end = std::min(text.find('\n'), size);
  const std::string header = text.substr(0, end), rest = text.substr(std::min(end + 1, size));
  try_parts(header, rest);
  try_parts(with_words(header), rest);
  // The dict is there, the first byte chooses type and order, and only the shape is open.
  if (header.empty()) return 0;
  constexpr std::array<const char*, 8> kDescr = {"<f4", "<f8", "<f2", "<V2", "|b1", "|u1", "<i4", "<i8"};
  const std::string descr = kDescr[data[0] % kDescr.size()];
  const std::string order = data[0] / kDescr.size() % 2 == 0 ? "True" : "False";
  try_parts("{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': (" + header.substr(1) + ")}",
            rest);
  return 0;
}
