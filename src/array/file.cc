#include "array/file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <random>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kith/safetensors.h"

namespace kith {
namespace {

namespace fs = std::filesystem;
using Parts = std::span<const std::span<const std::byte>>;

std::string reason(int code) { return std::generic_category().message(code); }

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int close() { return ::close(std::exchange(fd_, -1)); }

 private:
  int fd_;
};

[[noreturn]] void fail_read(const std::string& path, int code) {
  if (code == ENOENT || code == ENOTDIR) throw Error(fmt::format("{}: does not exist", path));
  throw Error(fmt::format("{}: not readable: {}", path, reason(code)));
}

[[noreturn]] void fail_write(const std::string& path, int code) {
  throw Error(fmt::format("cannot write {}: {}", path, reason(code)));
}

std::vector<std::byte> read_to_end(int fd, const std::string& path) {
  constexpr std::size_t kStep = 1 << 20;
  std::vector<std::byte> content;
  for (std::size_t size = 0;;) {
    content.resize(size + kStep);
    const ssize_t got = ::read(fd, content.data() + size, kStep);
    if (got < 0 && errno != EINTR) fail_read(path, errno);
    if (got > 0) size += static_cast<std::size_t>(got);
    content.resize(size);
    if (got == 0) return content;
  }
}

void write_parts(int fd, Parts parts, const std::string& path) {
  for (std::span<const std::byte> part : parts) {
    while (!part.empty()) {
      const ssize_t done = ::write(fd, part.data(), part.size());
      if (done < 0 && errno != EINTR) fail_write(path, errno);
      if (done > 0) part = part.subspan(static_cast<std::size_t>(done));
    }
  }
}

/// Where a rename has to put the new file: `path` with its symbolic links followed, whether or not something
/// is there yet. Nothing if it names an open descriptor (/dev/stdout, /dev/fd/3), which a rename would not
/// reach.
std::optional<fs::path> rename_target(const std::string& path) {
  constexpr int kMaxLinks = 40;
  fs::path target = path;
  std::error_code ignored;
  for (int link = 0; fs::is_symlink(fs::symlink_status(target, ignored)); ++link) {
    if (link == kMaxLinks) fail_write(path, ELOOP);
    const fs::path folder = fs::canonical(target.has_parent_path() ? target.parent_path() : ".", ignored);
    if (folder.native().starts_with("/proc/")) return std::nullopt;
    const fs::path next = fs::read_symlink(target, ignored);
    if (next.empty()) fail_write(path, EINVAL);
    target = next.is_absolute() ? next : target.parent_path() / next;
  }
  return target;
}

/// Devices, pipes and open descriptors hold no old content to save: the bytes go straight in.
void write_straight(const std::string& path, Parts parts) {
  Descriptor file(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  if (!file.valid()) fail_write(path, errno);
  write_parts(file.get(), parts, path);
  if (file.close() != 0) fail_write(path, errno);
}

/// A temporary file that is gone, unless kept, when this object is.
class TemporaryFile {
 public:
  TemporaryFile(const fs::path& folder, const fs::path& target, const std::string& path) {
    // The name must fit the usual 255 bytes with what is added to it.
    const std::string stem = target.filename().native().substr(0, 200);
    std::random_device random;
    do {
      name_ = (folder / fmt::format(".{}.{:06x}.tmp", stem, random() & 0xffffff)).native();
      fd_ = ::open(name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (fd_ < 0 && (errno == EEXIST || errno == EINTR));
    if (fd_ < 0)
      throw Error(fmt::format("cannot write {}: folder {}: {}", path, folder.native(), reason(errno)));
  }
  ~TemporaryFile() {
    if (fd_ >= 0) ::close(fd_);
    if (!name_.empty()) ::unlink(name_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  int get() const { return fd_; }
  int close() { return ::close(std::exchange(fd_, -1)); }
  int rename_to(const fs::path& target) {
    if (::rename(name_.c_str(), target.c_str()) != 0) return -1;
    name_.clear();
    return 0;
  }

 private:
  std::string name_;
  int fd_ = -1;
};

/// A rename is only safe from a power cut once its folder is synced. Some file systems cannot, some folders
/// may not be opened; the new file is then in place all the same.
void sync_folder(const fs::path& folder, const std::string& path) {
  const Descriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.valid() && ::fsync(directory.get()) != 0 && (errno == EIO || errno == ENOSPC))
    fail_write(path, errno);
}

}  // namespace

FileBytes FileBytes::open(const std::string& path) {
  struct stat status {};
  // Looked at first, so that nothing but a file or a pipe is ever opened: opening a device can act on it.
  if (::stat(path.c_str(), &status) != 0) fail_read(path, errno);
  if (S_ISDIR(status.st_mode)) throw Error(fmt::format("{}: is a folder", path));
  if (!S_ISREG(status.st_mode) && !S_ISFIFO(status.st_mode))
    throw Error(fmt::format("{}: is a device, needs a file", path));
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid() || ::fstat(file.get(), &status) != 0) fail_read(path, errno);

  FileBytes result;
  if (!S_ISREG(status.st_mode)) {
    const auto content = std::make_shared<std::vector<std::byte>>(read_to_end(file.get(), path));
    result.bytes_ = *content;
    result.owner_ = content;
  } else if (status.st_size > 0) {  // no mapping can be empty
    const auto size = static_cast<std::size_t>(status.st_size);
    void* const start = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (start == MAP_FAILED) fail_read(path, errno);
    result.owner_ = std::shared_ptr<const void>(start, [size](void* p) { ::munmap(p, size); });
    result.bytes_ = {static_cast<const std::byte*>(start), size};
  }
  return result;
}

void write_file_atomically(const std::string& path, Parts parts) {
  struct stat old {};
  const bool exists = ::stat(path.c_str(), &old) == 0;
  if (exists && S_ISDIR(old.st_mode)) fail_write(path, EISDIR);
  if (exists && !S_ISREG(old.st_mode)) return write_straight(path, parts);
  const std::optional<fs::path> target = rename_target(path);
  if (!target) return write_straight(path, parts);
  if (!target->has_filename()) fail_write(path, path.empty() ? ENOENT : EISDIR);
  // A rename needs no permission of the file it replaces, so a write-protected file has to be asked for.
  if (exists && ::faccessat(AT_FDCWD, target->c_str(), W_OK, AT_EACCESS) != 0) fail_write(path, errno);

  const fs::path folder = target->has_parent_path() ? target->parent_path() : fs::path(".");
  TemporaryFile file(folder, *target, path);
  if (exists) {
    // Giving a file away needs privilege; without it the new file belongs to who writes it.
    [[maybe_unused]] const int given = ::fchown(file.get(), old.st_uid, old.st_gid);
    if (::fchmod(file.get(), old.st_mode & 0777) != 0) fail_write(path, errno);
  }
  write_parts(file.get(), parts, path);
  if (::fsync(file.get()) != 0) fail_write(path, errno);
  if (file.close() != 0) fail_write(path, errno);
  if (file.rename_to(*target) != 0) fail_write(path, errno);
  sync_folder(folder, path);
}

void write_file_atomically(const std::string& path, std::string_view content) {
  const std::span<const std::byte> part = std::as_bytes(std::span(content.data(), content.size()));
  write_file_atomically(path, Parts(&part, 1));
}

}  // namespace kith
