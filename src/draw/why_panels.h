// The panels of the picture of the rows behind a prediction; why.cc decides where they lie.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "draw/canvas.h"
#include "draw/figures.h"

namespace kith::draw {

inline constexpr double kWhyGap = 14;          ///< between panels
inline constexpr double kWhyHeadingLine = 13;  ///< pixels a line
inline constexpr int kWhyHeadingLines = 3;

/// The columns there is room for.
struct WhyCells {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> cell;  ///< [rows][columns]
  std::vector<std::vector<double>> apart;      ///< [rows][columns]
};

/// Where the panels lie, left to right, and the lines, top to bottom, in pixels.
struct WhyLayout {
  double weight_left = 0, weight_right = 0, target_left = 0, target_right = 0, cells_left = 0, cell_width = 0;
  double top = 0, line = 0, bottom = 0, size = 0;
  /// Middle of a row's line.
  double y(std::size_t row) const { return top + (static_cast<double>(row) + 0.5) * line; }
};

void draw_headings(Canvas& canvas, const WhyLayout& at, const WhyFigure& figure, const WhyCells& cells);
/// Row numbers and weights as bars.
void draw_weights(Canvas& canvas, const WhyLayout& at, const WhyFigure& figure, std::size_t rows);
/// Regression: what each row says, beside the prediction and its interval.
void draw_targets(Canvas& canvas, const WhyLayout& at, const WhyFigure& figure, std::size_t rows);
/// Classification: each row's class.
void draw_classes(Canvas& canvas, const WhyLayout& at, const WhyFigure& figure, std::size_t rows);
/// Rows by columns, colored by how far apart each is from the predicted row.
void draw_cells(Canvas& canvas, const WhyLayout& at, const WhyCells& cells, std::size_t rows);
/// What the cells' colors mean.
void draw_scale(Canvas& canvas);

}  // namespace kith::draw
