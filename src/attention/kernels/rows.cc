// What is done once per row, for both passes.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/kernels/rows.cc"
#include "hwy/foreach_target.h"

#include "attention/kernels/pack-inl.h"

#include <algorithm>
#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

using Wide = Tag<double>;
constexpr Index kWideLanes = kLanes<double>;

HWY_INLINE Vec<double> LoadWide(const double* p) { return hn::LoadU(Wide(), p); }
HWY_INLINE Vec<double> LoadWide(const float* p) {
  return hn::PromoteTo(Wide(), hn::LoadU(hn::Rebind<float, Wide>(), p));
}
HWY_INLINE void StoreWide(Vec<double> x, double* p) { hn::StoreU(x, Wide(), p); }
HWY_INLINE void StoreWide(Vec<double> x, float* p) {
  const hn::Rebind<float, Wide> narrow;
  hn::StoreU(hn::DemoteTo(narrow, x), narrow, p);
}

// x - x is 0 for a finite x and NaN otherwise.
template <class Real>
bool RowsFinite(const Real* rows, Index stride, Index count, Index depth) {
  const Tag<Real> d;
  constexpr Index kStep = kLanes<Real>;
  for (Index i = 0; i < count; ++i) {
    const Real* row = rows + i * stride;
    Vec<Real> defect = hn::Zero(d);
    Index c = 0;
    for (; c + kStep <= depth; c += kStep) {
      const Vec<Real> x = hn::LoadU(d, row + c);
      defect = hn::Add(defect, hn::Sub(x, x));
    }
    if (!hn::AllTrue(d, hn::Eq(defect, hn::Zero(d)))) return false;
    for (; c < depth; ++c) {
      if (!std::isfinite(row[c])) return false;
    }
  }
  return true;
}

template <class Real>
double DotRow(const Real* a, const Real* b, Index depth) {
  Vec<double> sum[2] = {hn::Zero(Wide()), hn::Zero(Wide())};
  Index c = 0;
  for (; c + 2 * kWideLanes <= depth; c += 2 * kWideLanes) {
    sum[0] = hn::MulAdd(LoadWide(a + c), LoadWide(b + c), sum[0]);
    sum[1] = hn::MulAdd(LoadWide(a + c + kWideLanes), LoadWide(b + c + kWideLanes), sum[1]);
  }
  double total = hn::GetLane(hn::SumOfLanes(Wide(), hn::Add(sum[0], sum[1])));
  for (; c < depth; ++c) total += static_cast<double>(a[c]) * static_cast<double>(b[c]);
  return total;
}

template <class Real>
void AddNumbers(const Real* from, Index count, Real* to) {
  const Tag<Real> d;
  Index c = 0;
  for (; c + kLanes<Real> <= count; c += kLanes<Real>) {
    hn::StoreU(hn::Add(hn::LoadU(d, to + c), hn::LoadU(d, from + c)), d, to + c);
  }
  for (; c < count; ++c) to[c] += from[c];
}

template <class Real>
double FinishRow(const Real* sums, const Real* row, const Real* origin, Index depth, double scale, Real* to) {
  const Vec<double> by = hn::Set(Wide(), scale);
  Vec<double> sum = hn::Zero(Wide());
  Index c = 0;
  for (; c + kWideLanes <= depth; c += kWideLanes) {
    // Where sums are skipped rather than 0 added, -0 stays -0; so that nobody can tell, it becomes 0.
    const Vec<double> x = hn::Add(LoadWide(sums + c), hn::Zero(Wide()));
    Vec<double> at = LoadWide(row + c);
    if (origin != nullptr) at = hn::Sub(at, LoadWide(origin + c));
    sum = hn::MulAdd(x, at, sum);
    StoreWide(hn::Mul(by, x), to + c);
  }
  double total = hn::GetLane(hn::SumOfLanes(Wide(), sum));
  for (; c < depth; ++c) {
    const double x = static_cast<double>(sums[c]) + 0.0;
    total += x * (static_cast<double>(row[c]) - (origin == nullptr ? 0.0 : static_cast<double>(origin[c])));
    to[c] = static_cast<Real>(scale * x);
  }
  return total;
}

template <class From, class Real>
void ScaleRow(const From* row, Index count, double scale, Real* to) {
  const Vec<double> by = hn::Set(Wide(), scale);
  Index c = 0;
  for (; c + kWideLanes <= count; c += kWideLanes) StoreWide(hn::Mul(by, LoadWide(row + c)), to + c);
  for (; c < count; ++c) to[c] = static_cast<Real>(scale * static_cast<double>(row[c]));
}
void ScaleRow32(const float* row, Index count, double scale, float* to) { ScaleRow(row, count, scale, to); }
void ScaleRow64(const double* row, Index count, double scale, double* to) { ScaleRow(row, count, scale, to); }
void ScaleRow64To32(const double* row, Index count, double scale, float* to) {
  ScaleRow(row, count, scale, to);
}

