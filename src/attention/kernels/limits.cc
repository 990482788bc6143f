#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention/kernels/limits.cc"
#include "hwy/foreach_target.h"

#include "attention/kernels/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kith::kernels {
namespace HWY_NAMESPACE {

// `rounds` x 12 FMAs on independent chains; the sum keeps the compiler from dropping them.
float FmaLoop(Index rounds) {
  const Tag<float> d;
  constexpr Index kChains = 12;
  Vec<float> acc[kChains];
  HWY_UNROLL(12)
  for (Index i = 0; i < kChains; ++i) acc[i] = hn::Set(d, static_cast<float>(i));
  const Vec<float> a = hn::Set(d, 0.999f), b = hn::Set(d, 0.001f);
  for (Index n = 0; n < rounds; ++n) {
    HWY_UNROLL(12)
    for (Index i = 0; i < kChains; ++i) acc[i] = hn::MulAdd(acc[i], a, b);
  }
  Vec<float> sum = acc[0];
  for (Index i = 1; i < kChains; ++i) sum = hn::Add(sum, acc[i]);
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

float ReadLoop(const float* data, Index count) {
  const Tag<float> d;
  Vec<float> sum[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  for (Index i = 0; i + 4 * kLanes<float> <= count; i += 4 * kLanes<float>) {
    for (Index v = 0; v < 4; ++v) sum[v] = hn::Add(sum[v], hn::Load(d, data + i + v * kLanes<float>));
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum[0], sum[1]), hn::Add(sum[2], sum[3]))));
}

}  // namespace HWY_NAMESPACE
}  // namespace kith::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "attention/kernels/limits.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "array/threads.h"

namespace kith::kernels {

HWY_EXPORT(FmaLoop);
HWY_EXPORT(ReadLoop);

namespace {

using Clock = std::chrono::steady_clock;

// The best rate of work(thread) -> units done, over slices until the time is spent.
template <class Work>
double best_rate(int threads, double seconds, Work&& work) {
  double best = 0;
  const auto start = Clock::now();
  do {
    std::atomic<double> units{0};
    const auto begin = Clock::now();
    parallel_for(threads, threads, [&](Index thread) { units.fetch_add(work(thread)); });
    best = std::max(best, units.load() / std::chrono::duration<double>(Clock::now() - begin).count());
  } while (std::chrono::duration<double>(Clock::now() - start).count() < seconds);
  return best;
}

volatile float kept_result;

}  // namespace

double measure_fma_gflops(int threads, double seconds) {
  constexpr Index kRounds = 200000;
  const double flops = 2.0 * 12 * static_cast<double>(vector_lanes<float>()) * kRounds;
  return best_rate(threads, seconds,
                   [&](Index) {
                     kept_result = HWY_DYNAMIC_DISPATCH(FmaLoop)(kRounds);
                     return flops;
                   }) *
         1e-9;
}

double measure_read_gb_s(int threads, double seconds) {
  constexpr Index kFloats = Index{64} << 20;
  Array<float, 2> memory({threads, kFloats});
  std::fill(memory.begin(), memory.end(), 1.0f);
  return best_rate(threads, seconds,
                   [&](Index thread) {
                     kept_result = HWY_DYNAMIC_DISPATCH(ReadLoop)(&memory(thread, 0), kFloats);
                     return 4.0 * kFloats;
                   }) *
         1e-9;
}

}  // namespace kith::kernels
#endif
