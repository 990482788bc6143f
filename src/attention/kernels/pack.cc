// Keys from natural rows into tiles with the keys in the lanes.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/kernels/pack.cc"
#include "hwy/foreach_target.h"

#include "attention/kernels/pack-inl.h"

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

Index TileKeys32() { return kTileKeys<float>; }
Index TileKeys64() { return kTileKeys<double>; }
Index Lanes32() { return kLanes<float>; }
Index Lanes64() { return kLanes<double>; }

template <class Real>
void PackTiles(const Real* HWY_RESTRICT rows, Index stride, Index count, Index depth, Index first_tile,
               Index last_tile, Real* HWY_RESTRICT tiles) {
  constexpr Index kKeys = kTileKeys<Real>;
  for (Index t = first_tile; t < last_tile; ++t) {
    PackTile<true>(rows + t * kKeys * stride, stride, std::clamp<Index>(count - t * kKeys, 0, kKeys), depth,
                   tiles + t * depth * kKeys);
  }
}

void PackTiles32(const float* rows, Index stride, Index count, Index depth, Index first_tile, Index last_tile,
                 float* tiles) {
  PackTiles(rows, stride, count, depth, first_tile, last_tile, tiles);
}
void PackTiles64(const double* rows, Index stride, Index count, Index depth, Index first_tile,
                 Index last_tile, double* tiles) {
  PackTiles(rows, stride, count, depth, first_tile, last_tile, tiles);
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kith::kernels {

HWY_EXPORT(TileKeys32);
HWY_EXPORT(TileKeys64);
HWY_EXPORT(Lanes32);
HWY_EXPORT(Lanes64);
HWY_EXPORT(PackTiles32);
HWY_EXPORT(PackTiles64);

template <>
Index tile_keys<float>() {
  return HWY_DYNAMIC_DISPATCH(TileKeys32)();
}
template <>
Index tile_keys<double>() {
  return HWY_DYNAMIC_DISPATCH(TileKeys64)();
}
template <>
Index vector_lanes<float>() {
  return HWY_DYNAMIC_DISPATCH(Lanes32)();
}
template <>
Index vector_lanes<double>() {
  return HWY_DYNAMIC_DISPATCH(Lanes64)();
}

template <>
void pack_tiles(const float* rows, Index stride, Index count, Index depth, Index first_tile, Index last_tile,
                float* tiles) {
  HWY_DYNAMIC_DISPATCH(PackTiles32)(rows, stride, count, depth, first_tile, last_tile, tiles);
}
template <>
void pack_tiles(const double* rows, Index stride, Index count, Index depth, Index first_tile, Index last_tile,
                double* tiles) {
  HWY_DYNAMIC_DISPATCH(PackTiles64)(rows, stride, count, depth, first_tile, last_tile, tiles);
}

}  // namespace kith::kernels
#endif
