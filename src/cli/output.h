// Where the program's words go: standard output, a file written whole or not at all, notes on standard error.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "cli/options.h"

namespace kith::cli {

/// The reader of standard output has left (`kith ... | head`): nothing more to do, and nothing to complain
/// about.
struct ClosedPipe {};

/// Text for standard output (path empty) as it comes, or for a file, which appears when `finish` is called.
/// A path that is no regular file (a pipe, a device) is written to as it is, since replacing it makes no
/// sense.
class Sink {
 public:
  explicit Sink(std::string path = "") : path_(std::move(path)) {}
  void write(std::string_view text);
  /// kith::Error if the text could not be written; ClosedPipe if nobody reads standard output any more.
  void finish();

 private:
  void flush_to_stdout();
  std::string path_, text_;
};

/// The whole text to standard output.
void print(std::string_view text);

/// One line on standard error each, unless --quiet.
void print_notes(const CommonArguments& arguments, const std::vector<std::string>& notes);

bool is_terminal(int file_descriptor);

/// kith::Error before any work is done if `path` cannot be written: no such folder, a folder itself, no
/// permission. UsageError if it is one of `inputs`. An empty path is fine.
void check_output(const std::string& argument, const std::string& path,
                  std::initializer_list<std::string> inputs);

}  // namespace kith::cli
