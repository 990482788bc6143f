#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "array/temporary_folder.h"
#include "kith/safetensors.h"

namespace kith {
namespace {

namespace fs = std::filesystem;

std::string message_of(const std::string& path, std::string_view content = "new") {
  try {
    write_file_atomically(path, content);
  } catch (const Error& error) {
    return error.what();
  }
  return "written";
}

mode_t mode_of(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(stat(path.c_str(), &status), 0);
  return status.st_mode & 07777;
}

TEST(AtomicWrite, NewAndReplaced) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.kith");
  write_file_atomically(path, "first");
  EXPECT_EQ(read_file(path), "first");
  write_file_atomically(path, "");
  EXPECT_EQ(read_file(path), "");
  const std::string text = "two parts";
  const auto bytes = std::as_bytes(std::span(text));
  const std::vector<std::span<const std::byte>> parts{bytes.first(4), {}, bytes.subspan(4)};
  write_file_atomically(path, parts);
  EXPECT_EQ(read_file(path), text);
  EXPECT_EQ(folder.names(), std::vector<std::string>{"a.kith"});
}

TEST(AtomicWrite, RelativePathsAndLongNames) {
  const TemporaryFolder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  write_file_atomically("here", "1");
  fs::current_path(before);
  EXPECT_EQ(read_file(folder.file("here")), "1");
  const std::string name(255, 'n');
  write_file_atomically(folder.file(name), "2");
  EXPECT_EQ(read_file(folder.file(name)), "2");
}

TEST(AtomicWrite, KeepsTheModeOrFollowsTheUmask) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a");
  const mode_t before = umask(027);
  write_file_atomically(path, "1");
  umask(before);
  EXPECT_EQ(mode_of(path), 0640U);
  ASSERT_EQ(chmod(path.c_str(), 0604), 0);
  write_file_atomically(path, "2");
  EXPECT_EQ(mode_of(path), 0604U);
}

TEST(AtomicWrite, FollowsSymbolicLinks) {
  const TemporaryFolder folder;
  fs::create_directory(folder.path() / "real");
  const std::string real = folder.file("real/model");
  write_file(real, "old");
  fs::create_symlink("real/model", folder.file("link"));
  fs::create_symlink(folder.file("link"), folder.file("link_to_link"));
  write_file_atomically(folder.file("link_to_link"), "new");
  EXPECT_EQ(read_file(real), "new");
  EXPECT_TRUE(fs::is_symlink(folder.file("link")));
  EXPECT_TRUE(fs::is_symlink(folder.file("link_to_link")));

  fs::create_symlink("real/later", folder.file("dangling"));
  write_file_atomically(folder.file("dangling"), "made");
  EXPECT_EQ(read_file(folder.file("real/later")), "made");

  fs::create_symlink("loop", folder.file("loop"));
  EXPECT_EQ(message_of(folder.file("loop")),
            "cannot write " + folder.file("loop") + ": Too many levels of symbolic links");
}

TEST(AtomicWrite, DevicesPipesAndDescriptorsAreWrittenStraight) {
  EXPECT_EQ(message_of("/dev/null"), "written");
  EXPECT_TRUE(fs::is_character_file("/dev/null"));

  const TemporaryFolder folder;
  const std::string pipe = folder.file("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::string got;
  std::thread reader([&] { got = read_file(pipe); });
  write_file_atomically(pipe, "through");
  reader.join();
  EXPECT_EQ(got, "through");
  EXPECT_TRUE(fs::is_fifo(pipe));

  // As in `program -o /dev/stdout > log`: the open file gets the bytes, it is not replaced.
  const std::string log = folder.file("log");
  write_file(log, "before,");
  const int fd = open(log.c_str(), O_WRONLY | O_APPEND);
  ASSERT_GE(fd, 0);
  write_file_atomically("/dev/fd/" + std::to_string(fd), "through,");
  write_file_atomically("/proc/self/fd/" + std::to_string(fd), "again,");
  ASSERT_EQ(write(fd, "after", 5), 5);
  close(fd);
  EXPECT_EQ(read_file(log), "before,through,again,after");
}

TEST(AtomicWrite, RefusalsNameThePathAndTheReason) {
  const TemporaryFolder folder;
  const std::string file = folder.file("file");
  write_file(file, "old");
  EXPECT_EQ(message_of(folder.file("no/model")), "cannot write " + folder.file("no/model") + ": folder " +
                                                     folder.file("no") + ": No such file or directory");
  EXPECT_EQ(message_of(file + "/model"),
            "cannot write " + file + "/model: folder " + file + ": Not a directory");
  EXPECT_EQ(message_of(folder.path().native()),
            "cannot write " + folder.path().native() + ": Is a directory");
  EXPECT_EQ(message_of(folder.file("later/")), "cannot write " + folder.file("later/") + ": Is a directory");
  EXPECT_EQ(message_of(""), "cannot write : No such file or directory");
  EXPECT_EQ(message_of(folder.file(std::string(300, 'n'))),
            "cannot write " + folder.file(std::string(300, 'n')) + ": File name too long");
  EXPECT_EQ(message_of("/dev/full"), "cannot write /dev/full: No space left on device");
  EXPECT_EQ(read_file(file), "old");
  EXPECT_EQ(folder.names(), std::vector<std::string>{"file"});
}

/// Runs `act` in a process of its own and expects true of it.
template <class F>
void expect_in_child(const F& act) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) _exit(act() ? 0 : 1);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(AtomicWrite, PermissionsAreRespected) {
  const TemporaryFolder folder;
  const std::string file = folder.file("file");
  write_file(file, "old");
  // Root may write everywhere, so root becomes somebody else.
  constexpr uid_t kNobody = 65534;
  const bool root = geteuid() == 0;
  if (root) {
    ASSERT_EQ(chown(file.c_str(), kNobody, kNobody), 0);
    ASSERT_EQ(chown(folder.path().c_str(), kNobody, kNobody), 0);
  }
  const auto says = [&](const std::string& message) {
    return [=] { return (!root || setuid(kNobody) == 0) && message_of(file) == message; };
  };
  ASSERT_EQ(chmod(file.c_str(), 0444), 0);
  expect_in_child(says("cannot write " + file + ": Permission denied"));
  ASSERT_EQ(chmod(file.c_str(), 0644), 0);
  ASSERT_EQ(chmod(folder.path().c_str(), 0555), 0);
  expect_in_child(
      says("cannot write " + file + ": folder " + folder.path().native() + ": Permission denied"));
  ASSERT_EQ(chmod(folder.path().c_str(), 0755), 0);
  EXPECT_EQ(read_file(file), "old");
  expect_in_child(says("written"));
  EXPECT_EQ(read_file(file), "new");
}

