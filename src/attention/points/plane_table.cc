#include "attention/points/plane_table.h"

#include <array>
#include <cmath>
#include <cstdlib>
#include <numbers>

namespace kith::points {
namespace {

/// Degrees computed; the bound above leaves less than 1e-22 beyond them.
constexpr int kNodes = 32;
/// Roundings of a moment, two translations and an evaluation, in units of the sum of absolute terms: a chain
/// of a few hundred operations.
constexpr double kRounding = 0x1p-44;

using Square = std::array<std::array<double, kNodes>, kNodes>;

// T_a(x) = sum_k result[a][k] x^k
Square chebyshev_in_powers() {
  Square powers{};
  powers[0][0] = 1;
  powers[1][1] = 1;
  for (std::size_t a = 2; a < kNodes; ++a) {
    for (std::size_t k = 0; k <= a; ++k) {
      powers[a][k] = (k > 0 ? 2 * powers[a - 1][k - 1] : 0) - powers[a - 2][k];
    }
  }
  return powers;
}

// c_ab, by interpolation in the Chebyshev nodes.
Square coefficients(int offset) {
  Square cosine, value, half{}, result{};
  for (std::size_t a = 0; a < kNodes; ++a) {
    for (std::size_t i = 0; i < kNodes; ++i) {
      cosine[a][i] =
          std::cos(static_cast<double>(a) * std::numbers::pi * (static_cast<double>(i) + 0.5) / kNodes);
    }
  }
  for (std::size_t i = 0; i < kNodes; ++i) {
    for (std::size_t j = 0; j < kNodes; ++j) {
      const double t = kBoxWidth * (offset + (cosine[1][i] - cosine[1][j]) / 2);
      value[i][j] = std::exp(-t * t / 2);
    }
  }
  const auto scale = [](std::size_t a) { return (a == 0 ? 1.0 : 2.0) / kNodes; };
  for (std::size_t a = 0; a < kNodes; ++a) {
    for (std::size_t i = 0; i < kNodes; ++i) {
      for (std::size_t j = 0; j < kNodes; ++j) half[a][j] += scale(a) * cosine[a][i] * value[i][j];
    }
  }
  for (std::size_t a = 0; a < kNodes; ++a) {
    for (std::size_t b = 0; b < kNodes; ++b) {
      for (std::size_t j = 0; j < kNodes; ++j) result[a][b] += scale(b) * cosine[b][j] * half[a][j];
    }
  }
  return result;
}

struct Table {
  std::array<PlaneOffset, 2 * kReach + 1> offsets{};

  Table() {
    const Square powers = chebyshev_in_powers();
    for (int d = 0; d <= kReach; ++d) {
      const Square c = coefficients(d);
      PlaneOffset& forth = offsets[static_cast<std::size_t>(kReach) + static_cast<std::size_t>(d)];
      PlaneOffset& back = offsets[static_cast<std::size_t>(kReach - d)];
      double dropped = 0, absolute = 0;
      for (std::size_t a = 0; a < kNodes; ++a) {
        for (std::size_t b = 0; b < kNodes; ++b) {
          if (a >= kTerms || b >= kTerms) dropped += std::abs(c[a][b]);
        }
      }
      for (std::size_t k = 0; k < kTerms; ++k) {
        for (std::size_t l = 0; l < kTerms; ++l) {
          double sum = 0;
          for (std::size_t a = k; a < kTerms; ++a) {
            for (std::size_t b = l; b < kTerms; ++b) sum += c[a][b] * powers[a][k] * powers[b][l];
          }
          absolute += std::abs(sum);
          // The other direction is the mirror image of both axes.
          forth.matrix[k][l] = sum;
          back.matrix[k][l] = (k + l) % 2 == 0 ? sum : -sum;
        }
      }
      const double apart = d == 0 ? 0 : kBoxWidth * (d - 1);
      forth.error = back.error = dropped + kRounding * absolute;
      forth.largest = back.largest = std::exp(-apart * apart / 2) + forth.error;
    }
  }
};

}  // namespace

const PlaneOffset& plane_offset(int offset) {
  static const Table table;
  const int at = kReach + offset;
  return table.offsets[static_cast<std::size_t>(at)];
}

}  // namespace kith::points
