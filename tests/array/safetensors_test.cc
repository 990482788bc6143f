#include "kith/safetensors.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "array/safetensors_header.h"
#include "array/temporary_folder.h"

namespace kith {
namespace {

/// A file's bytes put together by hand, as another program would.
std::string by_hand(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}

std::string floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

std::string message_of_open(const std::string& path) {
  try {
    SafetensorsFile::open(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "opened";
}

class Safetensors : public testing::Test {
 protected:
  /// What reading these bytes says, "read" if they are a file without fault.
  static std::string reading(const std::string& bytes, bool verify = true) {
    try {
      safetensors::parse(std::as_bytes(std::span(bytes.data(), bytes.size())), verify);
    } catch (const Error& error) {
      return error.what();
    }
    return "read";
  }
  static std::string reading_header(const std::string& header, const std::string& data = "") {
    return reading(by_hand(header, data));
  }

  /// Tensors of every dtype, given narrow ones first, and metadata that needs escaping.
  std::string written() {
    const std::string path = folder_.file("written.safetensors");
    write_safetensors(
        path,
        {tensor_entry("bytes", {3}, bytes_.data()), tensor_entry("floats", {2, 3}, floats_.data()),
         tensor_entry("codes", {1, 1, 5}, codes_.data()),
         tensor_entry("doubles", {1, 2, 1, 2}, doubles_.data()),
         tensor_entry("integers", {2}, integers_.data()), tensor_entry("none", {0, 4}, floats_.data())},
        metadata_);
    return path;
  }

  TemporaryFolder folder_;
  std::vector<std::uint8_t> bytes_{1, 2, 255};
  std::vector<float> floats_{0, 1, -2.5F, 3, 4, 5};
  std::vector<std::uint32_t> codes_{0, 1, 2, 3, 0xffffffff};
  std::vector<double> doubles_{0.1, -1e300, 3, 4};
  std::vector<std::int64_t> integers_{-1, std::int64_t{1} << 60};
  std::map<std::string, std::string> metadata_{
      {"schema", "{\"a\": \"\\\"\n\"}"}, {"", "é"}, {"zero", std::string(1, '\0')}};
};

template <class T, int R>
std::vector<T> content(const View<const T, R>& view) {
  EXPECT_EQ(view.stride, dense_strides<R>(view.shape));
  return {view.data, view.data + view.size()};
}

TEST_F(Safetensors, RoundTrip) {
  const SafetensorsFile file = SafetensorsFile::open(written());
  EXPECT_EQ(file.names(),
            (std::vector<std::string>{"bytes", "codes", "doubles", "floats", "integers", "none"}));
  EXPECT_EQ((content(file.tensor<std::uint8_t, 1>("bytes"))), bytes_);
  EXPECT_EQ((content(file.tensor<float, 2>("floats"))), floats_);
  EXPECT_EQ((content(file.tensor<std::uint32_t, 3>("codes"))), codes_);
  EXPECT_EQ((content(file.tensor<double, 4>("doubles"))), doubles_);
  EXPECT_EQ((content(file.tensor<std::int64_t, 1>("integers"))), integers_);
  EXPECT_EQ((file.tensor<float, 2>("none").shape), (Shape<2>{0, 4}));
  EXPECT_EQ(file.shape("codes"), (std::vector<Index>{1, 1, 5}));
  EXPECT_EQ(file.dtype("codes"), "U32");
  EXPECT_TRUE(file.contains("none"));
  EXPECT_FALSE(file.contains("None"));
  for (const auto& [key, value] : metadata_) EXPECT_EQ(file.metadata().at(key), value) << key;
  EXPECT_EQ(file.metadata().at("kith.checksum").size(), 16U);
  EXPECT_EQ(file.metadata().size(), metadata_.size() + 2);
}

TEST_F(Safetensors, SameContentSameBytes) {
  const std::string first = read_file(written());
  EXPECT_EQ(read_file(written()), first);
  // Metadata as it was read, with the checksum of the file it came from, can be written again.
  metadata_ = SafetensorsFile::open(written()).metadata();
  EXPECT_EQ(read_file(written()), first);
}

TEST_F(Safetensors, DataBeginsAt64AndElementsAreAligned) {
  const std::string path = written();
  std::uint64_t length = 0;
  const std::string bytes = read_file(path);
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ((8 + length) % 64, 0U);
  const SafetensorsFile file = SafetensorsFile::open(path);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(file.tensor<double, 4>("doubles").data) % 64, 0U);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(file.tensor<std::int64_t, 1>("integers").data) % 8, 0U);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(file.tensor<float, 2>("floats").data) % 4, 0U);
}

TEST_F(Safetensors, NothingAtAllRoundTrips) {
  const std::string path = folder_.file("nothing");
  write_safetensors(path, {}, {});
  EXPECT_TRUE(SafetensorsFile::open(path).names().empty());
}

TEST_F(Safetensors, ViewsOutliveTheNameAndFollowCopies) {
  const std::string path = written();
  SafetensorsFile copy = SafetensorsFile::open(path);
  {
    const SafetensorsFile first = SafetensorsFile::open(path);
    copy = first;
  }
  floats_.assign(6, 9.0F);
  written();  // replaced by rename: the mapping keeps the old file
  std::filesystem::remove(path);
  EXPECT_EQ((content(copy.tensor<float, 2>("floats"))), (std::vector<float>{0, 1, -2.5F, 3, 4, 5}));
}

TEST_F(Safetensors, TensorErrorsNameFileTensorAndDifference) {
  const std::string path = written();
  const SafetensorsFile file = SafetensorsFile::open(path);
  const auto message = [](const auto& act) -> std::string {
    try {
      act();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(message([&] { file.tensor<float, 1>("floats"); }),
            path + ": tensor \"floats\" is F32 [2, 3], needs F32 with 1 axis");
  EXPECT_EQ(message([&] { file.tensor<double, 2>("floats"); }),
            path + ": tensor \"floats\" is F32 [2, 3], needs F64 with 2 axes");
  EXPECT_EQ(message([&] { file.tensor<float, 1>("float\n"); }), path + ": has no tensor \"float?\"");
  EXPECT_EQ(message([&] { file.shape("x"); }), path + ": has no tensor \"x\"");
}

TEST_F(Safetensors, WriteRefusesWhatCannotBeRead) {
  const std::string path = folder_.file("out");
  const auto message = [&](const std::vector<TensorEntry>& tensors,
                           const std::map<std::string, std::string>& metadata) -> std::string {
    try {
      write_safetensors(path, tensors, metadata);
    } catch (const Error& error) {
      return error.what();
    }
    return "written";
  };
  const std::string begin = "cannot write " + path + ": ";
  const TensorEntry a = tensor_entry("a", {2}, floats_.data());
  TensorEntry wrong = a;
  EXPECT_EQ(message({a, a}, {}), begin + "tensor \"a\": is given twice");
  wrong.name = "__metadata__";
  EXPECT_EQ(message({wrong}, {}), begin + "tensor \"__metadata__\": the name is the format's own");
  wrong = a;
  wrong.shape = {3};
  EXPECT_EQ(message({wrong}, {}), begin + "tensor \"a\": got 8 bytes for F32 [3]");
  wrong.shape = {-1, -2};
  EXPECT_EQ(message({wrong}, {}), begin + "tensor \"a\": got 8 bytes for F32 [-1, -2]");
  wrong = a;
  wrong.dtype = "F31";
  EXPECT_EQ(message({wrong}, {}), begin + "tensor \"a\": unknown dtype \"F31\"");
  EXPECT_EQ(message({a}, {{"schema", "caf\xe9"}}),
            begin + "text \"caf\xe9\" is not UTF-8, a safetensors header is");
  EXPECT_EQ(message({a}, {{"long", std::string(100'000'001, 'x')}}).substr(0, begin.size() + 35),
            begin + "names and metadata make a header of");
  EXPECT_THROW(tensor_entry("a", {-1}, floats_.data()), Error);
  EXPECT_TRUE(folder_.names().empty());
}

TEST_F(Safetensors, EveryTruncationIsRefused) {
  const std::string bytes = read_file(written());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const std::string message = reading(bytes.substr(0, size));
    if (size == 0)
      EXPECT_EQ(message, "not a safetensors file: it is empty");
    else if (size < 8)
      EXPECT_EQ(message, "not a safetensors file: it has only " + std::to_string(size) + " bytes");
    else
      EXPECT_EQ(message.substr(0, 11), "truncated: ") << size;
  }
  EXPECT_EQ(reading(bytes), "read");
  EXPECT_EQ(reading(bytes + "x"), "damaged: 1 bytes follow its last tensor");
}

TEST_F(Safetensors, EveryFlippedBitIsRefused) {
  const std::string bytes = read_file(written());
  for (std::size_t place = 0; place < bytes.size(); ++place) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = bytes;
      flipped[place] = static_cast<char>(flipped[place] ^ (1 << bit));
      ASSERT_NE(reading(flipped), "read") << "byte " << place << " bit " << bit;
    }
  }
}

