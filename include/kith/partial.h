// The state of one row over any set of keys, and the one way two such states become one.
#pragma once

#include <cmath>
#include <limits>
#include <span>

namespace kith {

/// Weights relative to a reference exponent: the row's softmax over some keys is (max, sum, weighted), where
/// sum = sum_j exp2(logit2_j - max), weighted = sum_j exp2(logit2_j - max) v_j, and logit2 is the logit in
/// units of log 2. `max` need not be the true maximum, only near it. Merging is associative and commutative
/// up to rounding; {-inf, 0, 0} is its neutral element. Normalized once, at the end: weighted / sum.
struct Partial {
  static constexpr double kNone = -std::numeric_limits<double>::infinity();

  double max = kNone;
  double sum = 0;
  std::span<double> weighted{};  ///< [Dv], memory of the caller.
};

/// into = into (+) from. `weighted` spans have one length; with a neutral operand the other's bits are kept.
template <class Real>
inline void merge(Partial& into, double max, double sum, std::span<const Real> weighted) {
  if (max == Partial::kNone) return;
  if (into.max == Partial::kNone) {
    into.max = max;
    into.sum = sum;
    for (std::size_t c = 0; c < weighted.size(); ++c) into.weighted[c] = static_cast<double>(weighted[c]);
    return;
  }
  // The larger reference stays, so neither factor exceeds 1. A NaN on either side is carried by the sums.
  const bool keep = into.max >= max;
  const double old_factor = keep ? 1.0 : std::exp2(into.max - max);
  const double new_factor = keep ? std::exp2(max - into.max) : 1.0;
  if (!keep) into.max = max;
  into.sum = into.sum * old_factor + sum * new_factor;
  for (std::size_t c = 0; c < weighted.size(); ++c) {
    into.weighted[c] = into.weighted[c] * old_factor + static_cast<double>(weighted[c]) * new_factor;
  }
}

inline void merge(Partial& into, const Partial& from) {
  merge(into, from.max, from.sum, std::span<const double>(from.weighted));
}

/// Weight that carries no value, as a sink's: into.weighted is only scaled.
inline void merge_weight(Partial& into, double max, double sum) {
  if (max == Partial::kNone) return;
  const double factor = into.max == Partial::kNone ? 0.0 : into.max >= max ? 1.0 : std::exp2(into.max - max);
  const double reference = into.max >= max ? into.max : max;
  into.sum = into.sum * factor + sum * std::exp2(max - reference);
  for (double& x : into.weighted) x *= factor;
  into.max = reference;
}

/// For the entropy: sum_j 2^(logit2_j - max) (logit2_j - max), relative to the `max` that the merge of `into`
/// with (max, sum) will have, from those of the two before it.
inline double merged_logits(const Partial& into, double into_logits, double max, double sum, double logits) {
  if (max == Partial::kNone) return into_logits;
  if (into.max == Partial::kNone) return logits;
  const double reference = into.max >= max ? into.max : max;
  const auto moved = [&](double from_max, double from_sum, double from_logits) {
    return std::exp2(from_max - reference) * (from_logits + (from_max - reference) * from_sum);
  };
  return moved(into.max, into.sum, into_logits) + moved(max, sum, logits);
}

/// log sum_j exp logit_j, natural; -inf for the neutral element.
inline double log_sum_exp(const Partial& p) {
  return p.max == Partial::kNone ? Partial::kNone : (p.max + std::log2(p.sum)) * 0.6931471805599453094;
}

}  // namespace kith
