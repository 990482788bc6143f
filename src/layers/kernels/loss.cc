// Losses of a row.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layers/kernels/loss.cc"
#include "hwy/foreach_target.h"

#include "hwy/contrib/math/math-inl.h"
#include "layers/kernels/lanes-inl.h"

#include <algorithm>
#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace kith::layers {
namespace HWY_NAMESPACE {

double CrossEntropyRow(const float* logits, Index classes, Index label, float scale, float* d_logits) {
  const Floats d;
  float top = logits[0];
  for (Index c = 1; c < classes; ++c) top = std::max(top, logits[c]);
  const V most = hn::Set(d, top);
  // d_logits may be where the logits are: the label's is read before anything is written.
  const double apart = static_cast<double>(top) - static_cast<double>(logits[label]);
  V sums = hn::Zero(d);
  Index c = 0;
  const auto exponential = [&](V x) { return hn::Exp(d, hn::Sub(x, most)); };
  for (; c + kLanes <= classes; c += kLanes) {
    const V e = exponential(hn::LoadU(d, logits + c));
    if (d_logits != nullptr) hn::StoreU(e, d, d_logits + c);
    sums = hn::Add(sums, e);
  }
  double sum = static_cast<double>(Sum(sums));
  if (c < classes) {
    HWY_ALIGN float lane[kLanes];
    hn::Store(exponential(Part{classes - c}.Load(logits + c)), d, lane);
    for (Index k = 0; c + k < classes; ++k) {
      sum += static_cast<double>(lane[k]);
      if (d_logits != nullptr) d_logits[c + k] = lane[k];
    }
  }
  if (d_logits != nullptr) {
    const V by = hn::Set(d, static_cast<float>(static_cast<double>(scale) / sum));
    ForLanes(classes,
             [&](auto lanes, Index k) { lanes.Store(hn::Mul(lanes.Load(d_logits + k), by), d_logits + k); });
    d_logits[label] -= scale;
  }
  return std::log(sum) + apart;
}

double SquaredErrorRow(const float* a, const float* b, Index count, float scale, float* d) {
  double sum = 0;
  for (Index c = 0; c < count; ++c) {
    const float apart = a[c] - b[c];
    sum += static_cast<double>(apart) * static_cast<double>(apart);
    if (d != nullptr) d[c] = scale * apart;
  }
  return sum;
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::layers
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "layers/kernels/kernels.h"

namespace kith::layers {

HWY_EXPORT(CrossEntropyRow);
HWY_EXPORT(SquaredErrorRow);
double cross_entropy_row(const float* logits, Index classes, Index label, float scale, float* d_logits) {
  return HWY_DYNAMIC_DISPATCH(CrossEntropyRow)(logits, classes, label, scale, d_logits);
}
double squared_error_row(const float* a, const float* b, Index count, float scale, float* d) {
  return HWY_DYNAMIC_DISPATCH(SquaredErrorRow)(a, b, count, scale, d);
}

}  // namespace kith::layers
#endif
