// Another library that solves the problems that Kith solves.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "own.h"
#include "problem.h"

namespace kith::bench {

class Peer {
 public:
  virtual ~Peer() = default;
  /// Gets `problem` ready, with the inputs of `own` (of which it may take fewer queries), computes it once
  /// and has `own` compare. Returns bytes of memory that this took at its peak beyond the inputs.
  /// kith::Error: not installed, no such operation, another result.
  virtual double prepare(const Problem& problem, const Own& own) = 0;
  /// Of one run of what is prepared, as seconds() of measure.h tells it.
  virtual double seconds(double at_least) = 0;

  const std::string& version() const { return version_; }  ///< "PyTorch 2.15.0"; empty: not known yet

 protected:
  std::string version_;
};

/// `adapter`: bench/peers/ADAPTER.cc is opened in this process, ADAPTER.py is run in one of its own, which
/// starts with as many threads as it may use. `folder`: for what is exchanged with processes, and their log.
std::unique_ptr<Peer> open_peer(const std::string& adapter, int threads, const std::string& folder);

/// Where bench/peers.sh puts the peers: $KITH_PEERS, else ~/.cache/kith-peers.
std::string peers_folder();

/// Variables that peers' libraries read when they are loaded: how many threads, and that those which wait for
/// work go to sleep: a worker that went on spinning would take a core from whoever is timed next.
std::vector<std::pair<std::string, std::string>> library_variables(int threads);

}  // namespace kith::bench
