#include "kith/table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "array/csv_text.h"
#include "array/number.h"

namespace kith {
namespace {

Table sample() {
  Column number;
  number.name = "x";
  number.number = {0.1, std::numeric_limits<double>::quiet_NaN(), -1e300, 9007199254740993.0};
  Column word;
  word.name = "color";
  word.kind = Column::Kind::categorical;
  word.code = {1, 0, Column::kMissing, 1};
  word.level = {"red", "blue"};
  Table table;
  table.source = "t.csv";
  table.rows = 4;
  table.columns = {number, word};
  return table;
}

TEST(Table, CellsAsText) {
  const Table table = sample();
  const Column& x = table.at("x");
  EXPECT_EQ(x.size(), 4U);
  EXPECT_EQ(x.text(0), "0.1");
  EXPECT_EQ(x.text(1), "");
  EXPECT_EQ(x.text(2), "-1e+300");
  EXPECT_EQ(x.text(3), "9007199254740992");
  EXPECT_FALSE(x.missing(0));
  EXPECT_TRUE(x.missing(1));
  const Column& color = table.at("color");
  EXPECT_EQ(color.size(), 4U);
  EXPECT_EQ(color.text(0), "blue");
  EXPECT_EQ(color.text(2), "");
  EXPECT_TRUE(color.missing(2));
  EXPECT_FALSE(color.missing(3));
}

TEST(Table, ColumnsByName) {
  Table table = sample();
  EXPECT_EQ(table.find("x"), &table.columns[0]);
  EXPECT_EQ(table.find("X"), nullptr);
  const auto refusal = [&] {
    try {
      table.at("y");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(refusal(), "t.csv: no column 'y'; it has 'x', 'color'");
  table.source = "-";
  EXPECT_EQ(refusal(), "standard input: no column 'y'; it has 'x', 'color'");
}

TEST(Number, TextAndBackIsTheSameNumber) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 20'000; ++i) {
    const std::uint64_t bits = random();
    double value = 0.0;
    static_assert(sizeof(bits) == sizeof(value));
    std::memcpy(&value, &bits, sizeof(value));
    if (!std::isfinite(value)) continue;
    double read = 0.0;
    const std::string text = format_number(value);
    ASSERT_EQ(parse_number(text, read), Parsed::number) << text;
    ASSERT_EQ(read, value) << text;
    std::string comma = text;
    const std::size_t point = comma.find('.');
    if (point != std::string::npos) comma[point] = ',';
    ASSERT_EQ(parse_number_with_comma(comma, read), Parsed::number) << comma;
    ASSERT_EQ(read, value) << comma;
  }
}

TEST(Number, EndsOfTheRange) {
  double value = 1.0;
  const std::string zeros(400, '0');
  EXPECT_EQ(parse_number("1.7976931348623157e308", value), Parsed::number);
  EXPECT_EQ(value, std::numeric_limits<double>::max());
  EXPECT_EQ(parse_number("-1e309", value), Parsed::too_large);
  EXPECT_EQ(parse_number("1" + zeros, value), Parsed::too_large);
  EXPECT_EQ(parse_number("1" + zeros + "e-400", value), Parsed::number);
  EXPECT_EQ(value, 1.0);
  EXPECT_EQ(parse_number("1e-400", value), Parsed::number);
  EXPECT_EQ(value, 0.0);
  EXPECT_EQ(parse_number("0." + zeros + "1", value), Parsed::number);
  EXPECT_EQ(value, 0.0);
  EXPECT_EQ(parse_number_with_comma("1," + zeros + "5", value), Parsed::number);
  EXPECT_EQ(value, 1.0);
  EXPECT_EQ(parse_number("4.9e-324", value), Parsed::number);
  EXPECT_EQ(value, std::numeric_limits<double>::denorm_min());
}

TEST(Number, RefusalLeavesTheValue) {
  double value = 3.0;
  for (const char* text : {"", " ", "+", "x", "1x", "nan", "inf", "1e999x", "++1"})
    EXPECT_EQ(parse_number(text, value), Parsed::not_a_number) << text;
  for (const char* text : {"1.5", "1,2,3", ",", "1.000,5"})
    EXPECT_EQ(parse_number_with_comma(text, value), Parsed::not_a_number) << text;
  EXPECT_EQ(value, 3.0);
}

TEST(CsvText, ListsAreCut) {
  std::vector<std::string> names;
  for (int i = 0; i < 22; ++i) names.push_back(std::to_string(i));
  const std::string text = csv::listed(names);
  EXPECT_EQ(text.substr(0, 13), "'0', '1', '2'");
  EXPECT_EQ(text.substr(text.size() - 15), "'19' and 2 more");
}

TEST(CsvText, Utf8) {
  for (const char* good : {"", "a", "é", "€", "\xF0\x9F\x98\x80", "\xF4\x8F\xBF\xBF"})
    EXPECT_TRUE(csv::is_utf8(good));
  for (const char* bad : {"\x80", "\xC0\x80", "\xC3", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
                          "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "a\xE2\x82"})
    EXPECT_FALSE(csv::is_utf8(bad)) << csv::shown(bad);
}

}  // namespace
}  // namespace kith
