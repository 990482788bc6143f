#include "attention/points/skip.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "attention/points/skip_tree.h"
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace kith::points {
namespace {

using kernels::kSkipLeaf;
using kernels::kSkipRounding;
using kernels::kSkipRows;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kLog2E = 1.4426950408889634, kLn2 = 0.69314718055994531;
constexpr double kSkippedBits = 24;
/// Sums below these are computed again with distances in double: see skip.h.
constexpr double kEnough = 0.1, kCompactEnough = 0.5;

/// Denormal results and operands count as zero while this lives: they would cost a hundred cycles each.
class FlushToZero {
 public:
#if defined(__SSE__)
  FlushToZero() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushToZero() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#else
  FlushToZero() = default;
#endif
 public:
  FlushToZero(const FlushToZero&) = delete;
  FlushToZero& operator=(const FlushToZero&) = delete;
};

bool is_compact(Kernel kernel) { return kernel != Kernel::gaussian && kernel != Kernel::laplace; }

/// Of u = r / h (gaussian: r^2 / (2 h^2)); `least` is the smallest u of the row, whose weight becomes 1.
double weight_at(Kernel kernel, double u, double least) {
  if (!is_compact(kernel)) return std::exp(least - u);
  if (!(u < 1)) return 0;
  switch (kernel) {
    case Kernel::epanechnikov:
      return 1 - u * u;
    case Kernel::triangular:
      return 1 - u;
    case Kernel::biweight:
      return (1 - u * u) * (1 - u * u);
    case Kernel::tricube:
      return std::pow(1 - u * u * u, 3);
    default:
      return 1;
  }
}

class Skipper {
 public:
  explicit Skipper(const Task& task) : task_(task), tree_(task) {
    const double h = task.bandwidth;
    weight_.kernel = task.kernel;
    weight_.reach = h * h;
    weight_.rate = task.kernel == Kernel::gaussian  ? kLog2E / (2 * h * h)
                   : task.kernel == Kernel::laplace ? kLog2E / h
                                                    : 1 / (h * h);
    const auto d = static_cast<double>(task.depth);
    near_ = static_cast<float>(h * h * (d + 2 * std::sqrt(2 * d)));
    skip_bits_ = kSkippedBits + std::log2(static_cast<double>(task.keys));
  }

  void tile(const std::uint32_t* rows, Index count) const;

 private:
  struct Tile;
  void pass(Tile& tile, bool exact) const;
  float beyond(double shift, double bits) const;

  const Task& task_;
  KeyTree tree_;
  kernels::SkipWeight weight_;
  float near_ = 0;
  double skip_bits_ = 0;
};

struct Skipper::Tile {
  Tile(Index count, Index depth, Index value_depth)
      : rows(count),
        columns(1 + value_depth),
        query(static_cast<std::size_t>(count * depth)),
        sums(static_cast<std::size_t>(count * columns * kSkipLeaf)) {}

  Index rows, columns;
  std::vector<float> query;
  std::vector<double> sums;
  std::uint32_t place[kSkipRows] = {};  ///< which of the task's queries
  float from[kSkipRows] = {}, to[kSkipRows] = {};
  double shift[kSkipRows] = {};
  alignas(64) float scratch[kernels::kSkipScratch];

  double total(Index row, Index column) const {
    const double* lanes = sums.data() + (row * columns + column) * kSkipLeaf;
    return std::accumulate(lanes, lanes + kSkipLeaf, 0.0);
  }
  void keep(const std::uint32_t* chosen, Index count, Index depth) {  // the rows named, ascending; sums anew
    for (Index i = 0; i < count; ++i) {
      const Index r = chosen[i];
      place[i] = place[r];
      std::copy_n(query.data() + r * depth, depth, query.data() + i * depth);
    }
    rows = count;
    std::fill(sums.begin(), sums.end(), 0);
  }
};

void Skipper::pass(Tile& tile, bool exact) const {
  kernels::SkipPass pass;
  pass.tree = &tree_.view();
  pass.weight = weight_;
  pass.rows = tile.rows;
  pass.query = tile.query.data();
  pass.from = tile.from;
  pass.to = tile.to;
  pass.exact = exact;
  pass.shift = tile.shift;
  pass.sums = tile.sums.data();
  pass.scratch = tile.scratch;
  kernels::skip_pass(pass);
}

/// The squared distance from which on weights are below 2^-bits of that at `shift`.
float Skipper::beyond(double shift, double bits) const {
  const double margin = std::max(bits, 0.0) / weight_.rate;
  const double x = weight_.kernel == Kernel::gaussian ? shift + margin : (shift + margin) * (shift + margin);
  return static_cast<float>(x * (1 + kSkipRounding));
}

void Skipper::tile(const std::uint32_t* rows, Index count) const {
  const FlushToZero flush;
  const Index depth = task_.depth, value_depth = task_.value_depth;
  Tile tile(count, depth, value_depth);
  for (Index r = 0; r < count; ++r) {
    tile.place[r] = rows[r];
    std::copy_n(task_.query[rows[r]], depth, tile.query.data() + r * depth);
  }
  const auto finish = [&](Index r) {
    const double total = tile.total(r, 0);
    const Index i = tile.place[r];
    task_.lse[i] = std::log(total) - tile.shift[r] * weight_.rate * kLn2;  // compact: the shift is 0
    for (Index c = 0; c < value_depth; ++c) {
      task_.average[i * value_depth + c] = total == 0 ? 0 : tile.total(r, 1 + c) / total;
    }
  };

  std::uint32_t again[kSkipRows];
  Index left = 0;
  std::fill_n(tile.from, count, -1.0f);
  if (is_compact(weight_.kernel)) {
    const auto reach = static_cast<float>(weight_.reach * (1 + kSkipRounding));
    std::fill_n(tile.to, count, reach);
    pass(tile, weight_.kernel == Kernel::boxcar);
    for (Index r = 0; r < count; ++r) {
      if (weight_.kernel == Kernel::boxcar || tile.total(r, 0) >= kCompactEnough) {
        finish(r);
      } else {
        again[left++] = static_cast<std::uint32_t>(r);
      }
    }
    tile.keep(again, left, depth);
    if (left > 0) pass(tile, true);
    for (Index r = 0; r < left; ++r) finish(r);
    return;
  }
  std::fill_n(tile.to, count, near_);
  pass(tile, false);
  for (Index r = 0; r < count; ++r) {
    const double total = tile.total(r, 0);
    tile.from[r] = near_;
    tile.to[r] = -1;
    if (total >= kEnough) {
      const float outermost = beyond(0, skip_bits_ + 1 - std::log2(total));
      tile.to[r] = kernels::skip_cut(tree_.view(), weight_, tile.query.data() + r * depth, outermost,
                                     total * std::exp2(-kSkippedBits - 1));
    } else {
      again[left++] = static_cast<std::uint32_t>(r);
    }
  }
  pass(tile, false);
  for (Index r = 0, next = 0; r < count; ++r) {
    if (next < left && again[next] == static_cast<std::uint32_t>(r)) {
      ++next;
    } else {
      finish(r);
    }
  }
  tile.keep(again, left, depth);
  for (Index r = 0; r < left; ++r) {
    const double x = kernels::skip_nearest(tree_.view(), tile.query.data() + r * depth);
    tile.shift[r] = weight_.kernel == Kernel::gaussian ? x : std::sqrt(x);
    tile.from[r] = -1;
    tile.to[r] = beyond(tile.shift[r], skip_bits_);
  }
  if (left > 0) pass(tile, true);
  for (Index r = 0; r < left; ++r) finish(r);
}

/// Whether squares of differences and of the bandwidth stay well inside float's range.
bool in_range(const Task& task) {
  constexpr float kLargest = 0x1p60f;
  if (task.bandwidth < 0x1p-40 || task.bandwidth > 0x1p58) return false;
  const auto fit = [&](const Rows& rows, Index count) {
    for (Index i = 0; i < count; ++i) {
      for (Index c = 0; c < task.depth; ++c) {
        if (std::abs(rows[i][c]) > kLargest) return false;
      }
    }
    return true;
  };
  return fit(task.query, task.queries) && fit(task.key, task.keys);
}

/// All pairs in double, for numbers near the ends of float's range.
void plain(const Task& task) {
  const double h = task.bandwidth;
  parallel_for(task.threads, task.queries, [&](Index i) {
    std::vector<double> u(static_cast<std::size_t>(task.keys));
    double least = kInfinity, total = 0;
    for (Index j = 0; j < task.keys; ++j) {
      double x = 0;
      for (Index c = 0; c < task.depth; ++c) {
        const double t = (static_cast<double>(task.query[i][c]) - static_cast<double>(task.key[j][c])) / h;
        x += t * t;
      }
      const double at = u[static_cast<std::size_t>(j)] =
          task.kernel == Kernel::gaussian ? x / 2 : std::sqrt(x);
      least = std::min(least, at);
    }
    if (is_compact(task.kernel)) least = 0;
    double* average = task.average + i * task.value_depth;
    std::fill_n(average, task.value_depth, 0.0);
    for (Index j = 0; j < task.keys; ++j) {
      const double w = weight_at(task.kernel, u[static_cast<std::size_t>(j)], least);
      total += w;
      if (w == 0) continue;
      for (Index c = 0; c < task.value_depth; ++c) average[c] += w * static_cast<double>(task.value[j][c]);
    }
    task.lse[i] = std::log(total) - least;
    for (Index c = 0; c < task.value_depth && total > 0; ++c) average[c] /= total;
  });
}

}  // namespace

void skip(const Task& task) {
  if (task.keys == 0) {
    std::fill_n(task.lse, task.queries, -kInfinity);
    std::fill_n(task.average, task.queries * task.value_depth, 0.0);
    return;
  }
  if (!in_range(task)) return plain(task);
  const Skipper skipper(task);
  const auto order = spatial_order(task.query, task.queries, task.depth, kSkipRows, task.threads);
  parallel_for(task.threads, (task.queries + kSkipRows - 1) / kSkipRows, [&](Index t) {
    skipper.tile(order.data() + t * kSkipRows, std::min(kSkipRows, task.queries - t * kSkipRows));
  });
}

}  // namespace kith::points
