// The backward kernel in double.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/kernels/backward64.cc"
#include "hwy/foreach_target.h"

#include "attention/kernels/backward-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

void Backward64(const BackwardTask<double>& task) { BackwardAny(task); }
void Weigh64(const BackwardTask<double>& task, double* weights, Index stride) {
  WeighAny(task, weights, stride);
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kith::kernels {

HWY_EXPORT(Backward64);
HWY_EXPORT(Weigh64);

template <>
void backward(const BackwardTask<double>& task) {
  HWY_DYNAMIC_DISPATCH(Backward64)(task);
}

template <>
void weigh(const BackwardTask<double>& task, double* weights, Index stride) {
  HWY_DYNAMIC_DISPATCH(Weigh64)(task, weights, stride);
}

template <>
std::size_t backward_scratch<double>() {
  return static_cast<std::size_t>(BackwardScratch::kTotal);
}

}  // namespace kith::kernels
#endif
