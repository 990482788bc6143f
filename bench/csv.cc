// How fast a table is read, and in how much memory: ROWS x COLUMNS numbers (10^6 x 10 unless told), and the
// same with two columns of words. Beside it what libcsv alone takes to split the same bytes, the floor for
// any reader on it.
//
//   csv [ROWS [COLUMNS]]

#include <csv.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "kith/table.h"

namespace {

double seconds_of(auto&& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void write_table(const std::string& path, std::size_t rows, std::size_t columns, std::size_t words) {
  std::mt19937_64 random(1);
  std::normal_distribution<double> normal(0.0, 100.0);
  std::ofstream out(path);
  for (std::size_t j = 0; j < columns; ++j) out << (j == 0 ? "" : ",") << "x" << j;
  out << '\n';
  std::string line;
  for (std::size_t i = 0; i < rows; ++i) {
    line.clear();
    for (std::size_t j = 0; j < columns; ++j) {
      if (j > 0) line += ',';
      line += j < words ? fmt::format("level {}", random() % 50) : fmt::format("{:.8g}", normal(random));
    }
    out << line << '\n';
  }
  if (!out.flush()) throw kith::Error(path + ": cannot be written");
}

// Splits the file and drops the cells.
void split(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::vector<char> block(std::size_t{1} << 17);
  csv_parser parser{};
  csv_init(&parser, CSV_STRICT);
  const auto on_cell = [](void*, std::size_t, void*) {};
  const auto on_break = [](int, void*) {};
  while (in.read(block.data(), static_cast<std::streamsize>(block.size())), in.gcount() > 0)
    csv_parse(&parser, block.data(), static_cast<std::size_t>(in.gcount()), on_cell, on_break, nullptr);
  csv_fini(&parser, on_cell, on_break, nullptr);
  csv_free(&parser);
}

double peak_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

void measure(const char* name, const std::string& path, std::size_t cells) {
  constexpr int kRuns = 5;
  const double megabytes = static_cast<double>(std::filesystem::file_size(path)) / 1e6;
  std::vector<double> reads;
  std::vector<double> splits;
  const double before = peak_mb();
  for (int run = 0; run < kRuns; ++run) {
    reads.push_back(seconds_of([&] { kith::read_csv(path); }));
    splits.push_back(seconds_of([&] { split(path); }));
  }
  std::sort(reads.begin(), reads.end());
  std::sort(splits.begin(), splits.end());
  const double median = reads[kRuns / 2];
  fmt::print(
      "{:<8} {:6.1f} MB  read {:6.1f} MB/s (best {:.1f}, worst {:.1f}), {:.0f} ns a cell  libcsv alone "
      "{:6.1f} "
      "MB/s  peak {:.1f} MiB, {:.1f} before; float32 {:.1f} MiB\n",
      name, megabytes, megabytes / median, megabytes / reads.front(), megabytes / reads.back(),
      1e9 * median / static_cast<double>(cells), megabytes / splits[kRuns / 2], peak_mb(), before,
      static_cast<double>(4 * cells) / 1048576.0);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::size_t rows = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1'000'000;
    const std::size_t columns = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 10;
    const std::string path =
        (std::filesystem::temp_directory_path() / fmt::format("kith-bench-{}.csv", getpid())).string();
    for (const std::size_t words : {std::size_t{0}, std::min<std::size_t>(2, columns)}) {
      write_table(path, rows, columns, words);
      measure(words == 0 ? "numbers" : "words", path, rows * columns);
    }
    std::filesystem::remove(path);
  } catch (const std::exception& error) {
    std::fputs((std::string(error.what()) + "\n").c_str(), stderr);
    return 1;
  }
  return 0;
}
