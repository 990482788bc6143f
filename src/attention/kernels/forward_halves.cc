// The forward kernel for bfloat16 where the CPU multiplies it: twice the products an instruction, each exact
// in float. With rounded weights the values' products too.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/kernels/forward_halves.cc"
#include "hwy/foreach_target.h"

#include "attention/kernels/forward-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

void ForwardHalves([[maybe_unused]] const ForwardTask<float>& task) {
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
  if (task.terms == nullptr) return ForwardPair<float, Pair::dot_halves, false>(task);
  ForwardPair<float, Pair::dot_halves, true>(task);
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <atomic>

namespace kith::kernels {

HWY_EXPORT(ForwardHalves);

void forward_halves(const ForwardTask<float>& task) { HWY_DYNAMIC_DISPATCH(ForwardHalves)(task); }

namespace {
std::atomic<bool> switched_on{true};
}

bool can_multiply_bfloat16() {
#if HWY_ARCH_X86
  static const bool can = __builtin_cpu_supports("avx512bf16") != 0;
  return can;
#else
  return false;
#endif
}
void switch_bfloat16(bool on) { switched_on.store(on, std::memory_order_relaxed); }
bool multiplies_bfloat16() {
  return can_multiply_bfloat16() && switched_on.load(std::memory_order_relaxed) &&
         (hwy::SupportedTargets() & (HWY_AVX3 | HWY_AVX3_DL)) != 0;
}

}  // namespace kith::kernels
#endif
