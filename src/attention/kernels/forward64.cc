// The forward kernel in double.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/kernels/forward64.cc"
#include "hwy/foreach_target.h"

#include "attention/kernels/forward-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

void Forward64(const ForwardTask<double>& task) { ForwardAny(task); }

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kith::kernels {

HWY_EXPORT(Forward64);

template <>
void forward(const ForwardTask<double>& task) {
  HWY_DYNAMIC_DISPATCH(Forward64)(task);
}

template <>
std::size_t forward_scratch<double>(Index value_depth, bool narrow, Index stream_depth) {
  return static_cast<std::size_t>(ForwardScratch(value_depth, narrow, stream_depth).total());
}

}  // namespace kith::kernels
#endif
