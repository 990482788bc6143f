#include "kith/layers/random.h"

#include <cmath>

namespace kith {
namespace {

constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15U;

std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

/// The logarithm of x in (0, 1), to 1e-15: C libraries round theirs differently. x = m 2^e with m in [0.5,
/// 1), and log m = -2 artanh((1 - m) / (1 + m)), whose argument is at most 1/3.
double plain_log(double x) {
  constexpr double kLog2 = 0.6931471805599453;
  int exponent = 0;
  const double m = std::frexp(x, &exponent);
  const double z = (1 - m) / (1 + m), square = z * z;
  double sum = 0;
  for (int k = 31; k >= 1; k -= 2) sum = sum * square + 1.0 / k;
  return exponent * kLog2 - 2 * z * sum;
}

template <class F>
void fill(View<float, 2> to, F&& next) {
  for (Index i = 0; i < to.shape[0]; ++i) {
    for (Index c = 0; c < to.shape[1]; ++c) to(i, c) = static_cast<float>(next());
  }
}

}  // namespace

std::uint64_t Random::bits() { return mix(state_ += kGolden); }

double Random::uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }

double Random::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  double a = 0, b = 0, square = 0;
  do {
    a = 2 * uniform() - 1;
    b = 2 * uniform() - 1;
    square = a * a + b * b;
  } while (square >= 1 || square == 0);
  const double scale = std::sqrt(-2 * plain_log(square) / square);
  spare_ = b * scale;
  has_spare_ = true;
  return a * scale;
}

std::uint64_t random_at(std::uint64_t seed, std::uint64_t a, std::uint64_t b) {
  return mix(mix(mix(seed + kGolden) + a * kGolden + 1) + b * kGolden + 2);
}

void fill_uniform(Random& random, double limit, View<float, 2> to) {
  fill(to, [&] { return limit * (2 * random.uniform() - 1); });
}

void fill_normal(Random& random, double deviation, View<float, 2> to) {
  fill(to, [&] { return deviation * random.normal(); });
}

}  // namespace kith
