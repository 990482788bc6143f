// Dual numbers: a value and its derivative along one direction, carried through every formula together
// (forward-mode differentiation; Griewank & Walther 2008, chapter 3).
#pragma once

#include <cmath>

namespace kith {

/// value + slope e, with e^2 = 0. Comparisons look at the value.
struct Dual {
  double value = 0, slope = 0;

  constexpr Dual() = default;
  constexpr Dual(double number, double direction = 0) : value(number), slope(direction) {}

  Dual& operator+=(Dual x) { return *this = *this + x; }
  Dual& operator-=(Dual x) { return *this = *this - x; }

  friend constexpr Dual operator+(Dual x, Dual y) { return {x.value + y.value, x.slope + y.slope}; }
  friend constexpr Dual operator-(Dual x, Dual y) { return {x.value - y.value, x.slope - y.slope}; }
  friend constexpr Dual operator-(Dual x) { return {-x.value, -x.slope}; }
  friend constexpr Dual operator*(Dual x, Dual y) {
    return {x.value * y.value, x.slope * y.value + x.value * y.slope};
  }
  friend constexpr Dual operator/(Dual x, Dual y) {
    const double ratio = x.value / y.value;
    return {ratio, (x.slope - ratio * y.slope) / y.value};
  }
  friend constexpr bool operator==(Dual x, Dual y) { return x.value == y.value; }
  friend constexpr bool operator<(Dual x, Dual y) { return x.value < y.value; }
  friend constexpr bool operator>(Dual x, Dual y) { return x.value > y.value; }
  friend constexpr bool operator>=(Dual x, Dual y) { return x.value >= y.value; }
};

inline Dual exp(Dual x) {
  const double y = std::exp(x.value);
  return {y, y * x.slope};
}
inline Dual log(Dual x) { return {std::log(x.value), x.slope / x.value}; }
inline Dual log1p(Dual x) { return {std::log1p(x.value), x.slope / (1 + x.value)}; }
inline Dual tanh(Dual x) {
  const double y = std::tanh(x.value);
  return {y, (1 - y * y) * x.slope};
}
/// At 0, the tip of a distance's cone, the slope is 0: a subgradient, and the one that the backward pass
/// takes.
inline Dual sqrt(Dual x) {
  const double y = std::sqrt(x.value);
  return {y, y == 0 ? 0 : x.slope / (2 * y)};
}
inline bool is_zero(double x) { return x == 0; }
inline bool is_zero(long double x) { return x == 0; }
/// A value of 0 may still be about to move.
inline bool is_zero(Dual x) { return x.value == 0 && x.slope == 0; }
inline bool isnan(Dual x) { return std::isnan(x.value); }

}  // namespace kith
