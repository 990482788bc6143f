#include "onnx/protobuf.h"

#include <fmt/format.h>

#include <bit>

namespace kith::test::protobuf {
namespace {

const char* name(Type type) {
  switch (type) {
    case Type::varint:
      return "a varint";
    case Type::fixed64:
      return "8 fixed bytes";
    case Type::bytes:
      return "counted bytes";
    case Type::fixed32:
      return "4 fixed bytes";
  }
  return "unknown";
}

void check(const Field& field, Type needed) {
  if (field.type != needed)
    throw Error(
        fmt::format("protobuf: field {} is {}; needs {}", field.number, name(field.type), name(needed)));
}

}  // namespace

std::uint64_t Field::varint() const {
  check(*this, Type::varint);
  return value;
}

float Field::fixed_float() const {
  check(*this, Type::fixed32);
  return std::bit_cast<float>(static_cast<std::uint32_t>(value));
}

std::string_view Field::text() const {
  check(*this, Type::bytes);
  return bytes;
}

Field Reader::next() {
  const std::uint64_t tag = varint();
  if (tag >> 3 == 0 || tag >> 32 != 0) throw Error(fmt::format("protobuf: no field has the tag {}", tag));
  Field field{.number = static_cast<std::uint32_t>(tag >> 3), .type = static_cast<Type>(tag & 7)};
  switch (field.type) {
    case Type::varint:
      field.value = varint();
      return field;
    case Type::fixed64:
      field.value = fixed(8);
      return field;
    case Type::bytes:
      field.bytes = take(static_cast<std::size_t>(varint()));
      return field;
    case Type::fixed32:
      field.value = fixed(4);
      return field;
  }
  throw Error(fmt::format("protobuf: field {} has wire type {}; needs 0, 1, 2 or 5", field.number, tag & 7));
}

std::uint64_t Reader::varint() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const auto byte = static_cast<unsigned char>(take(1)[0]);
    if (shift == 63 && byte > 1) break;
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  throw Error("protobuf: a varint is longer than 64 bits");
}

std::uint64_t Reader::fixed(std::size_t bytes) {
  std::uint64_t value = 0;
  int shift = 0;
  for (const char byte : take(bytes)) {
    value |= static_cast<std::uint64_t>(static_cast<unsigned char>(byte)) << shift;
    shift += 8;
  }
  return value;
}

std::string_view Reader::take(std::size_t count) {
  if (count > rest_.size())
    throw Error(fmt::format("protobuf: {} bytes are left of the message; needs {}", rest_.size(), count));
  const std::string_view taken = rest_.substr(0, count);
  rest_.remove_prefix(count);
  return taken;
}

}  // namespace kith::test::protobuf
