#include "cli/program.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <random>
#include <sstream>
#include <stdexcept>

#include <nlohmann/json.hpp>

namespace kith::test {
namespace fs = std::filesystem;

TemporaryFolder::TemporaryFolder() {
  std::string name = (fs::temp_directory_path() / "kith-cli-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string TemporaryFolder::write(const std::string& name, const std::string& content) const {
  std::ofstream(path_ / name, std::ios::binary) << content;
  return (path_ / name).string();
}

std::vector<std::string> TemporaryFolder::names() const {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(path_)) names.push_back(entry.path().filename().string());
  return names;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

namespace {

[[noreturn]] void become_kith(const std::vector<std::string>& arguments) {
  std::string program = KITH_PROGRAM;
  std::vector<char*> argv = {program.data()};
  std::vector<std::string> copies = arguments;
  for (std::string& argument : copies) argv.push_back(argument.data());
  argv.push_back(nullptr);
  ::execv(program.c_str(), argv.data());
  ::_exit(127);
}

void redirect(const std::string& path, int flags, int to) {
  const int file = ::open(path.c_str(), flags, 0600);
  if (file < 0 || ::dup2(file, to) < 0) ::_exit(126);
  ::close(file);
}

pid_t checked_fork() {
  const pid_t process = ::fork();
  if (process < 0) throw std::runtime_error("fork failed");
  return process;
}

}  // namespace

int wait_for(pid_t process) {
  int status = 0;
  while (::waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

Outcome kith_run(const std::vector<std::string>& arguments, const Setting& setting) {
  const TemporaryFolder folder;
  folder.write("in", setting.input);
  const std::string out = setting.output_path.empty() ? folder / "out" : setting.output_path;
  const pid_t process = checked_fork();
  if (process == 0) {
    redirect(folder / "in", O_RDONLY, STDIN_FILENO);
    if (setting.output_descriptor >= 0) {
      ::dup2(setting.output_descriptor, STDOUT_FILENO);
    } else {
      redirect(out, O_WRONLY | O_CREAT, STDOUT_FILENO);
    }
    redirect(folder / "err", O_WRONLY | O_CREAT, STDERR_FILENO);
    if (!setting.folder.empty() && ::chdir(setting.folder.c_str()) != 0) ::_exit(126);
    if (setting.largest_file >= 0) {
      const auto bytes = static_cast<rlim_t>(setting.largest_file);
      const struct rlimit limit = {bytes, bytes};
      ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    become_kith(arguments);
  }
  Outcome outcome;
  outcome.exit_code = wait_for(process);
  if (setting.output_path.empty()) outcome.out = read_file(out);
  outcome.err = read_file(folder / "err");
  return outcome;
}

namespace {

/// The master side of a new pseudo-terminal, or -1 where the system gives none.
int open_terminal() {
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal >= 0 && ::grantpt(terminal) == 0 && ::unlockpt(terminal) == 0 &&
      ::ptsname(terminal) != nullptr && ::access(::ptsname(terminal), R_OK | W_OK) == 0) {
    return terminal;
  }
  if (terminal >= 0) ::close(terminal);
  return -1;
}

}  // namespace

bool has_terminals() {
  const int terminal = open_terminal();
  if (terminal >= 0) ::close(terminal);
  return terminal >= 0;
}

Running kith_start_on_terminal(const std::vector<std::string>& arguments, const std::string& output_path) {
  const int terminal = open_terminal();
  if (terminal < 0) throw std::runtime_error("no terminal");
  const std::string name = ::ptsname(terminal);
  const pid_t process = checked_fork();
  if (process == 0) {
    ::close(terminal);
    redirect(name, O_RDWR | O_NOCTTY, STDERR_FILENO);
    redirect(output_path, O_WRONLY | O_CREAT, STDOUT_FILENO);
    become_kith(arguments);
  }
  return {process, terminal};
}

bool read_until(const Running& running, const std::string& text, std::string& seen) {
  while (seen.find(text) == std::string::npos) {
    char buffer[512];
    const ssize_t count = ::read(running.terminal, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    // EIO: the program, which held the other end, is gone. It may also not have opened it yet.
    if (count <= 0) {
      siginfo_t info{};
      if (::waitid(P_PID, static_cast<id_t>(running.process), &info, WEXITED | WNOHANG | WNOWAIT) != 0)
        return false;
      if (info.si_pid != 0) return false;
      ::usleep(1000);
      continue;
    }
    seen.append(buffer, static_cast<std::size_t>(count));
  }
  return true;
}

pid_t kith_start(const std::vector<std::string>& arguments) {
  const pid_t process = checked_fork();
  if (process == 0) {
    redirect("/dev/null", O_RDONLY, STDIN_FILENO);
    redirect("/dev/null", O_WRONLY, STDOUT_FILENO);
    redirect("/dev/null", O_WRONLY, STDERR_FILENO);
    become_kith(arguments);
  }
  return process;
}

nlohmann::json parse_json(const std::string& text) { return nlohmann::json::parse(text); }

std::vector<nlohmann::json> parse_json_lines(const std::string& text) {
  std::vector<nlohmann::json> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

namespace {

template <class Target>
std::string table(std::size_t rows, unsigned seed, Target target) {
  std::mt19937 generator(seed);
  // The distributions of the standard library differ between implementations; the generator does not.
  const auto uniform = [&] { return static_cast<double>(generator()) / 4294967296.0; };
  std::ostringstream text;
  text << "a,b,kind,c,y\n";
  const char* kinds[] = {"red", "green", "blue"};
  for (std::size_t row = 0; row < rows; ++row) {
    const double a = uniform(), b = uniform();
    const auto kind = static_cast<std::size_t>(generator() % 3);
    const double y = 3 * a + static_cast<double>(kind) + 0.2 * (uniform() - 0.5);
    text << a << ',' << b << ',' << kinds[kind] << ',' << uniform() << ',';
    target(text, y);
    text << '\n';
  }
  return text.str();
}

}  // namespace

std::string number_table(std::size_t rows, unsigned seed) {
  return table(rows, seed, [](std::ostream& text, double y) { text << y; });
}

std::string class_table(std::size_t rows, unsigned seed) {
  return table(rows, seed, [](std::ostream& text, double y) {
    text << (y < 1.5 ? "low" : y < 3.5 ? "middle" : "high");
  });
}

}  // namespace kith::test
