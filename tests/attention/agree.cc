#include "attention/agree.h"

#include <algorithm>

namespace kith::test {
namespace {

/// |a - b|; 0 for two NaN or two equal infinities, infinite where only one of them is finite.
double error_of(double a, double b) {
  if (a == b || (std::isnan(a) && std::isnan(b))) return 0;
  const double error = std::fabs(a - b);
  return std::isfinite(error) ? error : std::numeric_limits<double>::infinity();
}

/// A NaN or infinite scale bounds nothing.
double rounding(const Case& c, double scale) {
  const double terms = static_cast<double>(c.queries + c.keys + c.depth + c.value_depth);
  const double bound = unit_roundoff(c.dtype) * scale + terms * smallest_number(c.dtype);
  return std::isnan(bound) ? std::numeric_limits<double>::infinity() : bound;
}

}  // namespace

std::string disagreement(const Case& c, const std::string& name, const std::vector<double>& got,
                         const std::vector<double>& expected, const Numbers& plain) {
  if (got.size() != expected.size()) {
    return fmt::format("{}: {} numbers, the reference has {}", name, got.size(), expected.size());
  }
  double plain_error = 0, largest = 0;
  for (std::size_t n = 0; n < expected.size(); ++n) {
    const double error = error_of(plain.value[n], expected[n]);
    if (std::isfinite(error)) plain_error = std::max(plain_error, error);
    if (std::isfinite(plain.scale[n])) largest = std::max(largest, plain.scale[n]);
  }
  // An expected key index comes from numbers up to M, also where it is 0.
  if (name == "position") largest += static_cast<double>(c.keys) / unit_roundoff(c.dtype);
  // A weight below 2^-100 may be taken for 0, and a gradient is a weight times a slope. Of values of 10^-40
  // or less nothing would be left to compare.
  const bool tiny = c.data == Data::denormal && (name == "out" || name == "second_moment");
  double everywhere = 2 * plain_error + 0x1p-90 * ((tiny ? 0 : 1) + largest);
  // The kernel for few columns divides by a sum that may be as small as 2^-20 (kFarBelow), and what it
  // divides was rounded to the smallest number.
  if (tiny && c.similarity == SimilarityKind::gaussian) everywhere += 0x1p20 * rounding(c, 0);
  for (std::size_t n = 0; n < expected.size(); ++n) {
    const double error = error_of(got[n], expected[n]), bound = everywhere + 4 * rounding(c, plain.scale[n]);
    if (error > bound) {
      return fmt::format(
          "{}[{}]: {}, the reference has {}; the error {:.3g} exceeds {:.3g} (plain {:.3g}, terms {:.3g})",
          name, n, got[n], expected[n], error, bound, plain_error, plain.scale[n]);
    }
  }
  return {};
}

std::string plain_disagreement(const Case& c, const std::string& name, const std::vector<double>& expected,
                               const Numbers& plain) {
  if (plain.value.size() != expected.size()) {
    return fmt::format("{}: the plain formula has {} numbers, the reference {}", name, plain.value.size(),
                       expected.size());
  }
  for (std::size_t n = 0; n < expected.size(); ++n) {
    // Thousands of terms added one after the other round more often than the scale counts.
    const double error = error_of(plain.value[n], expected[n]);
    const double bound = (16 + 0.05 * static_cast<double>(c.queries + c.keys)) * rounding(c, plain.scale[n]);
    if (error > bound) {
      return fmt::format(
          "{}[{}]: {} from the plain formula, the reference has {}; the error {:.3g} exceeds {:.3g}", name, n,
          plain.value[n], expected[n], error, bound);
    }
  }
  return {};
}

}  // namespace kith::test
