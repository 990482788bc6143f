#include "array/csv_parser.h"

#include <csv.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>

#include "array/csv_text.h"
#include "kith/error.h"

namespace kith::csv {
namespace {

// A cell beyond this is a quote that was never closed, or no table; without a bound it would take the file's
// size.
constexpr std::size_t kLargestCell = std::size_t{64} << 20;

constexpr std::size_t kCellStep = 4096;

class Run {
 public:
  Run(Source& source, char delimiter, const std::vector<std::string>& names, Handler& handler)
      : source_(source), names_(names), handler_(handler) {
    // Every line break is reported, empty lines included, because that is how lines are counted.
    if (csv_init(&parser_, CSV_STRICT | CSV_STRICT_FINI | CSV_REPALL_NL) != 0) throw std::bad_alloc();
    csv_set_delim(&parser_, static_cast<unsigned char>(delimiter));
    csv_set_blk_size(&parser_, kCellStep);
  }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  ~Run() { csv_free(&parser_); }

  void all() {
    source_.rewind();
    for (bool first = true;; first = false) {
      std::string_view block = source_.next();
      if (block.empty()) break;
      if (std::memchr(block.data(), '\0', block.size()) != nullptr) fail_binary();
      if (first && block.substr(0, 3) == "\xEF\xBB\xBF") block.remove_prefix(3);
      const std::size_t taken = csv_parse(&parser_, block.data(), block.size(), on_cell, on_break, this);
      if (failure_) std::rethrow_exception(failure_);
      if (stopped_) return;
      if (taken < block.size()) fail_syntax(block.substr(taken));
      if (parser_.entry_pos > kLargestCell) fail_large();
      // libcsv grows its cell by a fixed step, which a long cell would make quadratic.
      csv_set_blk_size(&parser_, std::max(kCellStep, csv_get_buffer_size(&parser_)));
    }
    const int error = csv_fini(&parser_, on_cell, on_break, this);
    if (failure_) std::rethrow_exception(failure_);
    if (error != 0)
      throw Error(fmt::format("{}: the quote that opens here is never closed; the cell begins with {}",
                              place(source_, at_.line, at_.cell, names_), shown(so_far())));
  }

 private:
  static void on_cell(void* text, std::size_t size, void* self) {
    static_cast<Run*>(self)->cell({static_cast<const char*>(text), size});
  }
  static void on_break(int character, void* self) { static_cast<Run*>(self)->line_break(character); }

  // Exceptions must not pass through libcsv, which is C.
  void cell(std::string_view text) noexcept {
    if (stopped_) return;
    try {
      handler_.cell(text, at_);
    } catch (...) {
      stop(std::current_exception());
      return;
    }
    ++at_.cell;
    if (!text.empty() && std::memchr(text.data(), break_, text.size()) != nullptr)
      at_.line += static_cast<std::size_t>(std::count(text.begin(), text.end(), break_));
  }

  // `character` ends a record, or an empty line if no cell came before it; -1 is the end of the file.
  void line_break(int character) noexcept {
    if (stopped_) return;
    const bool empty = at_.cell == 0;
    if (!empty) {
      try {
        stopped_ = !handler_.record(at_);
      } catch (...) {
        stop(std::current_exception());
        return;
      }
    }
    const bool second_half = empty && character == '\n' && previous_ == '\r';
    // Two in a row: lines end with a carriage return alone, inside quotes too.
    if (character == '\r' && previous_ == '\r') break_ = '\r';
    if (!second_half) ++at_.line;
    previous_ = character;
    at_.record_line = at_.line;
    at_.cell = 0;
  }

  void stop(std::exception_ptr failure) noexcept {
    failure_ = std::move(failure);
    stopped_ = true;
  }

  std::string_view so_far() const {
    return {reinterpret_cast<const char*>(parser_.entry_buf), parser_.entry_pos};
  }

  [[noreturn]] void fail_syntax(std::string_view rest) const {
    const int error = csv_error(const_cast<csv_parser*>(&parser_));
    if (error != CSV_EPARSE) throw std::bad_alloc();
    std::string_view cell = so_far();
    const std::string where = place(source_, at_.line, at_.cell, names_);
    if (parser_.quoted == 0)
      throw Error(
          fmt::format("{}: a quote inside the unquoted cell that begins with {}; a cell with quotes must be "
                      "quoted as a whole, with each quote in it doubled",
                      where, shown(cell)));
    // libcsv still holds the closing quote and the blanks after it.
    cell.remove_suffix(std::min(cell.size(), parser_.spaces + 1));
    const auto breaks = static_cast<std::size_t>(std::count(cell.begin(), cell.end(), break_));
    throw Error(
        fmt::format("{}: the quoted cell {} is followed by {}{}, needs a delimiter or a line break; a quote "
                    "inside a quoted cell must be doubled",
                    where, shown(cell), shown(rest.substr(0, rest.find_first_of("\r\n"))),
                    breaks > 0 ? fmt::format(" on line {}", at_.line + breaks) : ""));
  }

  [[noreturn]] void fail_large() const {
    throw Error(
        fmt::format("{}: a cell of more than {} MiB that begins with {}; {}",
                    place(source_, at_.line, at_.cell, names_), kLargestCell >> 20, shown(so_far()),
                    parser_.quoted != 0 ? "its quote seems never to be closed" : "is this a CSV file?"));
  }

  [[noreturn]] void fail_binary() const {
    source_.rewind();
    std::size_t line = 1;
    for (std::string_view block = source_.next(); !block.empty(); block = source_.next()) {
      const bool utf16 = block.substr(0, 2) == "\xFF\xFE" || block.substr(0, 2) == "\xFE\xFF";
      if (source_.position() == block.size() && utf16)
        throw Error(fmt::format("{}: is UTF-16 text; convert it to UTF-8", source_.name()));
      const std::size_t zero = block.find('\0');
      line += static_cast<std::size_t>(std::count(
          block.begin(), block.begin() + static_cast<std::ptrdiff_t>(std::min(zero, block.size())), '\n'));
      if (zero != std::string_view::npos) break;
    }
    throw Error(fmt::format("{}: a zero byte; the file is binary, needs CSV text", place(source_, line)));
  }

  Source& source_;
  const std::vector<std::string>& names_;
  Handler& handler_;
  csv_parser parser_{};
  Cursor at_;
  int previous_ = 0;   // the line break before.
  char break_ = '\n';  // what counts as a line inside quotes.
  bool stopped_ = false;
  std::exception_ptr failure_;
};

}  // namespace

void parse(Source& source, char delimiter, const std::vector<std::string>& names, Handler& handler) {
  Run(source, delimiter, names, handler).all();
}

std::string place(const Source& source, std::size_t line) {
  return fmt::format("{}, line {}", source.name(), line);
}

std::string place(const Source& source, std::size_t line, std::size_t column,
                  const std::vector<std::string>& names) {
  return fmt::format("{}, column {}", place(source, line),
                     column < names.size() ? shown(names[column]) : std::to_string(column + 1));
}

}  // namespace kith::csv
