#include "cli/report.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>

#include <fmt/format.h>

#include "cli/text.h"

namespace kith::cli {
namespace {

constexpr std::size_t kNameWidth = 28;
constexpr std::size_t kBarWidth = 20;

std::string kind_text(const Feature& feature) {
  if (feature.kind == Column::Kind::numeric) return "number";
  return fmt::format("{} categories", feature.level.size());
}

Errors mean_errors(const Model& model) {
  const std::size_t n = model.rows();
  double sum = 0;
  for (std::size_t row = 1; row <= n; ++row) sum += model.target_value(row);
  const double mean = sum / static_cast<double>(n);
  double squared = 0, absolute = 0;
  for (std::size_t row = 1; row <= n; ++row) {
    const double error = model.target_value(row) - mean;
    squared += error * error;
    absolute += std::abs(error);
  }
  Errors errors;
  errors.rmse = std::sqrt(squared / static_cast<double>(n));
  errors.mae = absolute / static_cast<double>(n);
  return errors;
}

Errors class_share_errors(const Model& model) {
  std::unordered_map<std::string, double> count;
  for (std::size_t row = 1; row <= model.rows(); ++row) count[model.target_cell(row)] += 1;
  Errors errors;
  errors.auc = 0.5;
  errors.brier = 1;
  for (const auto& [cell, rows] : count) {
    const double share = rows / static_cast<double>(model.rows());
    errors.accuracy = std::max(errors.accuracy, share);
    errors.log_loss -= share * std::log(share);
    errors.brier -= share * share;
  }
  if (model.classes().size() == 2) errors.brier /= 2;  // As the scores count it: of one class, not of both.
  return errors;
}

}  // namespace

std::string target_kind(const Model& model) {
  if (model.task() == Task::regression) return "a number";
  return fmt::format("a class of {}", model.classes().size());
}

std::string columns_text(const Model& model, std::size_t limit) {
  const std::vector<Feature>& features = model.features();
  std::vector<std::size_t> order(features.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return features[a].importance > features[b].importance;
  });
  const std::size_t shown = limit == 0 ? order.size() : std::min(limit, order.size());
  const bool by_encoder = model.metric() == Metric::encoder;
  AlignedTable table;
  table.add({"column", "holds", "blank", "bandwidth", "without it", ""});
  for (std::size_t i = 0; i < shown; ++i) {
    const Feature& feature = features[order[i]];
    const bool ignored = std::isinf(feature.bandwidth);
    table.add({shortened(one_line(feature.name), kNameWidth), kind_text(feature),
               feature.blank > 0 ? percent(feature.blank) : "0 %",
               ignored      ? "ignored"
               : by_encoder ? "–"
                            : number(feature.bandwidth),
               ignored ? "" : fmt::format("+{}", percent(feature.rise)), bar(feature.importance, kBarWidth)});
  }
  std::string text = table.str();
  if (shown < order.size()) text += fmt::format("  and {} more\n", order.size() - shown);
  return text;
}

std::string errors_text(Task task, const std::vector<Baseline>& lines) {
  AlignedTable table;
  const bool regression = task == Task::regression;
  if (regression) {
    table.add({"", "RMSE", "MAE", "R²"});
  } else {
    table.add({"", "accuracy", "log loss", "Brier", "AUC"});
  }
  for (const auto& [name, errors] : lines) {
    if (regression) {
      table.add({name, number(errors.rmse), number(errors.mae), fmt::format("{:.3f}", errors.r2)});
    } else {
      table.add({name, percent(errors.accuracy), fmt::format("{:.4f}", errors.log_loss),
                 fmt::format("{:.4f}", errors.brier), fmt::format("{:.4f}", errors.auc)});
    }
  }
  constexpr const char* kRegressionWords =
      "  RMSE: root mean squared error. MAE: mean absolute error.\n"
      "  R²: share of the variance explained.\n";
  constexpr const char* kClassWords =
      "  Log loss and Brier: how far the probabilities are off, 0 is perfect.\n"
      "  AUC: how well they order the rows, 1 is perfect, 0.5 is chance.\n";
  return table.str() + (regression ? kRegressionWords : kClassWords);
}

Baseline simplest(const Model& model) {
  if (model.task() == Task::regression) return {"always the mean", mean_errors(model)};
  return {"always the classes' shares", class_share_errors(model)};
}

std::string coverage_text(Task task, const Errors& errors) {
  if (task != Task::regression || !(errors.interval > 0)) return "";
  return fmt::format(
      "  {:.4g} % intervals hold the true number in {} of the rows.\n"
      "  CRPS {}: the error of the whole predicted distribution, in the target's units.\n",
      100 * errors.interval, percent(errors.coverage), number(errors.crps));
}

}  // namespace kith::cli
