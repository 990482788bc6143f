// The forward kernel in float.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/kernels/forward32.cc"
#include "hwy/foreach_target.h"

#include "attention/kernels/forward-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

void Forward32(const ForwardTask<float>& task) { ForwardAny(task); }

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kith::kernels {

HWY_EXPORT(Forward32);

template <>
void forward(const ForwardTask<float>& task) {
  if (is_narrow(task)) return forward_narrow(task);
  if (task.pair == Pair::dot_halves) return forward_halves(task);
  HWY_DYNAMIC_DISPATCH(Forward32)(task);
}

template <>
std::size_t forward_scratch<float>(Index value_depth, bool narrow, Index stream_depth) {
  return static_cast<std::size_t>(ForwardScratch(value_depth, narrow, stream_depth).total());
}

}  // namespace kith::kernels
#endif
