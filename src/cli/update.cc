// kith update: rows added to a model and rows forgotten, without fitting again.
#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fmt/format.h>

#include "cli/json.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/table_format.h"
#include "cli/text.h"
#include "kith/edit.h"

namespace kith::cli {
namespace {

/// What --forget said, or the file it named.
struct RowList {
  std::string text, source;
};

RowList row_list(const std::string& argument) {
  if (argument[0] != '@') return {argument, "--forget"};
  const std::string path = argument.substr(1);
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    throw Error(fmt::format("--forget: {} is a folder; a file that lists rows is needed", path));
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(fmt::format("--forget: {}: cannot be opened", path));
  return {std::string(std::istreambuf_iterator<char>(file), {}), path};
}

/// The stored rows among "3,10-20 25": numbers and ranges apart by commas or blanks. Ascending, each once.
std::vector<std::size_t> parse_rows(const RowList& list, const Model& model) {
  std::vector<std::size_t> stored, rows;
  for (std::size_t row = 1; row <= model.rows(); ++row) stored.push_back(model.table_row(row));
  const auto separates = [](char c) { return c == ',' || std::isspace(static_cast<unsigned char>(c)) != 0; };
  for (auto at = list.text.begin(); at != list.text.end();) {
    at = std::find_if_not(at, list.text.end(), separates);
    if (at == list.text.end()) break;
    const auto end = std::find_if(at, list.text.end(), separates);
    const std::string word(at, end);
    at = end;
    std::size_t first = 0, last = 0;
    const char* stop = word.data() + word.size();
    auto read = std::from_chars(word.data(), stop, first);
    last = first;
    if (read.ec == std::errc() && read.ptr != stop && *read.ptr == '-') {
      read = std::from_chars(read.ptr + 1, stop, last);
    }
    if (read.ec != std::errc() || read.ptr != stop || first < 1 || last < first) {
      throw UsageError(fmt::format("{}: '{}' is no row and no range of rows, such as 7 or 10-20", list.source,
                                   one_line(shortened(word, 40))));
    }
    const auto low = std::lower_bound(stored.begin(), stored.end(), first);
    const auto high = std::upper_bound(low, stored.end(), last);
    if (low == high) {
      throw Error(fmt::format("{}: no row {} is stored; the model's {} rows have numbers from {} to {}",
                              list.source, word, stored.size(), stored.front(), stored.back()));
    }
    rows.insert(rows.end(), low, high);
  }
  if (rows.empty()) throw UsageError(fmt::format("{}: no rows are named", list.source));
  std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  return rows;
}

}  // namespace

void run(UpdateArguments arguments) {
  if (arguments.out.empty()) arguments.out = arguments.model;
  std::error_code error;
  const bool in_place = std::filesystem::equivalent(arguments.out, arguments.model, error);
  check_output("-o", arguments.out, {arguments.table, in_place ? "" : arguments.model});
  const Model old = Model::load(arguments.model);

  UpdateSummary summary;
  summary.path = arguments.out;
  summary.before = old.leave_one_out();
  Model model = old;
  if (!arguments.forget.empty()) {
    const std::vector<std::size_t> rows = parse_rows(row_list(arguments.forget), old);
    model = forget_rows(model, rows, arguments.threads);
    summary.forgotten = rows.size();
  }
  if (!arguments.table.empty()) {
    const Table table = read_csv(arguments.table, with_format(model.csv_options(true), arguments.csv));
    Added added =
        add_rows(model, table, {.new_classes = arguments.new_classes, .threads = arguments.threads});
    model = std::move(added.model);
    summary.added = added.rows;
    summary.left_out = added.left_out;
    summary.first_row = added.first_row;
    summary.notes = std::move(added.notes);
  }
  model.save(arguments.out);
  print_notes(arguments, summary.notes);
  if (arguments.json) {
    print(update_json(summary, model));
    return;
  }
  if (arguments.quiet) return;
  std::string text;
  if (summary.forgotten > 0) text += fmt::format("Forgotten: {} rows.\n", summary.forgotten);
  if (!arguments.table.empty()) {
    text += fmt::format(
        "Added: {} rows{}{}.\n", summary.added,
        summary.added > 0
            ? fmt::format("; row i of the table is row {} + i from now on", summary.first_row - 1)
            : "",
        summary.left_out > 0 ? fmt::format("; {} left out, their target is blank", summary.left_out) : "");
  }
  text += fmt::format("Stored now: {} rows. The metric is that of the fit.\n", model.rows());
  text += "\nError, each stored row predicted from all the others:\n";
  text += errors_text(model.task(), {{"before", summary.before}, {"now", model.leave_one_out()}});
  text += fmt::format("\nModel: {}\n", arguments.out);
  print(text);
}

}  // namespace kith::cli
