// The types that numbers are stored in: 16-bit floating point beside the language's own.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace kith {

namespace internal {

/// A float that rounds to any type of 21 bits or fewer as `value` itself does: an inexact result is made odd,
/// so that it can neither sit on a tie nor cross one.
constexpr float round_to_odd(double value) {
  const float nearest = static_cast<float>(value);
  const double error = static_cast<double>(nearest) - value;
  if (!(error > 0 || error < 0)) return nearest;  // exact or NaN
  const bool away_from_zero = (error > 0) == (value > 0);
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(nearest) - (away_from_zero ? 1U : 0U)) | 1U);
}

}  // namespace internal

// Named in lower case as the built-in types that they stand beside.
// NOLINTBEGIN(readability-identifier-naming)

/// bfloat16: the upper half of a float; 8 bits of exponent, 8 of precision. For storage: arithmetic happens
/// in float, which holds every value exactly.
struct bfloat16 {
  std::uint16_t bits = 0;

  constexpr bfloat16() = default;
  /// Rounds to nearest, ties to even; beyond the largest finite value lies infinity; NaN stays NaN, quiet.
  explicit constexpr bfloat16(float value) : bits(round(std::bit_cast<std::uint32_t>(value))) {}
  /// Rounds once. A template, so that an int goes the way of float.
  template <std::same_as<double> Double>
  explicit constexpr bfloat16(Double value) : bfloat16(internal::round_to_odd(value)) {}
  static constexpr bfloat16 from_bits(std::uint16_t bits) {
    bfloat16 result;
    result.bits = bits;
    return result;
  }

  constexpr operator float() const { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

 private:
  static constexpr std::uint16_t round(std::uint32_t wide) {
    if ((wide & 0x7fffffff) > 0x7f800000) return static_cast<std::uint16_t>(wide >> 16 | 0x0040);
    return static_cast<std::uint16_t>((wide + 0x7fff + (wide >> 16 & 1)) >> 16);
  }
};

/// IEEE 754 binary16: 5 bits of exponent, 11 of precision, finite up to 65504, normal from 2^-14, subnormal
/// down to 2^-24. For storage, as bfloat16.
struct float16 {
  std::uint16_t bits = 0;

  constexpr float16() = default;
  /// Rounds as bfloat16's constructor does, subnormal results too; from 65520 on to infinity.
  explicit constexpr float16(float value) : bits(round(std::bit_cast<std::uint32_t>(value))) {}
  /// Rounds once. A template, so that an int goes the way of float.
  template <std::same_as<double> Double>
  explicit constexpr float16(Double value) : float16(internal::round_to_odd(value)) {}
  static constexpr float16 from_bits(std::uint16_t bits) {
    float16 result;
    result.bits = bits;
    return result;
  }

  constexpr operator float() const {
    const std::uint32_t sign = (std::uint32_t{bits} & 0x8000) << 16;
    const std::uint32_t magnitude = std::uint32_t{bits} & 0x7fff;
    if (magnitude >= 0x7c00) return std::bit_cast<float>(sign | 0x7f800000 | magnitude << 13);
    if (magnitude >= 0x0400) return std::bit_cast<float>(sign | ((magnitude << 13) + kRebias));
    // No float subnormal takes part, so this holds where the processor flushes those to zero.
    const float subnormal = static_cast<float>(magnitude) * 0x1p-24F;
    return sign != 0 ? -subnormal : subnormal;
  }

 private:
  /// The exponents' biases differ by 127 − 15.
  static constexpr std::uint32_t kRebias = std::uint32_t{112} << 23;

  static constexpr std::uint16_t round(std::uint32_t wide) {
    const std::uint32_t sign = wide >> 16 & 0x8000;
    const std::uint32_t magnitude = wide & 0x7fffffff;
    if (magnitude > 0x7f800000) return static_cast<std::uint16_t>(sign | 0x7e00 | (magnitude >> 13 & 0x03ff));
    if (magnitude >= 0x477ff000) return static_cast<std::uint16_t>(sign | 0x7c00);
    if (magnitude >= 0x38800000)
      return static_cast<std::uint16_t>(sign | (magnitude - kRebias + 0x0fff + (magnitude >> 13 & 1)) >> 13);
    // Floats from 0.5 to 1 are 2^-24 apart, as float16's subnormals are: the sum's own rounding is the one
    // wanted.
    const auto sum = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5F);
    return static_cast<std::uint16_t>(sign | (sum - std::bit_cast<std::uint32_t>(0.5F)));
  }
};

// NOLINTEND(readability-identifier-naming)

/// The types that array elements have in memory and in files.
enum class Dtype { float32, float64, bfloat16, float16, boolean, uint8, int32, int64 };

/// As NumPy and PyTorch name it: "float32", "bool".
constexpr std::string_view name(Dtype dtype) {
  switch (dtype) {
    case Dtype::float32:
      return "float32";
    case Dtype::float64:
      return "float64";
    case Dtype::bfloat16:
      return "bfloat16";
    case Dtype::float16:
      return "float16";
    case Dtype::boolean:
      return "bool";
    case Dtype::uint8:
      return "uint8";
    case Dtype::int32:
      return "int32";
    case Dtype::int64:
      return "int64";
  }
  return "unknown";
}

/// Bytes of an element.
constexpr std::size_t size(Dtype dtype) {
  switch (dtype) {
    case Dtype::boolean:
    case Dtype::uint8:
      return 1;
    case Dtype::bfloat16:
    case Dtype::float16:
      return 2;
    case Dtype::float32:
    case Dtype::int32:
      return 4;
    case Dtype::float64:
    case Dtype::int64:
      return 8;
  }
  return 0;
}

namespace internal {

template <class T>
struct DtypeTraits;
template <>
struct DtypeTraits<float> {
  static constexpr Dtype kDtype = Dtype::float32;
  using Compute = float;
};
template <>
struct DtypeTraits<double> {
  static constexpr Dtype kDtype = Dtype::float64;
  using Compute = double;
};
template <>
struct DtypeTraits<bfloat16> {
  static constexpr Dtype kDtype = Dtype::bfloat16;
  using Compute = float;
};
template <>
struct DtypeTraits<float16> {
  static constexpr Dtype kDtype = Dtype::float16;
  using Compute = float;
};
template <>
struct DtypeTraits<bool> {
  static constexpr Dtype kDtype = Dtype::boolean;
};
template <>
struct DtypeTraits<std::uint8_t> {
  static constexpr Dtype kDtype = Dtype::uint8;
};
template <>
struct DtypeTraits<std::int32_t> {
  static constexpr Dtype kDtype = Dtype::int32;
};
template <>
struct DtypeTraits<std::int64_t> {
  static constexpr Dtype kDtype = Dtype::int64;
};

}  // namespace internal

/// The type of arithmetic on elements stored as T: double for double, float for the other three floating
/// types; not defined for any other.
template <class T>
using compute_t = typename internal::DtypeTraits<T>::Compute;  // NOLINT(readability-identifier-naming)

/// The Dtype of T.
template <class T>
constexpr Dtype dtype_of() {
  return internal::DtypeTraits<T>::kDtype;
}

}  // namespace kith
