#include "array/csv_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "array/csv_text.h"
#include "kith/error.h"

namespace kith::csv {
namespace {

// Large enough to make system calls rare, small enough to stay in the second-level cache.
constexpr std::size_t kBlock = std::size_t{1} << 17;

std::string reason() { return std::generic_category().message(errno); }

template <class Call>
auto retried(Call call) {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

// A file without a name: it goes when it is closed, however the process ends.
int temporary_file(const std::string& source) {
  const char* folder = std::getenv("TMPDIR");
  std::string path = fmt::format("{}/kith-XXXXXX", folder != nullptr && *folder != '\0' ? folder : "/tmp");
  const int file = ::mkostemp(path.data(), O_CLOEXEC);
  if (file < 0)
    throw Error(fmt::format("{}: cannot make the temporary file {} to hold it: {}", source, path, reason()));
  ::unlink(path.c_str());
  return file;
}

}  // namespace

Source Source::open(const std::string& path) {
  Source source(source_name(path));
  const std::string& name = source.name_;
  source.file_ = path == "-" ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
                             : retried([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); });
  if (source.file_ < 0) throw Error(fmt::format("{}: cannot be opened: {}", name, reason()));
  struct stat status {};
  if (::fstat(source.file_, &status) != 0) throw Error(fmt::format("{}: cannot be read: {}", name, reason()));
  if (S_ISDIR(status.st_mode)) throw Error(fmt::format("{}: is a folder, not a file with a table", name));
  source.block_.resize(kBlock);

  const off_t start = ::lseek(source.file_, 0, SEEK_CUR);
  if (S_ISREG(status.st_mode) && start >= 0) {
    source.base_ = static_cast<std::uint64_t>(start);
    source.size_ = static_cast<std::uint64_t>(std::max<off_t>(status.st_size - start, 0));
    return source;
  }

  Source spool(name);
  spool.file_ = temporary_file(name);
  spool.block_ = std::move(source.block_);
  for (;;) {
    const ssize_t got = retried([&] { return ::read(source.file_, spool.block_.data(), kBlock); });
    if (got < 0) throw Error(fmt::format("{}: cannot be read: {}", name, reason()));
    if (got == 0) return spool;
    for (ssize_t done = 0; done < got;) {
      const ssize_t put = retried([&] {
        return ::write(spool.file_, spool.block_.data() + done, static_cast<std::size_t>(got - done));
      });
      if (put < 0)
        throw Error(fmt::format("{}: cannot be kept in a temporary file, {} bytes so far: {}", name,
                                spool.size_, reason()));
      done += put;
      spool.size_ += static_cast<std::uint64_t>(put);
    }
  }
}

Source Source::over(std::string name, std::string_view memory) {
  Source source(std::move(name));
  source.memory_ = memory;
  source.size_ = memory.size();
  return source;
}

Source::Source(Source&& other) noexcept
    : name_(std::move(other.name_)),
      file_(std::exchange(other.file_, -1)),
      base_(other.base_),
      memory_(other.memory_),
      size_(other.size_),
      position_(other.position_),
      block_(std::move(other.block_)) {}

Source::~Source() {
  if (file_ >= 0) ::close(file_);
}

std::string_view Source::next() {
  std::string_view block;
  if (file_ < 0) {
    block = memory_.substr(position_, kBlock);
  } else {
    const ssize_t got = retried(
        [&] { return ::pread(file_, block_.data(), block_.size(), static_cast<off_t>(base_ + position_)); });
    if (got < 0) throw Error(fmt::format("{}: cannot be read: {}", name_, reason()));
    block = {block_.data(), static_cast<std::size_t>(got)};
  }
  position_ += block.size();
  return block;
}

}  // namespace kith::csv
