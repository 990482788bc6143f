#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/points/kernels/plane.cc"
#include "hwy/foreach_target.h"
// After foreach_target.
#include <algorithm>

#include "attention/points/kernels/plane.h"
#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace kith::points {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using PlaneTag = hn::CappedTag<double, kPlaneLanes>;
using PlaneVec = hn::Vec<PlaneTag>;
constexpr Index kLanesHere = static_cast<Index>(hn::MaxLanes(PlaneTag()));
constexpr bool kManyRegisters = HWY_TARGET <= HWY_AVX3;

// R rows of powers of y, from y^row on: sums += u y^r x^b. `u` = v y^row comes and leaves as v y^(row + R).
template <int R>
HWY_INLINE void AddRows(const double* HWY_RESTRICT power, const double* HWY_RESTRICT y,
                        double* HWY_RESTRICT u, Index padded, double* HWY_RESTRICT sums) {
  const PlaneTag d;
  PlaneVec acc[R][kTerms];
  HWY_UNROLL(2)
  for (int r = 0; r < R; ++r) {
    HWY_UNROLL(12)
    for (int b = 0; b < kTerms; ++b) acc[r][b] = hn::Zero(d);
  }
  for (Index j = 0; j < padded; j += kLanesHere) {
    const PlaneVec yj = hn::Load(d, y + j);
    PlaneVec weight[R];
    weight[0] = hn::Load(d, u + j);
    for (int r = 1; r < R; ++r) weight[r] = hn::Mul(weight[r - 1], yj);
    hn::Store(hn::Mul(weight[R - 1], yj), d, u + j);
    HWY_UNROLL(2)
    for (int r = 0; r < R; ++r) acc[r][0] = hn::Add(acc[r][0], weight[r]);
    HWY_UNROLL(12)
    for (int b = 1; b < kTerms; ++b) {
      const PlaneVec xb = hn::Load(d, power + b * kPlaneBlock + j);
      HWY_UNROLL(2)
      for (int r = 0; r < R; ++r) acc[r][b] = hn::MulAdd(weight[r], xb, acc[r][b]);
    }
  }
  HWY_UNROLL(2)
  for (int r = 0; r < R; ++r) {
    HWY_UNROLL(12)
    for (int b = 0; b < kTerms; ++b) {
      double* at = sums + (r * kTerms + b) * kPlaneLanes;
      hn::Store(hn::Add(hn::Load(d, at), acc[r][b]), d, at);
    }
  }
}

void AddMoments(const PlaneKeys& keys) {
  const PlaneTag d;
  constexpr int kRows = kManyRegisters ? 2 : 1;
  static_assert(kTerms % kRows == 0);
  const Index padded = (keys.count + kLanesHere - 1) / kLanesHere * kLanesHere;
  double* power = keys.scratch;  // row 0 is not used: x^0 costs no product
  double* u = keys.scratch + kTerms * kPlaneBlock;
  for (Index j = 0; j < padded; j += kLanesHere) {
    const PlaneVec x = hn::Load(d, keys.x + j);
    PlaneVec xb = x;
    for (int b = 1; b < kTerms; ++b) {
      hn::Store(xb, d, power + b * kPlaneBlock + j);
      xb = hn::Mul(xb, x);
    }
  }
  for (Index c = 0; c < keys.columns; ++c) {
    std::copy_n(keys.value + c * kPlaneBlock, padded, u);
    double* sums = keys.sums + c * kTerms * kTerms * kPlaneLanes;
    for (int a = 0; a < kTerms; a += kRows) {
      AddRows<kRows>(power, keys.y, u, padded, sums + Index{a} * kTerms * kPlaneLanes);
    }
  }
}

void ReduceMoments(const double* HWY_RESTRICT sums, Index columns, double* HWY_RESTRICT moments) {
  const PlaneTag d;
  const Index stride = plane_stride(columns);
  for (int b = 0; b < kTerms; ++b) {
    double* row = moments + b * stride;
    for (Index c = 0; c < columns; ++c) {
      for (int a = 0; a < kTerms; ++a) {
        const double* at = sums + ((c * kTerms + a) * kTerms + b) * kPlaneLanes;
        row[c * kTerms + a] = hn::GetLane(hn::SumOfLanes(d, hn::Load(d, at)));
      }
    }
    std::fill(row + columns * kTerms, row + stride, 0.0);
  }
}

// Rows [row, row + R) and V vectors of the product.
template <int R, int V>
HWY_INLINE void TranslateBlock(const double* const* source, const double* const* matrix, Index count,
                               Index stride, Index row, Index lane, double* HWY_RESTRICT out) {
  const PlaneTag d;
  PlaneVec acc[R][V];
  HWY_UNROLL(6)
  for (int r = 0; r < R; ++r) {
    HWY_UNROLL(4)
    for (int v = 0; v < V; ++v) acc[r][v] = hn::Zero(d);
  }
  for (Index s = 0; s < count; ++s) {
    const double* HWY_RESTRICT from = source[s] + lane;
    const double* HWY_RESTRICT by = matrix[s] + row * kTerms;
    for (int k = 0; k < kTerms; ++k) {
      PlaneVec m[V];
      HWY_UNROLL(4)
      for (int v = 0; v < V; ++v) m[v] = hn::Load(d, from + k * stride + v * kLanesHere);
      HWY_UNROLL(6)
      for (int r = 0; r < R; ++r) {
        const PlaneVec f = hn::Set(d, by[r * kTerms + k]);
        HWY_UNROLL(4)
        for (int v = 0; v < V; ++v) acc[r][v] = hn::MulAdd(f, m[v], acc[r][v]);
      }
    }
  }
  HWY_UNROLL(6)
  for (int r = 0; r < R; ++r) {
    HWY_UNROLL(4)
    for (int v = 0; v < V; ++v) hn::Store(acc[r][v], d, out + (row + r) * stride + lane + v * kLanesHere);
  }
}