TEST_F(Safetensors, EveryChangedByteOfTheHeaderIsRefused) {
  const std::string bytes = read_file(written());
  const std::size_t header_end = bytes.find("  ");
  ASSERT_NE(header_end, std::string::npos);
  for (std::size_t place = 0; place < header_end; ++place) {
    for (const char other : {'"', '\\', '{', '}', '[', ',', ':', '0', '9', ' ', 'z', '\0', '\xff'}) {
      std::string changed = bytes;
      if (changed[place] == other) continue;
      changed[place] = other;
      ASSERT_NE(reading(changed), "read") << "byte " << place << " became " << other;
    }
  }
}

TEST_F(Safetensors, DamageIsNamedWithBothChecksums) {
  std::string bytes = read_file(written());
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  const std::string message = reading(bytes);
  EXPECT_EQ(message.substr(0, 21), "damaged: checksum is ");
  EXPECT_NE(message.find(", its content gives "), std::string::npos) << message;
  EXPECT_EQ(reading(bytes, false), "read") << "asked not to verify";
}

TEST_F(Safetensors, RefusalsNameTheFile) {
  const std::string path = written();
  std::string bytes = read_file(path);
  write_file(path, bytes.substr(0, 100));
  EXPECT_EQ(message_of_open(path).substr(0, path.size() + 13), path + ": truncated: ");
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write_file(path, bytes);
  EXPECT_EQ(message_of_open(path), path + ": " + reading(bytes));
  EXPECT_NO_THROW(SafetensorsFile::open(path, false));
  write_file(path, "");
  EXPECT_EQ(message_of_open(path), path + ": not a safetensors file: it is empty");
}

