#include "draw/why_panels.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "draw/text.h"

namespace kith::draw {
namespace {

constexpr double kFar = 3;  // bandwidths apart that take the full color: a weight of exp(-9/2), about 1 %.

/// White for the same, blue for far.
std::string apart_color(double apart) {
  const double t = std::isfinite(apart) ? std::clamp(apart / kFar, 0.0, 1.0) : 1.0;
  const auto mix = [t](double from, double to) {
    return static_cast<int>(std::lround(from + t * (to - from)));
  };
  return fmt::format("#{:02X}{:02X}{:02X}", mix(0xF4, 0x2B), mix(0xF8, 0x7F), mix(0xFB, 0xB8));
}

const char* class_color(const WhyFigure& figure, const std::string& name) {
  const auto at = std::find(figure.classes.begin(), figure.classes.end(), name) - figure.classes.begin();
  const auto index = static_cast<std::size_t>(at);
  return index < kClassColor.size() ? kClassColor[index] : kMuted;
}

}  // namespace

void draw_weights(Canvas& canvas, const WhyLayout& at, const WhyFigure& figure, std::size_t rows) {
  const double value_width = 50, bar_room = at.weight_right - at.weight_left - value_width;
  const double heaviest = std::max(figure.rows.front().weight, 1e-300);
  for (std::size_t r = 0; r < rows; ++r) {
    const WhyFigure::Row& row = figure.rows[r];
    const double y = at.y(r), half = std::min(10.0, at.line * 0.32);
    canvas.text(kMargin, y, fmt::format("row {}", row.row), {.size = at.size});
    const double end = at.weight_left + std::max(1.0, row.weight / heaviest * bar_room);
    const char* color = figure.value ? kBlue : class_color(figure, row.target);
    canvas.rectangle(at.weight_left, y - half, end, y + half, color);
    canvas.text(end + 5, y, percent_text(row.weight), {.size = at.size});
  }
}

// Each row's target, as text and as a dot on one scale, with the prediction as a line through them and the
// interval behind.
void draw_targets(Canvas& canvas, const WhyLayout& at, const WhyFigure& figure, std::size_t rows) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  const auto widen = [&](double v) {
    if (!std::isfinite(v)) return;
    low = std::min(low, v);
    high = std::max(high, v);
  };
  widen(*figure.value);
  for (std::size_t r = 0; r < rows; ++r) widen(figure.target_value[r]);
  if (figure.interval) {
    widen(figure.interval->first);
    widen(figure.interval->second);
  }
  double text_room = 0;
  for (std::size_t r = 0; r < rows; ++r) {
    text_room = std::max(text_room, text_width(clean(figure.rows[r].target), at.size));
  }
  text_room = std::min(text_room, 0.45 * (at.target_right - at.target_left));
  // The scale; dots at its ends stay inside.
  const double left = at.target_left + text_room + kWhyGap, inset = 7;
  const auto x = [&](double v) {
    // Halves, so that the span of the largest numbers stays finite.
    const double share = low < high ? (std::clamp(v, low, high) / 2 - low / 2) / (high / 2 - low / 2) : 0.5;
    return left + inset + share * (at.target_right - left - 2 * inset);
  };
  if (figure.interval && !std::isnan(figure.interval->first) && !std::isnan(figure.interval->second)) {
    canvas.rectangle(x(figure.interval->first), at.top, x(figure.interval->second), at.bottom, "#DCEEF9");
  }
  for (std::size_t r = 0; r < rows; ++r) canvas.line(left, at.y(r), at.target_right, at.y(r), "#C8C8C8", 0.7);
  if (std::isfinite(*figure.value)) {
    const double line = x(*figure.value), half = text_width("prediction", kSmallSize) / 2;
    canvas.line(line, at.top - 4, line, at.bottom + 4, kVermillion, 2);
    canvas.text(std::clamp(line, left + half - kWhyGap, at.target_right - half + kWhyGap), at.bottom + 14,
                "prediction", {.size = kSmallSize, .color = kVermillion, .align = Align::center});
  }
  for (std::size_t r = 0; r < rows; ++r) {
    canvas.text(at.target_left, at.y(r), fit_text(figure.rows[r].target, text_room, at.size),
                {.size = at.size});
    const double v = figure.target_value[r];
    if (!std::isnan(v)) canvas.dot(x(v), at.y(r), std::min(5.0, at.line * 0.24), kInk);
  }
}

void draw_cells(Canvas& canvas, const WhyLayout& at, const WhyCells& cells, std::size_t rows) {
  for (std::size_t c = 0; c < cells.columns.size(); ++c) {
    const double left = at.cells_left + static_cast<double>(c) * at.cell_width,
                 middle = left + at.cell_width / 2;
    for (std::size_t r = 0; r < rows; ++r) {
      const double apart = cells.apart[r][c];
      canvas.rectangle(left, at.y(r) - at.line / 2 + 1, left + at.cell_width - 2, at.y(r) + at.line / 2 - 1,
                       apart_color(apart));
      // A smaller size before an ellipsis.
      const std::string& cell = cells.cell[r][c];
      const double room = at.cell_width - 6;
      const double size = at.size - (text_width(clean(cell), at.size - 1) > room ? 2 : 1);
      canvas.text(middle - 1, at.y(r), fit_text(cell, room, size),
                  {.size = size, .color = apart > 0.75 * kFar ? "#FFFFFF" : kInk, .align = Align::center});
    }
  }
}

void draw_classes(Canvas& canvas, const WhyLayout& at, const WhyFigure& figure, std::size_t rows) {
  for (std::size_t r = 0; r < rows; ++r) {
    const std::string& name = figure.rows[r].target;
    canvas.text(at.target_left, at.y(r), fit_text(name, at.target_right - at.target_left, at.size),
                {.size = at.size, .color = class_color(figure, name)});
  }
}

// Each panel's name over it, its last line just above the panel.
void draw_headings(Canvas& canvas, const WhyLayout& at, const WhyFigure& figure, const WhyCells& cells) {
  const auto heading = [&](double x, double width, const std::string& name, Align align) {
    const std::vector<std::string> lines = wrap_text(name, width, kSmallSize, kWhyHeadingLines);
    double y = at.top - 12 - kWhyHeadingLine * static_cast<double>(lines.size() - 1);
    for (const std::string& line : lines) {
      canvas.text(x, y, line, {.size = kSmallSize, .color = kMuted, .align = align});
      y += kWhyHeadingLine;
    }
  };
  heading(at.weight_left, at.weight_right - at.weight_left, "weight", Align::left);
  heading(at.target_left, at.target_right - at.target_left, figure.target, Align::left);
  for (std::size_t c = 0; c < cells.columns.size(); ++c) {
    heading(at.cells_left + (static_cast<double>(c) + 0.5) * at.cell_width - 1, at.cell_width - 4,
            cells.columns[c], Align::center);
  }
}

void draw_scale(Canvas& canvas) {
  const std::string near = "the same", far = "3 bandwidths apart or more";
  const double y = canvas.height() - 18, step = 6;
  const TextStyle style{.size = kSmallSize, .color = kMuted, .align = Align::right};
  double x = canvas.width() - kMargin;
  canvas.text(x, y, far, style);
  x -= text_width(far, kSmallSize) + step;
  for (int k = 12; k >= 0; --k, x -= step) {
    canvas.rectangle(x - step, y - step, x, y + step, apart_color(k / 12.0 * kFar));
  }
  canvas.text(x - step, y, near, style);
}

}  // namespace kith::draw
