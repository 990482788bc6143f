// The inner loops of sums on a line, compiled once an instruction set. Lengths are in bandwidths unless said
// otherwise; a series has kLineTerms terms a column, [columns][kLineTerms].
#pragma once

#include "attention/points/line_method.h"

namespace kith::points {

constexpr Index kLineTerms = 16;  ///< two vectors of AVX-512
/// Derivatives 0 .. 2 kLineTerms - 2 of exp(-z^2 / 2) and padding.
constexpr Index kLineDerivatives = 2 * kLineTerms;

/// A stretch of keys seen from a place on one side: y = side (origin - x) / h, side +-1.
struct LineStretch {
  Index first = 0, last = 0;
  double origin = 0;  ///< a coordinate
  double side = 1;
  double inverse_bandwidth = 1;
};

/// series[c][p] = sum_j mass[c][j] y_j^p / p!
void line_moments(const LineKeys& keys, const LineStretch& stretch, double* series);

/// series[c][p] = sum_j mass[c][j] exp(-(z y_j + y_j^2 / 2)) (-r y_j)^p / p!
void line_transform(const LineKeys& keys, const LineStretch& stretch, double z, double r, double* series);

/// sums[c] = sum_j mass[c][j] exp(-(z y_j + y_j^2 / 2))
void line_direct(const LineKeys& keys, const LineStretch& stretch, double z, double* sums);

/// Boxes of keys and the box they are wanted in. Box s lies `offset[s]` boxes to its left.
struct LineTranslation {
  Index columns = 1, boxes = 0;
  const double* const* moments = nullptr;  ///< [boxes], of line_moments with side 1 and the center as origin
  const double* const* derivatives = nullptr;  ///< [boxes][kLineDerivatives], at the distance of the centers
};
/// series[c][p] = 1 / p! sum_s sum_q derivative_s[p + q] moment_s[c][q]
void line_translate(const LineTranslation& task, double* series);

/// sum[c][i] = sum_p series[c][p] t_i^p with t_i = (query[i] - origin) scale - start
struct LineEvaluation {
  Index columns = 1, queries = 0;
  const double* query = nullptr;
  double origin = 0, scale = 1, start = 0;
  double* sum = nullptr;  ///< [columns][kLineQueryBlock]
};
void line_evaluate(const LineEvaluation& task, const double* series);

/// to[i] = exp(-x[i]), x >= 0; 0 from 693 on. Both may be one.
void line_exp_minus(const double* x, Index count, double* to);

/// to[j] = exp(-(x[j + 1] - x[j]) inverse_bandwidth)
void line_decay(const double* x, Index count, double inverse_bandwidth, double* to);

}  // namespace kith::points
