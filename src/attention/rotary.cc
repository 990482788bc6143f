#include "kith/rotary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "attention/checks.h"
#include "attention/rotation.h"

namespace kith {
namespace {

using namespace checks;

/// Every row of x, turned by the angles that `angles(b, n, cosine, sine)` gives for a row of all heads.
template <class T, class Angles>
Array<T, 4> turn_rows(const View<const T, 4>& x, const RotaryPairs& pairs, bool repeats, bool back,
                      const Angles& angles) {
  const auto [batch, heads, rows, depth] = x.shape;
  Array<T, 4> result(x.shape);
  const auto half = static_cast<std::size_t>(pairs.pairs);
  std::vector<double> cosine(half), sine(half), row(static_cast<std::size_t>(depth));
  for (Index n = 0; n < rows; ++n) {
    for (Index b = 0; b < batch; ++b) {
      if (b == 0 || !repeats) angles(b, n, cosine.data(), sine.data());
      for (Index h = 0; h < heads; ++h) {
        for (std::size_t c = 0; c < row.size(); ++c) row[c] = static_cast<double>(x(b, h, n, c));
        turn(pairs, cosine.data(), sine.data(), back, row.data());
        std::transform(row.begin(), row.end(), result.data() + ((b * heads + h) * rows + n) * depth,
                       [](double y) { return static_cast<T>(y); });
      }
    }
  }
  return result;
}

template <class T>
Array<T, 4> turned(const View<const T, 4>& x, const Rotary& rotary, Index offset,
                   const View<const Index, 2>& positions, bool back) {
  check_memory("x", x);
  check_rotary(rotary, "x", x.shape[3]);
  check_offset("offset", offset);
  const bool at = given(positions);
  if (at) check_array("positions", positions, {{x.shape[0], true}, {x.shape[2]}});
  const bool repeats = !at || positions.shape[0] == 1;
  const RotaryPairs pairs(x.shape[3], rotary);
  std::vector<double> frequency(static_cast<std::size_t>(pairs.pairs));
  rotary_frequencies(rotary, pairs.pairs, frequency.data());
  return turn_rows(x, pairs, repeats, back, [&](Index b, Index n, double* cosine, double* sine) {
    const Index position = at ? positions(repeats ? 0 : b, n) : offset + n;
    rotary_angles(rotary, frequency.data(), pairs.pairs, position, cosine, sine);
  });
}

}  // namespace

void check_rotary(const Rotary& rotary, const char* side, Index depth) {
  check_number("rotary.base", rotary.base, Numbers::positive);
  check_number("rotary.scaling", rotary.scaling, Numbers::positive);
  check_least("rotary.columns", rotary.columns, 0);
  if (rotary.columns > depth) {
    throw Error(
        fmt::format("rotary.columns: {}; it needs at most {}'s {} columns", rotary.columns, side, depth));
  }
  const Index columns = rotary.columns > 0 ? rotary.columns : depth;
  if (columns % 2 != 0)
    throw Error(fmt::format("rotary.columns: {} of {}; it needs an even number", columns, side));
  if (!rotary.frequency.empty() && std::ssize(rotary.frequency) != columns / 2) {
    throw Error(fmt::format("rotary.frequency: {} numbers; it needs one for each of {}'s {} pairs",
                            rotary.frequency.size(), side, columns / 2));
  }
  for (const double x : rotary.frequency) check_number("rotary.frequency", x, Numbers::finite);
  check_offset("rotary.query_offset", rotary.query_offset);
  check_offset("rotary.key_offset", rotary.key_offset);
}

void rotary_frequencies(const Rotary& rotary, Index pairs, double* to) {
  for (Index p = 0; p < pairs; ++p) {
    to[p] = rotary.frequency.empty()
                ? std::pow(rotary.base, -static_cast<double>(p) / static_cast<double>(pairs))
                : rotary.frequency[static_cast<std::size_t>(p)];
  }
}

void rotary_angles(const Rotary& rotary, const double* frequency, Index pairs, Index position, double* cosine,
                   double* sine) {
  const double scaled = static_cast<double>(position) / rotary.scaling;
  for (Index p = 0; p < pairs; ++p) {
    const double angle = scaled * frequency[p];
    cosine[p] = std::cos(angle);
    sine[p] = std::sin(angle);
  }
}

template <class T>
Array<T, 4> rotate(View<const T, 4> x, const Rotary& rotary, Index offset, View<const Index, 2> positions) {
  return turned(x, rotary, offset, positions, false);
}

template <class T>
Array<T, 4> rotate_back(View<const T, 4> x, const Rotary& rotary, Index offset,
                        View<const Index, 2> positions) {
  return turned(x, rotary, offset, positions, true);
}

template <class T>
Array<T, 4> rotate(View<const T, 4> x, View<const double, 3> cosine, View<const double, 3> sine,
                   bool interleaved) {
  check_memory("x", x);
  check_array("cosine", cosine, {{x.shape[0], true}, {x.shape[2]}, {-1}});
  if (cosine.shape[2] > x.shape[3] / 2) {
    throw Error(fmt::format("cosine: {} pairs; it needs at most {} for x's {} columns", cosine.shape[2],
                            x.shape[3] / 2, x.shape[3]));
  }
  check_array("sine", sine, {{cosine.shape[0]}, {cosine.shape[1]}, {cosine.shape[2]}});
  const RotaryPairs pairs{cosine.shape[2], interleaved};
  const bool repeats = cosine.shape[0] == 1;
  return turn_rows(x, pairs, repeats, false, [&](Index b, Index n, double* to_cosine, double* to_sine) {
    for (Index p = 0; p < pairs.pairs; ++p) {
      to_cosine[p] = cosine(repeats ? 0 : b, n, p);
      to_sine[p] = sine(repeats ? 0 : b, n, p);
    }
  });
}

#define KITH_INSTANTIATE(T)                                                                       \
  template Array<T, 4> rotate(View<const T, 4>, const Rotary&, Index, View<const Index, 2>);      \
  template Array<T, 4> rotate_back(View<const T, 4>, const Rotary&, Index, View<const Index, 2>); \
  template Array<T, 4> rotate(View<const T, 4>, View<const double, 3>, View<const double, 3>, bool);
KITH_INSTANTIATE(float)
KITH_INSTANTIATE(double)
KITH_INSTANTIATE(bfloat16)
KITH_INSTANTIATE(float16)
#undef KITH_INSTANTIATE

}  // namespace kith