TEST_F(Safetensors, ReadsAnotherProgramsFile) {
  // As Python's safetensors writes: header padded to 8, no checksum.
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
      R"("h":{"dtype":"BF16","shape":[],"data_offsets":[16,18]}}     )";
  const std::string path = folder_.file("foreign");
  write_file(path, by_hand(header, floats({1, 2, 3, 4}) + "ab"));
  const SafetensorsFile file = SafetensorsFile::open(path);
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}}));
  EXPECT_EQ((file.tensor<float, 2>("w")(1, 0)), 3.0F);
  EXPECT_EQ(file.dtype("h"), "BF16");
  EXPECT_TRUE(file.shape("h").empty());
}

TEST_F(Safetensors, UnalignedTensorsAreCopied) {
  for (std::size_t spaces = 0; spaces < 8; ++spaces) {
    const std::string header = R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                               R"("w":{"dtype":"F32","shape":[3],"data_offsets":[1,13]}})" +
                               std::string(spaces, ' ');
    const std::string path = folder_.file("unaligned");
    write_file(path, by_hand(header, std::string("x") + floats({1, 2, 3})));
    const SafetensorsFile file = SafetensorsFile::open(path);
    const auto view = file.tensor<float, 1>("w");
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(view.data) % alignof(float), 0U);
    EXPECT_EQ(content(view), (std::vector<float>{1, 2, 3}));
    EXPECT_EQ((file.tensor<std::uint8_t, 1>("b")(0)), 'x');
  }
}

