// Small tables for tests, and a few that behave in a known way.
#pragma once

#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kith/neighbors.h"

namespace kith::test {

inline constexpr double kBlank = std::numeric_limits<double>::quiet_NaN();

Column numbers(std::string name, std::vector<double> cells);
/// "" is a blank cell; levels in order of first appearance.
Column categories(std::string name, const std::vector<std::string>& cells);
Table table_of(std::vector<Column> columns);

/// Standard normal and uniform numbers that are the same with every standard library.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  double uniform() { return (static_cast<double>(engine_() >> 11) + 0.5) * 0x1p-53; }
  double normal() { return std::sqrt(-2 * std::log(uniform())) * std::cos(6.283185307179586 * uniform()); }
  std::vector<double> normals(std::size_t n);
  std::vector<double> uniforms(std::size_t n, double from, double to);

 private:
  std::mt19937_64 engine_;
};

/// y = 2 sin x + x^0.8 + noise N(0, 0.5^2), x uniform on [0, 5].
Table textbook_curve(std::size_t rows, std::uint64_t seed);
/// y = sin(2 a) + shift of the category b + noise 0.1; columns a, b (red, green, blue), c (noise), y; some
/// blanks in a and b.
Table mixed(std::size_t rows, std::uint64_t seed);
/// Classes in, out by whether a^2 + b^2 < 1.5, a tenth of them flipped; columns a, b, class.
Table ring(std::size_t rows, std::uint64_t seed);

/// What the kith::Error of a call says; a failed expectation if it throws none.
std::string error_of(const std::function<void()>& call);

}  // namespace kith::test
