// The table: what is measured, against what, and what is to be reached.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "problem.h"

namespace kith::bench {

enum class Measure {
  share_of_fma,   ///< operations a second over the FMA peak of as many threads (float64: half of it)
  share_of_read,  ///< bytes a second over the read bandwidth
  speed_ratio,    ///< operations a second over those of `baseline`
  time_ratio,     ///< seconds over those of `baseline`: at most
  pairs_rate,     ///< G pairs a second and thread
  seconds,        ///< of one call: at most
};

/// In the measure's own unit; shares and ratios as fractions.
struct Target {
  double zen5 = 0, zen5_stretch = 0;
  /// On other CPUs with AVX-512; 0: the same, rates scaled by the FMA peak.
  double other = 0, other_stretch = 0;
};

struct PeerTarget {
  std::string adapter;
  double at_least = 0;             ///< times the peer's speed; 0: none
  std::optional<Index> queries{};  ///< how many of the queries the peer gets where all would take too long
  double intel = 0;                ///< at least, where Intel's MKL takes its best path; 0: the same
};

struct Row {
  std::string name;
  std::string what;
  Measure measure = Measure::share_of_fma;
  Target target{};
  Problem kith{};
  std::optional<Problem> baseline{};
  std::vector<PeerTarget> peers{};
};

std::vector<Row> rows();

}  // namespace kith::bench
