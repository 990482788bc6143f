// What is done once per row, around the kernels: in vectors, since at a few hundred rows plain
// loops over them would take as long as the pairs do.
#pragma once

#include "kith/view.h"

namespace kith::kernels {

/// Whether all of `count` rows of `depth` numbers are finite.
template <class Real>
bool rows_finite(const Real* rows, Index stride, Index count, Index depth);

/// to[i] = sum over c of a[i][c] b[i][c], in double. Its order depends on the depth alone.
template <class Real>
void dot_rows(const Real* a, Index a_stride, const Real* b, Index b_stride, Index count, Index depth,
              double* to);

/// to[c] += from[c] for `count` numbers.
template <class Real>
void add_numbers(const Real* from, Index count, Real* to);

/// to[i][c] = scale sums[i][c], `to` may be `sums`; dots[i] = sum over c of sums[i][c] (rows[i][c] -
/// origin[c]) in double, with 0 for an origin that is null.
template <class Real>
void finish_rows(const Real* sums, Index sums_stride, const Real* rows, Index rows_stride, const Real* origin,
                 Index count, Index depth, double scale, Real* to, Index to_stride, double* dots);

/// to[c] = scale row[c] for `count` numbers, in double.
void scale_row(const float* row, Index count, double scale, float* to);
void scale_row(const double* row, Index count, double scale, double* to);
void scale_row(const double* row, Index count, double scale, float* to);

/// rows[j] of the first `count` keys from tiles [tile][depth][tile_keys].
template <class Real>
void unpack_tiles(const Real* tiles, Index count, Index depth, Real* rows, Index stride);

}  // namespace kith::kernels
