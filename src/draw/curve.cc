// One numeric column and what the model makes of it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "draw/canvas.h"
#include "draw/figures.h"
#include "draw/gnuplot.h"
#include "draw/text.h"

namespace kith::draw {
namespace {

constexpr std::size_t kMostPoints = 2000;
constexpr double kStrip = 0.045;  // height of a class's strip of ticks, in units of probability

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();

  void add(const std::vector<double>& values) {
    for (double v : values) {
      if (!std::isfinite(v)) continue;
      low = std::min(low, v);
      high = std::max(high, v);
    }
  }
  // With room around, and never empty: a constant column is a picture too.
  std::string text(double room) const {
    if (low > high) return "[0:1]";
    double pad = (high - low) * room;
    if (pad <= 1e-12 * std::max(std::abs(low), std::abs(high))) pad = std::max(0.5, std::abs(low) * 0.05);
    return fmt::format("[{:.15g}:{:.15g}]", low - pad, high + pad);
  }
};

std::string number(double v) { return std::isfinite(v) ? fmt::format("{:.15g}", v) : "NaN"; }

// A data block of gnuplot: one line a row, one number a column. Every `step`-th row.
std::string block(const std::string& name, const std::vector<const std::vector<double>*>& columns,
                  double step = 1) {
  std::string out = "$" + name + " << EOD\n";
  const std::size_t rows = columns.front()->size();
  for (std::size_t k = 0;; ++k) {
    const auto i = static_cast<std::size_t>(static_cast<double>(k) * step);
    if (i >= rows) break;
    for (const auto* column : columns) fmt::format_to(std::back_inserter(out), "{} ", number((*column)[i]));
    out += '\n';
  }
  return out + "EOD\n";
}

double thinning(std::size_t rows) {
  return std::max(1.0, static_cast<double>(rows) / static_cast<double>(kMostPoints));
}

std::string rows_legend(std::size_t rows) {
  if (rows <= kMostPoints) return count_text(rows) + (rows == 1 ? " row" : " rows");
  return fmt::format("{} of {} rows", count_text(kMostPoints), count_text(rows));
}

struct Plot {
  std::string data, elements, y_range;
  void add(const std::string& element) { elements += (elements.empty() ? "plot " : ", \\\n  ") + element; }
};

Plot regression(const CurveFigure& figure) {
  Plot plot;
  Range y;
  y.add(figure.point_y);
  const std::vector<double>& value = figure.lines.front().value;
  y.add(value);
  const bool has_band =
      std::any_of(figure.lower.begin(), figure.lower.end(), [](double v) { return std::isfinite(v); });
  if (has_band) {
    y.add(figure.lower);
    y.add(figure.upper);
    plot.data += block("band", {&figure.grid, &figure.lower, &figure.upper});
    plot.add(fmt::format("$band using 1:2:3 with filledcurves fc rgb '#A856B4E9' title {}",
                         quote(number_text(100 * figure.interval) + " % interval")));
  }
  if (!figure.point_x.empty()) {
    const std::size_t rows = figure.point_x.size();
    // The more dots, the smaller and the clearer, so that crowds show as darker places.
    const char* look = rows <= 150   ? "ps 0.6 lc rgb '#60222222'"
                       : rows <= 600 ? "ps 0.5 lc rgb '#90222222'"
                                     : "ps 0.35 lc rgb '#A8222222'";
    plot.data += block("rows", {&figure.point_x, &figure.point_y}, thinning(rows));
    plot.add(fmt::format("$rows using 1:2 with points pt 7 {} title {}", look, quote(rows_legend(rows))));
  }
  plot.data += block("line", {&figure.grid, &value});
  plot.add(fmt::format("$line using 1:2 with lines lw 2.5 lc rgb '{}' title 'prediction'", kBlue));
  plot.y_range = y.text(0.04);
  return plot;
}

// The classes that matter most get a line and, under the axis, a strip of ticks at their rows; the others one
// gray line.
Plot classification(const CurveFigure& figure) {
  std::vector<std::pair<double, std::size_t>> order;
  for (std::size_t c = 0; c < figure.lines.size(); ++c) {
    double total = 0;
    for (double p : figure.lines[c].value) total -= p;
    order.emplace_back(total, c);
  }
  std::vector<std::size_t> shown;
  if (order.size() > kClassColor.size()) {
    std::sort(order.begin(), order.end());
    order.resize(kClassColor.size() - 1);
  }
  for (const auto& entry : order) shown.push_back(entry.second);
  std::sort(shown.begin(), shown.end());

  Plot plot;
  std::vector<double> others(figure.grid.size(), 1.0);
  double strip = 0;
  for (std::size_t k = 0; k < shown.size(); ++k) {
    const CurveFigure::Line& line = figure.lines[shown[k]];
    for (std::size_t i = 0; i < others.size(); ++i) others[i] = std::max(0.0, others[i] - line.value[i]);
    plot.data += block(fmt::format("line{}", k), {&figure.grid, &line.value});
    plot.add(fmt::format("$line{} using 1:2 with lines lw 2.5 lc rgb '{}' title {}", k, kClassColor[k],
                         quote(fit_text(line.name, 130, kTextSize))));
    strip -= kStrip;
    if (line.rows_at.empty()) continue;
    plot.data += block(fmt::format("rows{}", k), {&line.rows_at}, thinning(line.rows_at.size()));
    plot.add(
        fmt::format("$rows{} using 1:({:.3f}):(0):({:.3f}) with vectors nohead lw 1 lc rgb '#70{}' notitle",
                    k, strip, kStrip * 0.75, kClassColor[k] + 1));
  }
  if (shown.size() < figure.lines.size()) {
    plot.data += block("others", {&figure.grid, &others});
    plot.add(fmt::format("$others using 1:2 with lines lw 2.5 dt 2 lc rgb '{}' title '{} more'", kFaint,
                         figure.lines.size() - shown.size()));
  }
  plot.y_range = fmt::format("[{:.3f}:1.02]", strip - 0.02);
  return plot;
}

}  // namespace

