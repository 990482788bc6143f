#include "cli/output_files.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "cli/output.h"

namespace kith::cli {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& path, const std::error_code& error) {
  throw Error(fmt::format("cannot write {}: {}", path, error.message()));
}

/// A file written under a temporary name; gone with this object unless put in place.
class StagedFile {
 public:
  StagedFile(std::string path, std::size_t number) : path_(std::move(path)) {
    // A link is followed, so that what it names is replaced and not the link.
    std::error_code ignored;
    const fs::path canonical = fs::canonical(path_, ignored);
    target_ = canonical.empty() ? fs::path(path_) : canonical;
    staged_ = target_.parent_path() / fmt::format(".kith.{}.{}.tmp", ::getpid(), number);
  }
  ~StagedFile() {
    std::error_code ignored;
    if (!staged_.empty()) fs::remove(staged_, ignored);
  }
  StagedFile(StagedFile&& other) noexcept
      : path_(std::move(other.path_)),
        target_(std::move(other.target_)),
        staged_(std::exchange(other.staged_, {})) {}
  StagedFile& operator=(StagedFile&&) = delete;

  std::string staged() const { return staged_.string(); }

  void put_in_place() {
    std::error_code error;
    const fs::file_status old = fs::status(target_, error);
    if (fs::exists(old)) fs::permissions(staged_, old.permissions(), error);
    fs::rename(staged_, target_, error);
    if (error) fail(path_, error);
    staged_.clear();
  }

 private:
  std::string path_;
  fs::path target_, staged_;
};

/// A pipe or a device has no old content to save: it is written as it is.
bool is_stream(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  return fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status);
}

void check_writable(const std::string& path, const std::vector<std::string>& inputs) {
  check_output("-o", path, {});
  for (const std::string& input : inputs) check_output("-o", path, {input});
  if (::access(path.c_str(), W_OK) != 0 && errno != ENOENT)
    fail(path, std::error_code(errno, std::generic_category()));
}

}  // namespace

std::string OutputFiles::path(const std::string& name) const {
  if (name == "out") return out_ == "-" ? "/dev/stdout" : out_;
  fs::path path = out_;
  return path.replace_extension(fmt::format(".{}.npy", name)).string();
}

void OutputFiles::add(const std::string& name, double number) {
  Array<double, 1> array({1});
  array(0) = number;
  add(name, std::move(array), std::vector<Index>{});
}

void OutputFiles::add(const std::string& name, const std::vector<double>& numbers) {
  Array<double, 1> array({static_cast<Index>(numbers.size())});
  std::copy(numbers.begin(), numbers.end(), array.begin());
  add(name, std::move(array), 1);
}

void OutputFiles::add(const std::string& name, File file) { files_.emplace_back(name, std::move(file)); }

const OutputFiles::File& OutputFiles::file(const std::string& name) const {
  return std::find_if(files_.begin(), files_.end(), [&](const auto& file) { return file.first == name; })
      ->second;
}

void OutputFiles::write(const File& file, const std::string& path) {
  std::vector<Index> stride(file.shape.size());
  Index step = 1;
  for (std::size_t axis = stride.size(); axis-- > 0; step *= file.shape[axis]) stride[axis] = step;
  write_npy(path, file.dtype, file.shape, stride, file.data);
}

void OutputFiles::write(const std::vector<std::string>& inputs) const {
  if (out_ == "-") {
    for (const auto& [name, file] : files_) write(file, file.path);
    return;
  }
  for (const auto& [name, file] : files_) check_writable(file.path, inputs);
  std::vector<StagedFile> staged;
  for (const auto& [name, file] : files_) {
    if (is_stream(file.path)) {
      write(file, file.path);
    } else {
      staged.emplace_back(file.path, staged.size());
      try {
        write(file, staged.back().staged());
      } catch (const Error& error) {
        std::string message = error.what();  // which names the temporary file
        const std::string temporary = staged.back().staged();
        message.replace(message.find(temporary), temporary.size(), file.path);
        throw Error(message);
      }
    }
  }
  for (StagedFile& file : staged) file.put_in_place();
}

std::vector<std::pair<std::string, std::string>> OutputFiles::list() const {
  std::vector<std::pair<std::string, std::string>> list;
  for (const auto& [name, file] : files_) list.emplace_back(name, file.path);
  return list;
}

}  // namespace kith::cli
