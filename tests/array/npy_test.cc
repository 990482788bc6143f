#include "kith/npy.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "array/npy_format.h"
#include "array/temporary_folder.h"

namespace kith {
namespace {

using namespace std::string_literals;

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

template <class T>
std::vector<T> values_of(const NpyArray& array) {
  const auto n = static_cast<std::size_t>(array.bytes.size()) / sizeof(T);
  std::vector<T> values(n);
  if (n > 0) std::memcpy(values.data(), array.bytes.data(), n * sizeof(T));
  return values;
}

/// A file put together by hand: the length is that of the text.
std::string file_of(const std::string& header, const std::string& data, char version = 1) {
  std::string bytes = "\x93NUMPY"s + version + '\0';
  for (int shift = 0; shift < (version == 1 ? 16 : 32); shift += 8)
    bytes += static_cast<char>(header.size() >> shift & 0xff);
  return bytes + header + data;
}

std::string header_of(const std::string& descr, const std::string& shape, bool fortran_order = false) {
  return "{'descr': '" + descr + "', 'fortran_order': " + (fortran_order ? "True" : "False") +
         ", 'shape': " + shape + ", }\n";
}

NpyArray decode(const std::string& file) {
  return npy::decode(std::as_bytes(std::span(file.data(), file.size())));
}

template <class Action>
std::string message(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::string reading(const std::string& file) {
  return message([&] { decode(file); });
}
/// What a header, by its dict, and 24 bytes of data are read as.
std::string reading_dict(const std::string& dict) { return reading(file_of(dict, std::string(24, '\0'))); }

// What NumPy 2.4's numpy.save wrote for numpy.arange(6, dtype='f4').reshape(2, 3), each header 128 bytes with
// those before it.
const std::string kNumpyMatrix =
    "\x93NUMPY\x01\x00v\x00"s + "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }" +
    std::string(58, ' ') + "\n" +
    "\x00\x00\x00\x00\x00\x00\x80?\x00\x00\x00@\x00\x00@@\x00\x00\x80@\x00\x00\xa0@"s;
// The same array after numpy.asfortranarray.
const std::string kNumpyFortran =
    "\x93NUMPY\x01\x00v\x00"s + "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }" +
    std::string(59, ' ') + "\n" +
    "\x00\x00\x00\x00\x00\x00@@\x00\x00\x80?\x00\x00\x80@\x00\x00\x00@\x00\x00\xa0@"s;
const std::string kNumpyScalar = "\x93NUMPY\x01\x00v\x00"s +
                                 "{'descr': '<f8', 'fortran_order': False, 'shape': (), }" +
                                 std::string(62, ' ') + "\n" + "\x00\x00\x00\x00\x00\x00\xf8?"s;
const std::string kNumpyBool = "\x93NUMPY\x01\x00v\x00"s +
                               "{'descr': '|b1', 'fortran_order': False, 'shape': (2,), }" +
                               std::string(60, ' ') + "\n" + "\x01\x00"s;
// numpy.array([1.5], ml_dtypes.bfloat16)
const std::string kNumpyBfloat16 = "\x93NUMPY\x01\x00v\x00"s +
                                   "{'descr': '<V2', 'fortran_order': False, 'shape': (1,), }" +
                                   std::string(60, ' ') + "\n" + "\xc0?"s;
const std::string kNumpyEmpty = "\x93NUMPY\x01\x00v\x00"s +
                                "{'descr': '<f2', 'fortran_order': False, 'shape': (0, 3), }" +
                                std::string(58, ' ') + "\n";
// numpy.lib.format.write_array(file, numpy.arange(2, dtype='i4'), version=(2, 0)), and with (3, 0).
const std::string kNumpySecond = "\x93NUMPY\x02\x00t\x00\x00\x00"s +
                                 "{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }" +
                                 std::string(58, ' ') + "\n" + "\x00\x00\x00\x00\x01\x00\x00\x00"s;
const std::string kNumpyThird = "\x93NUMPY\x03"s + kNumpySecond.substr(7);

TEST(Npy, ReadsWhatNumpyWrites) {
  const NpyArray matrix = decode(kNumpyMatrix);
  EXPECT_EQ(matrix.dtype, Dtype::float32);
  EXPECT_EQ(matrix.shape, (std::vector<Index>{2, 3}));
  EXPECT_EQ(values_of<float>(matrix), (std::vector<float>{0, 1, 2, 3, 4, 5}));

  const NpyArray scalar = decode(kNumpyScalar);
  EXPECT_EQ(scalar.dtype, Dtype::float64);
  EXPECT_TRUE(scalar.shape.empty());
  EXPECT_EQ(values_of<double>(scalar), std::vector<double>{1.5});

  const NpyArray mask = decode(kNumpyBool);
  EXPECT_EQ(mask.dtype, Dtype::boolean);
  EXPECT_EQ(values_of<char>(mask), (std::vector<char>{1, 0}));

  const NpyArray brain = decode(kNumpyBfloat16);
  EXPECT_EQ(brain.dtype, Dtype::bfloat16);
  EXPECT_EQ((brain.view<bfloat16, 1>()(0)), 1.5F);

  const NpyArray none = decode(kNumpyEmpty);
  EXPECT_EQ(none.dtype, Dtype::float16);
  EXPECT_EQ(none.shape, (std::vector<Index>{0, 3}));
  EXPECT_TRUE(none.bytes.empty());

  for (const std::string& file : {kNumpySecond, kNumpyThird}) {
    const NpyArray integers = decode(file);
    EXPECT_EQ(integers.dtype, Dtype::int32);
    EXPECT_EQ(values_of<std::int32_t>(integers), (std::vector<std::int32_t>{0, 1}));
  }
}

TEST(Npy, FortranOrderIsTransposed) {
  const NpyArray matrix = decode(kNumpyFortran);
  EXPECT_EQ(matrix.shape, (std::vector<Index>{2, 3}));
  EXPECT_EQ(values_of<float>(matrix), (std::vector<float>{0, 1, 2, 3, 4, 5}));

  // An element of a [3, 4, 2] array that says where it is lies at i + 3·(j + 4·k).
  std::vector<std::uint8_t> data(24);
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t j = 0; j < 4; ++j)
      for (std::size_t k = 0; k < 2; ++k)
        data[i + 3 * (j + 4 * k)] = static_cast<std::uint8_t>(100 * i + 10 * j + k);
  const NpyArray cube = decode(file_of(header_of("|u1", "(3, 4, 2)", true), bytes_of(data)));
  const auto view = cube.view<std::uint8_t, 3>();
  for (Index i = 0; i < 3; ++i)
    for (Index j = 0; j < 4; ++j)
      for (Index k = 0; k < 2; ++k) EXPECT_EQ(view(i, j, k), 100 * i + 10 * j + k);

  EXPECT_EQ(values_of<float>(decode(file_of(header_of("<f4", "()", true), bytes_of<float>({7})))),
            std::vector<float>{7});
  EXPECT_EQ(values_of<float>(decode(file_of(header_of("<f4", "(2,)", true), bytes_of<float>({7, 8})))),
            (std::vector<float>{7, 8}));
  EXPECT_TRUE(decode(file_of(header_of("<f4", "(2, 0)", true), "")).bytes.empty());
}

TEST(Npy, EveryTypeByItsSpellings) {
  const auto dtype = [](const std::string& descr) {
    const std::size_t width = static_cast<std::size_t>(descr.back() - '0');
    return decode(file_of(header_of(descr, "(2,)"), std::string(2 * width, '\0'))).dtype;
  };
  EXPECT_EQ(dtype("<f4"), Dtype::float32);
  EXPECT_EQ(dtype("<f8"), Dtype::float64);
  EXPECT_EQ(dtype("<f2"), Dtype::float16);
  EXPECT_EQ(dtype("<V2"), Dtype::bfloat16);
  EXPECT_EQ(dtype("|V2"), Dtype::bfloat16);
  EXPECT_EQ(dtype("|b1"), Dtype::boolean);
  EXPECT_EQ(dtype("<b1"), Dtype::boolean);
  EXPECT_EQ(dtype("|u1"), Dtype::uint8);
  EXPECT_EQ(dtype("<u1"), Dtype::uint8);
  EXPECT_EQ(dtype("<i4"), Dtype::int32);
  EXPECT_EQ(dtype("<i8"), Dtype::int64);
  EXPECT_EQ(decode(file_of(header_of("bfloat16", "(1,)"), "\x80?")).dtype, Dtype::bfloat16);
}

TEST(Npy, OtherTypesAreRefusedByName) {
  const std::string needs = ", needs one of f4, f8, f2, b1, u1, i4, i8 and bfloat16, little-endian";
  EXPECT_EQ(reading_dict(header_of(">f4", "(6,)")), "dtype \">f4\" is big-endian" + needs);
  for (const std::string descr : {"<c8", "<U3", "|O", "<u8", "|i1", "<M8[ns]", "<f16", "|V3", ""})
    EXPECT_EQ(reading_dict(header_of(descr, "(3,)")), "dtype \"" + descr + "\" is not supported" + needs);
  EXPECT_EQ(
      reading_dict("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (1,), }"),
      "dtype \"[('x', '<f4')], 'fortran_order': False, 'shape': (1,), }\" is structured, needs elements "
      "that are numbers");
}

TEST(Npy, TheHeaderMayBeSpelledInEveryWayThatPythonReads) {
  for (const std::string& dict :
       {"{'shape':(2,3),'fortran_order':False,'descr':'<f4'}"s,
        " \t\n{ \"descr\" : '<f4' ,\r\n\"fortran_order\" : False , 'shape' : ( 2 , 3 , ) , } \n "s,
        "{'descr': '<f4', 'shape': (2L, 3L), 'fortran_order': False, }"s}) {
    EXPECT_EQ(reading_dict(dict), "no error") << dict;
    if (reading_dict(dict) == "no error") {
      EXPECT_EQ(decode(file_of(dict, std::string(24, '\0'))).shape, (std::vector<Index>{2, 3}));
    }
  }
}

TEST(Npy, DamagedHeaders) {
  const std::string f4 = "{'descr': '<f4', 'fortran_order': False, ";
  EXPECT_EQ(reading_dict(""), "damaged: its header ends where it needs '{'");
  EXPECT_EQ(reading_dict("   \n"), "damaged: its header ends where it needs '{'");
  EXPECT_EQ(reading_dict("[]"), "damaged: its header has \"[]\" at byte 0, needs '{'");
  EXPECT_EQ(reading_dict("{}"), "damaged: its header has no descr");
  EXPECT_EQ(reading_dict("{'descr': '<f4'}"), "damaged: its header has no fortran_order");
  EXPECT_EQ(reading_dict(f4 + "}"), "damaged: its header has no shape");
  EXPECT_EQ(reading_dict("{'shape': (2,), 'fortran_order': True}"), "damaged: its header has no descr");
  EXPECT_EQ(reading_dict(f4 + "'descr': '<f8'}"), "damaged: its header has descr twice");
  EXPECT_EQ(reading_dict("{'shape': (), 'shape': ()}"), "damaged: its header has shape twice");
  EXPECT_EQ(reading_dict(f4 + "'shape': (6,), 'extra': 1}"),
            "damaged: its header has the key \"extra\", which the format does not know");
  EXPECT_EQ(reading_dict(f4 + "'shape': (6,)} x"),
            "damaged: its header has \"x\" at byte 56, needs nothing more");
  EXPECT_EQ(reading_dict(f4 + "'shape': (6,)}}"),
            "damaged: its header has \"}\" at byte 55, needs nothing more");
  EXPECT_EQ(reading_dict(f4 + "'shape': (6,)}\0"s),
            "damaged: its header has \"?\" at byte 55, needs nothing more");
  EXPECT_EQ(reading_dict(f4 + "'shape': (6,)"), "damaged: its header ends where it needs ','");
  EXPECT_EQ(reading_dict(f4 + "'shape': (6,"),
            "damaged: its header ends where it needs a whole number from 0 on");
  EXPECT_EQ(reading_dict(f4 + "'shape': (6"), "damaged: its header ends where it needs ','");
  EXPECT_EQ(reading_dict(f4 + "'shape': (6)}"), "damaged: its header has \")}\" at byte 52, needs ','");
  EXPECT_EQ(reading_dict(f4 + "'shape': (2 3)}"), "damaged: its header has \"3)}\" at byte 53, needs ','");
  EXPECT_EQ(reading_dict(f4 + "'shape': [6]}"), "damaged: its header has \"[6]}\" at byte 50, needs '('");
  EXPECT_EQ(reading_dict(f4 + "'shape': 6}"), "damaged: its header has \"6}\" at byte 50, needs '('");
  EXPECT_EQ(reading_dict(f4 + "'shape': (,)}"),
            "damaged: its header has \",)}\" at byte 51, needs a whole number from 0 on");
  EXPECT_EQ(reading_dict(f4 + "'shape': (-6,)}"),
            "damaged: its header has \"-6,)}\" at byte 51, needs a whole number from 0 on");
  EXPECT_EQ(reading_dict(f4 + "'shape': (+6,)}"),
            "damaged: its header has \"+6,)}\" at byte 51, needs a whole number from 0 on");
  EXPECT_EQ(reading_dict(f4 + "'shape': (06,)}"),
            "damaged: its header has \"06,)}\" at byte 51, needs a number without zeros before it");
  EXPECT_EQ(reading_dict(f4 + "'shape': (6.0,)}"), "damaged: its header has \".0,)}\" at byte 52, needs ','");
  EXPECT_EQ(reading_dict(f4 + "'shape': (9223372036854775808,)}"),
            "damaged: its header has \"9223372036854775808,\" at byte 51, needs a number below 2^63");
  EXPECT_EQ(reading_dict("{'descr': '<f4', 'fortran_order': 0, 'shape': (6,)}"),
            "damaged: its header has \"0, 'shape': (6,)}\" at byte 34, needs True or False");
  EXPECT_EQ(reading_dict("{'descr': '<f4', 'fortran_order': Falsehood}"),
            "damaged: its header has \"hood}\" at byte 39, needs ','");
  EXPECT_EQ(reading_dict("{'descr: }"), "damaged: its header has a string without end at byte 1");
  EXPECT_EQ(reading_dict("{'descr\": '<f4'}"), "damaged: its header has \"<f4'}\" at byte 11, needs ':'");
  EXPECT_EQ(reading_dict("{'de\\x73cr': '<f4'}"), "damaged: its header has a string without end at byte 1");
  EXPECT_EQ(reading_dict("{descr: '<f4'}"),
            "damaged: its header has \"descr: '<f4'}\" at byte 1, needs a string");
  EXPECT_EQ(reading_dict("{,}"), "damaged: its header has \",}\" at byte 1, needs a string");
  EXPECT_EQ(reading_dict("{'descr': '<f4',, }"),
            "damaged: its header has \", }\" at byte 16, needs a string");
  EXPECT_EQ(reading_dict("{'descr': None}"), "damaged: its header has \"None}\" at byte 10, needs a string");
  EXPECT_EQ(reading_dict(std::string(60000, '{')),
            "damaged: its header has \"{{{{{{{{{{{{{{{{{{{{\" at byte 1, needs a string");
}

TEST(Npy, SizesAreCheckedBeforeMemoryIsTaken) {
  const auto f4 = [](const std::string& shape) { return reading_dict(header_of("<f4", shape)); };
  EXPECT_EQ(f4("(6,)"), "no error");
  EXPECT_EQ(f4("(7,)"), "truncated: float32 [7] has 28 bytes, 24 of them are there");
  EXPECT_EQ(f4("(5,)"), "damaged: 4 bytes follow its float32 [5]");
  EXPECT_EQ(f4("(0,)"), "damaged: 24 bytes follow its float32 [0]");
  EXPECT_EQ(f4("(1000000000000000, 3)"),
            "truncated: float32 [1000000000000000, 3] has 12000000000000000 bytes, 24 of them are there");
  EXPECT_EQ(f4("(4294967296, 4294967296)"),
            "damaged: shape [4294967296, 4294967296] is too large for any memory");
  // The product of all is 0; strides are products of some.
  EXPECT_EQ(f4("(4294967296, 4294967296, 0)"),
            "damaged: shape [4294967296, 4294967296, 0] is too large for any memory");
  EXPECT_EQ(f4("(0, 9223372036854775807)"),
            "damaged: shape [0, 9223372036854775807] is too large for any memory");
  EXPECT_EQ(f4("(1, 1, 1, 1, 1, 1, 2, 3)"), "no error");
  EXPECT_EQ(f4("(1, 1, 1, 1, 1, 1, 1, 2, 3)"), "has more than 8 axes");
}

TEST(Npy, ForeignAndTruncatedFiles) {
  EXPECT_EQ(reading(""), "not a .npy file: it is empty");
  EXPECT_EQ(reading("PK\x03\x04 a zip"), "not a .npy file: it does not begin with 0x93 NUMPY");
  EXPECT_EQ(reading("\x93NUMPX\x01\x00v\x00"s), "not a .npy file: it does not begin with 0x93 NUMPY");
  EXPECT_EQ(reading("x"), "not a .npy file: it does not begin with 0x93 NUMPY");
  for (const char version : {'\0', '\4', '\xff'})
    EXPECT_EQ(reading(file_of(header_of("<f4", "()"), "1234", version)),
              "format version " + std::to_string(static_cast<unsigned char>(version)) +
                  ".0, needs 1.0, 2.0 or 3.0");
  EXPECT_EQ(reading("\x93NUMPY\x01\x01v\x00"s), "format version 1.1, needs 1.0, 2.0 or 3.0");
  EXPECT_EQ(reading("\x93NUMPY\x02\x00\xff\xff\xff\xff{}"s),
            "truncated: 4294967307 bytes come before its data, 14 of them are there");
  // Every beginning of a file is refused for its length, whatever it breaks off in.
  for (const std::string& file : {kNumpyMatrix, kNumpyFortran, kNumpySecond, kNumpyThird})
    for (std::size_t length = 1; length < file.size(); ++length)
      EXPECT_TRUE(reading(file.substr(0, length)).starts_with("truncated: ")) << length;
}

TEST(Npy, DataMayLieUnaligned) {
  // A header of odd length, and the whole file at every address.
  const std::string file = file_of(header_of("<f8", "(3,)") + " ", bytes_of<double>({1, -2.5, 1e300}));
  for (std::size_t offset = 0; offset < 16; ++offset) {
    const std::string moved = std::string(offset, 'x') + file;
    const NpyArray array = npy::decode(std::as_bytes(std::span(moved).subspan(offset)));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(array.bytes.data()) % alignof(double), 0U);
    EXPECT_EQ(values_of<double>(array), (std::vector<double>{1, -2.5, 1e300}));
  }
}

TEST(Npy, BooleansAreMadeZeroOrOne) {
  const NpyArray array = decode(file_of(header_of("|b1", "(4,)"), "\x00\x01\x02\xff"s));
  EXPECT_EQ(values_of<char>(array), (std::vector<char>{0, 1, 1, 1}));
}

TEST(Npy, ShapesArePaddedToTheRank) {
  const NpyArray matrix = decode(kNumpyMatrix);
  EXPECT_EQ((matrix.as<float, 4>().shape()), (Shape<4>{1, 1, 2, 3}));
  EXPECT_EQ((matrix.as<float, 2>()(1, 2)), 5);
  EXPECT_EQ((matrix.view<float, 3>()(0, 1, 0)), 3);
  EXPECT_EQ((decode(kNumpyScalar).as<double, 1>().shape()), Shape<1>{1});
  EXPECT_EQ((decode(kNumpyEmpty).as<float, 3>().shape()), (Shape<3>{1, 0, 3}));
  EXPECT_EQ(message([&] { matrix.as<float, 1>(); }), ": has 2 axes, [2, 3]; needs at most 1");
  EXPECT_EQ(message([&] { matrix.view<double, 2>(); }), ": is float32, needs float64");
}

/// A file's numbers as T.
template <class T>
std::vector<T> as(const std::string& descr, const std::string& data, std::size_t count) {
  const auto array =
      decode(file_of(header_of(descr, (std::ostringstream() << "(" << count << ",)").str()), data))
          .as<T, 1>();
  return std::vector<T>(array.begin(), array.end());
}
/// float holds each of them.
template <class T>
std::vector<float> floats(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}

template <class T>
void expect_small_numbers_kept() {
  const std::vector<float> kept = {0, 1, -2, 96};
  const auto expect = [&]<class Stored>(const std::string& descr, Stored) {
    std::vector<Stored> stored;
    for (const float x : kept) stored.push_back(static_cast<Stored>(x));
    EXPECT_EQ(floats(as<T>(descr, bytes_of(stored), 4)), kept) << descr;
  };
  expect("<i4", std::int32_t{});
  expect("<i8", std::int64_t{});
  if constexpr (!std::is_integral_v<T>) {
    expect("<f2", float16{});
    expect("<V2", bfloat16{});
    expect("<f4", float{});
    expect("<f8", double{});
  }
  EXPECT_EQ(floats(as<T>("|u1", "\x00\xc0"s, 2)), (std::vector<float>{0, 192}));
  EXPECT_EQ(floats(as<T>("|b1", "\x00\x01"s, 2)), (std::vector<float>{0, 1}));
}

TEST(Npy, EveryTypeConvertsToEveryOther) {
  expect_small_numbers_kept<float>();
  expect_small_numbers_kept<double>();
  expect_small_numbers_kept<bfloat16>();
  expect_small_numbers_kept<float16>();
  expect_small_numbers_kept<Index>();
  EXPECT_EQ(as<bool>("<i4", bytes_of<std::int32_t>({0, -1, 256}), 3), (std::vector<bool>{false, true, true}));
  EXPECT_EQ(as<bool>("|b1", "\x00\x01"s, 2), (std::vector<bool>{false, true}));
}

TEST(Npy, ConversionRoundsOnceAndKeepsWhatFits) {
  EXPECT_EQ(as<Index>("<i8", bytes_of<std::int64_t>({INT64_MAX, INT64_MIN}), 2),
            (std::vector<Index>{INT64_MAX, INT64_MIN}));
  EXPECT_EQ(as<double>("<f8", bytes_of<double>({0.1}), 1)[0], 0.1);
  // Just above the tie between 1 and bfloat16's next number, so close that it is the tie to a float.
  EXPECT_EQ(as<bfloat16>("<f8", bytes_of<double>({1 + 0x1p-8 + 0x1p-50}), 1)[0], 1.0078125F);
  EXPECT_EQ(as<float16>("<f8", bytes_of<double>({1e6, -1e6}), 2)[0], std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(as<float>("<f2", "\x01\x7e", 1)[0]));
}

TEST(Npy, FloatingPointNumbersAreNoIndicesAndNoMask) {
  NpyArray array = decode(kNumpyMatrix);
  array.path = "q.npy";
  EXPECT_EQ(message([&] { array.as<Index, 2>(); }), "q.npy: is float32, needs whole numbers");
  EXPECT_EQ(message([&] { array.as<bool, 2>(); }), "q.npy: is float32, needs bool or whole numbers");
}

class NpyFile : public testing::Test {
 protected:
  template <class T>
  std::string written(const T& array) {
    write_npy(path_, array);
    return read_file(path_);
  }
  TemporaryFolder folder_;
  std::string path_ = folder_.file("a.npy");
};

TEST_F(NpyFile, IsWrittenAsNumpyWritesIt) {
  std::vector<float> numbers = {0, 1, 2, 3, 4, 5};
  EXPECT_EQ(written(View<const float, 2>(numbers.data(), {2, 3})), kNumpyMatrix);
  EXPECT_EQ(written(View<float, 2>(numbers.data(), {2, 3})), kNumpyMatrix);
  const double number = 1.5;
  EXPECT_EQ(written(View<const double, 0>(&number, {})), kNumpyScalar);
  Array<bool, 1> mask({2});
  mask(0) = true;
  EXPECT_EQ(written(mask), kNumpyBool);
  Array<bfloat16, 1> brain({1});
  brain(0) = bfloat16(1.5F);
  EXPECT_EQ(written(brain), kNumpyBfloat16);
  EXPECT_EQ(written(Array<float16, 2>({0, 3})), kNumpyEmpty);
  // The most axes.
  const std::uint8_t byte = 0;
  EXPECT_EQ(written(View<const std::uint8_t, 8>(&byte, {1, 1, 1, 1, 1, 1, 1, 1})),
            "\x93NUMPY\x01\x00v\x00"s +
                "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 1), }" +
                std::string(40, ' ') + "\n" + "\x00"s);
}

TEST_F(NpyFile, EveryTypeComesBack) {
  const auto round_trip = [&]<class T>(T) {
    Array<T, 3> array({2, 1, 3});
    for (Index i = 0; i < 2; ++i)
      for (Index j = 0; j < 3; ++j) array(i, 0, j) = static_cast<T>(static_cast<float>(10 * i + j));
    write_npy(path_, array);
    const NpyArray back = read_npy(path_);
    EXPECT_EQ(back.dtype, dtype_of<T>());
    EXPECT_EQ(back.path, path_);
    EXPECT_EQ(back.shape, (std::vector<Index>{2, 1, 3}));
    const auto view = back.view<T, 3>();
    EXPECT_TRUE(std::equal(array.begin(), array.end(), view.data));
  };
  round_trip(float{});
  round_trip(double{});
  round_trip(bfloat16{});
  round_trip(float16{});
  round_trip(bool{});
  round_trip(std::uint8_t{});
  round_trip(std::int32_t{});
  round_trip(Index{});
}

TEST_F(NpyFile, StridesAreFollowed) {
  std::vector<Index> grid(20);  // 4 rows of 5
  for (std::size_t i = 0; i < grid.size(); ++i) grid[i] = static_cast<Index>(i);
  const auto back = [&](const Shape<2>& shape, const Shape<2>& stride, std::size_t first) {
    write_npy(path_, View<const Index, 2>(&grid[first], shape, stride));
    const NpyArray array = read_npy(path_);
    EXPECT_EQ(array.shape, std::vector<Index>(shape.begin(), shape.end()));
    return values_of<Index>(array);
  };
  EXPECT_EQ(back({2, 3}, {5, 1}, 6), (std::vector<Index>{6, 7, 8, 11, 12, 13}));  // a window
  EXPECT_EQ(back({3, 2}, {1, 5}, 6), (std::vector<Index>{6, 11, 7, 12, 8, 13}));  // transposed
  EXPECT_EQ(back({2, 2}, {-5, -2}, 19), (std::vector<Index>{19, 17, 14, 12}));    // backward
  EXPECT_EQ(back({2, 2}, {0, 1}, 3), (std::vector<Index>{3, 4, 3, 4}));           // repeated
  EXPECT_EQ(back({1, 2}, {-1000, 1}, 3), (std::vector<Index>{3, 4}));             // never taken
  EXPECT_EQ(back({2, 0}, {-1000, 1000}, 3), std::vector<Index>{});
}

TEST_F(NpyFile, ErrorsNameTheFile) {
  const auto read = [](const std::string& path) { return message([&] { read_npy(path); }); };
  EXPECT_EQ(read(path_), path_ + ": does not exist");
  EXPECT_EQ(read(folder_.path().native()), folder_.path().native() + ": is a folder");
  write_file(path_, "");
  EXPECT_EQ(read(path_), path_ + ": not a .npy file: it is empty");
  write_file(path_, kNumpyMatrix.substr(0, 150));
  EXPECT_EQ(read(path_), path_ + ": truncated: float32 [2, 3] has 24 bytes, 22 of them are there");
  write_file(path_, file_of(header_of(">f8", "()"), std::string(8, '\0')));
  EXPECT_TRUE(read(path_).starts_with(path_ + ": dtype \">f8\" is big-endian")) << read(path_);
}

TEST_F(NpyFile, AWriteThatFailsLeavesTheOldFile) {
  const std::string refused = "cannot write " + path_ + ": ";
  const auto write = [&](std::vector<Index> shape, std::vector<Index> stride, const void* data) {
    return message([&] { write_npy(path_, Dtype::float32, shape, stride, data); });
  };
  write_file(path_, "old");
  const float number = 1;
  EXPECT_EQ(write({-1, 2}, {2, 1}, &number), refused + "shape [-1, 2] is not a shape");
  EXPECT_EQ(write({INT64_MAX, 2}, {0, 0}, &number),
            refused + "shape [9223372036854775807, 2] is not a shape");
  EXPECT_EQ(write({1, 1}, {1}, &number), refused + "shape [1, 1] has 1 strides");
  EXPECT_EQ(write({3}, {1}, nullptr), refused + "shape [3] has no data");
  EXPECT_EQ(write(std::vector<Index>(9, 1), std::vector<Index>(9, 1), &number),
            refused + "shape [1, 1, 1, 1, 1, 1, 1, 1, 1] has more than 8 axes");
  EXPECT_EQ(read_file(path_), "old");
  EXPECT_EQ(folder_.names(), std::vector<std::string>{"a.npy"});
  const std::string nowhere = folder_.file("none/a.npy");
  EXPECT_TRUE(message([&] {
                write_npy(nowhere, View<const float, 1>(&number, {1}));
              }).starts_with("cannot write " + nowhere));
}

TEST_F(NpyFile, ReadsAPipe) {
  const std::string pipe = folder_.file("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::thread writer([&] { write_file(pipe, kNumpyMatrix); });
  const NpyArray array = read_npy(pipe);
  writer.join();
  EXPECT_EQ(array.shape, (std::vector<Index>{2, 3}));
}

}  // namespace
}  // namespace kith
