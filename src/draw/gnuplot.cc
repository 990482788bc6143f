#include "draw/gnuplot.h"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "draw/style.h"
#include "draw/text.h"
#include "kith/safetensors.h"

namespace kith::draw {
namespace {

constexpr int kNarrowest = 400, kLowest = 300, kLargest = 10000;  // pixels

// A file in memory that stands in for a stream of the child. Unlike a pipe it takes any amount without a
// reader, so script, picture and messages need no juggling, and a child that dies early raises no SIGPIPE
// here.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view content = {}) : file_(memfd_create("kith-picture", MFD_CLOEXEC)) {
    if (file_ < 0) fail();
    while (!content.empty()) {
      const ssize_t n = ::write(file_, content.data(), content.size());
      if (n < 0) {
        const int reason = errno;
        ::close(file_);
        errno = reason;
        fail();
      }
      content.remove_prefix(static_cast<std::size_t>(n));
    }
    ::lseek(file_, 0, SEEK_SET);
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile() { ::close(file_); }

  int descriptor() const { return file_; }

  std::string content() const {
    struct stat status {};
    if (::fstat(file_, &status) != 0) fail();
    std::string bytes(static_cast<std::size_t>(status.st_size), '\0');
    std::size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t n = ::pread(file_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
      if (n <= 0) fail();
      done += static_cast<std::size_t>(n);
    }
    return bytes;
  }

 private:
  [[noreturn]] static void fail() {
    throw Error(fmt::format("picture: no memory to exchange with gnuplot ({})", std::strerror(errno)));
  }
  int file_;
};

// gnuplot echoes the command, points at the spot, and then says `line 3: what is wrong`.
std::string first_message(const std::string& messages) {
  std::string first;
  for (std::size_t begin = 0; begin < messages.size();) {
    const std::size_t end = std::min(messages.find('\n', begin), messages.size());
    std::string line = messages.substr(begin, end - begin);
    line.erase(0, std::min(line.find_first_not_of(" \t"), line.size()));
    if (line.rfind("line ", 0) == 0 && line.find("warning:") == std::string::npos) return line;
    if (first.empty()) first = line;
    begin = end + 1;
  }
  return first.empty() ? "it gave no reason" : first;
}

std::string run_gnuplot(const std::string& script) {
  const MemoryFile input(script), output, messages;
  posix_spawn_file_actions_t streams;
  ::posix_spawn_file_actions_init(&streams);
  ::posix_spawn_file_actions_adddup2(&streams, input.descriptor(), STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&streams, output.descriptor(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&streams, messages.descriptor(), STDERR_FILENO);
  // -d: without the settings in the user's and the system's start-up files.
  char name[] = "gnuplot", defaults[] = "-d", standard_input[] = "-";
  char* const arguments[] = {name, defaults, standard_input, nullptr};
  pid_t child = 0;
  const int failure = ::posix_spawnp(&child, name, &streams, nullptr, arguments, environ);
  ::posix_spawn_file_actions_destroy(&streams);
  if (failure == ENOENT) throw Error("gnuplot: not found on PATH; install the package gnuplot-nox");
  if (failure != 0) throw Error(fmt::format("gnuplot: cannot be started ({})", std::strerror(failure)));

  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) throw Error(fmt::format("gnuplot: cannot be waited for ({})", std::strerror(errno)));
  }
  if (WIFSIGNALED(status)) throw Error(fmt::format("gnuplot: ended by signal {}", WTERMSIG(status)));
  // Its exit status decides, not whether it said something: font libraries warn on standard error.
  if (WEXITSTATUS(status) != 0) throw Error("gnuplot: " + first_message(messages.content()));
  std::string picture = output.content();
  if (picture.empty()) throw Error("gnuplot: drew nothing: " + first_message(messages.content()));
  return picture;
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

std::string escape_xml(std::string_view text) {
  std::string out(text);
  replace_all(out, "&", "&amp;");
  replace_all(out, "<", "&lt;");
  replace_all(out, ">", "&gt;");
  return out;
}

// gnuplot's SVG names one font, which other machines replace by a serif; writes the weight into the font's
// name, which nothing reads; and calls every picture "Gnuplot" in the reader's tooltip.
void finish_svg(std::string& svg, std::string_view title) {
  const std::string family = R"(font-family="DejaVu Sans, Verdana, Helvetica, sans-serif")";
  replace_all(svg, fmt::format(R"(font-family="{}:Bold")", kFont), family + R"( font-weight="bold")");
  replace_all(svg, fmt::format(R"(font-family="{}")", kFont), family);
  replace_all(svg, "<title>Gnuplot</title>", "<title>" + escape_xml(clean(title)) + "</title>");
  for (int plot = 1;; ++plot) {
    const std::string name = fmt::format("<title>gnuplot_plot_{}</title>", plot);
    const std::size_t at = svg.find(name);
    if (at == std::string::npos) break;
    svg.erase(at, name.size());
  }
}

bool is_svg(const std::string& path) { return std::filesystem::path(path).extension() == ".svg"; }
bool is_png(const std::string& path) { return std::filesystem::path(path).extension() == ".png"; }

}  // namespace

std::string quote(std::string_view text) {
  // A quote ends the string, a backslash escapes, ` runs a command and @ expands a macro; all go as octal
  // numbers, which gnuplot reads as long as there are digits, so that a digit behind one has to be one too.
  // (Doubling the quotes in a single-quoted string fails in gnuplot 5.4 where two of them meet.)
  std::string out = "\"";
  bool escaped = false;
  for (const char c : clean(text)) {
    escaped =
        std::string_view("\"\\`@").find(c) != std::string_view::npos || (escaped && c >= '0' && c <= '9');
    if (escaped) {
      out += fmt::format("\\{:03o}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

void check_picture(const std::string& path, const PictureOptions& options) {
  if (!is_svg(path) && !is_png(path)) {
    throw Error(fmt::format("{}: a picture's file name ends in .svg or .png", path));
  }
  const auto check = [](const char* name, int pixels, int least) {
    if (pixels >= least && pixels <= kLargest) return;
    throw Error(fmt::format("picture: a {} of {} pixels; it can be {} to {}", name, pixels, least, kLargest));
  };
  check("width", options.width, kNarrowest);
  check("height", options.height, kLowest);
}

void write_picture(const std::string& script, std::string_view title, const std::string& path,
                   const PictureOptions& options) {
  check_picture(path, options);
  // pngcairo takes a font's size as points of 1/72 inch at 96 pixels an inch, svg as pixels; 0.75 makes both
  // pixels.
  const char* terminal = is_svg(path) ? "svg" : "pngcairo fontscale 0.75";
  std::string picture = run_gnuplot(fmt::format(
      "set encoding utf8\nset terminal {} size {},{} noenhanced font '{},{}' background '#FFFFFF'\n{}",
      terminal, options.width, options.height, kFont, kTextSize, script));
  if (is_svg(path)) finish_svg(picture, title);
  write_file_atomically(path, picture);
}

}  // namespace kith::draw
