// The wire format of protocol buffers (protobuf.dev/programming-guides/encoding), as far as ONNX's files use
// it: a message is a run of fields, each a number, a type and a value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kith/error.h"

namespace kith::test::protobuf {

enum class Type { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

struct Field {
  std::uint32_t number = 0;
  Type type = Type::varint;
  std::uint64_t value = 0;   ///< of a varint or a fixed one
  std::string_view bytes{};  ///< text, a message, or packed values; points into the message

  /// The value, after a check of its type; kith::Error otherwise.
  std::uint64_t varint() const;
  float fixed_float() const;
  std::string_view text() const;
};

/// Walks a message's fields in order. The memory has to outlive it and the fields it returned.
class Reader {
 public:
  explicit Reader(std::string_view message) : rest_(message) {}

  bool done() const { return rest_.empty(); }
  /// kith::Error for what is cut off, runs over the end, or is no field.
  Field next();
  /// One value without a number before it, as in a packed list.
  std::uint64_t varint();
  std::uint64_t fixed(std::size_t bytes);

 private:
  std::string_view take(std::size_t count);
  std::string_view rest_;
};

}  // namespace kith::test::protobuf
