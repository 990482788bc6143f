#include "process_peer.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <vector>

#include <fmt/format.h>

#include "kith/error.h"

extern char** environ;

namespace kith::bench {
namespace {

constexpr int kPatienceMs = 30 * 60 * 1000;

std::vector<std::string> environment(int threads) {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) variables.emplace_back(*variable);
  for (const auto& [name, value] : library_variables(threads)) {
    std::erase_if(variables, [&name = name](const std::string& v) { return v.starts_with(name + "="); });
    variables.push_back(fmt::format("{}={}", name, value));
  }
  return variables;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (std::string& s : strings) result.push_back(s.data());
  result.push_back(nullptr);
  return result;
}

}  // namespace

ProcessPeer::ProcessPeer(const std::string& name, int threads, const std::string& folder)
    : name_(name), folder_(folder) {
  std::string python = peers_folder() + "/bin/python3";
  if (!std::filesystem::exists(python))
    throw Error(fmt::format("{}: no such file; run bench/peers.sh", python));
  std::array<int, 2> down{}, up{};
  if (pipe2(down.data(), O_CLOEXEC) != 0 || pipe2(up.data(), O_CLOEXEC) != 0)
    throw Error("no pipe to a peer");
  const std::string log = folder + "/log";
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, down[0], 0);
  posix_spawn_file_actions_adddup2(&actions, up[1], 1);
  posix_spawn_file_actions_addopen(&actions, 2, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  std::vector<std::string> words = {python, "-B", KITH_BENCH_FOLDER "/peers/driver.py", name};
  std::vector<std::string> variables = environment(threads);
  const int failed = posix_spawn(&process_, python.c_str(), &actions, nullptr, pointers(words).data(),
                                 pointers(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  close(down[0]);
  close(up[1]);
  to_ = down[1];
  from_ = up[0];
  if (failed != 0) throw Error(fmt::format("{}: cannot be started", python));
  // A peer that has died is told by the answer that does not come.
  signal(SIGPIPE, SIG_IGN);
}

ProcessPeer::~ProcessPeer() {
  close(to_);
  close(from_);
  if (process_ > 0) {
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
  }
}

double ProcessPeer::prepare(const Problem& problem, const Own& own) {
  const std::string arrays = folder_ + "/arrays";
  std::filesystem::remove_all(arrays);
  std::filesystem::create_directory(arrays);
  own.write(arrays);
  const nlohmann::json answer = ask({{"do", "prepare"}, {"problem", to_json(problem)}, {"folder", arrays}});
  version_ = answer.value("version", "");
  if (answer.contains("missing"))
    throw Error(fmt::format("not installed ({})", answer["missing"].get<std::string>()));
  if (answer.contains("unsupported"))
    throw Error(fmt::format("has no {}", answer["unsupported"].get<std::string>()));
  if (answer.contains("error")) throw Error(answer["error"].get<std::string>());
  own.compare(arrays, name_);
  std::filesystem::remove_all(arrays);
  return answer.value("bytes", 0.0);
}

double ProcessPeer::seconds(double at_least) {
  const nlohmann::json answer = ask({{"do", "run"}, {"at_least", at_least}});
  if (!answer.contains("seconds")) throw Error(answer.dump());
  return answer["seconds"];
}

nlohmann::json ProcessPeer::ask(const nlohmann::json& question) {
  const std::string line = question.dump() + "\n";
  for (std::size_t sent = 0; sent < line.size();) {
    const ssize_t n = ::write(to_, line.data() + sent, line.size() - sent);
    if (n <= 0) throw Error(fmt::format("{}: its process has ended", name_));
    sent += static_cast<std::size_t>(n);
  }
  return nlohmann::json::parse(read_line());
}

std::string ProcessPeer::read_line() {
  for (;;) {
    if (const std::size_t end = unread_.find('\n'); end != std::string::npos) {
      std::string line = unread_.substr(0, end);
      unread_.erase(0, end + 1);
      return line;
    }
    pollfd wait{from_, POLLIN, 0};
    if (poll(&wait, 1, kPatienceMs) <= 0) throw Error(fmt::format("{}: no answer", name_));
    std::array<char, 4096> buffer{};
    const ssize_t n = ::read(from_, buffer.data(), buffer.size());
    if (n <= 0) throw Error(fmt::format("{}: its process has ended", name_));
    unread_.append(buffer.data(), static_cast<std::size_t>(n));
  }
}

}  // namespace kith::bench
