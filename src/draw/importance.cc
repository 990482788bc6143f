// Column importance as bars.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "draw/canvas.h"
#include "draw/figures.h"
#include "draw/gnuplot.h"
#include "draw/text.h"

namespace kith::draw {
namespace {

constexpr std::size_t kMostBars = 25;
constexpr double kLowestLine = 15, kHighestLine = 50;  // pixels

using Bar = ImportanceFigure::Bar;

bool ignored(const Bar& bar) { return std::isinf(bar.bandwidth); }

// Most important first; ignored columns last; the table's order where nothing else decides.
std::vector<Bar> sorted(std::vector<Bar> bars) {
  std::stable_sort(bars.begin(), bars.end(), [](const Bar& a, const Bar& b) {
    if (ignored(a) != ignored(b)) return ignored(b);
    return a.importance > b.importance;
  });
  return bars;
}

}  // namespace

void draw_importance(const ImportanceFigure& figure, const std::string& path, const PictureOptions& options) {
  Canvas canvas(options.width, options.height);
  const std::string title = "Column importance for " + clean(figure.target);
  canvas.heading(title, figure.subtitle);

  std::vector<Bar> bars = sorted(figure.bars);
  const double head = kContentAt + 10;
  const double room = canvas.height() - head - 44;
  const std::size_t lines = std::min(kMostBars + 1, static_cast<std::size_t>(room / kLowestLine));
  std::vector<Bar> rest;
  if (bars.size() > std::min(lines, kMostBars)) {
    const auto cut = bars.begin() + static_cast<std::ptrdiff_t>(lines - 1);
    rest.assign(cut, bars.end());
    bars.erase(cut, bars.end());
  }
  const std::size_t drawn = bars.size() + (rest.empty() ? 0 : 1);
  const double line = std::min(kHighestLine, room / static_cast<double>(std::max<std::size_t>(drawn, 1)));
  const double size = std::min(kTextSize, line * 0.72);
  const double thickness = std::min(26.0, line * 0.66);

  // The first bar fills the width that names, percentages and bandwidths leave.
  double name_width = 40;
  for (const Bar& bar : bars) name_width = std::max(name_width, text_width(clean(bar.name), size));
  name_width = std::min(name_width, canvas.width() * 0.32);
  const double left = kMargin + name_width + 10;
  const double bandwidth_at = canvas.width() - kMargin;
  const double right = bandwidth_at - 140;
  double largest = 0, rest_importance = 0;
  for (const Bar& bar : bars) largest = std::max(largest, bar.importance);
  for (const Bar& bar : rest) rest_importance += bar.importance;
  largest = std::max(largest, 1e-12);

  const TextStyle heading{.size = kSmallSize, .color = kMuted, .align = Align::right};
  canvas.text(bandwidth_at, head - 6, "bandwidth", heading);

  double y = head + 6 + line / 2;
  const auto draw_line = [&](const std::string& name, double importance, bool faint, const std::string& value,
                             const std::string& bandwidth) {
    const char* ink = faint ? kFaint : kInk;
    canvas.text(left - 10, y, fit_text(name, name_width, size),
                {.size = size, .color = ink, .align = Align::right});
    const double end = left + importance / largest * (right - left);
    if (importance > 0) {
      canvas.rectangle(left, y - thickness / 2, std::max(end, left + 1), y + thickness / 2,
                       faint ? kFaint : kBlue);
    }
    canvas.text(end + 6, y, value, {.size = size, .color = ink});
    canvas.text(bandwidth_at, y, bandwidth, {.size = size, .color = kMuted, .align = Align::right});
    y += line;
  };
  for (const Bar& bar : bars) {
    if (ignored(bar)) {
      draw_line(bar.name, 0, true, "ignored", "");
    } else {
      draw_line(bar.name, bar.importance, false, percent_text(bar.importance), number_text(bar.bandwidth));
    }
  }
  if (!rest.empty()) {
    // No bar: the sum of many would dwarf the columns it stands under.
    const auto unused = std::count_if(rest.begin(), rest.end(), ignored);
    const std::string note = unused > 0 ? fmt::format(", {} of them ignored", unused) : "";
    draw_line(fmt::format("{} more", rest.size()), 0, true,
              percent_text(rest_importance) + " together" + note, "");
  }
  canvas.rectangle(left - 1, head + 6, left, y - line / 2 + 2, kMuted);
  canvas.text(kMargin, canvas.height() - 18,
              fit_text("Bars: by how much the error would rise without the column, as shares. "
                       "The smaller its bandwidth, the finer the differences it sees.",
                       canvas.width() - 2 * kMargin, kSmallSize),
              {.size = kSmallSize, .color = kMuted});
  write_picture(canvas.script(), title, path, options);
}

}  // namespace kith::draw
