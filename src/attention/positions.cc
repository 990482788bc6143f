#include "attention/positions.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kith/error.h"

namespace kith {
namespace {

Index magnitude(Index x) { return x < 0 ? -x : x; }

/// A table's column for the distance j - i - offset.
Index column_of(const RelativeTable& relative, Index distance) {
  const Index right = relative.table.shape[1] - 1 - relative.left;
  return std::clamp(distance, -relative.left, right) + relative.left;
}
Index column_of(const T5Buckets& t5, Index distance) {
  return t5_bucket(distance, t5.bidirectional, t5.table.shape[1], t5.max_distance);
}

/// Calls f(index into the row of terms, j - i - offset) for every j - i of a sequence.
template <class F>
void for_each_distance(const Bias& bias, Index queries, Index keys, const F& f) {
  for (Index at = 0; at < queries + keys - 1; ++at) f(at, at - (queries - 1) - bias.offset);
}

}  // namespace

Index t5_bucket(Index relative_position, bool bidirectional, Index buckets, Index max_distance) {
  const Index least = bidirectional ? 2 : 1;
  if (buckets < least) {
    throw Error(fmt::format("buckets: {}; it needs at least {}", buckets, least));
  }
  if (max_distance < 1) throw Error(fmt::format("max_distance: {}; it needs at least 1", max_distance));
  Index first = 0, count = buckets;
  Index distance = 0;
  if (bidirectional) {
    count = buckets / 2;
    if (relative_position > 0) first = count;
    distance = magnitude(std::max(relative_position, -PTRDIFF_MAX));
  } else {
    distance = magnitude(std::clamp<Index>(relative_position, -PTRDIFF_MAX, 0));
  }
  const Index exact = count / 2;
  if (distance < exact) return first + distance;
  if (distance >= max_distance || exact == 0) return first + count - 1;
  const double step = std::log(static_cast<double>(distance) / static_cast<double>(exact)) /
                      std::log(static_cast<double>(max_distance) / static_cast<double>(exact)) *
                      static_cast<double>(count - exact);
  // Where a bucket begins at a whole distance, the logarithms' rounding must not put it into the one before.
  return first + std::min(count - 1, exact + static_cast<Index>(step + 1e-12));
}

std::vector<double> alibi_slopes(Index heads) {
  if (heads < 1) throw Error(fmt::format("heads: {}; it needs at least 1", heads));
  Index power = 1;
  while (power <= heads / 2) power *= 2;
  std::vector<double> slopes;
  const auto slope = [](Index h, Index of) {
    return std::exp2(-8 * static_cast<double>(h + 1) / static_cast<double>(of));
  };
  for (Index h = 0; h < power; ++h) slopes.push_back(slope(h, power));
  // The rest are every other one of twice as many heads.
  for (Index h = power; h < heads; ++h) slopes.push_back(slope(2 * (h - power), 2 * power));
  return slopes;
}

template <class Real>
void relative_terms(const Bias& bias, Index head, Index queries, Index keys, double unit, Real* to,
                    Index padding) {
  const double slope =
      bias.alibi.empty()
          ? 0
          : bias.alibi[static_cast<std::size_t>(entry_of(static_cast<Index>(bias.alibi.size()), head))];
  for_each_distance(bias, queries, keys, [&](Index at, Index distance) {
    double term = 0;
    if (bias.relative) {
      const auto& table = bias.relative->table;
      term += table(entry_of(table.shape[0], head), column_of(*bias.relative, distance));
    }
    if (bias.t5) {
      const auto& table = bias.t5->table;
      term += table(entry_of(table.shape[0], head), column_of(*bias.t5, distance));
    }
    if (!bias.alibi.empty()) term -= slope * static_cast<double>(magnitude(distance));
    to[at] = static_cast<Real>(term * unit);
  });
  std::fill_n(to + std::max<Index>(0, queries + keys - 1), padding, Real{0});
}

template <class Real>
void relative_terms_backward(const Bias& bias, Index head, Index queries, Index keys, const double* sums,
                             BasicAttentionGradients<Real>& gradients) {
  for_each_distance(bias, queries, keys, [&](Index at, Index distance) {
    if (bias.relative) {
      const Index row = entry_of(bias.relative->table.shape[0], head);
      gradients.relative(row, column_of(*bias.relative, distance)) += sums[at];
    }
    if (bias.t5) {
      const Index row = entry_of(bias.t5->table.shape[0], head);
      gradients.t5(row, column_of(*bias.t5, distance)) += sums[at];
    }
    if (!bias.alibi.empty()) {
      const Index one = entry_of(static_cast<Index>(bias.alibi.size()), head);
      gradients.alibi[static_cast<std::size_t>(one)] -= static_cast<double>(magnitude(distance)) * sums[at];
    }
  });
}

template void relative_terms(const Bias&, Index, Index, Index, double, float*, Index);
template void relative_terms(const Bias&, Index, Index, Index, double, double*, Index);
template void relative_terms_backward(const Bias&, Index, Index, Index, const double*,
                                      BasicAttentionGradients<float>&);
template void relative_terms_backward(const Bias&, Index, Index, Index, const double*,
                                      BasicAttentionGradients<double>&);

}  // namespace kith
