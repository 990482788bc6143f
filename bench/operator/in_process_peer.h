// A peer in this process: a shared library with the functions of bench/peers/in_process.h.
#pragma once

#include <string>

#include "../peers/in_process.h"
#include "peer.h"

namespace kith::bench {

/// Libraries stay open until the program ends: their thread pools would not survive less. Two objects of one
/// adapter share what is prepared, so the last to prepare is the one to be timed.
class InProcessPeer final : public Peer {
 public:
  /// `name`: an adapter bench/peers/NAME.cc. kith::Error: bench/peers.sh has not compiled it.
  explicit InProcessPeer(const std::string& name);
  ~InProcessPeer() override;
  InProcessPeer(const InProcessPeer&) = delete;
  InProcessPeer& operator=(const InProcessPeer&) = delete;

  double prepare(const Problem& problem, const Own& own) override;
  double seconds(double at_least) override;

 private:
  std::string name_;
  const KithPeer* functions_ = nullptr;
};

}  // namespace kith::bench
