// Comparing results: bit by bit, and against the reference with a tolerance that comes from the formula's own
// error.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "attention/cases.h"

namespace kith::test {

constexpr double kEpsilon = 0x1p-23;  ///< spacing of float32 at 1
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Elements [first, first + count) of both hold the same bits.
template <class T>
bool same_bits(const T* a, const T* b, Index count) {
  return count == 0 || std::memcmp(a, b, static_cast<std::size_t>(count) * sizeof(T)) == 0;
}
template <class T, int R>
bool same_bits(const Array<T, R>& a, const Array<T, R>& b) {
  return a.shape() == b.shape() && same_bits(a.data(), b.data(), a.size());
}
template <class Real>
bool same_bits(const BasicAttentionResult<Real>& a, const BasicAttentionResult<Real>& b) {
  return same_bits(a.out, b.out) && same_bits(a.lse, b.lse) && same_bits(a.top_weight, b.top_weight) &&
         same_bits(a.top_key, b.top_key) && same_bits(a.entropy, b.entropy) &&
         same_bits(a.largest, b.largest) && same_bits(a.received, b.received) &&
         same_bits(a.position, b.position) && same_bits(a.second_moment, b.second_moment);
}
inline bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && same_bits(a.data(), b.data(), static_cast<Index>(a.size()));
}
/// What belongs to all rows together: gradients of numbers, tables and matrices.
template <class Real>
bool same_parameter_bits(const BasicAttentionGradients<Real>& a, const BasicAttentionGradients<Real>& b) {
  return same_bits(&a.parameter, &b.parameter, 1) && same_bits(a.column_bandwidth, b.column_bandwidth) &&
         same_bits(a.metric, b.metric) && same_bits(a.query_bandwidth, b.query_bandwidth) &&
         same_bits(a.key_bandwidth, b.key_bandwidth) && same_bits(a.bilinear, b.bilinear) &&
         same_bits(a.query_weight, b.query_weight) && same_bits(a.key_weight, b.key_weight) &&
         same_bits(a.score, b.score) && same_bits(&a.soft_cap, &b.soft_cap, 1) && same_bits(a.bias, b.bias) &&
         same_bits(a.relative, b.relative) && same_bits(a.t5, b.t5) && same_bits(a.alibi, b.alibi) &&
         same_bits(a.sink, b.sink);
}
template <class Real>
bool same_bits(const BasicAttentionGradients<Real>& a, const BasicAttentionGradients<Real>& b) {
  return same_bits(a.query, b.query) && same_bits(a.key, b.key) && same_bits(a.value, b.value) &&
         same_parameter_bits(a, b);
}

/// Equal as numbers: like same_bits, but the sign of a zero does not count.
template <class T, int R>
bool same_numbers(const Array<T, R>& a, const Array<T, R>& b) {
  if (a.shape() != b.shape()) return false;
  for (Index i = 0; i < a.size(); ++i) {
    if (a.data()[i] != b.data()[i]) return false;
  }
  return true;
}

/// Largest |got - reference|; infinite where one is NaN or infinite and the other is not the same.
template <int R>
double largest_error(const Array<float, R>& got, const Array<double, R>& reference) {
  if (got.shape() != reference.shape()) return kInfinity;
  double largest = 0;
  for (Index i = 0; i < got.size(); ++i) {
    const double a = static_cast<double>(got.data()[i]), b = reference.data()[i];
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    const double error = std::fabs(a - b);
    largest = std::isfinite(error) ? std::max(largest, error) : kInfinity;
  }
  return largest;
}

/// Largest magnitude among the finite elements.
template <class T, int R>
double largest_magnitude(const Array<T, R>& a) {
  double largest = 0;
  for (const T& x : a) {
    const double magnitude = std::fabs(static_cast<double>(x));
    if (std::isfinite(magnitude)) largest = std::max(largest, magnitude);
  }
  return largest;
}

/// For the life of the object, kith runs on one instruction set.
class ForcedInstructionSet {
 public:
  explicit ForcedInstructionSet(const char* name) { force_instruction_set(name); }
  ~ForcedInstructionSet() { force_instruction_set(""); }
  ForcedInstructionSet(const ForcedInstructionSet&) = delete;
  ForcedInstructionSet& operator=(const ForcedInstructionSet&) = delete;
};

}  // namespace kith::test
