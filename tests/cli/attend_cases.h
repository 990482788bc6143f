// Options of `kith attend` and what they mean to the library.
#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "cli/attend_data.h"

namespace kith::test {

struct AttendCase {
  const char* name;
  std::vector<std::string> words;                                   ///< added to the command
  std::function<void(const AttendData&, AttentionOptions&)> set{};  ///< what they mean
  const char* parameter = "scale";  ///< what the similarity's number is called; none: ""
  const char* added = "d_bias";     ///< the gradient of the array of biases
  Index batch = kBatch;
};

inline void PrintTo(const AttendCase& c, std::ostream* out) { *out << c.name; }

/// Every option at least once.
const std::vector<AttendCase>& attend_cases();

}  // namespace kith::test
