// Sums of rows.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/kernels/rows.cc"
#include "hwy/foreach_target.h"

#include "layers/kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kith::layers {
namespace HWY_NAMESPACE {

void AddNumbers(const float* from, Index count, float* to) {
  ForLanes(count, [&](auto lanes, Index c) {
    lanes.Store(hn::Add(lanes.Load(to + c), lanes.Load(from + c)), to + c);
  });
}

void AddToRows(const float* row, View<float, 2> y) {
  for (Index i = 0; i < y.shape[0]; ++i) AddNumbers(row, y.shape[1], y.data + i * y.stride[0]);
}

void AddColumnSums(View<const float, 2> y, float* to) {
  for (Index i = 0; i < y.shape[0]; ++i) AddNumbers(y.data + i * y.stride[0], y.shape[1], to);
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::layers
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "layers/kernels/kernels.h"

namespace kith::layers {

HWY_EXPORT(AddNumbers);
HWY_EXPORT(AddToRows);
HWY_EXPORT(AddColumnSums);
void add_numbers(const float* from, Index count, float* to) {
  HWY_DYNAMIC_DISPATCH(AddNumbers)(from, count, to);
}
void add_to_rows(const float* row, View<float, 2> y) { HWY_DYNAMIC_DISPATCH(AddToRows)(row, y); }
void add_column_sums(View<const float, 2> y, float* to) { HWY_DYNAMIC_DISPATCH(AddColumnSums)(y, to); }

}  // namespace kith::layers
#endif
