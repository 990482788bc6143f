// Which numbers of a row are dropped.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/kernels/dropout.cc"
#include "hwy/foreach_target.h"

#include "layers/kernels/lanes-inl.h"

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace kith::layers {
namespace HWY_NAMESPACE {

// 32 bits a number from the column and the row's 64: multiplications and shifts, the second half of the key
// put in between, so that two rows' masks are not shifts of one another.
HWY_INLINE hn::Vec<Words> Mix(hn::Vec<Words> x, std::uint32_t more) {
  const Words d;
  x = hn::Xor(x, hn::ShiftRight<16>(x));
  x = hn::Add(hn::Mul(x, hn::Set(d, 0x7feb352dU)), hn::Set(d, more));
  x = hn::Xor(x, hn::ShiftRight<15>(x));
  x = hn::Mul(x, hn::Set(d, 0x846ca68bU));
  return hn::Xor(x, hn::ShiftRight<16>(x));
}

void DropRow(const float* x, Index columns, std::uint64_t key, std::uint32_t threshold, float scale,
             float* y) {
  const Floats d;
  const Words dw;
  const auto low = static_cast<std::uint32_t>(key), high = static_cast<std::uint32_t>(key >> 32);
  const auto least = hn::Set(dw, threshold);
  const V by = hn::Set(d, scale);
  // Columns times an odd number, which spreads them over all bits.
  constexpr std::uint32_t kSpread = 0x9e3779b9U;
  const auto lane = hn::Mul(hn::Iota(dw, 0U), hn::Set(dw, kSpread));
  ForLanes(columns, [&](auto lanes, Index c) {
    const auto column = hn::Add(lane, hn::Set(dw, static_cast<std::uint32_t>(c) * kSpread));
    const auto hash = Mix(hn::Xor(column, hn::Set(dw, low)), high);
    const auto drops = hn::RebindMask(d, hn::Gt(least, hash));
    lanes.Store(hn::IfThenZeroElse(drops, hn::Mul(lanes.Load(x + c), by)), y + c);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::layers
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "layers/kernels/kernels.h"

namespace kith::layers {

HWY_EXPORT(DropRow);
void drop_row(const float* x, Index columns, std::uint64_t key, std::uint32_t threshold, float scale,
              float* y) {
  HWY_DYNAMIC_DISPATCH(DropRow)(x, columns, key, threshold, scale, y);
}

}  // namespace kith::layers
#endif