TEST_F(Safetensors, ReadsFromAPipe) {
  const std::string path = written();
  const std::string pipe = folder_.file("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::thread writer([&] { write_file(pipe, read_file(path)); });
  const SafetensorsFile file = SafetensorsFile::open(pipe);
  writer.join();
  EXPECT_EQ((content(file.tensor<double, 4>("doubles"))), doubles_);
}

TEST_F(Safetensors, PlacesThatAreNotFiles) {
  EXPECT_EQ(message_of_open(folder_.file("no")), folder_.file("no") + ": does not exist");
  EXPECT_EQ(message_of_open(""), ": does not exist");
  EXPECT_EQ(message_of_open(folder_.path().native()), folder_.path().native() + ": is a folder");
  EXPECT_EQ(message_of_open("/dev/null"), "/dev/null: is a device, needs a file");
  const std::string path = written();
  EXPECT_EQ(message_of_open(path + "/inside"), path + "/inside: does not exist");
}

TEST_F(Safetensors, ForeignFilesAreRefusedWithTheReason) {
  const std::string no = "not a safetensors file: ";
  EXPECT_EQ(reading("species,island\nAdelie,Torgersen\n"),
            no + "its first 8 bytes give a header of 3203015263304118387 bytes, a header has 2 to 100000000");
  EXPECT_EQ(reading(by_hand("[1]", "")), no + "its header does not begin with '{'");
  EXPECT_EQ(reading(by_hand(" {}", "")), no + "its header does not begin with '{'");
  EXPECT_EQ(reading(by_hand("{", "")),
            no + "its first 8 bytes give a header of 1 bytes, a header has 2 to 100000000");
  EXPECT_EQ(reading_header("{\"a\":"), no + "its header is not JSON at byte 6");
  EXPECT_EQ(reading_header("{} {}"), no + "its header is not JSON at byte 4");
  EXPECT_EQ(reading_header("{\"\xff\":1}"), no + "its header is not JSON at byte 3");
  EXPECT_EQ(reading_header(R"({"a":1})"), no + "a number where its header needs an object");
  EXPECT_EQ(reading_header(R"({"a":null})"), no + "null where its header needs an object");
  EXPECT_EQ(reading_header(R"({"a":[]})"), no + "a list where its header needs an object");
  EXPECT_EQ(reading_header(R"({"__metadata__":{"a":1}})"), no + "metadata \"a\" is a number, needs a string");
  EXPECT_EQ(reading_header(R"({"__metadata__":{"a":{}}})"),
            no + "metadata \"a\" is an object, needs a string");
  EXPECT_EQ(reading_header(R"({"__metadata__":{"a":"","a":""}})"), no + "the metadata has \"a\" twice");
  EXPECT_EQ(reading_header(R"({"__metadata__":{},"__metadata__":{}})"),
            no + "the header has __metadata__ twice");
}

TEST_F(Safetensors, WrongTensorsAreRefusedWithTheReason) {
  const std::string no = "not a safetensors file: tensor \"a\"";
  const auto one = [&](const std::string& inside, const std::string& data = "") {
    return reading_header("{\"a\":{" + inside + "}}", data);
  };
  const std::string good = R"("dtype":"F32","shape":[1],"data_offsets":[0,4])";
  EXPECT_EQ(one(good, "1234"), "read");
  EXPECT_EQ(reading_header("{\"a\":{" + good + "},\"a\":{" + good + "}}", "1234"),
            "not a safetensors file: the header has tensor \"a\" twice");
  EXPECT_EQ(one(R"("shape":[1],"data_offsets":[0,4])"), no + " has no dtype");
  EXPECT_EQ(one(R"("dtype":"F32","data_offsets":[0,4])"), no + " has no shape");
  EXPECT_EQ(one(R"("dtype":"F32","shape":[1])"), no + " has no data_offsets");
  EXPECT_EQ(one(R"("dtype":"F32","dtype":"F32")"), no + " has dtype twice");
  EXPECT_EQ(one(R"("shape":[1],"shape":[1])"), no + " has shape twice");
  EXPECT_EQ(one(R"("data_offsets":[0,4],"data_offsets":[0,4])"), no + " has data_offsets twice");
  EXPECT_EQ(one(R"("dtype":"F33")"), no + " has unknown dtype \"F33\"");
  EXPECT_EQ(one(R"("dtype":7)"), no + ": a number at \"dtype\"");
  EXPECT_EQ(one(R"("extra":"x")"), no + ": a string at \"extra\"");
  EXPECT_EQ(one(R"("shape":[-1])"), no + ": a negative number in its shape");
  EXPECT_EQ(one(R"("shape":[1.5])"), no + ": a number that is not whole in its shape");
  EXPECT_EQ(one(R"("shape":[18446744073709551615])"), no + ": a number too large in its shape");
  EXPECT_EQ(one(R"("shape":[1e3])"), no + ": a number that is not whole in its shape");
  EXPECT_EQ(one(R"("shape":[[1]])"), no + ": a list in its shape");
  EXPECT_EQ(one(R"("data_offsets":[0])"), no + ": data_offsets has 1 numbers, needs 2");
  EXPECT_EQ(one(R"("data_offsets":[0,4,8])"), no + ": data_offsets has 3 numbers, needs 2");

  EXPECT_EQ(one(R"("dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0])"),
            no + " has a shape too large for any memory");
  EXPECT_EQ(one(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0])"),
            no + " has a shape too large for any memory");
  EXPECT_EQ(one(R"("dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0])"),
            no + " has a shape too large for any memory");
  EXPECT_EQ(one(R"("dtype":"F32","shape":[1],"data_offsets":[0,8])", "12345678"),
            no + ": data_offsets 0 to 8 do not hold the 4 bytes of its shape");
  EXPECT_EQ(one(R"("dtype":"F32","shape":[1],"data_offsets":[4,0])", "1234"),
            no + ": data_offsets 4 to 0 do not hold the 4 bytes of its shape");
  EXPECT_EQ(one(R"("dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,0])", "1234"),
            no + ": data_offsets 18446744073709551612 to 0 do not hold the 4 bytes of its shape");
  EXPECT_EQ(one(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])", "12345678"),
            no + " begins at byte 4 of the data, the one before ends at 0");
  EXPECT_EQ(one(good, "123"), "truncated: its tensors have 4 bytes, 3 of them are there");
}

