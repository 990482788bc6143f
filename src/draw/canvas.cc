#include "draw/canvas.h"

#include <fmt/format.h>

#include <iterator>

#include "draw/gnuplot.h"
#include "draw/text.h"

namespace kith::draw {
namespace {

constexpr TextStyle kTitle{.size = kTitleSize, .bold = true};
constexpr TextStyle kSubtitle{.color = kMuted};

std::string label(int number, std::string_view system, double x, double y, std::string_view text,
                  const TextStyle& style) {
  const char* align = style.align == Align::left ? "left" : style.align == Align::right ? "right" : "center";
  return fmt::format("set label {} {} at {} {:.6f},{} {:.6f} {} front font '{}{},{}' textcolor rgb '{}'\n",
                     number, quote(text), system, x, system, y, align, kFont, style.bold ? ":Bold" : "",
                     style.size, style.color);
}

std::string fitted(std::string_view text, double width, const TextStyle& style) {
  return fit_text(text, width - 2 * kMargin, style.size, style.bold);
}

}  // namespace

Canvas::Canvas(int width, int height) : width_(width), height_(height) {
  script_ = fmt::format(
      "set lmargin at screen 0\nset rmargin at screen 1\nset tmargin at screen 1\nset bmargin at screen 0\n"
      "unset border\nunset tics\nunset key\nset xrange [0:{}]\nset yrange [{}:0]\n",
      width, height);
}

void Canvas::rectangle(double left, double top, double right, double bottom, std::string_view color) {
  fmt::format_to(
      std::back_inserter(script_),
      "set object {} rectangle from {:.2f},{:.2f} to {:.2f},{:.2f} back fc rgb '{}' fs solid noborder\n",
      ++objects_, left, bottom, right, top, color);
}

// A line is a thin polygon: gnuplot draws all arrows after all objects, whatever the order they were given
// in.
void Canvas::line(double x0, double y0, double x1, double y1, std::string_view color, double thickness) {
  fmt::format_to(
      std::back_inserter(script_),
      "set object {} polygon from {:.2f},{:.2f} to {:.2f},{:.2f} to {:.2f},{:.2f} back fs empty border "
      "rgb '{}' lw {}\n",
      ++objects_, x0, y0, x1, y1, x0, y0, color, thickness);
}

void Canvas::dot(double x, double y, double radius, std::string_view color) {
  fmt::format_to(std::back_inserter(script_),
                 "set object {} circle at {:.2f},{:.2f} size {:.2f} back fc rgb '{}' fs solid noborder\n",
                 ++objects_, x, y, radius, color);
}

void Canvas::text(double x, double y, std::string_view text, const TextStyle& style) {
  if (!text.empty()) script_ += label(++labels_, "first", x, y, text, style);
}

void Canvas::heading(std::string_view title, std::string_view subtitle) {
  text(kMargin, kTitleAt, fitted(title, width_, kTitle), kTitle);
  text(kMargin, kSubtitleAt, fitted(subtitle, width_, kSubtitle), kSubtitle);
}

std::string Canvas::script() const { return script_ + "plot NaN notitle\n"; }

std::string heading_script(std::string_view title, std::string_view subtitle, int width, int height) {
  const double left = kMargin / width;
  return label(1, "screen", left, 1 - kTitleAt / height, fitted(title, width, kTitle), kTitle) +
         label(2, "screen", left, 1 - kSubtitleAt / height, fitted(subtitle, width, kSubtitle), kSubtitle);
}

}  // namespace kith::draw
