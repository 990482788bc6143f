#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/points/kernels/space.cc"
#include "hwy/foreach_target.h"
// After foreach_target.
#include "attention/points/kernels/space.h"
#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace kith::points {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using SpaceTag = hn::CappedTag<double, 8>;
using SpaceVec = hn::Vec<SpaceTag>;
constexpr int kSpaceLanes = static_cast<int>(hn::MaxLanes(SpaceTag()));
// Of the ten numbers of a stencil's row the last two.
using PairTag = hn::CappedTag<double, 2>;
using PairVec = hn::Vec<PairTag>;
constexpr int kPairLanes = static_cast<int>(hn::MaxLanes(PairTag()));
constexpr int kMains = 8 / kSpaceLanes, kPairs = 2 / kPairLanes;
static_assert(kSpaceWindow == 10 && kSpaceSide == 8);
constexpr bool kManySpaceRegisters = HWY_TARGET <= HWY_AVX3;

// Ten numbers in a row.
struct Ten {
  SpaceVec main[kMains];
  PairVec pair[kPairs];
};
HWY_INLINE Ten LoadTen(const double* HWY_RESTRICT from) {
  Ten t;
  HWY_UNROLL(8)
  for (int v = 0; v < kMains; ++v) t.main[v] = hn::LoadU(SpaceTag(), from + v * kSpaceLanes);
  HWY_UNROLL(2)
  for (int v = 0; v < kPairs; ++v) t.pair[v] = hn::LoadU(PairTag(), from + 8 + v * kPairLanes);
  return t;
}
HWY_INLINE void StoreTen(const Ten& t, double* HWY_RESTRICT to) {
  HWY_UNROLL(8)
  for (int v = 0; v < kMains; ++v) hn::StoreU(t.main[v], SpaceTag(), to + v * kSpaceLanes);
  HWY_UNROLL(2)
  for (int v = 0; v < kPairs; ++v) hn::StoreU(t.pair[v], PairTag(), to + 8 + v * kPairLanes);
}
HWY_INLINE Ten ZeroTen() {
  Ten t;
  HWY_UNROLL(8)
  for (int v = 0; v < kMains; ++v) t.main[v] = hn::Zero(SpaceTag());
  HWY_UNROLL(2)
  for (int v = 0; v < kPairs; ++v) t.pair[v] = hn::Zero(PairTag());
  return t;
}
// sum += factor * t
HWY_INLINE void AddTen(const double* HWY_RESTRICT factor, const Ten& t, Ten& sum) {
  HWY_UNROLL(8)
  for (int v = 0; v < kMains; ++v) {
    sum.main[v] = hn::MulAdd(hn::Set(SpaceTag(), *factor), t.main[v], sum.main[v]);
  }
  HWY_UNROLL(2)
  for (int v = 0; v < kPairs; ++v) {
    sum.pair[v] = hn::MulAdd(hn::Set(PairTag(), *factor), t.pair[v], sum.pair[v]);
  }
}

// The weights of all points: [axis][point][kSpacePadded], by Horner's scheme.
HWY_INLINE void Weights(const SpacePoints& points, double* HWY_RESTRICT out) {
  const SpaceTable& table = space_table();
  for (int axis = 0; axis < 3; ++axis) {
    for (Index j = 0; j < points.count; ++j) {
      const double* at = points.place[axis] + j;
      Ten w = LoadTen(table.window[kSpaceDegree]);
      for (int k = kSpaceDegree - 1; k >= 0; --k) {
        Ten next = LoadTen(table.window[k]);
        AddTen(at, w, next);
        w = next;
      }
      StoreTen(w, out + (axis * kSpaceGroup + j) * kSpacePadded);
    }
  }
}

// R rows of the stencil, from `row` in plane `a` on: nodes += sum_j wxy_j wz_j.
template <int R>
HWY_INLINE void SpreadRows(Index count, const double* HWY_RESTRICT wxy, const double* HWY_RESTRICT wz,
                           double* HWY_RESTRICT nodes) {
  Ten sum[R];
  HWY_UNROLL(5)
  for (int r = 0; r < R; ++r) sum[r] = LoadTen(nodes + r * kSpaceLocalRow);
  for (Index j = 0; j < count; ++j) {
    const Ten w = LoadTen(wz + j * kSpacePadded);
    const double* factor = wxy + j * kSpaceWindow * kSpacePadded;
    HWY_UNROLL(5)
    for (int r = 0; r < R; ++r) AddTen(factor + r, w, sum[r]);
  }
  HWY_UNROLL(5)
  for (int r = 0; r < R; ++r) StoreTen(sum[r], nodes + r * kSpaceLocalRow);
}

