// Turning the pairs of columns of one row, for the public calls and for the operator's own rows.
#pragma once

#include "kith/rotary.h"

namespace kith {

/// Which columns of a row turn: pair p < pairs is (p * step, p * step + apart).
struct RotaryPairs {
  Index pairs = 0, step = 1, apart = 1;

  RotaryPairs() = default;
  RotaryPairs(Index count, bool interleaved)
      : pairs(count), step(interleaved ? 2 : 1), apart(interleaved ? 1 : count) {}
  /// Of rows with `depth` columns.
  RotaryPairs(Index depth, const Rotary& rotary)
      : RotaryPairs((rotary.columns == 0 ? depth : rotary.columns) / 2, rotary.interleaved) {}
};

/// Error if the rotation does not fit the rows of `side`, which have `depth` columns. Positions are not
/// looked at.
void check_rotary(const Rotary& rotary, const char* side, Index depth);

/// Angles per unit of scaled position, to[pairs].
void rotary_frequencies(const Rotary& rotary, Index pairs, double* to);

/// Cosine and sine [pairs] of the angles at one position.
void rotary_angles(const Rotary& rotary, const double* frequency, Index pairs, Index position, double* cosine,
                   double* sine);

/// The row turned in place; `back`: by the opposite angles.
inline void turn(const RotaryPairs& p, const double* cosine, const double* sine, bool back, double* row) {
  for (Index i = 0; i < p.pairs; ++i) {
    double& a = row[i * p.step];
    double& b = row[i * p.step + p.apart];
    const double c = cosine[i], s = back ? -sine[i] : sine[i];
    const double turned = a * c - b * s;
    b = b * c + a * s;
    a = turned;
  }
}

}  // namespace kith
