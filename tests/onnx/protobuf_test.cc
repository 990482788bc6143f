#include "onnx/protobuf.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <string_view>

namespace kith::test::protobuf {
namespace {

using namespace std::string_view_literals;

std::string complaint(std::string_view message) {
  try {
    for (Reader reader(message); !reader.done();) reader.next();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

// The examples of the format's own description: field 1 is 150; field 2 is "testing".
TEST(OnnxProtobuf, ReadsFieldsOfEveryType) {
  Reader reader("\x08\x96\x01\x12\x07testing\x1d\x00\x00\x80\x3f\x21\x01\x00\x00\x00\x00\x00\x00\x80"sv);
  const Field varint = reader.next();
  EXPECT_EQ(varint.number, 1U);
  EXPECT_EQ(varint.varint(), 150U);
  const Field text = reader.next();
  EXPECT_EQ(text.number, 2U);
  EXPECT_EQ(text.text(), "testing");
  const Field fixed32 = reader.next();
  EXPECT_EQ(fixed32.number, 3U);
  EXPECT_EQ(fixed32.fixed_float(), 1.0F);
  const Field fixed64 = reader.next();
  EXPECT_EQ(fixed64.number, 4U);
  EXPECT_EQ(fixed64.value, 0x8000000000000001U);
  EXPECT_TRUE(reader.done());
  EXPECT_THROW(varint.text(), Error);
  EXPECT_THROW(text.varint(), Error);
  EXPECT_THROW(varint.fixed_float(), Error);
}

TEST(OnnxProtobuf, ReadsVarintsOfUpTo64Bits) {
  EXPECT_EQ(Reader("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"sv).varint(),
            std::numeric_limits<std::uint64_t>::max());
  EXPECT_THROW(Reader("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"sv).varint(), Error);
  EXPECT_THROW(Reader("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x00"sv).varint(), Error);
}

TEST(OnnxProtobuf, RefusesWhatIsCutOffOrNoField) {
  const std::string_view whole = "\x12\x07testing\x1d\x00\x00\x80\x3f\x21\x01\x00\x00\x00\x00\x00\x00\x80"sv;
  EXPECT_EQ(complaint(whole), "");
  for (const std::size_t length : {1U, 2U, 5U, 8U, 10U, 13U, 15U, 22U})
    EXPECT_NE(complaint(whole.substr(0, length)).find("are left of the message"), std::string::npos)
        << length;
  EXPECT_EQ(complaint("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
                      "ab"sv),
            "protobuf: 2 bytes are left of the message; needs 18446744073709551615");
  EXPECT_EQ(complaint("\x0b"sv), "protobuf: field 1 has wire type 3; needs 0, 1, 2 or 5");
  EXPECT_EQ(complaint("\x00"sv), "protobuf: no field has the tag 0");
  EXPECT_EQ(complaint("\x88\x80\x80\x80\x10"sv), "protobuf: no field has the tag 4294967304");
}

}  // namespace
}  // namespace kith::test::protobuf
