// Gaussian kernel regression in the plane in O(queries + keys): a fast Gauss transform in tensor form, for
// keys that lie dense against the bandwidth.
//
// Keys are sorted into square boxes of one bandwidth, on a grid laid from the keys alone. A box is
// represented by kTerms x kTerms moments a column (the values' columns and one of ones); moments of the boxes
// up to kReach away in either axis are translated to a local series about the query's box, first along x,
// then along y, because exp(-(x^2 + y^2) / 2) is a product: 2 kTerms^3 (2 kReach + 1) products a box and
// column instead of kTerms^4 (2 kReach + 1)^2. A query evaluates its box's series. Local series depend on
// keys and grid alone, and those without queries are not made, so a row's bits depend on no other query.
// Everything is in double: the moments cancel between powers, and at 10^6 keys in float they would cost more
// digits than the truncation does.
//
// Error. Along one axis, boxes D apart, the expansion errs by at most e(D), the exact kernel is at most g(D)
// (plane_table.h). A product of two errs by at most e1 (g2 + e2) + g1 e2, so the sum over ALL keys, n_s of
// them in box s, errs by at most
//
//   bound = sum_s n_s (e(Dx) (g(Dy) + e(Dy)) + g(Dx) e(Dy))  +  n_beyond exp(-(kReach w)^2 / 2),
//
// the last for keys in boxes that were not visited. It is itself a product form, summed with every local
// series for 1/100 of its cost: a figure a box, from the keys alone, in units where a key at distance 0
// counts
// 1. With D the computed sum of a query, the sum's relative error is at most bound / (D - bound) and an
// average's, against the largest |v|, twice that. A query is answered only if bound <= kTolerance D: errors
// of 5e-8 and 1e-7 at most. The others, which lie far from all keys (beyond about 5 bandwidths), are summed
// directly over the boxes in reach (plane_far.h) if there are few keys in them, as around the tails of a
// distribution and in gaps; beside dense keys they are handed back, for a method that shares work among rows.
//
// By Cauchy and Schwarz, with e <= epsilon exp(-t^2 / 4), sum_j exp(-t_j^2 / 4) <= sqrt(n D): bound / D is
// about epsilon sqrt(n / D), epsilon = 1.1e-11, so that queries near any single key of 10^6 are always
// answered. That is why 12 terms are used where 8 would do for queries amid dense keys.
//
// Greengard and Strain, The fast Gauss transform, SIAM J. Sci. Stat. Comput. 12 (1991); the bounds: Baxter
// and Roussos, SIAM J. Sci. Comput. 24 (2002), and Wan and Karniadakis, J. Comput. Phys. 219 (2006).
//
// Memory: 4 bytes a key and a query for the order (and 4 while sorting), 96 stride bytes a box of keys
// (stride: 24 with one value column, 112 with eight), a worker's window of half-translated boxes, 76 boxes,
// and a copy of the keys and values where many rows are far.
// Time: a key and a query 18 vector FMAs (8 doubles) a column each, and a box that holds queries 8,200 a
// column; sorting and gathering points cost as much as the sums.
#pragma once

#include <vector>

#include "attention/points/points.h"

namespace kith::points {

constexpr Index kPlaneMostValues = 8;
constexpr double kPlaneTolerance = 5e-8;

struct PlaneCost {
  bool possible = false;  ///< the kernel, the sizes and the grid are ones that plane() computes
  double boxes = 0;       ///< about how many hold keys
  double bytes = 0;
  double seconds = 0;  ///< one thread, a core at 3.7 GHz that issues one 512-bit FMA a cycle
};
/// O(keys): boxes have to be counted. Not possible: another kernel or depth, more than kPlaneMostValues value
/// columns, 2^31 points or more, 2^30 boxes along an axis or more, or fewer than 8 keys a box beside 64 MB of
/// moments.
PlaneCost plane_cost(const Task& task);

/// Writes all rows but those it returns, ascending: far queries with many keys in reach. Where plane_cost()
/// says "not possible", that is every row. The same rows, to the bit, on any number of threads.
std::vector<Index> plane(const Task& task);

}  // namespace kith::points