template <int V>
void TranslateColumns(const double* const* source, const double* const* matrix, Index count, Index stride,
                      Index lane, double* out) {
  constexpr int kRows = kManyRegisters ? 6 : 4;
  for (Index row = 0; row < kTerms; row += kRows) {
    TranslateBlock<kRows, V>(source, matrix, count, stride, row, lane, out);
  }
}

void Translate(const double* const* source, const double* const* matrix, Index count, Index stride,
               double* out) {
  constexpr int kVectors = kManyRegisters ? 4 : 3;
  Index lane = 0;
  for (; lane + kVectors * kLanesHere <= stride; lane += kVectors * kLanesHere) {
    TranslateColumns<kVectors>(source, matrix, count, stride, lane, out);
  }
  const Index left = (stride - lane) / kLanesHere;
  if (left == 3) {
    TranslateColumns<3>(source, matrix, count, stride, lane, out);
  } else if (left == 2) {
    TranslateColumns<2>(source, matrix, count, stride, lane, out);
  } else if (left == 1) {
    TranslateColumns<1>(source, matrix, count, stride, lane, out);
  }
}

void Evaluate(const PlaneQueries& queries) {
  const PlaneTag d;
  constexpr int kGroup = 4, kVectors = 2;
  static_assert(kTerms % kGroup == 0 && kPlaneBlock % (kVectors * kPlaneLanes) == 0);
  const Index stride = plane_stride(queries.columns);
  for (Index i = 0; i < queries.count; i += kVectors * kLanesHere) {
    PlaneVec x[kVectors], y[kVectors], weight[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      x[v] = hn::Load(d, queries.x + i + v * kLanesHere);
      y[v] = hn::Load(d, queries.y + i + v * kLanesHere);
    }
    for (Index c = 0; c < queries.columns; ++c) {
      PlaneVec total[kVectors] = {hn::Zero(d), hn::Zero(d)};
      for (int a = kTerms - kGroup; a >= 0; a -= kGroup) {
        const double* row = queries.local + a * stride + c * kTerms;
        PlaneVec acc[kGroup][kVectors];
        HWY_UNROLL(4)
        for (int g = 0; g < kGroup; ++g) {
          acc[g][0] = acc[g][1] = hn::Set(d, row[g * stride + kTerms - 1]);
        }
        for (int b = kTerms - 2; b >= 0; --b) {
          HWY_UNROLL(4)
          for (int g = 0; g < kGroup; ++g) {
            const PlaneVec term = hn::Set(d, row[g * stride + b]);
            HWY_UNROLL(2)
            for (int v = 0; v < kVectors; ++v) acc[g][v] = hn::MulAdd(acc[g][v], x[v], term);
          }
        }
        HWY_UNROLL(4)
        for (int g = kGroup - 1; g >= 0; --g) {
          HWY_UNROLL(2)
          for (int v = 0; v < kVectors; ++v) total[v] = hn::MulAdd(total[v], y[v], acc[g][v]);
        }
      }
      for (int v = 0; v < kVectors; ++v) {
        const Index at = i + v * kLanesHere;
        if (c == 0) {
          weight[v] = total[v];
          hn::Store(hn::Log(d, total[v]), d, queries.lse + at);
        } else {
          total[v] = hn::Div(total[v], weight[v]);
        }
        hn::Store(total[v], d, queries.out + c * kPlaneBlock + at);
      }
    }
  }
}

void AddFar(const PlaneFarKeys& keys) {
  const PlaneTag d;
  const PlaneVec px = hn::Set(d, keys.px), py = hn::Set(d, keys.py), half = hn::Set(d, 0.5);
  for (Index j = 0; j < keys.count; j += kLanesHere) {
    const PlaneVec x = hn::Load(d, keys.x + j), y = hn::Load(d, keys.y + j);
    const PlaneVec exponent = hn::MulAdd(hn::MulAdd(half, x, px), x, hn::Mul(hn::MulAdd(half, y, py), y));
    // The nearest's is 0; rounding must not make another overflow.
    const PlaneVec weight = hn::Exp(d, hn::Min(hn::Neg(exponent), hn::Set(d, 1.0)));
    for (Index c = 0; c < keys.columns; ++c) {
      double* at = keys.sums + c * kPlaneLanes;
      const PlaneVec value = hn::Load(d, keys.value + c * kPlaneBlock + j);
      hn::Store(hn::MulAdd(weight, value, hn::Load(d, at)), d, at);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::points
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kith::points {

HWY_EXPORT(AddMoments);
HWY_EXPORT(ReduceMoments);
HWY_EXPORT(Translate);
HWY_EXPORT(Evaluate);
HWY_EXPORT(AddFar);

void plane_add_moments(const PlaneKeys& keys) { HWY_DYNAMIC_DISPATCH(AddMoments)(keys); }
void plane_reduce_moments(const double* sums, Index columns, double* moments) {
  HWY_DYNAMIC_DISPATCH(ReduceMoments)(sums, columns, moments);
}
void plane_translate(const double* const* source, const double* const* matrix, Index count, Index stride,
                     double* out) {
  HWY_DYNAMIC_DISPATCH(Translate)(source, matrix, count, stride, out);
}
void plane_evaluate(const PlaneQueries& queries) { HWY_DYNAMIC_DISPATCH(Evaluate)(queries); }
void plane_add_far(const PlaneFarKeys& keys) { HWY_DYNAMIC_DISPATCH(AddFar)(keys); }

}  // namespace kith::points
#endif
