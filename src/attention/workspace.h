// One block of memory a call divides among its parts.
#pragma once

#include <cstddef>

#include "attention/mask_plan.h"
#include "kith/attention.h"

namespace kith {

struct Workspace::Impl {
  Array<std::byte, 1> memory;
  MaskPlan plan;               ///< of the call at work; kept for its memory
  Array<float, 1> cache_rows;  ///< a cache's keys and values, gathered from its pages
};

/// Hands out 64-byte aligned pieces of a workspace. Run the same `take` calls twice: once on a measuring
/// divider, which counts, then on one over memory of that size.
class Divider {
 public:
  Divider() = default;  ///< measures
  explicit Divider(std::byte* memory) : memory_(memory) {}

  template <class T>
  T* take(Index count) {
    const std::size_t at = used_;
    used_ += (static_cast<std::size_t>(count) * sizeof(T) + 63) / 64 * 64;
    return memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + at);
  }
  std::size_t used() const { return used_; }

 private:
  std::byte* memory_ = nullptr;
  std::size_t used_ = 0;
};

/// Lets `divide(Divider&)` lay out its parts in the workspace, which grows if it must.
template <class F>
void divide_workspace(Workspace& workspace, F&& divide) {
  Divider measure;
  divide(measure);
  auto& memory = workspace.impl().memory;
  if (static_cast<std::size_t>(memory.size()) < measure.used()) {
    memory = Array<std::byte, 1>();
    memory = Array<std::byte, 1>({static_cast<Index>(measure.used())});
  }
  Divider hand_out(memory.data());
  divide(hand_out);
}

}  // namespace kith
