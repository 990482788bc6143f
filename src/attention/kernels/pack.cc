// Keys from natural rows into tiles with the keys in the lanes.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/kernels/pack.cc"
#include "hwy/foreach_target.h"

#include "attention/kernels/tile-inl.h"

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

Index TileKeys() { return kTileKeys; }
Index VectorFloats() { return kLanes; }

void PackTiles(const float* HWY_RESTRICT rows, Index stride, Index count, Index depth, Index first_tile,
               Index last_tile, float* HWY_RESTRICT tiles) {
  for (Index t = first_tile; t < last_tile; ++t) {
    float* tile = tiles + t * depth * kTileKeys;
    const Index filled = std::clamp<Index>(count - t * kTileKeys, 0, kTileKeys);
    if (filled < kTileKeys) std::fill_n(tile, depth * kTileKeys, 0.0f);
    const float* row = rows + t * kTileKeys * stride;
    for (Index c = 0; c < depth; ++c) {
      for (Index lane = 0; lane < filled; ++lane) tile[c * kTileKeys + lane] = row[lane * stride + c];
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kith::kernels {

HWY_EXPORT(TileKeys);
HWY_EXPORT(VectorFloats);
HWY_EXPORT(PackTiles);

Index tile_keys() { return HWY_DYNAMIC_DISPATCH(TileKeys)(); }
Index vector_floats() { return HWY_DYNAMIC_DISPATCH(VectorFloats)(); }

void pack_tiles(const float* rows, Index stride, Index count, Index depth, Index first_tile, Index last_tile,
                float* tiles) {
  HWY_DYNAMIC_DISPATCH(PackTiles)(rows, stride, count, depth, first_tile, last_tile, tiles);
}

}  // namespace kith::kernels
#endif
