// What each picture shows, as plain data: drawn from here, so that a picture can be made and looked at
// without a model.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kith/draw.h"

namespace kith::draw {

/// One numeric column against the target, or against the classes' probabilities.
struct CurveFigure {
  struct Line {
    std::string name;             ///< class; not shown where there is only one line.
    std::vector<double> value;    ///< at each `grid`.
    std::vector<double> rows_at;  ///< where the class's rows lie on the column; drawn as a strip of ticks.
  };

  std::string column, target, subtitle;
  std::vector<double> grid;
  std::vector<Line> lines;  ///< regression: one; classification: one a class, values 0 ... 1.
  bool probabilities = false;
  std::vector<double> lower, upper;      ///< at each `grid`, or empty. What is not finite is not drawn.
  double interval = 0.9;                 ///< its nominal coverage.
  std::vector<double> point_x, point_y;  ///< rows; regression.
};

struct ImportanceFigure {
  struct Bar {
    std::string name;
    double importance = 0;  ///< 0 ... 1
    double bandwidth = 0;   ///< +inf: ignored.
  };

  std::string target, subtitle;
  std::vector<Bar> bars;  ///< in any order.
};

/// The rows behind one prediction.
struct WhyFigure {
  struct Row {
    std::size_t row = 0;            ///< in the fitted table, from 1.
    double weight = 0;              ///< 0 ... 1
    std::string target;             ///< its target cell.
    std::vector<std::string> cell;  ///< per column.
    std::vector<double> apart;      ///< per column, in bandwidths; 0: the same.
  };

  std::size_t row = 0;  ///< the predicted row, from 1.
  std::string target;
  std::size_t stored_rows = 0;
  std::vector<std::string> columns;
  std::vector<double> importance;  ///< per column; those of 0 are not shown.
  std::vector<Row> rows;           ///< heaviest first.

  std::optional<double> value;                        ///< regression
  std::optional<std::pair<double, double>> interval;  ///< regression, where one was asked for
  std::vector<double> target_value;                   ///< regression: per row
  std::string label;                                  ///< classification: the likeliest class,
  double probability = 0;                             ///< and how likely it is.
  std::vector<std::string> classes;                   ///< classification: in the model's order.
};

void draw_curve(const CurveFigure& figure, const std::string& path, const PictureOptions& options);
void draw_importance(const ImportanceFigure& figure, const std::string& path, const PictureOptions& options);
void draw_why(const WhyFigure& figure, const std::string& path, const PictureOptions& options);

}  // namespace kith::draw
