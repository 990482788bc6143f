// One axis of the fast Gauss transform in space: a window, taps and the error that the two make, tabulated
// once.
//
// Lengths are in steps s between nodes, kStepsABandwidth to a bandwidth. A point x in cell c = floor(x) is
// represented on the kWindow nodes c - kBefore, ..., c + kAfter by the window w at their distances from it,
// and the kernel between two points by
//
//   g(x - y) = exp(-s^2 (x - y)^2 / 2)  ~  sum_ij w(x - i) T(i - j) w(y - j).
//
// w is the Kaiser-Bessel window I0(beta sqrt(1 - u^2)) / I0(beta), u = distance / (kWindow / 2), nearly the
// one of its width with the least spectrum beyond the band; T is the inverse Fourier transform of g^ / w^^2,
// so that within the band the product is g^ itself (deconvolution, as in the nonuniform FFT: Barnett,
// Magland and af Klinteberg, SIAM J. Sci. Comput. 41 (2019)). g^ is as good as limited to a band, the step is
// shorter than that asks for, and T is all but a narrower Gaussian: both w and T are positive, no sum
// cancels. Interpolation by polynomials needs twice the nodes an axis for this error.
//
// In place of w stands, cell by cell, a polynomial in the place within the cell. Then, for two cells D apart,
// what is wrong with the representation is a function of the two places in the cells, entire in both: the
// sum of its absolute Chebyshev coefficients, as computed by interpolation, bounds it, wherever the points
// lie in their cells. e(D) is that sum and the roundings.
#pragma once

namespace kith::points {

constexpr int kSpaceWindow = 10;                      ///< nodes an axis
constexpr int kSpaceBefore = 4;                       ///< of them before the point's cell
constexpr int kSpaceAfter = 5;                        ///< and after its lower end
constexpr int kSpaceDegree = 9;                       ///< of the window's polynomials
constexpr double kSpaceSteps = 2.75;                  ///< nodes a bandwidth
constexpr int kSpaceSide = 8;                         ///< nodes and cells an axis of a block
constexpr int kSpaceReach = 2;                        ///< blocks to either side that taps reach
constexpr int kSpaceTaps = kSpaceReach * kSpaceSide;  ///< T(d) is 0 beyond
constexpr int kSpaceCoarse = 2;                       ///< cells an axis of those that the bound is made of
/// Blocks to either side beyond which no key is represented at all: kSpaceReach and the windows' ends.
constexpr int kSpaceBoundReach = kSpaceReach + 2;
constexpr int kSpaceCoarseSide = kSpaceSide / kSpaceCoarse;
constexpr int kSpaceBoundOffsets = kSpaceBoundReach * kSpaceCoarseSide + kSpaceCoarseSide - 1;
constexpr int kSpacePadded = 16;  ///< numbers a row of coefficients and of weights, the last ones 0

struct SpaceTable {
  SpaceTable();
  /// w(f - (i - kBefore)) = sum_k window[k][i] (2 f - 1)^k, f in [0, 1] the place in the cell.
  alignas(64) double window[kSpaceDegree + 1][kSpacePadded];
  double tap[kSpaceTaps + 1];
  /// [target block - source block + kSpaceReach][source node][target node]
  alignas(64) double matrix[2 * kSpaceReach + 1][kSpaceSide][kSpaceSide];
  /// e and the largest g, for cells of the bound this many apart.
  double error[kSpaceBoundOffsets + 1], largest[kSpaceBoundOffsets + 1];
  /// What each key beyond kSpaceBoundReach blocks is wrong by: all of its weight.
  double beyond;
};
const SpaceTable& space_table();

}  // namespace kith::points
