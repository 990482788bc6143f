// Whether results agree with the reference, to what rounding allows.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <string>

#include "attention/case_call.h"
#include "attention/plain_float.h"

namespace kith::test {

/// "" or what is wrong. An element may be wrong by
///   - twice the largest error that the plain formula makes anywhere in the same output on the same input,
///   - two epsilon times the scale of its own terms (see Rounded),
///   - 2^-90 of the largest such scale: weights below 2^-100 may be taken for 0,
///   - the smallest number, for each of its terms, where those are below what is normal.
std::string disagreement(const Case& c, const std::string& name, const std::vector<double>& got,
                         const std::vector<double>& expected, const Numbers& plain);

/// The plain formula is no excuse for the kernels unless it agrees with the reference itself: "" or what is
/// wrong.
std::string plain_disagreement(const Case& c, const std::string& name, const std::vector<double>& expected,
                               const Numbers& plain);

/// The line that replays a case, for a message.
inline std::string replay(const Case& c) { return fmt::format("\n  KITH_CASE=\"{}\"", line(c)); }

}  // namespace kith::test
