#include "array/csv_source.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "array/temporary_folder.h"
#include "kith/table.h"

namespace kith {
namespace {

std::string file_refusal(const std::string& path) {
  try {
    read_csv(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

class CsvFile : public testing::Test {
 protected:
  std::string write(const std::string& text) const {
    write_file(path_, text);
    return path_;
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_.file("t.csv");
};

TEST_F(CsvFile, ManyBlocks) {
  // Far more than one read; the word near the end asks for the second pass; quoted line breaks cross block
  // borders.
  constexpr std::size_t kRows = 60'000;
  std::string text = "n,w,q\n";
  for (std::size_t i = 0; i < kRows; ++i)
    text += std::to_string(i) + "," + (i + 5 < kRows ? std::to_string(i % 7) : "late") + ",\"a\nb" +
            std::to_string(i % 3) + "\"\n";
  const Table table = read_csv(write(text));
  EXPECT_EQ(table.source, path_);
  ASSERT_EQ(table.rows, kRows);
  EXPECT_EQ(table.columns[1].level.size(), 8U);
  EXPECT_EQ(table.columns[2].level, (std::vector<std::string>{"a\nb0", "a\nb1", "a\nb2"}));
  for (std::size_t i = 0; i < kRows; ++i) {
    ASSERT_EQ(table.columns[0].number[i], static_cast<double>(i));
    ASSERT_EQ(table.columns[1].text(i), i + 5 < kRows ? std::to_string(i % 7) : "late");
    ASSERT_EQ(table.columns[2].code[i], i % 3);
  }
  EXPECT_EQ(file_refusal(write(text + "1,2\n")), path_ + ", line " + std::to_string(2 * kRows + 2) +
                                                     ": the row has 2 cells, needs 3, as many as the header");
}

TEST_F(CsvFile, QuoteThatRunsOnStopsEarly) {
  std::string text = "a,b\n1,\"";
  text.append(std::size_t{65} << 20, 'x');
  EXPECT_EQ(file_refusal(write(text)),
            path_ + ", line 2, column 'b': a cell of more than 64 MiB that begins with '" +
                std::string(40, 'x') + "…'; its quote seems never to be closed");
}

TEST_F(CsvFile, WhatCannotBeOpened) {
  EXPECT_EQ(file_refusal(folder_.file("absent.csv")),
            folder_.file("absent.csv") + ": cannot be opened: No such file or directory");
  EXPECT_EQ(file_refusal(folder_.file("")), folder_.file("") + ": is a folder, not a file with a table");
}

TEST_F(CsvFile, Unreadable) {
  if (geteuid() == 0) GTEST_SKIP() << "nothing is unreadable to root";
  chmod(write("a\n1\n").c_str(), 0);
  EXPECT_EQ(file_refusal(path_), path_ + ": cannot be opened: Permission denied");
}

/// Makes `file` standard input for a test's length.
class StandardInput {
 public:
  explicit StandardInput(int file) : before_(dup(STDIN_FILENO)) {
    dup2(file, STDIN_FILENO);
    close(file);
  }
  ~StandardInput() {
    dup2(before_, STDIN_FILENO);
    close(before_);
  }

 private:
  int before_;
};

std::string through_pipe(const std::string& text, Table& table) {
  int ends[2] = {};
  if (pipe(ends) != 0) return "no pipe";
  std::thread writer([&] {
    for (std::size_t done = 0; done < text.size();) {
      const ssize_t put = ::write(ends[1], text.data() + done, text.size() - done);
      if (put <= 0) break;
      done += static_cast<std::size_t>(put);
    }
    close(ends[1]);
  });
  std::string message = "accepted";
  {
    const StandardInput input(ends[0]);
    try {
      table = read_csv("-");
    } catch (const Error& error) {
      message = error.what();
    }
    writer.join();
  }
  return message;
}

TEST_F(CsvFile, StandardInputThroughAPipe) {
  std::string text = "a,b\n";
  for (int i = 0; i < 50'000; ++i) text += std::to_string(i) + "," + std::to_string(i) + "\n";
  text += "1.0,word\n";
  Table table;
  ASSERT_EQ(through_pipe(text, table), "accepted");
  EXPECT_EQ(table.source, "-");
  ASSERT_EQ(table.rows, 50'001U);
  EXPECT_EQ(table.columns[0].number[49'999], 49'999.0);
  EXPECT_EQ(table.columns[1].text(7), "7");
  EXPECT_EQ(table.columns[1].text(50'000), "word");

  EXPECT_EQ(through_pipe("a,b\n1\n", table),
            "standard input, line 2: the row has 1 cell, needs 2, as many as the header");
  EXPECT_EQ(through_pipe("", table), "standard input: is empty, needs a header and at least one row");
}

TEST_F(CsvFile, StandardInputFromWhereTheFileStands) {
  const int file = open(write("skipped\na,b\n1,2\n3,x\n").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(file, 0);
  ASSERT_EQ(lseek(file, 8, SEEK_SET), 8);
  const StandardInput input(file);
  const Table table = read_csv("-");
  EXPECT_EQ(table.rows, 2U);
  EXPECT_EQ(table.at("a").number, (std::vector<double>{1, 3}));
  EXPECT_EQ(table.at("b").level, (std::vector<std::string>{"2", "x"}));
}

TEST_F(CsvFile, TemporaryFileThatCannotBeMade) {
  const char* before = std::getenv("TMPDIR");
  const std::string kept = before != nullptr ? before : "";
  setenv("TMPDIR", folder_.file("absent").c_str(), 1);
  Table table;
  const std::string message = through_pipe("a\n1\n", table);
  if (before != nullptr)
    setenv("TMPDIR", kept.c_str(), 1);
  else
    unsetenv("TMPDIR");
  EXPECT_NE(message.find("standard input: cannot make the temporary file " + folder_.file("absent")),
            std::string::npos)
      << message;
  EXPECT_NE(message.find("No such file or directory"), std::string::npos) << message;
}

}  // namespace
}  // namespace kith
