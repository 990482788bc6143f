// Rows of floats a vector at a time, with what is left of a row as a part of a vector.
//
// Re-included once per instruction set.

#if defined(KITH_LAYERS_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KITH_LAYERS_LANES_INL_H_
#undef KITH_LAYERS_LANES_INL_H_
#else
#define KITH_LAYERS_LANES_INL_H_
#endif

#include <cstring>

#include "hwy/highway.h"
#include "kith/view.h"

HWY_BEFORE_NAMESPACE();
namespace kith::layers {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::ScalableTag<float>;
using Words = hn::RebindToUnsigned<Floats>;
using V = hn::Vec<Floats>;
inline constexpr Index kLanes = static_cast<Index>(hn::MaxLanes(Floats()));

/// A whole vector of a row.
struct Whole {
  HWY_INLINE V Load(const float* p) const { return hn::LoadU(Floats(), p); }
  HWY_INLINE void Store(V v, float* p) const { hn::StoreU(v, Floats(), p); }
};

/// The first `count` lanes: others are 0 when loaded and are not stored.
struct Part {
  Index count;
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
  // Masked instructions that leave alone what the mask leaves out, be it unmapped memory.
  HWY_INLINE auto Mask() const { return hn::FirstN(Floats(), static_cast<std::size_t>(count)); }
  HWY_INLINE V Load(const float* p) const { return hn::MaskedLoad(Mask(), Floats(), p); }
  HWY_INLINE void Store(V v, float* p) const { hn::BlendedStore(v, Mask(), Floats(), p); }
#else
  HWY_INLINE V Load(const float* p) const {
    HWY_ALIGN float lane[kLanes] = {};
    std::memcpy(lane, p, static_cast<std::size_t>(count) * sizeof(float));
    return hn::Load(Floats(), lane);
  }
  HWY_INLINE void Store(V v, float* p) const {
    HWY_ALIGN float lane[kLanes];
    hn::Store(v, Floats(), lane);
    std::memcpy(p, lane, static_cast<std::size_t>(count) * sizeof(float));
  }
#endif
};

/// f(lanes, c) for each vector of [0, count), the last perhaps a part.
template <class F>
HWY_INLINE void ForLanes(Index count, F&& f) {
  Index c = 0;
  for (; c + kLanes <= count; c += kLanes) f(Whole{}, c);
  if (c < count) f(Part{count - c}, c);
}

HWY_INLINE float Sum(V v) { return hn::GetLane(hn::SumOfLanes(Floats(), v)); }

/// Rows without gaps are one long row to what treats each number alone.
template <class... T>
HWY_INLINE void Flatten(View<T, 2>&... x) {
  if (((x.stride[0] == x.shape[1]) && ...)) ((x.shape = {1, x.shape[0] * x.shape[1]}), ...);
}

/// The lowest coefficient first.
template <class... C>
HWY_INLINE V Polynomial(V x, float lowest, C... higher) {
  if constexpr (sizeof...(C) == 0) {
    return hn::Set(Floats(), lowest);
  } else {
    return hn::MulAdd(Polynomial(x, higher...), x, hn::Set(Floats(), lowest));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::layers
HWY_AFTER_NAMESPACE();

#endif
