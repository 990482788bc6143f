// From a model or a prediction to the plain data of its picture.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>

#include "draw/figures.h"
#include "draw/gnuplot.h"
#include "draw/text.h"

namespace kith::draw {
namespace {

constexpr std::size_t kGridPoints = 400;

double parse(const std::string& cell) {
  double value = 0;
  const auto [end, failure] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  return failure == std::errc{} && end == cell.data() + cell.size()
             ? value
             : std::numeric_limits<double>::quiet_NaN();
}

std::string errors_text(const Model& model) {
  const Errors& errors = model.leave_one_out();
  if (model.task() == Task::regression) {
    return fmt::format("leave-one-out RMSE {} (R² {:.2f})", number_text(errors.rmse), errors.r2);
  }
  return fmt::format("leave-one-out accuracy {}, log loss {}", percent_text(errors.accuracy),
                     number_text(errors.log_loss));
}

std::vector<double> grid_over(const std::vector<double>& values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  std::vector<double> grid(kGridPoints);
  for (std::size_t i = 0; i < kGridPoints; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(kGridPoints - 1);
    grid[i] = *low * (1 - share) + *high * share;
  }
  return grid;
}

bool one_numeric_feature(const Model& model) {
  return model.features().size() == 1 && model.features()[0].kind == Column::Kind::numeric;
}

}  // namespace

void curve(const Model& model, const std::string& path, double interval, const PictureOptions& options) {
  check_picture(path, options);
  if (!one_numeric_feature(model)) {
    throw Error(fmt::format("curve: a model of {} columns; a curve needs one numeric column",
                            model.features().size()));
  }
  const bool regression = model.task() == Task::regression;
  const Feature& feature = model.features()[0];
  CurveFigure figure;
  figure.column = feature.name;
  figure.target = model.target();
  figure.probabilities = !regression;
  figure.interval = interval;
  figure.lines.resize(regression ? 1 : model.classes().size());

  std::vector<double> filled;
  std::map<std::string, std::size_t> class_of;
  for (std::size_t c = 0; !regression && c < model.classes().size(); ++c) {
    figure.lines[c].name = model.classes()[c];
    class_of[model.classes()[c]] = c;
  }
  for (std::size_t row = 1; row <= model.rows(); ++row) {
    const double x = parse(model.cell(row, 0));
    if (!std::isfinite(x)) continue;
    filled.push_back(x);
    if (regression) {
      figure.point_x.push_back(x);
      figure.point_y.push_back(model.target_value(row));
    } else {
      figure.lines[class_of.at(model.target_cell(row))].rows_at.push_back(x);
    }
  }
  if (filled.empty())
    throw Error(fmt::format("curve: column '{}' is blank in every stored row", feature.name));
  figure.grid = grid_over(filled);

  Table table;
  table.source = "the curve's grid";
  table.rows = figure.grid.size();
  table.columns.emplace_back();
  table.columns[0].name = feature.name;
  table.columns[0].number = figure.grid;
  PredictOptions predict_options;
  if (regression) predict_options.interval = interval;
  Prediction prediction = predict(model, table, predict_options);
  if (regression) {
    figure.lines[0].value = std::move(prediction.value);
    figure.lower = std::move(prediction.lower);
    figure.upper = std::move(prediction.upper);
  } else {
    for (std::size_t c = 0; c < figure.lines.size(); ++c) {
      for (std::size_t i = 0; i < table.rows; ++i)
        figure.lines[c].value.push_back(prediction.probability(i, c));
    }
  }
  const std::size_t blank = model.rows() - filled.size();
  const double neighbors = model.effective_neighbors();
  figure.subtitle =
      fmt::format("{} rows{}, {}, {} effective neighbors", count_text(model.rows()),
                  blank > 0 ? fmt::format(" ({} blank, not shown)", count_text(blank)) : "",
                  errors_text(model), number_text(neighbors < 10 ? neighbors : std::round(neighbors)));
  draw_curve(figure, path, options);
}

void importance(const Model& model, const std::string& path, const PictureOptions& options) {
  check_picture(path, options);
  ImportanceFigure figure;
  figure.target = model.target();
  figure.subtitle = fmt::format("{} rows, {}", count_text(model.rows()), errors_text(model));
  for (const Feature& feature : model.features()) {
    figure.bars.push_back({feature.name, feature.importance, feature.bandwidth});
  }
  draw_importance(figure, path, options);
}

void why(const Model& model, const Prediction& prediction, std::size_t row, const std::string& path,
         const PictureOptions& options) {
  check_picture(path, options);
  if (prediction.why.empty())
    throw Error("why: the prediction carries no rows behind it; ask predict for some");
  if (row < 1 || row > prediction.why.size()) {
    throw Error(fmt::format("why: row {} of a prediction of {} rows", row, prediction.why.size()));
  }
  const std::size_t at = row - 1;
  const std::vector<Neighbor>& neighbors = prediction.why[at];
  WhyFigure figure;
  figure.row = row;
  figure.target = model.target();
  figure.stored_rows = model.rows();
  for (const Feature& feature : model.features()) {
    figure.columns.push_back(feature.name);
    figure.importance.push_back(feature.importance);
  }
  if (model.task() == Task::regression) {
    figure.value = prediction.value[at];
    if (!prediction.lower.empty()) figure.interval = {prediction.lower[at], prediction.upper[at]};
  } else {
    figure.classes = model.classes();
    figure.label = figure.classes[prediction.label[at]];
    figure.probability = prediction.probability(at, prediction.label[at]);
  }

  // Neighbors are known by their row in the fitted table; cells are kept by stored row.
  std::map<std::size_t, std::size_t> stored_row;
  for (const Neighbor& neighbor : neighbors) stored_row[neighbor.row] = 0;
  for (std::size_t stored = 1; stored <= model.rows(); ++stored) {
    const auto entry = stored_row.find(model.table_row(stored));
    if (entry != stored_row.end()) entry->second = stored;
  }
  for (const Neighbor& neighbor : neighbors) {
    const std::size_t stored = stored_row[neighbor.row];
    if (stored == 0 || neighbor.apart.size() != figure.columns.size()) {
      throw Error(fmt::format("why: row {} behind the prediction is not of this model", neighbor.row));
    }
    WhyFigure::Row entry{neighbor.row, neighbor.weight, neighbor.target, {}, neighbor.apart};
    for (std::size_t c = 0; c < figure.columns.size(); ++c) entry.cell.push_back(model.cell(stored, c));
    figure.rows.push_back(std::move(entry));
    if (figure.value) figure.target_value.push_back(model.target_value(stored));
  }
  draw_why(figure, path, options);
}

void model(const Model& fitted, const std::string& path, const PictureOptions& options) {
  if (one_numeric_feature(fitted)) return curve(fitted, path, 0.9, options);
  importance(fitted, path, options);
}

}  // namespace kith::draw