void Spread(const SpacePoints& keys) {
  constexpr int kRows = kManySpaceRegisters ? 5 : 2;
  double* weights = keys.scratch;
  const double *wx = weights, *wy = wx + kSpaceGroup * kSpacePadded, *wz = wy + kSpaceGroup * kSpacePadded;
  double* wxy = weights + 3 * kSpaceGroup * kSpacePadded;  // [key][x][kSpacePadded]
  Weights(keys, weights);
  for (Index c = 0; c < keys.columns; ++c) {
    for (Index j = 0; j < keys.count; ++j) {
      const Ten y = LoadTen(wy + j * kSpacePadded);
      for (int a = 0; a < kSpaceWindow; ++a) {
        const double factor = wx[j * kSpacePadded + a] * keys.column[c * kSpaceGroup + j];
        Ten product = ZeroTen();
        AddTen(&factor, y, product);
        StoreTen(product, wxy + (j * kSpaceWindow + a) * kSpacePadded);
      }
    }
    for (int a = 0; a < kSpaceWindow; ++a) {
      double* plane = keys.nodes + c * kSpaceLocalSize + a * kSpaceLocalPlane;
      for (int b = 0; b < kSpaceWindow; b += kRows) {
        SpreadRows<kRows>(keys.count, wxy + a * kSpacePadded + b, wz, plane + b * kSpaceLocalRow);
      }
    }
  }
}

void Evaluate(const SpacePoints& queries) {
  constexpr int kPlanes = kManySpaceRegisters ? 5 : 2;
  double* weights = queries.scratch;
  const double *wx = weights, *wy = wx + kSpaceGroup * kSpacePadded, *wz = wy + kSpaceGroup * kSpacePadded;
  Weights(queries, weights);
  for (Index c = 0; c < queries.columns; ++c) {
    const double* nodes = queries.nodes + c * kSpaceLocalSize;
    for (Index j = 0; j < queries.count; ++j) {
      const double *x = wx + j * kSpacePadded, *y = wy + j * kSpacePadded;
      Ten total = ZeroTen();
      for (int a = 0; a < kSpaceWindow; a += kPlanes) {
        Ten sum[kPlanes];
        HWY_UNROLL(5)
        for (int p = 0; p < kPlanes; ++p) sum[p] = ZeroTen();
        for (int b = 0; b < kSpaceWindow; ++b) {
          HWY_UNROLL(5)
          for (int p = 0; p < kPlanes; ++p) {
            AddTen(y + b, LoadTen(nodes + (a + p) * kSpaceLocalPlane + b * kSpaceLocalRow), sum[p]);
          }
        }
        HWY_UNROLL(5)
        for (int p = 0; p < kPlanes; ++p) AddTen(x + a + p, sum[p], total);
      }
      const Ten z = LoadTen(wz + j * kSpacePadded);
      SpaceVec main = hn::Zero(SpaceTag());
      PairVec pair = hn::Zero(PairTag());
      for (int v = 0; v < kMains; ++v) main = hn::MulAdd(total.main[v], z.main[v], main);
      for (int v = 0; v < kPairs; ++v) pair = hn::MulAdd(total.pair[v], z.pair[v], pair);
      queries.column[c * kSpaceGroup + j] =
          hn::GetLane(hn::SumOfLanes(SpaceTag(), main)) + hn::GetLane(hn::SumOfLanes(PairTag(), pair));
    }
  }
}

// V vectors of all eight targets, `step` numbers apart: out[to] = sum_s sum_from matrix[from][to] in[from].
template <int V>
HWY_INLINE void ConvolveLines(const SpaceSource* source, Index count, Index first, Index step,
                              double* HWY_RESTRICT to) {
  const SpaceTag d;
  const SpaceTable& table = space_table();
  SpaceVec sum[kSpaceSide][V];
  HWY_UNROLL(8)
  for (int i = 0; i < kSpaceSide; ++i) {
    HWY_UNROLL(2)
    for (int v = 0; v < V; ++v) sum[i][v] = hn::Zero(d);
  }
  for (Index s = 0; s < count; ++s) {
    const auto& matrix = table.matrix[source[s].offset + kSpaceReach];
    const double* HWY_RESTRICT from = source[s].block + first;
    for (int k = 0; k < kSpaceSide; ++k) {
      SpaceVec in[V];
      HWY_UNROLL(2)
      for (int v = 0; v < V; ++v) in[v] = hn::Load(d, from + k * step + v * kSpaceLanes);
      HWY_UNROLL(8)
      for (int i = 0; i < kSpaceSide; ++i) {
        const SpaceVec tap = hn::Set(d, matrix[k][i]);
        HWY_UNROLL(2)
        for (int v = 0; v < V; ++v) sum[i][v] = hn::MulAdd(tap, in[v], sum[i][v]);
      }
    }
  }
  HWY_UNROLL(8)
  for (int i = 0; i < kSpaceSide; ++i) {
    HWY_UNROLL(2)
    for (int v = 0; v < V; ++v) hn::Store(sum[i][v], d, to + first + i * step + v * kSpaceLanes);
  }
}

