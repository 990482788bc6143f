// Kernel regression in one dimension in O((n + m) log n): sorted keys, sorted queries, and sums over runs of
// keys in place of sums over pairs.
#pragma once

#include <cstdint>
#include <memory>

#include "attention/points/points.h"

namespace kith::points {

/// What `Line` can hold: positions in the sorted order are numbers of 32 bits.
constexpr Index kMaxLineRows = Index{1} << 31;

/// Sums on a line. Keeps its memory from call to call: about 40 bytes a key and a query, and what the kernel
/// adds (the method's header says).
class Line {
 public:
  Line();
  ~Line();
  Line(Line&&) noexcept;
  Line& operator=(Line&&) noexcept;

  /// depth 1; up to kMaxLineRows keys and queries.
  void sum(const Task& task);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kith::points
