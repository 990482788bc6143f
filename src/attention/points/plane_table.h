// The translation of the two-dimensional fast Gauss transform along one axis, tabulated once: it depends on
// the number of boxes between source and target alone.
//
// Lengths are in bandwidths. A key y = c_s + (w/2) eta and a query x = c_t + (w/2) xi, xi and eta in [-1, 1],
// lie in boxes of width w whose centers are D w apart. In Chebyshev polynomials of both,
//
//   g(x - y) = exp(-(x - y)^2 / 2) = sum_ab c_ab T_a(xi) T_b(eta),   a, b = 0, 1, ...
//
// and the terms a, b < p = kTerms are kept, rewritten in powers of xi and eta. Since |T_a| <= 1, what is left
// out is at most e(D) = the sum of the dropped |c_ab|, wherever the two points lie in their boxes; the table
// holds that sum as computed. Its size is known in advance: the Chebyshev coefficients of a smooth f satisfy
// |c_a| <= max|f^(a)| / (2^(a-1) a!), and the n-th derivative of g is a Hermite function, at most
// 1.0865 sqrt(n!) exp(-t^2 / 4) (Cramer's inequality), so
//
//   |c_ab| <= 1.0865 (w/4)^(a+b) 4 sqrt((a+b)!) / (a! b!) exp(-t^2 / 4),   t the least |x - y|,
//
// halved for a = 0 and for b = 0. The largest dropped term is c_p0: 2.2 (w/4)^p / sqrt(p!), against
// (w/2)^p / sqrt(p!) for Taylor series about the center (Greengard and Strain 1991; Baxter and Roussos 2002
// and Wan and Karniadakis 2006 correct the bounds of the former): 2^p times less, from the same p numbers.
#pragma once

namespace kith::points {

constexpr int kTerms = 12;       ///< powers an axis
constexpr int kReach = 9;        ///< boxes to either side whose keys are summed
constexpr double kBoxWidth = 1;  ///< w, in bandwidths

struct PlaneOffset {
  /// [power of xi][power of eta]
  double matrix[kTerms][kTerms];
  double error;    ///< e(D), with the rounding of a sum of kTerms^2 products added
  double largest;  ///< a bound of g and of its expansion
};

/// `offset` = target box - source box, from -kReach to kReach.
const PlaneOffset& plane_offset(int offset);

}  // namespace kith::points
