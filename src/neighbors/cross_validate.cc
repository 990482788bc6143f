#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kith/layers/random.h"
#include "kith/neighbors.h"

namespace kith {
namespace {

Table select(const Table& table, const std::vector<std::size_t>& rows) {
  Table part;
  part.source = table.source;
  part.rows = rows.size();
  for (const Column& from : table.columns) {
    Column column;
    column.name = from.name;
    column.kind = from.kind;
    column.level = from.level;
    for (const std::size_t row : rows) {
      if (from.numeric()) {
        column.number.push_back(from.number[row]);
      } else {
        column.code.push_back(from.code[row]);
      }
    }
    part.columns.push_back(std::move(column));
  }
  return part;
}

constexpr double Errors::*kMeasures[] = {
    &Errors::rmse, &Errors::mae,      &Errors::r2,       &Errors::interval, &Errors::coverage,
    &Errors::crps, &Errors::accuracy, &Errors::log_loss, &Errors::brier,    &Errors::auc};

}  // namespace

CrossValidation cross_validate(const Table& table, const FitOptions& options, int folds) {
  const Column& target = table.at(options.target);
  std::vector<std::size_t> rows;
  for (std::size_t row = 0; row < table.rows; ++row) {
    if (!target.missing(row)) rows.push_back(row);
  }
  if (folds < 2 || static_cast<std::size_t>(folds) > rows.size()) {
    throw Error(
        fmt::format("folds: {}; a number from 2 to the {} rows with a target is needed", folds, rows.size()));
  }
  Random random(options.seed);
  random.shuffle(rows.begin(), rows.end());

  CrossValidation found;
  const auto count = static_cast<std::size_t>(folds);
  for (std::size_t fold = 0; fold < count; ++fold) {
    std::vector<std::size_t> train, test;
    for (std::size_t i = 0; i < rows.size(); ++i) (i % count == fold ? test : train).push_back(rows[i]);
    std::sort(train.begin(), train.end());
    std::sort(test.begin(), test.end());
    const Model model = fit(select(table, train), options);
    if (model.stopped_early()) break;
    found.fold.push_back(score(model, select(table, test), 0.9, options.threads).errors);
  }
  const auto n = static_cast<double>(found.fold.size());
  for (double Errors::*measure : kMeasures) {
    double sum = 0, squares = 0;
    for (const Errors& e : found.fold) sum += e.*measure;
    const double mean = n > 0 ? sum / n : 0;
    for (const Errors& e : found.fold) squares += (e.*measure - mean) * (e.*measure - mean);
    found.mean.*measure = mean;
    found.deviation.*measure = n > 1 ? std::sqrt(squares / (n - 1)) : 0;
  }
  return found;
}

}  // namespace kith