// From a tile back to rows.
template <class Real>
HWY_INLINE void UnpackTile(const Real* tile, Index count, Index depth, Real* rows, Index stride) {
  constexpr Index kKeys = kTileKeys<Real>;
  Index keys = 0, columns = 0;
#if HWY_TARGET != HWY_SCALAR
  columns = depth / kLanes<Real> * kLanes<Real>;
  for (; keys + kSquare<Real> <= count; keys += kSquare<Real>) {
    for (Index c = 0; c < columns; c += kLanes<Real>) {
      TransposeSquare(tile + c * kKeys + keys, kKeys, [&](Index i, Vec<Real> row) {
        hn::StoreU(row, Tag<Real>(), rows + (keys + i) * stride + c);
      });
    }
  }
#endif
  for (Index j = 0; j < count; ++j) {
    for (Index c = j < keys ? columns : 0; c < depth; ++c) rows[j * stride + c] = tile[c * kKeys + j];
  }
}

template <class Real>
void UnpackTiles(const Real* tiles, Index count, Index depth, Real* rows, Index stride) {
  constexpr Index kKeys = kTileKeys<Real>;
  for (Index first = 0; first < count; first += kKeys) {
    UnpackTile(tiles + first * depth, std::min(kKeys, count - first), depth, rows + first * stride, stride);
  }
}

#define KITH_ROWS(Real, bits)                                                                                \
  bool RowsFinite##bits(const Real* rows, Index stride, Index count, Index depth) {                          \
    return RowsFinite(rows, stride, count, depth);                                                           \
  }                                                                                                          \
  void DotRows##bits(const Real* a, Index a_stride, const Real* b, Index b_stride, Index count, Index depth, \
                     double* to) {                                                                           \
    for (Index i = 0; i < count; ++i) to[i] = DotRow(a + i * a_stride, b + i * b_stride, depth);             \
  }                                                                                                          \
  void AddNumbers##bits(const Real* from, Index count, Real* to) { AddNumbers(from, count, to); }            \
  void FinishRows##bits(const Real* sums, Index sums_stride, const Real* rows, Index rows_stride,            \
                        const Real* origin, Index count, Index depth, double scale, Real* to,                \
                        Index to_stride, double* dots) {                                                     \
    for (Index i = 0; i < count; ++i) {                                                                      \
      dots[i] = FinishRow(sums + i * sums_stride, rows + i * rows_stride, origin, depth, scale,              \
                          to + i * to_stride);                                                               \
    }                                                                                                        \
  }                                                                                                          \
  void UnpackTiles##bits(const Real* tiles, Index count, Index depth, Real* rows, Index stride) {            \
    UnpackTiles(tiles, count, depth, rows, stride);                                                          \
  }
KITH_ROWS(float, 32)
KITH_ROWS(double, 64)
#undef KITH_ROWS

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "attention/kernels/rows.h"

namespace kith::kernels {

HWY_EXPORT(ScaleRow32);
HWY_EXPORT(ScaleRow64);
HWY_EXPORT(ScaleRow64To32);
void scale_row(const float* row, Index count, double scale, float* to) {
  HWY_DYNAMIC_DISPATCH(ScaleRow32)(row, count, scale, to);
}
void scale_row(const double* row, Index count, double scale, double* to) {
  HWY_DYNAMIC_DISPATCH(ScaleRow64)(row, count, scale, to);
}
void scale_row(const double* row, Index count, double scale, float* to) {
  HWY_DYNAMIC_DISPATCH(ScaleRow64To32)(row, count, scale, to);
}

#define KITH_ROWS(Real, bits)                                                                             \
  HWY_EXPORT(RowsFinite##bits);                                                                           \
  HWY_EXPORT(DotRows##bits);                                                                              \
  HWY_EXPORT(AddNumbers##bits);                                                                           \
  HWY_EXPORT(FinishRows##bits);                                                                           \
  HWY_EXPORT(UnpackTiles##bits);                                                                          \
  template <>                                                                                             \
  bool rows_finite(const Real* rows, Index stride, Index count, Index depth) {                            \
    return HWY_DYNAMIC_DISPATCH(RowsFinite##bits)(rows, stride, count, depth);                            \
  }                                                                                                       \
  template <>                                                                                             \
  void dot_rows(const Real* a, Index a_stride, const Real* b, Index b_stride, Index count, Index depth,   \
                double* to) {                                                                             \
    HWY_DYNAMIC_DISPATCH(DotRows##bits)(a, a_stride, b, b_stride, count, depth, to);                      \
  }                                                                                                       \
  template <>                                                                                             \
  void add_numbers(const Real* from, Index count, Real* to) {                                             \
    HWY_DYNAMIC_DISPATCH(AddNumbers##bits)(from, count, to);                                              \
  }                                                                                                       \
  template <>                                                                                             \
  void finish_rows(const Real* sums, Index sums_stride, const Real* rows, Index rows_stride,              \
                   const Real* origin, Index count, Index depth, double scale, Real* to, Index to_stride, \
                   double* dots) {                                                                        \
    HWY_DYNAMIC_DISPATCH(FinishRows##bits)                                                                \
    (sums, sums_stride, rows, rows_stride, origin, count, depth, scale, to, to_stride, dots);             \
  }                                                                                                       \
  template <>                                                                                             \
  void unpack_tiles(const Real* tiles, Index count, Index depth, Real* rows, Index stride) {              \
    HWY_DYNAMIC_DISPATCH(UnpackTiles##bits)(tiles, count, depth, rows, stride);                           \
  }
KITH_ROWS(float, 32)
KITH_ROWS(double, 64)
#undef KITH_ROWS

}  // namespace kith::kernels
#endif
