#include "array/csv.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "array/number.h"
#include "kith/table.h"

namespace kith {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Table read(const std::string& text, const CsvOptions& options = {}) {
  csv::Source source = csv::Source::over("t.csv", text);
  return csv::read(source, options);
}

std::string refusal(const std::string& text, const CsvOptions& options = {}) {
  try {
    read(text, options);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

std::vector<std::string> names(const Table& table) {
  std::vector<std::string> out;
  for (const Column& column : table.columns) out.push_back(column.name);
  return out;
}

std::vector<std::string> texts(const Column& column) {
  std::vector<std::string> out;
  for (std::size_t row = 0; row < column.size(); ++row) out.push_back(column.text(row));
  return out;
}

using Texts = std::vector<std::string>;
using Numbers = std::vector<double>;

/// Both are numbers and equal, or both are missing.
void expect_numbers(const Column& column, const Numbers& expected) {
  ASSERT_TRUE(column.numeric()) << column.name;
  ASSERT_EQ(column.number.size(), expected.size());
  for (std::size_t row = 0; row < expected.size(); ++row) {
    if (std::isnan(expected[row]))
      EXPECT_TRUE(column.missing(row)) << row;
    else
      EXPECT_EQ(column.number[row], expected[row]) << row;
  }
}

TEST(ReadCsv, NumbersAndWords) {
  const Table table = read("x,color\n1.5,red\n-2e3,blue\n+7,red\n");
  EXPECT_EQ(table.rows, 3U);
  EXPECT_EQ(names(table), (Texts{"x", "color"}));
  expect_numbers(table.columns[0], {1.5, -2000, 7});
  ASSERT_FALSE(table.columns[1].numeric());
  EXPECT_EQ(table.columns[1].level, (Texts{"red", "blue"}));
  EXPECT_EQ(table.columns[1].code, (std::vector<std::uint32_t>{0, 1, 0}));
  EXPECT_TRUE(table.columns[1].number.empty());
}

TEST(ReadCsv, QuotesHoldDelimitersLineBreaksAndQuotes) {
  const Table table = read("a,\"b, \"\"c\"\"\"\r\n\"x\r\ny\",\"1,5\"\r\n\" z \",\"\"\"\"\r\n");
  EXPECT_EQ(names(table), (Texts{"a", "b, \"c\""}));
  EXPECT_EQ(texts(table.columns[0]), (Texts{"x\r\ny", " z "}));
  EXPECT_EQ(texts(table.columns[1]), (Texts{"1,5", "\""}));
}

TEST(ReadCsv, QuotedNumberIsANumber) {
  expect_numbers(read("a\n\"12\"\n007\n\" 3 \"\n").columns[0], {12, 7, 3});
}

TEST(ReadCsv, LineBreaksOfEveryKind) {
  for (const std::string text : {"a,b\n1,2\n3,4\n", "a,b\r\n1,2\r\n3,4\r\n", "a,b\r1,2\r3,4\r",
                                 "a,b\n1,2\n3,4", "a,b\n\n1,2\n   \n3,4\n\n\n",
                                 "\xEF\xBB\xBF"
                                 "a,b\n1,2\n3,4\n",
                                 "\xEF\xBB\xBF\"a\",b\r\n1,2\r\n3,4"}) {
    const Table table = read(text);
    EXPECT_EQ(names(table), (Texts{"a", "b"})) << text;
    EXPECT_EQ(table.rows, 2U) << text;
    expect_numbers(table.columns[1], {2, 4});
  }
}

TEST(ReadCsv, BlanksAroundCellsDoNotCount) {
  const Table table = read("a , b\n 1 ,  red\t\n2, red \n");
  EXPECT_EQ(names(table), (Texts{"a", "b"}));
  expect_numbers(table.columns[0], {1, 2});
  EXPECT_EQ(table.columns[1].level, (Texts{"red"}));
}

TEST(ReadCsv, MissingCells) {
  const Table table = read("x,w\n1,a\n,\nNA,na\nn/a,N/A\nnan,NaN\nNull,NULL\n?,?\n\" \",\"\"\n2,b\n");
  expect_numbers(table.columns[0], {1, kNaN, kNaN, kNaN, kNaN, kNaN, kNaN, kNaN, 2});
  EXPECT_EQ(texts(table.columns[1]), (Texts{"a", "", "", "", "", "", "", "", "b"}));
  EXPECT_EQ(table.columns[1].level, (Texts{"a", "b"}));
  EXPECT_TRUE(table.columns[1].missing(3));
  EXPECT_EQ(table.columns[1].code[3], Column::kMissing);
}

TEST(ReadCsv, MissingOptionAddsToTheUsual) {
  const Table table = read("x,w\n-999,unknown\n1,NA\n2,b\n", {.missing = {"-999", "unknown"}});
  expect_numbers(table.columns[0], {kNaN, 1, 2});
  EXPECT_EQ(texts(table.columns[1]), (Texts{"", "", "b"}));
  EXPECT_EQ(read("w\nunknown\nb\n").columns[0].level, (Texts{"unknown", "b"}));
}

TEST(ReadCsv, ColumnOfBlanksIsNumeric) {
  expect_numbers(read("a,b\n1,\n2,NA\n").columns[1], {kNaN, kNaN});
  const Table forced = read("a,b\n1,\n2,NA\n", {.categorical = {"b"}});
  EXPECT_FALSE(forced.columns[1].numeric());
  EXPECT_EQ(forced.columns[1].size(), 2U);
  EXPECT_TRUE(forced.columns[1].missing(0));
}

TEST(ReadCsv, LateWordMakesTheWholeColumnCategorical) {
  // The cells before it keep the text they were written with: 1.0 and 1 differ.
  const Table table = read("x,y,z\n1.0,,5\n1,,6\nNA,7,7\nhello,eight,8\n1.0,9,9\n");
  EXPECT_EQ(table.columns[0].level, (Texts{"1.0", "1", "hello"}));
  EXPECT_EQ(texts(table.columns[0]), (Texts{"1.0", "1", "", "hello", "1.0"}));
  EXPECT_TRUE(table.columns[0].number.empty());
  EXPECT_EQ(texts(table.columns[1]), (Texts{"", "", "7", "eight", "9"}));
  expect_numbers(table.columns[2], {5, 6, 7, 8, 9});
}

TEST(ReadCsv, WhatIsNoNumber) {
  for (const char* cell :
       {"inf", "-Infinity", "0x1A", "1e", "1.2.3", "--1", "+-1", ".", "-", "1 2", "1_000", "1;2"}) {
    const Table table = read("a|b\n1|1\n" + std::string(cell) + "|2\n");
    EXPECT_FALSE(table.columns[0].numeric()) << cell;
  }
  for (const char* cell : {"1.", ".5", "-.5", "1e5", "1E+5", "00", "-0", "+1", "9007199254740993", "1e-999"})
    EXPECT_TRUE(read("a|b\n" + std::string(cell) + "|1\n").columns[0].numeric()) << cell;
  EXPECT_EQ(read("a\n1e-999\n").columns[0].number[0], 0.0);
  EXPECT_EQ(read("a\n9007199254740993\n").columns[0].number[0], 9007199254740992.0);
}

TEST(ReadCsv, FindsTheDelimiter) {
  for (const char delimiter : {',', ';', '\t', '|'}) {
    std::string text = "a#b#c\n1#x#\n2#\"y,;|\t,;|\t\"#3\n";
    for (char& c : text)
      if (c == '#') c = delimiter;
    const Table table = read(text);
    EXPECT_EQ(names(table), (Texts{"a", "b", "c"})) << delimiter;
    expect_numbers(table.columns[2], {kNaN, 3});
  }
  // A comma in words does not outvote the delimiter of every record.
  EXPECT_EQ(names(read("name;note\na;x, y\nb;z, w, v\n")), (Texts{"name", "note"}));
  EXPECT_EQ(names(read("text\n\"a, b\"\n\"c, d\"\n")), (Texts{"text"}));
  EXPECT_EQ(names(read("a\tb\n\t\n1\t2\n")), (Texts{"a", "b"}));
}

TEST(ReadCsv, DelimiterGiven) {
  EXPECT_EQ(names(read("a,b;c\n1,2;3\n", {.delimiter = ';'})), (Texts{"a,b", "c"}));
  EXPECT_EQ(names(read("a b\n1 2\n", {.delimiter = ' '})), (Texts{"a", "b"}));
  EXPECT_EQ(refusal("a\n1\n", {.delimiter = '"'}),
            "delimiter: got '\"', needs a character that is no quote and no line break");
}

TEST(ReadCsv, DecimalComma) {
  const Table table = read("a;b\n3,14;-1,5e3\n2;\"0,5\"\n", {.decimal_comma = true});
  expect_numbers(table.columns[0], {3.14, 2});
  expect_numbers(table.columns[1], {-1500, 0.5});
  // 1.234 may mean 1234.
  EXPECT_FALSE(read("a;b\n1.234;1\n", {.decimal_comma = true}).columns[0].numeric());
  EXPECT_FALSE(read("a;b\n3,14;1\n").columns[0].numeric());
  EXPECT_EQ(refusal("a\n1\n", {.delimiter = ',', .decimal_comma = true}),
            "delimiter: a comma cannot be both the delimiter and the decimal mark");
}

TEST(ReadCsv, NoHeader) {
  const Table table = read("39, State-gov\n50, Private\n", {.header = false});
  EXPECT_EQ(names(table), (Texts{"c1", "c2"}));
  EXPECT_EQ(table.rows, 2U);
  EXPECT_EQ(table.columns[1].level, (Texts{"State-gov", "Private"}));
}

TEST(ReadCsv, TypesAsAsked) {
  const Table table = read("a,b,c\n1,2,x\n1,3,y\n", {.categorical = {"a"}, .ignore = {"c"}});
  EXPECT_EQ(names(table), (Texts{"a", "b"}));
  EXPECT_EQ(table.columns[0].level, (Texts{"1"}));
  EXPECT_EQ(names(read("a,b,c\n1,2,x\n", {.only = {"c", "a"}})), (Texts{"a", "c"}));
  expect_numbers(read("a\n1\nNA\n", {.numeric = {"a"}}).columns[0], {1, kNaN});
}

TEST(ReadCsvRefuses, CellsOfTheWrongType) {
  EXPECT_EQ(
      refusal("a,b\n1,2\n3,four\n", {.numeric = {"b"}}),
      "t.csv, line 3, column 'b': the cell 'four' is not a number, and the column was said to be numeric");
  EXPECT_EQ(
      refusal("a;b\n1;2,5\n", {.numeric = {"b"}}),
      "t.csv, line 2, column 'b': the cell '2,5' is not a number, and the column was said to be numeric; if "
      "the file has decimal commas, say so");
}

TEST(ReadCsvRefuses, NumbersTooLarge) {
  const std::string message =
      "t.csv, line 3, column 'b': the number '1e999' is too large, needs at most 1.7976931348623157e+308";
  EXPECT_EQ(refusal("a,b\n1,2\n3,1e999\n4,-1e999\n"), message);
  EXPECT_EQ(refusal("a,b\n1,2\n3,1e999\n", {.numeric = {"b"}}), message);
  // In a column of words it is a word.
  EXPECT_EQ(texts(read("a,b\n1,2\n3,1e999\n4,x\n").columns[1]), (Texts{"2", "1e999", "x"}));
}

TEST(ReadCsvRefuses, RaggedRows) {
  EXPECT_EQ(refusal("a,b,c\n1,2,3\n4,5\n"),
            "t.csv, line 3: the row has 2 cells, needs 3, as many as the header");
  EXPECT_EQ(refusal("a,b\n1,2\n\n4\n"), "t.csv, line 4: the row has 1 cell, needs 2, as many as the header");
  EXPECT_EQ(refusal("1,2\n1,2,3\n", {.header = false}),
            "t.csv, line 2: the row has 3 cells, needs 2, as many as the first row");
}

TEST(ReadCsvRefuses, RowsByTheLineTheyStartOn) {
  EXPECT_EQ(refusal("a,b\n\"x\ny\",1\r\n\r\n\"z\n\nw\",2,3\n"),
            "t.csv, line 5: the row has 3 cells, needs 2, as many as the header");
  EXPECT_EQ(refusal("a,b\n\"x\n\ny\",four\n", {.numeric = {"b"}}).substr(0, 24), "t.csv, line 4, column 'b");
  EXPECT_EQ(refusal("a,b\r1,2\r\"x\ry\",2\r1\r").substr(0, 13), "t.csv, line 5");
}

TEST(ReadCsvRefuses, BrokenQuotes) {
  EXPECT_EQ(refusal("a,b\n1,2\n3,\"four\n5,6\n"),
            "t.csv, line 3, column 'b': the quote that opens here is never closed; the cell begins with "
            "'four\\n5,6\\n'");
  EXPECT_EQ(refusal("a,b\n1,\"x\"y\n"),
            "t.csv, line 2, column 'b': the quoted cell 'x' is followed by 'y', needs a delimiter or a line "
            "break; a "
            "quote inside a quoted cell must be doubled");
  EXPECT_EQ(refusal("a,b\n1,\"x\n2,\"y\"\n"),
            "t.csv, line 2, column 'b': the quoted cell 'x\\n2,' is followed by 'y\"' on line 3, needs a "
            "delimiter or "
            "a line break; a quote inside a quoted cell must be doubled");
  EXPECT_EQ(
      refusal("a,b\n1,5\" pipe\n"),
      "t.csv, line 2, column 'b': a quote inside the unquoted cell that begins with '5'; a cell with quotes "
      "must be quoted as a whole, with each quote in it doubled");
}

TEST(ReadCsvRefuses, BadHeaders) {
  EXPECT_EQ(
      refusal("a,,c\n1,2,3\n"),
      "t.csv, line 1, column 2: the header has no name for this column, needs one for each of its 3; if the "
      "file has no header, say so");
  EXPECT_EQ(
      refusal("\n\na,b,a\n1,2,3\n"),
      "t.csv, line 3, column 3: the header has the name 'a' twice, for column 1 already; if the file has no "
      "header, say so");
}

TEST(ReadCsvRefuses, EmptyTables) {
  for (const char* text : {"", "\n\r\n", "\xEF\xBB\xBF", "  \n"})
    EXPECT_EQ(refusal(text), "t.csv: is empty, needs a header and at least one row") << text;
  EXPECT_EQ(refusal("", {.header = false}), "t.csv: is empty, needs at least one row");
  EXPECT_EQ(refusal("a,b\n"), "t.csv: has a header and no rows, needs at least one");
  EXPECT_EQ(refusal("a,b"), "t.csv: has a header and no rows, needs at least one");
}

TEST(ReadCsvRefuses, BinaryAndOtherEncodings) {
  using namespace std::string_literals;
  EXPECT_EQ(refusal("a,b\n1,2\n3,\0\n"s), "t.csv, line 3: a zero byte; the file is binary, needs CSV text");
  EXPECT_EQ(refusal("\xFF\xFE"
                    "a\0,\0b\0"s),
            "t.csv: is UTF-16 text; convert it to UTF-8");
  EXPECT_EQ(refusal("a\nM\xFCnchen\n"),
            "t.csv, line 2, column 'a': the cell 'M\\xFCnchen' is not UTF-8; convert the file to UTF-8");
  EXPECT_EQ(refusal("\xE9,b\n1,2\n"),
            "t.csv, line 1, column 1: the name '\\xE9' is not UTF-8; convert the file to UTF-8");
}

TEST(ReadCsvRefuses, ColumnsThatAreNotThere) {
  const std::string text = "a,b\n1,2\n";
  EXPECT_EQ(refusal(text, {.numeric = {"x"}}),
            "t.csv: no column 'x', which numeric asks for; it has 'a', 'b'");
  EXPECT_EQ(refusal(text, {.categorical = {"x"}}),
            "t.csv: no column 'x', which categorical asks for; it has 'a', 'b'");
  EXPECT_EQ(refusal(text, {.ignore = {"x"}}), "t.csv: no column 'x', which ignore asks for; it has 'a', 'b'");
  EXPECT_EQ(refusal(text, {.only = {"a", "x"}}), "t.csv: no column 'x', which is needed; it has 'a', 'b'");
  EXPECT_EQ(refusal(text, {.numeric = {"a"}, .categorical = {"a"}}),
            "t.csv: column 'a' is in both numeric and categorical, needs to be in one");
  EXPECT_EQ(refusal(text, {.ignore = {"a", "b"}}),
            "t.csv: every column is left out, needs at least one of 'a', 'b'");
}

TEST(ReadCsvRefuses, LongAndStrangeCellsAreShownShort) {
  EXPECT_EQ(refusal("a\n" + std::string(1000, 'x') + "\n", {.numeric = {"a"}}),
            "t.csv, line 2, column 'a': the cell '" + std::string(40, 'x') +
                "…' is not a number, and the column was said to be numeric");
  EXPECT_EQ(
      refusal("a\n\"\x1B[2J\t\xC3\xA9\xC2\x85\xED\xA0\x80\"\n", {.numeric = {"a"}}),
      "t.csv, line 2, column 'a': the cell '\\x1B[2J\\té\\xC2\\x85\\xED\\xA0\\x80' is not a number, and the "
      "column was said to be numeric");
}

TEST(ReadCsv, ColumnsLeftOutAreNotLookedAt) {
  const std::string text = "a,b\n\"\n\n\",1\n\xFF,2\n1e999,3\n";
  expect_numbers(read(text, {.only = {"b"}}).columns.at(0), {1, 2, 3});
  expect_numbers(read(text, {.ignore = {"a"}}).columns.at(0), {1, 2, 3});
  EXPECT_EQ(refusal(text + "\n4\n", {.only = {"b"}}),
            "t.csv, line 8: the row has 1 cell, needs 2, as many as the header");
}

/// Random tables: what was written is read back. Cells are pieces that quoting, line counting and types
/// stumble over.
TEST(ReadCsv, ReadsBackWhatWasWritten) {
  const Texts pieces = {"a", "B", "é",  "€",    " ", "\t", "\"",   "\"\"", ",",
                        ";", "|", "\n", "\r\n", "'", "0",  "-1.5", "x"};
  for (unsigned seed = 0; seed < 400; ++seed) {
    std::mt19937 random(seed);
    const auto pick = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    const char delimiter = ",;\t|"[pick(4)];
    const std::string line_break = pick(2) != 0 ? "\r\n" : "\n";
    const std::size_t columns = 1 + pick(5);
    const std::size_t rows = 1 + pick(40);
    const std::size_t first_word = pick(rows);  // numbers come before it: both passes are taken.

    std::vector<Texts> written(columns);
    std::string text = pick(2) != 0 ? "\xEF\xBB\xBF" : "";
    const auto write = [&](const std::string& cell, std::size_t j) {
      const bool blank_end = !cell.empty() && trimmed(cell).size() != cell.size();
      // Without quotes an empty line would be no row.
      const bool must = blank_end || (columns == 1 && cell.empty()) ||
                        cell.find_first_of("\"\r\n" + std::string(1, delimiter)) != std::string::npos;
      if (j > 0) text += delimiter;
      if (!must && pick(4) != 0) {
        text += cell;
        return;
      }
      text += '"';
      for (const char c : cell) text += c == '"' ? std::string("\"\"") : std::string(1, c);
      text += '"';
    };
    for (std::size_t j = 0; j < columns; ++j) write("name " + std::to_string(j), j);
    text += line_break;
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < columns; ++j) {
        std::string cell;
        if (j % 2 == 1 || i < first_word) {
          if (pick(5) != 0)
            cell = format_number(std::ldexp(static_cast<double>(random()), 40 - int(pick(200))));
        } else {
          for (std::size_t n = pick(6); n > 0; --n) cell += pieces[pick(pieces.size())];
        }
        write(cell, j);
        written[j].push_back(trimmed(cell).empty() ? "" : cell);
      }
      if (i + 1 < rows || pick(2) != 0) text += line_break;
    }

    const Table table = read(text, {.delimiter = delimiter});
    ASSERT_EQ(table.rows, rows) << seed;
    ASSERT_EQ(table.columns.size(), columns) << seed;
    for (std::size_t j = 0; j < columns; ++j) {
      const Column& column = table.columns[j];
      double ignored = 0.0;
      bool all_numbers = true;
      for (const std::string& cell : written[j])
        all_numbers = all_numbers && (cell.empty() || parse_number(cell, ignored) == Parsed::number);
      ASSERT_EQ(column.numeric(), all_numbers) << seed << "\n" << text;
      for (std::size_t i = 0; i < rows; ++i) {
        const std::string& cell = written[j][i];
        double value = kNaN;
        if (all_numbers && !cell.empty()) parse_number(cell, value);
        const std::string expected = std::isnan(value) ? cell : format_number(value);
        ASSERT_EQ(column.text(i), expected) << "seed " << seed << " row " << i << " column " << j << "\n"
                                            << text;
        ASSERT_EQ(column.missing(i), cell.empty());
      }
    }
  }
}

}  // namespace
}  // namespace kith
