// Gaussian kernel regression in space in O(queries + keys): a fast Gauss transform on a grid of nodes, for
// keys that lie dense against the bandwidth.
//
// Nodes lie kSpaceSteps a bandwidth apart, on a grid laid from the keys alone. Every key spreads its value
// over kSpaceWindow^3 nodes by a product of windows; the nodes' sums are convolved with taps, first along z,
// then y, then x, because the Gaussian is a product; a query gathers kSpaceWindow^3 nodes by the same windows
// (space_table.h: what window and taps are, and what they are wrong by). Nodes exist in blocks of
// kSpaceSide^3, where keys reach and queries need them. What a node holds depends on the keys alone, so a
// row's bits depend on no other query. Everything is in double.
//
// Error. Along one axis, cells D apart, the representation errs by at most e(D), the exact kernel is at most
// g(D). A product of two errs by at most e1 (g2 + e2) + g1 e2, and so on for the third: the sum over ALL keys
// errs by at most
//
//   bound = sum_j (that, of the cells that the key and the query lie in),
//
// which is itself a sum of products, convolved over a coarser grid of cells for a twentieth of the time
// (space_bound.h), from the keys alone. With D the computed sum of a query, the sum's relative error is at
// most bound / (D - bound) and an average's, against the largest |v|, twice that. A query is answered only if
// bound <= kSpaceTolerance D: errors of 5e-8 and 1e-7 at most. (Where keys are even, bound / D is about 2e-8,
// and the errors themselves are 1e-10.) The others lie beyond about 2 bandwidths from all keys, or near a few
// keys beside very many. They are summed directly over the blocks in reach (space_far.h) if there are few
// keys in them, as around the tails of a distribution; else they are handed back, for a method that shares
// work among rows. Adding up the n keys of one cell rounds by at most (2^14 + n / 16) 2^-53 of D, as all
// terms are positive: 9e-12 for 10^6 keys.
//
// Memory: 16 bytes a key and a query, for a while 28, and 8 a query; and twice 4 KB a block of nodes and
// column, for kSpaceMostColumns columns at most: further ones take turns.
#pragma once

#include <vector>

#include "attention/points/points.h"

namespace kith::points {

constexpr Index kSpaceMostValues = 8;
constexpr double kSpaceTolerance = 5e-8;

struct SpaceCost {
  bool possible = false;  ///< the kernel, the sizes and the grid are ones that space() computes
  double blocks = 0;      ///< about how many hold keys
  double far = 0;         ///< about which share of the queries has no key near it; space() hands these back
  double seconds = 0;     ///< of the others; one thread, a core at 3.7 GHz, one 512-bit FMA a cycle
};
/// O(keys): blocks have to be counted. Not possible: another kernel or depth, more than kSpaceMostValues
/// value columns, 2^31 points or more, 2^16 blocks along an axis or more, or too few keys a block: more than
/// 512 bytes a key beside 128 MB.
SpaceCost space_cost(const Task& task);

/// Writes all rows but those it returns, ascending: far queries. Where it cannot do the task, or its memory
/// would be more than space_cost() allows, that is every row. The same rows, to the bit, on any number of
/// threads.
std::vector<Index> space(const Task& task);

}  // namespace kith::points
