// The backward kernel in float.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/kernels/backward32.cc"
#include "hwy/foreach_target.h"

#include "attention/kernels/backward-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

void Backward32(const BackwardTask<float>& task) { BackwardAny(task); }
void Weigh32(const BackwardTask<float>& task, float* weights, Index stride) {
  WeighAny(task, weights, stride);
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kith::kernels {

HWY_EXPORT(Backward32);
HWY_EXPORT(Weigh32);

template <>
void backward(const BackwardTask<float>& task) {
  HWY_DYNAMIC_DISPATCH(Backward32)(task);
}

template <>
void weigh(const BackwardTask<float>& task, float* weights, Index stride) {
  HWY_DYNAMIC_DISPATCH(Weigh32)(task, weights, stride);
}

template <>
std::size_t backward_scratch<float>() {
  return static_cast<std::size_t>(BackwardScratch::kTotal);
}

}  // namespace kith::kernels
#endif
