// Sorted order of float coordinates.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "attention/points/points.h"

namespace kith::points {

/// A coordinate and the row it came from in one number that sorts by coordinate, then by row.
using Place = std::uint64_t;

constexpr Index row_of(Place place) { return static_cast<Index>(place & 0xffffffffu); }

/// Bits that sort as the finite floats do: positive numbers above the sign bit, negative ones in reverse
/// below.
constexpr std::uint32_t sortable_bits(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
}
constexpr float coordinate_of(Place place) {
  const auto bits = static_cast<std::uint32_t>(place >> 32);
  return std::bit_cast<float>(bits ^ ((bits >> 31) != 0 ? 0x80000000u : 0xffffffffu));
}

/// Least significant digit first, 8 bits a pass: 256 streams of writes fit the first-level TLB. Passes in
/// which all rows have the same digit are left out.
class LineSort {
 public:
  /// The places of rows [0, count), ascending; -0 comes before +0. Valid until the next call.
  const Place* sort(Rows rows, Index count, int threads);

 private:
  std::vector<Place> from_, to_;
  std::vector<std::uint32_t> starts_;  // [chunk][digit]
};

}  // namespace kith::points
