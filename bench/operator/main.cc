// bench_operator: the operator against the machine's limits, its own other configurations, and peers.
//
//   bench_operator [--list] [--only REGEX] [--quick] [--no-peers] [--growth N] [--json FILE] [--output
//   FOLDER]
//
// Prints a Markdown table, a line as soon as it is measured. docs/bench.md says what is in it.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "kith/error.h"
#include "result.h"
#include "rows.h"
#include "runner.h"

namespace {

using namespace kith::bench;

constexpr const char* kHelp = R"(bench_operator [OPTIONS]

  --list           names of the rows, and what they measure
  --only REGEX     only rows whose names contain a match
  --quick          three short pairs a row instead of nine: to see that all works, not to quote
  --no-peers       Kith and the machine alone
  --growth N       also speed and memory over 128, 256, ... N rows
  --json FILE      all figures
  --output FOLDER  table.md, bench.json and the numbers that bench/plots.gp draws
)";

struct Arguments {
  bool list = false, quick = false, peers = true, help = false;
  std::string only{}, json{}, output{};
  kith::Index growth = 0;
};

Arguments parse(const std::vector<std::string>& words) {
  Arguments arguments;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto next = [&] {
      if (i + 1 == words.size()) throw kith::Error(words[i] + " needs a value");
      return words[++i];
    };
    if (words[i] == "--list") {
      arguments.list = true;
    } else if (words[i] == "--quick") {
      arguments.quick = true;
    } else if (words[i] == "--no-peers") {
      arguments.peers = false;
    } else if (words[i] == "--only") {
      arguments.only = next();
    } else if (words[i] == "--json") {
      arguments.json = next();
    } else if (words[i] == "--output") {
      arguments.output = next();
    } else if (words[i] == "--growth") {
      arguments.growth = std::stol(next());
    } else if (words[i] == "--help") {
      arguments.help = true;
    } else {
      throw kith::Error(fmt::format("{}: no such option; --help lists them", words[i]));
    }
  }
  return arguments;
}

std::vector<Row> chosen_rows(const std::string& only) {
  std::vector<Row> chosen;
  const std::regex pattern(only);
  for (Row& row : rows())
    if (std::regex_search(row.name, pattern)) chosen.push_back(std::move(row));
  return chosen;
}

void show(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

void save(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  if (!file.flush()) throw kith::Error(path + ": cannot be written");
}

/// Everything measured so far, saved after every row: a run takes long, and what is there should survive its
/// end.
class Report {
 public:
  Report(const Arguments& arguments, const Machine& machine)
      : json_(arguments.json), folder_(arguments.output), machine_(machine), table_(table_head(machine)) {
    if (!folder_.empty()) std::filesystem::create_directories(folder_);
    show(table_);
  }

  void add(const RowResult& result) {
    const std::string line = table_line(result, machine_);
    table_ += line;
    show(line);
    results_.push_back(result);
    save_all();
  }

  void add(const std::vector<GrowthPoint>& points) {
    growth_ = points;
    save_all();
  }

 private:
  void save_all() const {
    nlohmann::json object = {{"machine", to_json(machine_)}, {"rows", nlohmann::json::array()}};
    for (const RowResult& result : results_) object["rows"].push_back(to_json(result, machine_));
    for (const GrowthPoint& p : growth_) {
      object["growth"].push_back(
          {{"who", p.who}, {"rows", p.rows}, {"gflops", p.gflops}, {"megabytes", p.megabytes}});
    }
    if (!json_.empty()) save(json_, object.dump(2) + "\n");
    if (folder_.empty()) return;
    save(folder_ + "/bench.json", object.dump(2) + "\n");
    save(folder_ + "/table.md", table_);
    write_plot_data(folder_, results_, machine_);
    write_growth_data(folder_, growth_);
  }

  std::string json_, folder_;
  Machine machine_;
  std::string table_;
  std::vector<RowResult> results_;
  std::vector<GrowthPoint> growth_;
};

void run(const Arguments& arguments) {
  const std::vector<Row> chosen = chosen_rows(arguments.only);
  if (arguments.help) return show(kHelp);
  if (arguments.list) {
    for (const Row& row : chosen) show(fmt::format("{:36} {}\n", row.name, row.what));
    return;
  }
  Effort effort;
  if (arguments.quick) effort = {.pairs = 3, .slice = 0.01, .limit_slice = 0.01, .row_seconds = 10};
  Report report(arguments, this_machine());
  Runner runner(effort, arguments.peers);
  for (const Row& row : chosen) report.add(runner.run(row));
  if (arguments.growth > 0) report.add(runner.growth(arguments.growth));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(parse({argv + 1, argv + argc}));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_operator: %s\n", error.what());
    return 1;
  }
}
