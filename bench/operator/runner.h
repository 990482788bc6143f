// Rows in, results out: prepares both sides, has them compete, and keeps the peers' processes.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "measure.h"
#include "own.h"
#include "peer.h"
#include "result.h"

namespace kith::bench {

class Runner {
 public:
  Runner(const Effort& effort, bool with_peers);
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  RowResult run(const Row& row);
  /// Forward, full, one head, d = 64, for N = 128, 256, ... `most`.
  std::vector<GrowthPoint> growth(Index most);

 private:
  /// A peer that has prepared a problem, or why it has not.
  struct Prepared {
    Peer* peer = nullptr;
    std::string version, absent;
    double bytes = 0;  ///< its first run's peak beyond the inputs
  };
  Prepared prepare_peer(const std::string& adapter, const Problem& problem, const Own& own);
  Problem affordable(const Row& row) const;

  Effort effort_;
  bool with_peers_;
  std::string folder_;  ///< inputs and results exchanged with peers, and their log
  std::map<std::pair<std::string, int>, std::unique_ptr<Peer>> peers_;
};

}  // namespace kith::bench
