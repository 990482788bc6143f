// Running the built program as a user would: arguments in, exit code and text out.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace kith::test {

/// A folder of its own, deleted with the object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  /// A path inside.
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  std::string path() const { return path_.string(); }
  /// Writes a file inside and returns its path.
  std::string write(const std::string& name, const std::string& content) const;
  std::vector<std::string> names() const;

 private:
  std::filesystem::path path_;
};

std::string read_file(const std::string& path);

struct Outcome {
  int exit_code = -1;  ///< 128 + signal where one ended it.
  std::string out, err;
};

struct Setting {
  std::string input = "";        ///< standard input.
  std::string folder = "";       ///< working directory.
  std::string output_path = "";  ///< standard output goes here instead.
  int output_descriptor = -1;    ///< or to this, which is open already.
  long largest_file = -1;        ///< bytes a file may reach: what a full disk looks like to the program.
};

/// Starts `kith ARGUMENTS` and waits for its end.
Outcome kith_run(const std::vector<std::string>& arguments, const Setting& setting = {});

/// Starts it with a terminal for standard error; read the terminal and send signals by the test itself.
struct Running {
  pid_t process = -1;
  int terminal = -1;
};
/// Whether this system gives pseudo-terminals: a bare chroot may have no /dev/pts.
bool has_terminals();
Running kith_start_on_terminal(const std::vector<std::string>& arguments, const std::string& output_path);
/// Reads the terminal until `text` appears (true) or the program has closed it (false). All it read goes to
/// `seen`.
bool read_until(const Running& running, const std::string& text, std::string& seen);
/// Starts it with everything it prints thrown away.
pid_t kith_start(const std::vector<std::string>& arguments);
/// The exit code, or 128 + signal.
int wait_for(pid_t process);

nlohmann::json parse_json(const std::string& text);
std::vector<nlohmann::json> parse_json_lines(const std::string& text);

/// a, b numeric, kind one of three words, y = 3a + a word's own amount + noise; c does not matter. Every row
/// differs by `seed`.
std::string number_table(std::size_t rows, unsigned seed = 1);
/// The same columns, and y is "low", "middle" or "high".
std::string class_table(std::size_t rows, unsigned seed = 1);

}  // namespace kith::test
