// Regression that leaves out keys too far away to matter.
//
// The bound, for the Gaussian and laplace. Let S be a row's sum over the leaves within a fixed radius near
// its query (sqrt(d + 2 sqrt(2 d)) h: most of a Gaussian's mass where keys are even): S <= D, the row's
// denominator. For a leaf, weights are at most w(b), b the distance to its bounding box.
//   1. Outermost radius R: n w(R) = 2^-25 S. All leaves beyond it together weigh at most n w(R).
//   2. For cuts r_1 < r_2 < ... < R, T(r) = sum of 16 w(b) over the leaves with r < b <= R. The first cut
//   with
//      T(r) <= 2^-25 S is taken, or R.
// What is skipped, all leaves together, is at most 2^-25 S + 2^-25 S <= 2^-24 D. So the sum is low by at most
// 2^-24 of itself, and an average moves by at most 2 * 2^-24 of the largest |v|. Distances to boxes are
// rounded floats; a margin of 4e-6 (kSkipRounding) keeps the inequalities. Step 2 lowers the leaves visited
// by a quarter at d = 3, n = 10^6.
//
// Where S < 0.1 the query has (nearly) no key near it, and float's exponents would lose digits: the row
// starts again with the distance to its nearest key, x0, taken off every squared distance in double. Then D
// >= 1 in units of the nearest key's weight, and leaves with w(b) < 2^-24 / n are skipped, all together at
// most 2^-24 D. Compact kernels skip what is out of reach, without error; rows whose sum is small (< 0.5),
// and the boxcar, whose weight jumps, measure in double.
//
// Which leaves a row adds and in which order follows from the row and the keys alone. Sums are float in runs
// of at most 64 leaves and 16 places (64 additions each), then double.
//
// Measured on a 3.6 GHz Zen 4 core, n = 10^6, normal or uniform, Silverman's h: d = 3 19 to 23 us a query
// (53,000 to 60,000 keys visited), d = 2 25 us; error of the sum <= 2e-7. Queries far outside: 0.3 to 8 us.
#pragma once

#include "attention/points/points.h"

namespace kith::points {

/// Solves the task. depth 1 ... 16, any kernel; at most 2^32 - 1 queries and keys. Memory: (depth +
/// value_depth) * 4 bytes a key, again as much while sorting.
void skip(const Task& task);

/// About how many keys a query of the task visits, from a sample of queries and keys (1 to 4 ms).
/// The method pays where this is below half of the keys that a direct sum of twice its speed per pair would
/// visit.
double skip_visits(const Task& task);

}  // namespace kith::points
