// Kith's side of a measurement.
#pragma once

#include <memory>
#include <string>

#include "../peers/in_process.h"
#include "problem.h"

namespace kith::bench {

/// A prepared problem: inputs made, computed once, and compared with the reference.
class Own {
 public:
  virtual ~Own() = default;
  virtual void run() = 0;
  /// Largest difference from the double-precision reference on sampled rows, relative to the largest number
  /// of the array it is in.
  virtual double error() const = 0;
  /// Inputs as FOLDER/query.npy, key.npy, ... for peers; 16-bit types as float32, which holds them exactly.
  virtual void write(const std::string& folder) const = 0;
  /// kith::Error if what a peer left in FOLDER (out.npy, d_query.npy, lse.npy, ...) is not what Kith
  /// computed.
  virtual void compare(const std::string& folder, const std::string& peer) const = 0;
  /// `problem`, which is this one or has fewer queries, over the inputs as they lie here. kith::Error: one of
  /// several heads has fewer queries, which would leave gaps.
  virtual KithProblem in_process(const Problem& problem) const = 0;
  virtual void compare(const KithResults& results, const Problem& problem, const std::string& peer) const = 0;
  /// Bytes that a fresh call takes at its peak beyond its inputs; 0 where the system does not tell.
  virtual double peak_memory() = 0;
};

/// Error: the result is wrong, so nothing may be timed.
std::unique_ptr<Own> prepare(const Problem& problem);

}  // namespace kith::bench
