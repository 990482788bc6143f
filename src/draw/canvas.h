// A sheet of pixels to put bars, dots and text on, for pictures whose axes are names rather than numbers.
#pragma once

#include <string>
#include <string_view>

#include "draw/style.h"

namespace kith::draw {

enum class Align { left, center, right };

struct TextStyle {
  double size = kTextSize;
  const char* color = kInk;
  Align align = Align::left;
  bool bold = false;
};

/// Coordinates are pixels from the upper left corner; text is placed by its middle line. Later things cover
/// earlier ones, and text covers everything.
class Canvas {
 public:
  Canvas(int width, int height);

  double width() const { return width_; }
  double height() const { return height_; }

  void rectangle(double left, double top, double right, double bottom, std::string_view color);
  void line(double x0, double y0, double x1, double y1, std::string_view color, double thickness = 1);
  void dot(double x, double y, double radius, std::string_view color);
  void text(double x, double y, std::string_view text, const TextStyle& style = {});
  /// The two lines at the head of every picture, fitted to its width.
  void heading(std::string_view title, std::string_view subtitle);

  /// For write_picture.
  std::string script() const;

 private:
  double width_, height_;
  int objects_ = 0, labels_ = 0;
  std::string script_;
};

/// gnuplot commands for the two lines at the head of a picture with axes of gnuplot's own.
std::string heading_script(std::string_view title, std::string_view subtitle, int width, int height);

}  // namespace kith::draw
