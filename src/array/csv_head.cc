#include "array/csv_head.h"

#include <fmt/format.h>

#include <unordered_map>

#include "array/csv_parser.h"
#include "array/csv_text.h"
#include "array/number.h"
#include "kith/error.h"

namespace kith::csv {
namespace {

class Consistency : public Handler {
 public:
  void cell(std::string_view, const Cursor&) override {}
  bool record(const Cursor& at) override {
    constexpr std::size_t kRecords = 50;
    if (records == 0) cells = at.cell;
    if (at.cell == cells) ++alike;
    return ++records < kRecords;
  }

  std::size_t records = 0;
  std::size_t cells = 0;  // of the first record.
  std::size_t alike = 0;  // records with as many.
};

class FirstRecord : public Handler {
 public:
  explicit FirstRecord(const Source& source) : source_(source) {}

  void cell(std::string_view text, const Cursor& at) override {
    constexpr std::size_t kMostColumns = 1'000'000;
    if (texts.size() == kMostColumns)
      throw Error(fmt::format("{}: more than {} columns; is this a CSV file?", place(source_, at.line),
                              kMostColumns));
    texts.emplace_back(trimmed(text));
  }
  bool record(const Cursor& at) override {
    line = at.record_line;
    return false;
  }

  std::vector<std::string> texts;
  std::size_t line = 1;

 private:
  const Source& source_;
};

}  // namespace

char find_delimiter(Source& source, bool decimal_comma) {
  char best = decimal_comma ? ';' : ',';
  std::size_t most_alike = 0;
  std::size_t most_cells = 1;
  for (const char candidate : {',', ';', '\t', '|'}) {
    if (candidate == ',' && decimal_comma) continue;
    Consistency seen;
    try {
      parse(source, candidate, {}, seen);
    } catch (const Error&) {
      // Either the wrong delimiter or a damaged file: what was seen before the damage counts.
    }
    if (seen.cells < 2) continue;
    if (seen.alike > most_alike || (seen.alike == most_alike && seen.cells > most_cells)) {
      best = candidate;
      most_alike = seen.alike;
      most_cells = seen.cells;
    }
  }
  return best;
}

std::vector<std::string> column_names(Source& source, char delimiter, bool header) {
  FirstRecord first(source);
  parse(source, delimiter, {}, first);
  if (first.texts.empty())
    throw Error(
        fmt::format("{}: is empty, needs {}at least one row", source.name(), header ? "a header and " : ""));
  std::vector<std::string> names = std::move(first.texts);
  if (!header) {
    for (std::size_t i = 0; i < names.size(); ++i) names[i] = fmt::format("c{}", i + 1);
    return names;
  }
  constexpr const char* kHint = "if the file has no header, say so";
  std::unordered_map<std::string_view, std::size_t> seen;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string where = place(source, first.line, i, {});
    if (names[i].empty())
      throw Error(fmt::format("{}: the header has no name for this column, needs one for each of its {}; {}",
                              where, names.size(), kHint));
    if (!is_utf8(names[i]))
      throw Error(
          fmt::format("{}: the name {} is not UTF-8; convert the file to UTF-8", where, shown(names[i])));
    const auto [other, fresh] = seen.emplace(names[i], i);
    if (!fresh)
      throw Error(fmt::format("{}: the header has the name {} twice, for column {} already; {}", where,
                              shown(names[i]), other->second + 1, kHint));
  }
  return names;
}

}  // namespace kith::csv