/// The limit on a file's size stands in for a full disk, where no small disk can be made: a write ends
/// half-way.
TEST(AtomicWrite, AWriteThatEndsHalfWayLeavesTheOldFile) {
  const TemporaryFolder folder;
  const std::string path = folder.file("model.kith");
  write_file(path, "old");
  expect_in_child([&] {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100'000, 100'000};
    return setrlimit(RLIMIT_FSIZE, &limit) == 0 &&
           message_of(path, std::string(1'000'000, 'x')) == "cannot write " + path + ": File too large";
  });
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(folder.names(), std::vector<std::string>{"model.kith"});
}

TEST(AtomicWrite, AFullDiskLeavesTheOldFile) {
  const TemporaryFolder folder;
  const std::string disk = folder.file("disk");
  fs::create_directory(disk);
  if (mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=256k") != 0)
    GTEST_SKIP() << "may not mount a small disk";
  const std::string path = disk + "/model.kith";
  write_file(path, "old");
  const std::string message = message_of(path, std::string(1'000'000, 'x'));
  const std::string content = read_file(path);
  const auto files = std::distance(fs::directory_iterator(disk), fs::directory_iterator());
  EXPECT_EQ(umount(disk.c_str()), 0);
  EXPECT_EQ(message, "cannot write " + path + ": No space left on device");
  EXPECT_EQ(content, "old");
  EXPECT_EQ(files, 1);
}

/// Version `v` of the file that the child keeps rewriting: every element is `v`.
void write_version(const std::string& path, std::int64_t version) {
  const std::vector<std::int64_t> values(40'000, version);
  write_safetensors(path, {tensor_entry("values", {40'000}, values.data())}, {});
}

TEST(AtomicWrite, KilledAtFiftyRandomInstantsTheFileIsWhole) {
  const TemporaryFolder folder;
  const std::string path = folder.file("model.kith");
  write_version(path, 0);
  std::mt19937 random(7);
  std::size_t leftovers = 0;
  std::int64_t latest = 0;
  for (int round = 0; round < 50; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (std::int64_t version = latest + 1;; ++version) write_version(path, version);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
    ASSERT_EQ(kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself, status " << status;

    const SafetensorsFile file = SafetensorsFile::open(path);
    const auto values = file.tensor<std::int64_t, 1>("values");
    ASSERT_EQ(values.size(), 40'000);
    ASSERT_GE(values(0), latest) << "an older version came back";
    latest = values(0);
    for (Index i = 0; i < values.size(); ++i) ASSERT_EQ(values(i), latest) << "two versions are mixed";
    for (const std::string& name : folder.names()) {
      if (name == "model.kith") continue;
      EXPECT_TRUE(name.starts_with(".model.kith.") && name.ends_with(".tmp")) << name;
      fs::remove(folder.file(name));
      ++leftovers;
    }
  }
  // Otherwise this test has tried nothing: kills have to land inside writes and between them.
  EXPECT_GT(latest, 0);
  EXPECT_GT(leftovers, 0U);
}

}  // namespace
}  // namespace kith
