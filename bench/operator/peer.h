// Another library, in a process of its own that waits on a pipe while Kith is timed.
//
// One line of JSON a question, one a answer:
//   {"do": "prepare", "problem": {...}, "folder": F}  {"version": "PyTorch 2.15.0", "bytes": 1048576}:
//   computed
//                                                    once, results in F; peak memory of that beyond the
//                                                    inputs
//   {"do": "run", "at_least": 0.03}                   {"seconds": 0.0012}: of one run
// or {"error": "..."}, {"missing": "..."} (not installed), {"unsupported": "..."} (no such operation).
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include <nlohmann/json.hpp>

namespace kith::bench {

/// The process. Its libraries' chatter goes to LOG.
class Peer {
 public:
  /// `name`: an adapter bench/peers/NAME.py. Its process starts with as many threads as it may use.
  Peer(const std::string& name, int threads, const std::string& log);
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  /// kith::Error: the process died, or gave no answer for half an hour.
  nlohmann::json ask(const nlohmann::json& question);

 private:
  std::string read_line();

  std::string name_, unread_;
  pid_t process_ = -1;
  int to_ = -1, from_ = -1;
};

/// Where bench/peers.sh puts the peers: $KITH_PEERS, else ~/.cache/kith-peers.
std::string peers_folder();

}  // namespace kith::bench
