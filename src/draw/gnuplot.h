// gnuplot as a child process: a script in, a picture file out.
#pragma once

#include <string>
#include <string_view>

#include "kith/draw.h"

namespace kith::draw {

/// A gnuplot string literal of one line that means exactly `clean(text)`: nothing in it is expanded.
std::string quote(std::string_view text);

/// Draws the script into `path`, whole or not at all; the script neither sets terminal nor output. `title`
/// names the picture for readers that show no pixels. kith::Error: an ending other than .svg and .png, a size
/// out of range, no gnuplot, gnuplot's own message, or a file that cannot be written.
void write_picture(const std::string& script, std::string_view title, const std::string& path,
                   const PictureOptions& options);

/// The ending and size checks of `write_picture`, to be made before any work is done.
void check_picture(const std::string& path, const PictureOptions& options);

}  // namespace kith::draw
