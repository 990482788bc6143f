#include "cli/output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>

#include "cli/text.h"
#include "kith/safetensors.h"

namespace kith::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kFlushBytes = 1 << 16;

void write_all(int file, std::string_view text, const std::string& name) {
  while (!text.empty()) {
    const ssize_t count = ::write(file, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EPIPE && file == STDOUT_FILENO) throw ClosedPipe{};
    if (count < 0) throw Error(fmt::format("{}: cannot be written: {}", name, std::strerror(errno)));
    text.remove_prefix(static_cast<std::size_t>(count));
  }
}

bool is_special(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  return !error && fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status);
}

void write_special(const std::string& path, std::string_view text) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) throw Error(fmt::format("{}: cannot be opened: {}", path, std::strerror(errno)));
  try {
    write_all(file, text, path);
  } catch (...) {
    ::close(file);
    throw;
  }
  if (::close(file) != 0) throw Error(fmt::format("{}: cannot be written: {}", path, std::strerror(errno)));
}

}  // namespace

void Sink::flush_to_stdout() {
  write_all(STDOUT_FILENO, text_, "standard output");
  text_.clear();
}

void Sink::write(std::string_view text) {
  text_ += text;
  if (path_.empty() && text_.size() >= kFlushBytes) flush_to_stdout();
}

void Sink::finish() {
  if (path_.empty()) {
    flush_to_stdout();
  } else if (is_special(path_)) {
    write_special(path_, text_);
  } else {
    write_file_atomically(path_, text_);
  }
}

void print(std::string_view text) {
  Sink sink;
  sink.write(text);
  sink.finish();
}

void print_notes(const CommonArguments& arguments, const std::vector<std::string>& notes) {
  if (arguments.quiet) return;
  for (const std::string& note : notes) fmt::print(stderr, "kith: note: {}\n", one_line(note));
}

bool is_terminal(int file_descriptor) { return ::isatty(file_descriptor) != 0; }

void check_output(const std::string& argument, const std::string& path,
                  std::initializer_list<std::string> inputs) {
  if (path.empty()) return;
  std::error_code error;
  for (const std::string& input : inputs) {
    if (!input.empty() && input != "-" && fs::equivalent(path, input, error)) {
      throw UsageError(
          fmt::format("{}: {} is read by this command, and would be overwritten", argument, path));
    }
  }
  if (fs::is_directory(path, error))
    throw Error(fmt::format("{}: {} is a folder; a file name is needed", argument, path));
  if (is_special(path)) return;
  fs::path folder = fs::path(path).parent_path();
  if (folder.empty()) folder = ".";
  if (!fs::is_directory(folder, error)) {
    throw Error(fmt::format("{}: {}: there is no folder {}", argument, path, folder.string()));
  }
  if (::access(folder.c_str(), W_OK | X_OK) != 0) {
    throw Error(fmt::format("{}: {}: the folder {} cannot be written: {}", argument, path, folder.string(),
                            std::strerror(errno)));
  }
}

}  // namespace kith::cli
