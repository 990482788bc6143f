// A peer in a process of its own, which waits on a pipe while others are timed.
//
// One line of JSON a question, one a answer:
//   {"do": "prepare", "problem": {...}, "folder": F}  {"version": "PyTorch 2.15.0", "bytes": 1048576}:
//                                                    computed once, results in F; peak memory of that
//                                                    beyond the inputs
//   {"do": "run", "at_least": 0.03}                   {"seconds": 0.0012}: of one run
// or {"error": "..."}, {"missing": "..."} (not installed), {"unsupported": "..."} (no such operation).
#pragma once

#include <sys/types.h>

#include <string>

#include <nlohmann/json.hpp>

#include "peer.h"

namespace kith::bench {

class ProcessPeer final : public Peer {
 public:
  /// `name`: an adapter bench/peers/NAME.py. Its libraries' chatter goes to FOLDER/log.
  ProcessPeer(const std::string& name, int threads, const std::string& folder);
  ~ProcessPeer() override;
  ProcessPeer(const ProcessPeer&) = delete;
  ProcessPeer& operator=(const ProcessPeer&) = delete;

  double prepare(const Problem& problem, const Own& own) override;
  double seconds(double at_least) override;

 private:
  /// kith::Error: the process died, or gave no answer for half an hour.
  nlohmann::json ask(const nlohmann::json& question);
  std::string read_line();

  std::string name_, folder_, unread_;
  pid_t process_ = -1;
  int to_ = -1, from_ = -1;
};

}  // namespace kith::bench
