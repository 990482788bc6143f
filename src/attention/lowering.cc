#include "attention/lowering.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "attention/kernels/rows.h"
#include "attention/row_map.h"

namespace kith {
namespace {

using kernels::Map;
using kernels::Pair;

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

Map map_of(CompactKernel kernel) {
  switch (kernel) {
    case CompactKernel::epanechnikov:
      return Map::epanechnikov;
    case CompactKernel::boxcar:
      return Map::boxcar;
    case CompactKernel::triangular:
      return Map::triangular;
    case CompactKernel::biweight:
      return Map::biweight;
    case CompactKernel::tricube:
      return Map::tricube;
  }
  throw Error(fmt::format("kernel: {} is none of CompactKernel's", static_cast<int>(kernel)));
}

Lowered form_of(const Similarity& similarity, Index depth) {
  return std::visit(
      Overloaded{
          [&](const Dot& s) {
            return Lowered{Pair::dot, Map::linear,
                           s.scale.value_or(1 / std::sqrt(static_cast<double>(depth))), depth};
          },
          [&](const Cosine& s) {
            return Lowered{Pair::dot, Map::linear, 1 / s.temperature, depth};
          },
          [&](const Gaussian& s) {
            return Lowered{Pair::squared, Map::linear, -0.5 / (s.bandwidth * s.bandwidth), depth};
          },
          [&](const Euclidean& s) {
            return Lowered{Pair::squared, Map::square_root, -1 / s.temperature, depth};
          },
          [&](const Laplace& s) {
            return Lowered{Pair::absolute, Map::linear, -1 / s.bandwidth, depth};
          },
          [&](const Compact& s) {
            return Lowered{Pair::squared, map_of(s.kernel), 1 / (s.bandwidth * s.bandwidth), depth};
          },
          [&](const InverseDistance& s) {
            return Lowered{Pair::squared, Map::inverse_distance, s.power, depth};
          },
          [&](const Bilinear& s) {
            return Lowered{Pair::dot, Map::linear, s.scale, depth};
          },
          [&](const Additive&) {
            return Lowered{Pair::additive, Map::linear, 1, depth};
          },
          [&](const Uniform&) {
            return Lowered{Pair::dot, Map::linear, 0, depth};
          },
      },
      similarity);
}

}  // namespace

template <class Real>
Lowered lower(const AttentionOptions& options, const Geometry& g) {
  const Lowered lowered = form_of(options.similarity, RowMap(options, g, RowMap::Side::query).depth_out());
  const double factor = lowered.task_factor();
  constexpr const char* kReal = std::is_same_v<Real, float> ? "float32" : "float64";
  if (!(std::fabs(factor) <= static_cast<double>(std::numeric_limits<Real>::max()))) {
    throw Error(
        fmt::format("similarity: a factor of {} on the logits is beyond {}; it needs a larger bandwidth or "
                    "temperature, or a smaller scale or power",
                    lowered.factor, kReal));
  }
  // Distances times 0 would be NaN where they overflow, and a compact kernel would hide nothing.
  const bool square = std::holds_alternative<Gaussian>(options.similarity) ||
                      std::holds_alternative<Compact>(options.similarity);
  if (square && static_cast<Real>(factor) == 0) {
    throw Error(
        fmt::format("similarity: a factor of {} on squared distances is 0 in {}; it needs a smaller "
                    "bandwidth",
                    lowered.factor, kReal));
  }
  return lowered;
}

template Lowered lower<float>(const AttentionOptions&, const Geometry&);
template Lowered lower<double>(const AttentionOptions&, const Geometry&);

double parameter_gradient(const AttentionOptions& options, double d_factor) {
  // Divided step by step: a power of a small bandwidth could underflow.
  return std::visit(Overloaded{
                        [&](const Dot&) { return d_factor; },
                        [&](const Cosine& s) { return -d_factor / s.temperature / s.temperature; },
                        [&](const Gaussian& s) { return d_factor / s.bandwidth / s.bandwidth / s.bandwidth; },
                        [&](const Euclidean& s) { return d_factor / s.temperature / s.temperature; },
                        [&](const Laplace& s) { return d_factor / s.bandwidth / s.bandwidth; },
                        [&](const Compact& s) { return -2 * d_factor / s.bandwidth; },
                        [&](const InverseDistance&) { return d_factor; },
                        [&](const Bilinear&) { return d_factor; },
                        [&](const Additive&) { return 0.0; },
                        [&](const Uniform&) { return 0.0; },
                    },
                    options.similarity);
}

template <class T>
bool all_finite(HeadRows<T> from, Index rows, Index depth) {
  if constexpr (std::is_same_v<T, compute_t<T>>) {
    return kernels::rows_finite<T>(from.data, from.stride, rows, depth);
  } else {
    // In whole numbers, which may be combined in any order and so in vectors: an exponent of all ones.
    constexpr auto kInfinity = static_cast<T>(std::numeric_limits<float>::infinity()).bits;
    for (Index i = 0; i < rows; ++i) {
      const T* row = from.data + i * from.stride;
      bool finite = true;
      for (Index c = 0; c < depth; ++c) finite &= (row[c].bits & kInfinity) != kInfinity;
      if (!finite) return false;
    }
    return true;
  }
}

template <class T>
void copy_finite(HeadRows<T> from, Index rows, Index depth, compute_t<T>* to, Index stride) {
  using Real = compute_t<T>;
  for (Index i = 0; i < rows; ++i) {
    const T* row = from.data + i * from.stride;
    for (Index c = 0; c < depth; ++c) {
      const auto x = static_cast<Real>(row[c]);
      to[i * stride + c] = std::isfinite(x) ? x : Real{0};
    }
    std::fill(to + i * stride + depth, to + (i + 1) * stride, Real{0});
  }
}

#define KITH_INSTANTIATE(T)                            \
  template bool all_finite(HeadRows<T>, Index, Index); \
  template void copy_finite(HeadRows<T>, Index, Index, compute_t<T>*, Index);
KITH_INSTANTIATE(float)
KITH_INSTANTIATE(double)
KITH_INSTANTIATE(bfloat16)
KITH_INSTANTIATE(float16)
#undef KITH_INSTANTIATE

}  // namespace kith
