// The forward kernel for few columns and short values, and its rows far from all keys.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/kernels/narrow32.cc"
#include "hwy/foreach_target.h"

#include "attention/kernels/far-inl.h"
#include "attention/kernels/narrow-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

void ForwardNarrow(const ForwardTask<float>& task) { NarrowPass(task).run(); }
void SumFarRows(const ForwardTask<float>& task, double factor, const Index* rows, Index count,
                FarRow* results) {
  FarRows(task, factor, rows, count, results);
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kith::kernels {

HWY_EXPORT(ForwardNarrow);
HWY_EXPORT(SumFarRows);

void forward_narrow(const ForwardTask<float>& task) { HWY_DYNAMIC_DISPATCH(ForwardNarrow)(task); }
void sum_far_rows(const ForwardTask<float>& task, double factor, const Index* rows, Index count,
                  FarRow* results) {
  HWY_DYNAMIC_DISPATCH(SumFarRows)(task, factor, rows, count, results);
}

}  // namespace kith::kernels
#endif
