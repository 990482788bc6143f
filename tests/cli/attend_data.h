// Arrays for tests of `kith attend`, in memory and as files.
#pragma once

#include <string>
#include <vector>

#include "cli/program.h"
#include "kith/attention.h"

namespace kith::test {

constexpr Index kBatch = 2, kHeads = 4, kKeyHeads = 2, kQueries = 6, kKeys = 7, kDepth = 4, kValueDepth = 3;

/// Everything an option can name, in double precision.
struct AttendData {
  /// `batch` rows; the same seed gives the same numbers.
  explicit AttendData(Index batch);
  /// Starts `kith attend WORDS` in the folder, where the members that the words name (`key` as key.npy) are
  /// written first unless there is such a file.
  Outcome run(const TemporaryFolder& folder, const std::vector<std::string>& words,
              Setting setting = {}) const;

  Array<double, 4> query, key, value;
  Array<double, 4> d_out, d_second_moment, bias, tangent_query, tangent_key, tangent_value, tangent_d_out;
  Array<double, 3> d_lse, d_entropy, query_bandwidth, key_bandwidth;
  Array<double, 2> matrix, metric, query_weight, key_weight, relative, t5, query_time, key_time;
  Array<double, 1> score, column_bandwidth, sink, slope, frequency;
  Array<Index, 2> query_id, key_id, query_position, key_position;
  Array<Index, 1> prefix;
  Array<bool, 4> allowed, blocks;
};

}  // namespace kith::test
