// What an audit found: the rows in most doubt, and how much rows weigh in the predictions of others.
#include "kith/audit.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "draw/canvas.h"
#include "draw/gnuplot.h"
#include "draw/text.h"
#include "kith/draw.h"

namespace kith::draw {
namespace {

constexpr std::size_t kMostDoubts = 20;
constexpr double kLowestLine = 16, kHighestLine = 28;  // pixels
constexpr double kFoot = 64;                           // what stands under the panels

/// Bins of received weight, each up to the given multiple of the average; the last one has no end.
constexpr std::array kBinEnd = {0.03, 0.1, 0.3, 1.0, 3.0, 10.0};
constexpr std::array kBinName = {"to 0.03", "to 0.1", "to 0.3", "to 1", "to 3", "to 10", "more"};

const TextStyle kHead{.size = kSmallSize, .color = kMuted};

struct Panel {
  double left, right, top, bottom;
};

/// One line a row: its number, what it says, what its neighbors say, and how strongly, as a bar.
void draw_doubts(Canvas& canvas, const Panel& at, const Model& model, const Audit& findings) {
  const bool classes = model.task() == Task::classification;
  const double row_at = at.left + 52, said_at = row_at + 12, cell = (at.right - said_at) * 0.29;
  const double neighbors_at = said_at + cell + 8, bar_at = neighbors_at + cell + 8, bar_end = at.right - 48;
  TextStyle right = kHead;
  right.align = Align::right;
  canvas.text(row_at, at.top, "row", right);
  canvas.text(said_at, at.top, "says", kHead);
  canvas.text(neighbors_at, at.top, fit_text("neighbors say", cell, kSmallSize), kHead);
  canvas.text(bar_at, at.top, classes ? "doubt" : "usual misses", kHead);
  if (findings.doubts.empty()) {
    canvas.text(said_at, at.top + 26, "no row is contradicted by its neighbors", {.color = kMuted});
    return;
  }
  const double room = at.bottom - at.top - 14;
  const std::size_t rows =
      std::min({findings.doubts.size(), kMostDoubts, static_cast<std::size_t>(room / kLowestLine)});
  const double line = std::min(kHighestLine, room / static_cast<double>(std::max<std::size_t>(rows, 1)));
  const double size = std::min(kTextSize, line * 0.72), thick = line * 0.6;
  const double longest = classes ? 1.0 : std::max(1.0, findings.doubts.front().score);
  double y = at.top + 14 + line / 2;
  for (std::size_t i = 0; i < rows; ++i, y += line) {
    const Doubt& d = findings.doubts[i];
    canvas.text(row_at, y, fmt::format("{}", d.row), {.size = size, .align = Align::right});
    canvas.text(said_at, y, fit_text(d.said, cell, size), {.size = size});
    canvas.text(neighbors_at, y, fit_text(d.neighbors_say, cell, size), {.size = size});
    const double end = bar_at + (bar_end - bar_at) * d.score / longest;
    canvas.rectangle(bar_at, y - thick / 2, bar_end, y + thick / 2, kTrack);
    canvas.rectangle(bar_at, y - thick / 2, end, y + thick / 2, kVermillion);
    canvas.text(bar_end + 5, y, classes ? percent_text(d.score) : number_text(d.score),
                {.size = std::min(size, kSmallSize), .color = kMuted});
  }
}

/// How many rows weigh how much: a histogram that lies on its side.
void draw_weights(Canvas& canvas, const Panel& at, const Audit& findings) {
  std::array<std::size_t, kBinName.size()> rows{};
  for (double r : findings.received) {
    const auto bin = std::lower_bound(kBinEnd.begin(), kBinEnd.end(), r) - kBinEnd.begin();
    ++rows[static_cast<std::size_t>(bin)];
  }
  const std::size_t most = *std::max_element(rows.begin(), rows.end());
  const double names = at.left + 52, end = at.right - 52;
  canvas.text(at.left, at.top,
              fit_text("weight in others' predictions: rows", at.right - at.left, kSmallSize), kHead);
  const double line =
      std::min(kHighestLine, (at.bottom - at.top - 14) / static_cast<double>(kBinName.size()));
  double y = at.top + 14 + line / 2;
  for (std::size_t b = 0; b < rows.size(); ++b, y += line) {
    const bool hub = b + 1 == rows.size();
    canvas.text(names - 6, y, kBinName[b], {.align = Align::right});
    const double length = static_cast<double>(rows[b]) / static_cast<double>(std::max<std::size_t>(most, 1));
    if (rows[b] > 0) {
      canvas.rectangle(names, y - line * 0.32, std::max(names + 1, names + length * (end - names)),
                       y + line * 0.32, hub ? kVermillion : kBlue);
    }
    canvas.text(names + length * (end - names) + 5, y, count_text(rows[b]),
                {.size = kSmallSize, .color = kMuted});
  }
  canvas.text(at.left, y + 2,
              fit_text("1: as much as a row does on average.", at.right - at.left, kSmallSize), kHead);
}

std::string doubles_text(const Audit& findings) {
  std::size_t rows = 0, contradicting = 0;
  for (const Duplicates& d : findings.duplicates) {
    rows += d.rows.size();
    contradicting += d.contradict ? 1 : 0;
  }
  std::string text =
      fmt::format("Doubles: {} rows in {} groups, {} of which contradict themselves.", count_text(rows),
                  count_text(findings.duplicates.size()), count_text(contradicting));
  if (findings.rows_with > 0) {
    text += fmt::format(" {} of {} rows of the other table are stored.", count_text(findings.shared.size()),
                        count_text(findings.rows_with));
  }
  return text;
}

std::string idle_text(const Audit& findings) {
  if (findings.idle.empty()) return "Every column counts.";
  std::string text = "Columns that do nothing: ";
  for (std::size_t i = 0; i < findings.idle.size(); ++i) text += (i ? ", " : "") + findings.idle[i].name;
  return text + ".";
}

}  // namespace

void audit(const Model& model, const Audit& findings, const std::string& path,
           const PictureOptions& options) {
  check_picture(path, options);
  Canvas canvas(options.width, options.height);
  const std::string title = "Audit of " + clean(model.target());
  canvas.heading(
      title, fmt::format("{} rows. The rows most like them contradict {}{}.", count_text(findings.rows),
                         count_text(findings.contradicted),
                         findings.contradicted > findings.doubts.size() || findings.contradicted > kMostDoubts
                             ? "; those in most doubt"
                             : ""));
  const double bottom = canvas.height() - kFoot, middle = kMargin + 0.62 * (canvas.width() - 2 * kMargin);
  draw_doubts(canvas, {kMargin, middle - 8, kContentAt + 12, bottom}, model, findings);
  draw_weights(canvas, {middle + 16, canvas.width() - kMargin, kContentAt + 12, bottom - 14}, findings);
  const double width = canvas.width() - 2 * kMargin;
  canvas.text(kMargin, canvas.height() - 38, fit_text(doubles_text(findings), width, kSmallSize), kHead);
  canvas.text(kMargin, canvas.height() - 18, fit_text(idle_text(findings), width, kSmallSize), kHead);
  write_picture(canvas.script(), title, path, options);
}

}  // namespace kith::draw
