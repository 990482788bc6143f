// A number that knows how large its rounding error may be.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

namespace kith::test {

/// A value in Real and the scale of its error: the value is off by no more than half an
/// epsilon of Real times `scale` (running error analysis, Higham 2002, section 3.3). A sum counts every term
/// once, as if it were added in a balanced order; everything else is rigorous.
template <class Real>
struct Rounded {
  static constexpr double kRoundoff = sizeof(Real) == sizeof(double) ? 0x1p-53 : 0x1p-24;

  Real value = 0;
  double scale = 0;

  Rounded() = default;
  Rounded(Real v, double s) : value(v), scale(s) {}
  /// A given number: exact if Real holds it.
  Rounded(double x) : value(static_cast<Real>(x)) {
    if (static_cast<double>(value) != x) scale = std::fabs(x);
  }
  double magnitude() const { return std::fabs(static_cast<double>(value)); }

  friend Rounded operator+(const Rounded& a, const Rounded& b) {
    return plus_own(a.value + b.value, a.scale + b.scale);
  }
  friend Rounded operator-(const Rounded& a) { return {-a.value, a.scale}; }
  friend Rounded operator-(const Rounded& a, const Rounded& b) { return a + -b; }
  friend Rounded operator*(const Rounded& a, const Rounded& b) {
    if (a.value == 0 && a.scale == 0) return {a.value * b.value, 0};
    if (b.value == 0 && b.scale == 0) return {a.value * b.value, 0};
    // The product of both errors matters where both values happen to be 0.
    return plus_own(a.value * b.value,
                    a.magnitude() * b.scale + b.magnitude() * a.scale + kRoundoff * a.scale * b.scale);
  }
  friend Rounded operator/(const Rounded& a, const Rounded& b) {
    const Real ratio = a.value / b.value;
    return plus_own(ratio, (a.scale + std::fabs(static_cast<double>(ratio)) * b.scale) / b.magnitude());
  }
  /// One term more in a sum.
  Rounded& operator+=(const Rounded& term) {
    value += term.value;
    scale += term.scale + term.magnitude();
    return *this;
  }
  friend Rounded exp(const Rounded& x) {
    const Real e = std::exp(x.value);
    // What underflows is off by half the spacing there at most.
    if (e == 0)
      return {e, std::isfinite(x.value) ? static_cast<double>(std::numeric_limits<Real>::min()) : 0};
    return plus_own(e, static_cast<double>(e) * x.scale);
  }
  friend Rounded log(const Rounded& x) { return plus_own(std::log(x.value), x.scale / x.magnitude()); }
  friend Rounded sqrt(const Rounded& x) {
    const Real root = std::sqrt(x.value);
    if (root == 0) return {root, 0};
    return plus_own(root, x.scale / (2 * static_cast<double>(root)));
  }
  friend Rounded tanh(const Rounded& x) {
    const Real t = std::tanh(x.value);
    return plus_own(t, static_cast<double>(1 - t * t) * x.scale);
  }
  friend Rounded abs(const Rounded& x) { return {std::fabs(x.value), x.scale}; }

 private:
  /// What is below the normal numbers is rounded to their spacing.
  static Rounded plus_own(Real v, double s) {
    constexpr double kNormal = std::numeric_limits<Real>::min();
    return {v, s + (v == 0 ? 0 : std::max(kNormal, std::fabs(static_cast<double>(v))))};
  }
};

}  // namespace kith::test
