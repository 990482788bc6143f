// Memory that is used again from call to call.
#pragma once

#include <utility>
#include <vector>

#include "kith/view.h"

namespace kith::layers {

/// Floats of the calling thread, with anything in them, aligned for any vector. Memory up to 4 Mi floats is
/// kept for the thread's next calls: fresh memory's page faults would cost more than many a layer. Whoever
/// needs some while others are in use gets the next piece, so nested calls find again what they had.
class Scratch {
 public:
  explicit Scratch(Index floats) {
    if (!kept().empty()) {
      memory_ = std::move(kept().back());
      kept().pop_back();
    }
    if (memory_.size() < floats) memory_ = Array<float, 2>({1, floats});
  }
  ~Scratch() {
    if (memory_.size() <= kMostFloats && kept().size() < kMostPieces) kept().push_back(std::move(memory_));
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  float* data() { return memory_.data(); }

 private:
  static constexpr Index kMostFloats = Index{4} << 20;
  static constexpr std::size_t kMostPieces = 4;
  static std::vector<Array<float, 2>>& kept() {
    static thread_local std::vector<Array<float, 2>> pieces = [] {
      std::vector<Array<float, 2>> none;
      none.reserve(kMostPieces);  // so that no destructor allocates
      return none;
    }();
    return pieces;
  }

  Array<float, 2> memory_;
};

}  // namespace kith::layers