// Eight rows along z, from `first` on; the targets are in the lanes.
HWY_INLINE void ConvolveRows(const SpaceSource* source, Index count, Index first, double* HWY_RESTRICT to) {
  const SpaceTag d;
  const SpaceTable& table = space_table();
  constexpr int kRows = 8;
  for (int v = 0; v < kSpaceSide; v += kSpaceLanes) {
    SpaceVec sum[kRows];
    HWY_UNROLL(8)
    for (int r = 0; r < kRows; ++r) sum[r] = hn::Zero(d);
    for (Index s = 0; s < count; ++s) {
      const auto& matrix = table.matrix[source[s].offset + kSpaceReach];
      const double* HWY_RESTRICT from = source[s].block + first;
      HWY_UNROLL(8)
      for (int k = 0; k < kSpaceSide; ++k) {
        const SpaceVec tap = hn::Load(d, matrix[k] + v);
        HWY_UNROLL(8)
        for (int r = 0; r < kRows; ++r) {
          sum[r] = hn::MulAdd(hn::Set(d, from[r * kSpaceSide + k]), tap, sum[r]);
        }
      }
    }
    HWY_UNROLL(8)
    for (int r = 0; r < kRows; ++r) hn::Store(sum[r], d, to + first + r * kSpaceSide + v);
  }
}

void Convolve(int axis, const SpaceSource* source, Index count, double* to) {
  constexpr Index kPlane = kSpaceSide * kSpaceSide;
  constexpr int kVectors = kManySpaceRegisters ? 2 : 1;
  switch (axis) {
    case 0:
      for (Index first = 0; first < kPlane; first += kVectors * kSpaceLanes) {
        ConvolveLines<kVectors>(source, count, first, kPlane, to);
      }
      break;
    case 1:
      for (Index x = 0; x < kSpaceSide; ++x) {
        for (Index z = 0; z < kSpaceSide; z += kSpaceLanes) {
          ConvolveLines<1>(source, count, x * kPlane + z, kSpaceSide, to);
        }
      }
      break;
    default:
      for (Index first = 0; first < kSpaceBlock; first += kPlane) ConvolveRows(source, count, first, to);
  }
}

void FarWeights(const SpaceFarKeys& keys) {
  const SpaceTag d;
  const SpaceVec half = hn::Set(d, 0.5);
  for (Index j = 0; j < keys.count; j += kSpaceLanes) {
    SpaceVec exponent = hn::Zero(d);
    for (int axis = 0; axis < 3; ++axis) {
      const SpaceVec s = hn::Load(d, keys.s + axis * kSpaceFarBlock + j);
      exponent = hn::MulAdd(hn::MulAdd(half, s, hn::Set(d, keys.p[axis])), s, exponent);
    }
    // The nearest's is 0; rounding must not make another overflow.
    hn::Store(hn::Exp(d, hn::Min(hn::Neg(exponent), hn::Set(d, 1.0))), d, keys.weight + j);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::points
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kith::points {

HWY_EXPORT(Spread);
HWY_EXPORT(Evaluate);
HWY_EXPORT(Convolve);
HWY_EXPORT(FarWeights);

void space_spread(const SpacePoints& keys) { HWY_DYNAMIC_DISPATCH(Spread)(keys); }
void space_evaluate(const SpacePoints& queries) { HWY_DYNAMIC_DISPATCH(Evaluate)(queries); }
void space_convolve(int axis, const SpaceSource* source, Index count, double* to) {
  HWY_DYNAMIC_DISPATCH(Convolve)(axis, source, count, to);
}
void space_far_weights(const SpaceFarKeys& keys) { HWY_DYNAMIC_DISPATCH(FarWeights)(keys); }

}  // namespace kith::points
#endif
