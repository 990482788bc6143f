// Random numbers that are the same on every platform and compiler: starting weights, shuffles, samples.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "kith/view.h"

namespace kith {

/// SplitMix64 (Steele, Lea & Flood 2014): a counter through a mixer. Not for cryptography.
class Random {
 public:
  explicit Random(std::uint64_t seed = 0) : state_(seed) {}

  /// 64 random bits.
  std::uint64_t bits();
  /// Uniform in [0, 1), a multiple of 2^-53.
  double uniform();
  /// Standard normal, by the polar method (Marsaglia & Bray 1964). Only arithmetic that IEEE 754 rounds
  /// exactly goes in, so it does not depend on the C library.
  double normal();
  /// Uniform in [0, count), 0 < count: favors some by less than count / 2^64.
  std::uint64_t below(std::uint64_t count) { return bits() % count; }

  /// Puts the elements of [first, last) in random order (Fisher & Yates).
  template <class Iterator>
  void shuffle(Iterator first, Iterator last) {
    for (auto left = last - first; left > 1; --left) {
      using std::swap;
      swap(first[left - 1], first[static_cast<std::ptrdiff_t>(below(static_cast<std::uint64_t>(left)))]);
    }
  }

 private:
  std::uint64_t state_;
  double spare_ = 0;  ///< the polar method makes two at a time
  bool has_spare_ = false;
};

/// Random bits for a place in a grid, e.g. (seed, step, row): the same whatever was asked before.
std::uint64_t random_at(std::uint64_t seed, std::uint64_t a, std::uint64_t b);

/// Fills with uniform numbers in [-limit, limit), or normal ones.
void fill_uniform(Random& random, double limit, View<float, 2> to);
void fill_normal(Random& random, double deviation, View<float, 2> to);

}  // namespace kith