TEST_F(Safetensors, GapsAndOverlapsAreRefused) {
  const auto two = [&](const std::string& second) {
    return reading_header(
        R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],)"
        "\"data_offsets\":[" +
            second + "]}}",
        "12345678");
  };
  EXPECT_EQ(two("4,8"), "read");
  const std::string no = "not a safetensors file: tensor \"b\" begins at byte ";
  EXPECT_EQ(two("3,7"), no + "3 of the data, the one before ends at 4");
  EXPECT_EQ(two("5,9"), no + "5 of the data, the one before ends at 4");
  EXPECT_EQ(two("0,4"), no + "0 of the data, the one before ends at 4");
}

TEST_F(Safetensors, DeepNestingIsRefusedWithoutRecursion) {
  const std::string deep(1'000'000, '[');
  EXPECT_EQ(reading_header("{\"a\":{\"shape\":" + deep),
            "not a safetensors file: tensor \"a\": a list in its shape");
  std::string objects;
  for (int i = 0; i < 1'000'000; ++i) objects += "{\"a\":";
  EXPECT_EQ(reading_header(objects), "not a safetensors file: tensor \"a\": an object at \"a\"");
}

TEST_F(Safetensors, AnotherProgramsRewriteOfAKithFileIsRefused) {
  // Same tensors, but the header rendered anew: the checksum can no longer be checked.
  EXPECT_EQ(reading_header(R"({"__metadata__":{"a":"b","kith.checksum":"0123456789abcdef"}})"),
            "damaged: its checksum is not where it was written; another program may have changed the file");
  EXPECT_EQ(reading_header(R"({"__metadata__":{"kith.checksum":"0123"}})"),
            "damaged: its checksum is not where it was written; another program may have changed the file");
  EXPECT_EQ(reading_header(R"({"__metadata__":{"kith.checksum_kind":"XXH3-64"}})"),
            "damaged: its checksum is missing");
}

}  // namespace
}  // namespace kith
