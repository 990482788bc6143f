// The inner loops of the two-dimensional fast Gauss transform, behind plain functions.
//
// Layout: a box's moments, its half-translated moments and its local series are each kTerms rows of `stride`
// numbers, stride = plane_stride(columns), columns = 1 + value columns (the first is the weights' own):
//
//   moments  [power of eta_x][column][power of eta_y]   m = sum_j v_jc eta_x^b eta_y^a
//   half     [power of eta_y][column][power of xi_x]    after the translation along x
//   local    [power of xi_y][column][power of xi_x]     after that along y
//
// so that both translations are matrix products from the left, with whole vectors of columns in the lanes.
// Keys and queries come in blocks of at most kPlaneBlock, coordinate by coordinate, padded with zeros.
//
// Cost, in FMAs of one vector of 8 doubles: a key or query kTerms^2 / 8 = 18 a column, a translation of a box
// by one offset kTerms^2 stride / 8. Moments hold a row of kTerms (with 32 registers two rows) of sums in
// registers, one load for two FMAs; translations 6 x 4 vectors, 10 loads for 24 FMAs; evaluation Horner's
// scheme for 4 rows and 2 vectors of queries, 8 chains, one broadcast for two FMAs.
#pragma once

#include "attention/points/plane_table.h"
#include "kith/view.h"

namespace kith::points {

constexpr Index kPlaneLanes = 8;  ///< at most; doubles
/// 2 coordinates, a column and kTerms powers of 128 points in double are 15 KB, half of the L1 cache; the
/// sums of a column another 9 KB.
constexpr Index kPlaneBlock = 128;

constexpr Index plane_stride(Index columns) {
  return (columns * kTerms + kPlaneLanes - 1) / kPlaneLanes * kPlaneLanes;
}

struct PlaneKeys {
  const double* x = nullptr;      ///< [kPlaneBlock], eta
  const double* y = nullptr;      ///< [kPlaneBlock]
  const double* value = nullptr;  ///< [columns][kPlaneBlock]
  Index count = 0, columns = 0;
  double* scratch = nullptr;  ///< [(kTerms + 1) * kPlaneBlock]
  double* sums = nullptr;     ///< [columns][kTerms y][kTerms x][kPlaneLanes], added to
};
void plane_add_moments(const PlaneKeys& keys);
/// Sums over the lanes, into moments.
void plane_reduce_moments(const double* sums, Index columns, double* moments);

/// out = sum_s matrix[s] * source[s]: [kTerms][kTerms] times [kTerms][stride].
void plane_translate(const double* const* source, const double* const* matrix, Index count, Index stride,
                     double* out);

struct PlaneQueries {
  const double* x = nullptr;  ///< [kPlaneBlock], xi
  const double* y = nullptr;
  Index count = 0, columns = 0;
  const double* local = nullptr;
  /// [columns][kPlaneBlock]: the sum of the weights, then the averages; whole blocks of 2 vectors are written
  double* out = nullptr;
  double* lse = nullptr;  ///< [kPlaneBlock]
};
void plane_evaluate(const PlaneQueries& queries);

/// Keys around the one nearest to a query, in bandwidths: a weight relative to the nearest's is
/// exp(-(|s|^2 / 2 + s . p)), s = key - nearest, p = nearest - query, which cancels nothing however far p is.
struct PlaneFarKeys {
  double px = 0, py = 0;
  const double* x = nullptr;      ///< [kPlaneBlock], s
  const double* y = nullptr;      ///< [kPlaneBlock]
  const double* value = nullptr;  ///< [columns][kPlaneBlock]
  Index count = 0, columns = 0;
  double* sums = nullptr;  ///< [columns][kPlaneLanes], added to
};
void plane_add_far(const PlaneFarKeys& keys);

}  // namespace kith::points
