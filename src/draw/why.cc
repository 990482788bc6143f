// The rows behind one prediction: how much each weighs, what it says, and how far it is in each column.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "draw/gnuplot.h"
#include "draw/text.h"
#include "draw/why_panels.h"

namespace kith::draw {
namespace {

constexpr std::size_t kMostRows = 20;
constexpr double kLowestLine = 16, kHighestLine = 34;  // pixels
constexpr double kNarrowestCell = 56, kWidestCell = 92;
// Columns that count, most important first; those without room become one, as far apart as they are together.
WhyCells choose_columns(const WhyFigure& figure, std::size_t room) {
  std::vector<std::size_t> order;
  for (std::size_t c = 0; c < figure.columns.size(); ++c) {
    if (figure.importance[c] > 0) order.push_back(c);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return figure.importance[a] > figure.importance[b]; });
  if (room == 0) order.clear();
  std::vector<std::size_t> rest;
  if (order.size() > room) {
    rest.assign(order.begin() + static_cast<std::ptrdiff_t>(room - 1), order.end());
    order.resize(room - 1);
  }
  WhyCells out;
  for (std::size_t c : order) out.columns.push_back(figure.columns[c]);
  if (!rest.empty()) out.columns.push_back(fmt::format("{} more", rest.size()));
  for (const WhyFigure::Row& row : figure.rows) {
    std::vector<std::string>& cell = out.cell.emplace_back();
    std::vector<double>& apart = out.apart.emplace_back();
    for (std::size_t c : order) {
      cell.push_back(row.cell[c].empty() ? "blank" : row.cell[c]);
      apart.push_back(row.apart[c]);
    }
    if (rest.empty()) continue;
    double square = 0;
    for (std::size_t c : rest) square += row.apart[c] * row.apart[c];
    cell.emplace_back();
    apart.push_back(std::sqrt(square));
  }
  return out;
}

std::string title_of(const WhyFigure& figure) {
  const std::string target = clean(figure.target);
  if (figure.value)
    return fmt::format("Row {}: {} predicted as {}", figure.row, target, number_text(*figure.value));
  return fmt::format("Row {}: {} predicted as {} ({})", figure.row, target, clean(figure.label),
                     percent_text(figure.probability));
}

std::string subtitle_of(const WhyFigure& figure, std::size_t rows) {
  double weight = 0;
  for (std::size_t r = 0; r < rows; ++r) weight += figure.rows[r].weight;
  const std::string total = percent_text(weight), stored = count_text(figure.stored_rows);
  std::string out;
  if (figure.interval) {
    out = fmt::format("Interval (shaded) {} to {}. ", number_text(figure.interval->first),
                      number_text(figure.interval->second));
  }
  if (rows == 1)
    return out + fmt::format("The heaviest of {} rows makes {} of the prediction.", stored, total);
  return out + fmt::format("The {} heaviest of {} rows make {} of the prediction.", rows, stored, total);
}

}  // namespace

void draw_why(const WhyFigure& figure, const std::string& path, const PictureOptions& options) {
  if (figure.rows.empty()) throw Error(fmt::format("why: row {} has no rows behind it", figure.row));
  Canvas canvas(options.width, options.height);

  // Names, weights and targets take what they need and cells the rest; what those leave widens the others.
  const auto counted = static_cast<std::size_t>(
      std::count_if(figure.importance.begin(), figure.importance.end(), [](double i) { return i > 0; }));
  const double names = text_width("row " + count_text(figure.stored_rows), kTextSize) + 8;
  const double weights = 106, targets = figure.value ? 145 : 100;
  const double free = canvas.width() - 2 * kMargin - names - weights - targets - 2 * kWhyGap;
  const std::size_t columns =
      std::min(counted, static_cast<std::size_t>(std::max(0.0, free / kNarrowestCell)));
  WhyLayout at;
  at.cell_width = std::min(kWidestCell, free / static_cast<double>(std::max<std::size_t>(columns, 1)));
  const double spare = std::max(0.0, free - at.cell_width * static_cast<double>(columns));
  at.weight_left = kMargin + names;
  at.weight_right = at.weight_left + weights + spare * (figure.value ? 0.5 : 1.0);
  at.target_left = at.weight_right + kWhyGap;
  at.target_right = at.target_left + targets + spare * (figure.value ? 0.5 : 0.0);
  at.cells_left = at.target_right + kWhyGap;

  const WhyCells cells = choose_columns(figure, columns);
  std::size_t heading_lines =
      wrap_text(figure.target, at.target_right - at.target_left, kSmallSize, 3).size();
  for (const std::string& name : cells.columns) {
    heading_lines =
        std::max(heading_lines, wrap_text(name, at.cell_width - 4, kSmallSize, kWhyHeadingLines).size());
  }
  at.top = kContentAt + 14 + kWhyHeadingLine * static_cast<double>(heading_lines);
  const double room = canvas.height() - at.top - 52;
  const std::size_t rows =
      std::min({figure.rows.size(), kMostRows, static_cast<std::size_t>(std::max(1.0, room / kLowestLine))});
  at.line = std::min(kHighestLine, room / static_cast<double>(rows));
  at.bottom = at.top + at.line * static_cast<double>(rows);
  at.size = std::min(kTextSize, at.line * 0.68);

  const std::string title = title_of(figure);
  canvas.heading(title, subtitle_of(figure, rows));
  draw_headings(canvas, at, figure, cells);
  draw_weights(canvas, at, figure, rows);
  if (figure.value) {
    draw_targets(canvas, at, figure, rows);
  } else {
    draw_classes(canvas, at, figure, rows);
  }
  draw_cells(canvas, at, cells, rows);
  if (columns > 0) draw_scale(canvas);
  write_picture(canvas.script(), title, path, options);
}

}  // namespace kith::draw
