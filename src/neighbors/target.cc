#include "neighbors/target.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "neighbors/columns.h"

namespace kith::neighbors {
namespace {

std::string message_start(const Table& table, const std::string& target) {
  return fmt::format("{}target '{}'", table.source.empty() ? "" : table.source + ": ", target);
}

const Column& target_column(const Table& table, const std::string& target) {
  if (const Column* column = table.find(target)) return *column;
  std::string names;
  for (const Column& column : table.columns) names += (names.empty() ? "" : ", ") + column.name;
  throw Error(fmt::format("{}: the table has no such column; its columns are {}",
                          message_start(table, target), names.empty() ? "none" : names));
}

bool blank(const Column& column, Index row) {
  const auto i = static_cast<std::size_t>(row);
  return column.numeric() ? std::isnan(column.number[i]) : column.code[i] == Column::kMissing;
}

std::vector<Index> filled_rows(const Column& column, std::size_t rows) {
  std::vector<Index> filled;
  for (std::size_t i = 0; i < rows; ++i) {
    if (!blank(column, static_cast<Index>(i))) filled.push_back(static_cast<Index>(i));
  }
  return filled;
}

/// The distinct filled cells as text, ascending by number or by bytes.
std::vector<std::string> distinct(const Column& column, const std::vector<Index>& rows) {
  std::vector<std::string> names;
  if (column.numeric()) {
    std::vector<double> numbers;
    for (Index i : rows) numbers.push_back(column.number[static_cast<std::size_t>(i)]);
    std::sort(numbers.begin(), numbers.end());
    numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
    for (double x : numbers) names.push_back(number_text(x));
    return names;
  }
  std::vector<bool> seen(column.level.size(), false);
  for (Index i : rows) seen[column.code[static_cast<std::size_t>(i)]] = true;
  for (std::size_t l = 0; l < seen.size(); ++l) {
    if (seen[l]) names.push_back(column.level[l]);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::uint32_t> codes(const Column& column, const std::vector<Index>& rows,
                                 const std::vector<std::string>& classes) {
  std::unordered_map<std::string, std::uint32_t> known;
  for (std::size_t c = 0; c < classes.size(); ++c) known.emplace(classes[c], static_cast<std::uint32_t>(c));
  const auto find = [&](const std::string& text) {
    const auto it = known.find(text);
    return it == known.end() ? kUnseen : it->second;
  };
  std::vector<std::uint32_t> of_level;
  for (const std::string& level : column.level) of_level.push_back(find(level));
  std::vector<std::uint32_t> code;
  for (Index i : rows) {
    const auto row = static_cast<std::size_t>(i);
    code.push_back(column.numeric() ? find(number_text(column.number[row])) : of_level[column.code[row]]);
  }
  return code;
}

}  // namespace

std::vector<Index> learn_target(const Table& table, const FitOptions& options, Model::Impl& model,
                                std::vector<double>& number, std::vector<std::uint32_t>& code) {
  const Column& column = target_column(table, options.target);
  const std::string start = message_start(table, options.target);
  std::vector<Index> rows = filled_rows(column, table.rows);
  if (rows.empty()) throw Error(start + ": every cell is blank; rows to learn from need a filled one");
  model.target = options.target;
  model.target_kind = column.kind;
  model.task = options.task.value_or(column.numeric() ? Task::regression : Task::classification);
  const std::vector<std::string> different = distinct(column, rows);
  if (different.size() == 1) {
    throw Error(fmt::format("{}: every filled cell is '{}'; there is nothing to learn from a constant", start,
                            different.front()));
  }
  if (const std::size_t left_out = table.rows - rows.size(); left_out > 0) {
    model.notes.push_back(
        fmt::format("{} left out: the target '{}' is blank there", counted(left_out, "row"), options.target));
  }
  if (model.task == Task::classification) {
    if (different.size() > kMaxClasses) {
      throw Error(fmt::format("{}: {} different classes, at most {} can be told apart", start,
                              different.size(), kMaxClasses));
    }
    model.classes = different;
    code = codes(column, rows, model.classes);
    return rows;
  }
  if (!column.numeric()) {
    throw Error(fmt::format("{}: regression needs numbers, the column holds categories such as '{}'", start,
                            different.front()));
  }
  const auto n = static_cast<double>(rows.size());
  for (Index i : rows) {
    const double y = column.number[static_cast<std::size_t>(i)];
    if (!(std::abs(y) <= 1e150)) {
      throw Error(fmt::format("{}, row {}: {} is too large to be averaged; numbers up to 1e150 are", start,
                              i + 1, number_text(y)));
    }
    number.push_back(y);
    model.center += y / n;
  }
  double variance = 0;
  for (double y : number) variance += (y - model.center) * (y - model.center) / n;
  model.deviation = std::sqrt(variance);
  if (!(model.deviation > 0)) {
    throw Error(start + ": its numbers differ by less than they can be told apart; rescale it");
  }
  return rows;
}

Truth read_truth(const Model::Impl& model, const Table& table) {
  const Column& column = target_column(table, model.target);
  Truth truth;
  truth.rows = filled_rows(column, table.rows);
  if (column.kind != model.target_kind && !truth.rows.empty()) {
    const bool was_numeric = model.target_kind == Column::Kind::numeric;
    throw Error(fmt::format("{}: the model was fitted on {}, the table holds {}",
                            message_start(table, model.target), was_numeric ? "numbers" : "categories",
                            was_numeric ? "categories" : "numbers"));
  }
  if (model.task == Task::classification) {
    truth.code = codes(column, truth.rows, model.classes);
  } else {
    for (Index i : truth.rows) truth.number.push_back(column.number[static_cast<std::size_t>(i)]);
  }
  return truth;
}

}  // namespace kith::neighbors
