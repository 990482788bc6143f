#include "attention/lowering.h"

#include <algorithm>
#include <cmath>

namespace kith {
namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

}  // namespace

Lowered lower(const Similarity& similarity, Index depth) {
  using kernels::Logit;
  return std::visit(
      Overloaded{
          [&](const Dot& s) {
            return Lowered{Logit::dot, s.scale.value_or(1 / std::sqrt(static_cast<double>(depth))), depth,
                           false};
          },
          [&](const Cosine& s) {
            return Lowered{Logit::dot, 1 / s.temperature, depth, true};
          },
          [&](const Gaussian& s) {
            return Lowered{Logit::squared_distance, -0.5 / (s.bandwidth * s.bandwidth), depth, false};
          },
          [&](const Euclidean& s) {
            return Lowered{Logit::distance, -1 / s.temperature, depth, false};
          },
          [&](const Uniform&) {
            return Lowered{Logit::dot, 0, 0, false};
          },
      },
      similarity);
}

void normalize_rows(HeadRows from, Index rows, Index depth, float* to) {
  for (Index i = 0; i < rows; ++i) {
    const float* x = from.data + i * from.stride;
    double squares = 0;
    for (Index c = 0; c < depth; ++c) squares += static_cast<double>(x[c]) * static_cast<double>(x[c]);
    const double inverse = squares == 0 ? 0 : 1 / std::sqrt(squares);
    for (Index c = 0; c < depth; ++c)
      to[i * depth + c] = static_cast<float>(static_cast<double>(x[c]) * inverse);
  }
}

bool all_finite(HeadRows from, Index rows, Index depth) {
  for (Index i = 0; i < rows; ++i) {
    const float* x = from.data + i * from.stride;
    // x - x is 0 for a finite x and NaN otherwise; one sum a row lets the loop run in vectors.
    float defect = 0;
    for (Index c = 0; c < depth; ++c) defect += x[c] - x[c];
    if (defect != 0) return false;
  }
  return true;
}

void copy_finite(HeadRows from, Index rows, Index depth, float* to, Index stride) {
  for (Index i = 0; i < rows; ++i) {
    const float* x = from.data + i * from.stride;
    for (Index c = 0; c < depth; ++c) to[i * stride + c] = std::isfinite(x[c]) ? x[c] : 0.0f;
    std::fill(to + i * stride + depth, to + (i + 1) * stride, 0.0f);
  }
}

}  // namespace kith