void draw_curve(const CurveFigure& figure, const std::string& path, const PictureOptions& options) {
  const std::string title = clean(figure.target) + " from " + clean(figure.column);
  const Plot plot = figure.probabilities ? classification(figure) : regression(figure);
  Range x;
  x.add(figure.grid);
  x.add(figure.point_x);
  for (const CurveFigure::Line& line : figure.lines) x.add(line.rows_at);

  const double width = options.width - 160, height = options.height - 140;
  const std::string y_label = figure.probabilities ? "probability of " + clean(figure.target) : figure.target;
  std::string script = heading_script(title, figure.subtitle, options.width, options.height);
  fmt::format_to(std::back_inserter(script), "set tmargin at screen {:.6f}\n",
                 1 - (kContentAt + (figure.probabilities ? 0 : 30)) / options.height);
  script += figure.probabilities
                ? "set key outside right top vertical Left reverse samplen 1.5 spacing 1.3\n"
                : fmt::format(
                      "set key at screen {:.6f}, screen {:.6f} left top horizontal Left reverse samplen 1.5 "
                      "width 2\n",
                      (kMargin - 4) / options.width, 1 - kContentAt / options.height);
  script += fmt::format("set key textcolor rgb '{}'\nset border 3 lc rgb '{}'\n", kInk, kMuted);
  script += fmt::format(
      "set xtics nomirror out scale 0.6 textcolor rgb '{0}'\nset ytics nomirror out scale 0.6 "
      "textcolor rgb '{0}'\nset format '%.10g'\nset grid lc rgb '#E4E4E4' lt 1 lw 0.7\n",
      kInk);
  if (figure.probabilities) script += "set ytics 0,0.25,1\nset format y '%.2f'\n";
  script += fmt::format("set xlabel {} textcolor rgb '{}'\nset ylabel {} textcolor rgb '{}'\nset rmargin 4\n",
                        quote(fit_text(figure.column, width, kTextSize)), kInk,
                        quote(fit_text(y_label, height, kTextSize)), kInk);
  if (figure.probabilities) script += "unset rmargin\n";
  script += fmt::format("set xrange {}\nset yrange {}\n", x.text(0.02), plot.y_range);
  script += plot.data + plot.elements + "\n";
  write_picture(script, title, path, options);
}

}  // namespace kith::draw
