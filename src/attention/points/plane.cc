#include "attention/points/plane.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "array/threads.h"
#include "attention/points/kernels/plane.h"
#include "attention/points/plane_boxes.h"
#include "attention/points/plane_far.h"
#include "hwy/aligned_allocator.h"

namespace kith::points {
namespace {

using Numbers = hwy::AlignedFreeUniquePtr<double[]>;
Numbers allocate(Index count) { return hwy::AllocateAligned<double>(static_cast<std::size_t>(count)); }

/// Columns of boxes that a task goes through side by side: what they read of the moments stays in cache.
constexpr Index kStrip = 4;
constexpr Index kWindow = 2 * kReach + 1;
/// Rows of boxes a task where several threads share the work; a task computes kWindow - 1 rows of half
/// translated boxes more than it is long.
constexpr Index kBandRows = 64;
constexpr Index kBoxesATask = 16;
constexpr double kSmallMemory = 64e6;  // bytes of moments that need no justification
constexpr double kFewestKeys = 8;      // keys a box, on average, that justify any memory
constexpr Index kPrefetch = 24;        // points ahead: about the latency of memory

/// Points of a box in its own coordinates.
struct Block {
  Index columns;
  Numbers x = allocate(kPlaneBlock), y = allocate(kPlaneBlock);
  explicit Block(Index value_columns) : columns(value_columns) {}

  template <class Each>
  void load(const PlaneGrid& grid, const PlaneBox& box, Rows rows, const std::uint32_t* order, Index count,
            Each&& each) {
    const double center_x = static_cast<double>(box.x) + 0.5, center_y = static_cast<double>(box.y) + 0.5;
    for (Index j = 0; j < count; ++j) {
      const Index row = order[j];
      x[static_cast<std::size_t>(j)] = 2 * (grid.along_x(rows[row]) - center_x);
      y[static_cast<std::size_t>(j)] = 2 * (grid.along_y(rows[row]) - center_y);
      each(j, row);
    }
    std::fill(x.get() + count, x.get() + kPlaneBlock, 0.0);
    std::fill(y.get() + count, y.get() + kPlaneBlock, 0.0);
  }
};

/// The bound of plane.h along x, in one half-translated box.
struct HalfBound {
  double error = 0, largest = 0, keys = 0;
};

struct Run {
  const Task& t;
  PlaneGrid grid;
  PlaneBoxes keys, queries;
  Index columns = t.value_depth + 1, stride = plane_stride(columns), size = kTerms * stride;
  Numbers moments;               // [key boxes][kTerms][stride]
  std::vector<PlaneLine> lines;  // of boxes with keys

  Run(const Task& task, const PlaneGrid& g, PlaneBoxes sorted_keys)
      : t(task), grid(g), keys(std::move(sorted_keys)) {
    queries = sort_into_boxes(grid, t.query, t.queries, kReach, kStrip, t.threads);
    const auto count = static_cast<Index>(keys.boxes.size());
    moments = allocate(count * size);
    lines = lines_of(keys);
  }

  void make_moments() {
    const auto count = static_cast<Index>(keys.boxes.size());
    parallel_for(t.threads, (count + kBoxesATask - 1) / kBoxesATask, [&](Index task) {
      Block block(columns);
      const Index sums_size = columns * kTerms * kTerms * kPlaneLanes;
      const Numbers value = allocate(columns * kPlaneBlock), sums = allocate(sums_size),
                    scratch = allocate((kTerms + 1) * kPlaneBlock);
      PlaneKeys part{block.x.get(), block.y.get(), value.get(), 0, columns, scratch.get(), sums.get()};
      for (Index b = task * kBoxesATask; b < std::min(count, (task + 1) * kBoxesATask); ++b) {
        const PlaneBox& box = keys.boxes[static_cast<std::size_t>(b)];
        std::fill_n(sums.get(), sums_size, 0.0);
        for (Index first = box.begin; first < box.end; first += kPlaneBlock) {
          part.count = std::min(kPlaneBlock, box.end - first);
          const std::uint32_t* order = keys.order.data() + first;
          // The order goes on in the next box, so what is ahead there is fetched too.
          const Index ahead = std::min(kPrefetch, t.keys - first - part.count);
          std::fill_n(value.get(), part.count, 1.0);
          std::fill(value.get() + part.count, value.get() + columns * kPlaneBlock, 0.0);
          block.load(grid, box, t.key, order, part.count, [&](Index j, Index row) {
            if (j + kPrefetch < part.count + ahead) {
              __builtin_prefetch(t.key[order[j + kPrefetch]]);
              __builtin_prefetch(t.value[order[j + kPrefetch]]);
            }
            for (Index c = 1; c < columns; ++c) {
              value[static_cast<std::size_t>(c * kPlaneBlock + j)] = static_cast<double>(t.value[row][c - 1]);
            }
          });
          plane_add_moments(part);
        }
        plane_reduce_moments(sums.get(), columns, moments.get() + b * size);
      }
    });
  }

  /// The half-translated boxes around the targets of a task: a ring of kWindow rows by kStrip columns.
  struct Window {
    Numbers half;            // [kWindow][kStrip][kTerms][stride]
    std::vector<Index> row;  // which row of boxes a place holds
    std::vector<HalfBound> bound;
  };

  Index place(Index column, Index y) const {
    return (y + kReach) % kWindow * kStrip + (column + kReach) % kStrip;
  }

  // Translates the boxes of one line along x to one column.
  void translate_x(const PlaneLine& line, Index column, Index at, double* scratch, Window& window) const {
    const double* source[kWindow];
    const double* matrix[kWindow];
    Index count = 0;
    HalfBound bound;
    const auto begin = keys.boxes.begin() + line.begin, end = keys.boxes.begin() + line.end;
    auto box =
        std::lower_bound(begin, end, column - kReach, [](const PlaneBox& b, Index x) { return b.x < x; });
    for (; box != end && box->x <= column + kReach; ++box) {
      const PlaneOffset& offset = plane_offset(static_cast<int>(column - box->x));
      const auto n = static_cast<double>(box->end - box->begin);
      source[count] = moments.get() + (box - keys.boxes.begin()) * size;
      matrix[count++] = offset.matrix[0];
      bound.error += n * offset.error;
      bound.largest += n * offset.largest;
      bound.keys += n;
    }
    const auto slot = static_cast<std::size_t>(at);
    window.row[slot] = line.y;
    window.bound[slot] = bound;
    if (count == 0) return;
    plane_translate(source, matrix, count, stride, scratch);
    // [power of xi_x][column][power of eta_y] -> [power of eta_y][column][power of xi_x]
    double* half = window.half.get() + at * size;
    for (Index a = 0; a < kTerms; ++a) {
      for (Index c = 0; c < columns; ++c) {
        for (Index b = 0; b < kTerms; ++b)
          half[a * stride + c * kTerms + b] = scratch[b * stride + c * kTerms + a];
      }
      std::fill(half + a * stride + columns * kTerms, half + (a + 1) * stride, 0.0);
    }
  }

  // The local series of a box and the bound of its error.
  double translate_y(const PlaneBox& target, double* local, Window& window) const {
    const double* source[kWindow];
    const double* matrix[kWindow];
    Index count = 0;
    double bound = 0, within = 0;
    auto line = std::lower_bound(lines.begin(), lines.end(), target.y - kReach,
                                 [](const PlaneLine& l, Index y) { return l.y < y; });
    for (; line != lines.end() && line->y <= target.y + kReach; ++line) {
      const Index at = place(target.x, line->y);
      const auto slot = static_cast<std::size_t>(at);
      if (window.row[slot] != line->y) translate_x(*line, target.x, at, local, window);
      const HalfBound& half = window.bound[slot];
      if (half.keys == 0) continue;
      const PlaneOffset& offset = plane_offset(static_cast<int>(target.y - line->y));
      source[count] = window.half.get() + at * size;
      matrix[count++] = offset.matrix[0];
      bound += half.error * (offset.largest + offset.error) + half.largest * offset.error;
      within += half.keys;
    }
    if (count > 0) plane_translate(source, matrix, count, stride, local);
    constexpr double kEdge = kReach * kBoxWidth;
    // A box without any key in reach answers nothing.
    if (count == 0) return std::numeric_limits<double>::infinity();
    return bound + (static_cast<double>(t.keys) - within) * std::exp(-kEdge * kEdge / 2);
  }

  /// Boxes [begin, end) of the queries: one strip, or a band of it.
  struct Part {
    Index begin, end;
  };
  std::vector<Part> parts() const {
    std::vector<Part> result;
    const auto count = static_cast<Index>(queries.boxes.size());
    Index strip = -1, last_row = 0;
    for (Index i = 0; i < count; ++i) {
      const PlaneBox& box = queries.boxes[static_cast<std::size_t>(i)];
      const Index own = (box.x + kReach) / kStrip;
      if (own != strip || (t.threads > 1 && box.y > last_row)) {
        strip = own;
        last_row = box.y + kBandRows - 1;
        result.push_back({i, i});
      }
      result.back().end = i + 1;
    }
    return result;
  }

  void answer(const Part& part, std::vector<Index>& far) const {
    Window window{allocate(kWindow * kStrip * size),
                  std::vector<Index>(static_cast<std::size_t>(kWindow * kStrip), Index{-1}),
                  std::vector<HalfBound>(static_cast<std::size_t>(kWindow * kStrip))};
    Block block(columns);
    const Numbers local = allocate(size), out = allocate(columns * kPlaneBlock), lse = allocate(kPlaneBlock);
    PlaneQueries some{block.x.get(), block.y.get(), 0, columns, local.get(), out.get(), lse.get()};
    for (Index b = part.begin; b < part.end; ++b) {
      const PlaneBox& box = queries.boxes[static_cast<std::size_t>(b)];
      const double needed = translate_y(box, local.get(), window) / kPlaneTolerance;
      for (Index first = box.begin; first < box.end; first += kPlaneBlock) {
        some.count = std::min(kPlaneBlock, box.end - first);
        const std::uint32_t* order = queries.order.data() + first;
        if (std::isinf(needed)) {
          far.insert(far.end(), order, order + some.count);
          continue;
        }
        const Index ahead = std::min(kPrefetch, t.queries - first - some.count);
        block.load(grid, box, t.query, order, some.count, [&](Index j, Index row) {
          if (j + kPrefetch < some.count + ahead) __builtin_prefetch(t.query[order[j + kPrefetch]]);
          __builtin_prefetch(t.lse + row, 1);
          __builtin_prefetch(t.average + row * t.value_depth, 1);
        });
        plane_evaluate(some);
        for (Index j = 0; j < some.count; ++j) write(order[j], j, needed, out.get(), lse.get(), far);
      }
    }
  }

  void write(Index row, Index j, double needed, const double* out, const double* lse,
             std::vector<Index>& far) const {
    if (!(out[j] >= needed)) {
      far.push_back(row);
      return;
    }
    t.lse[row] = lse[j];
    for (Index c = 1; c < columns; ++c) t.average[row * t.value_depth + c - 1] = out[c * kPlaneBlock + j];
  }

  std::vector<Index> run() {
    make_moments();
    const std::vector<Part> all = parts();
    std::vector<std::vector<Index>> far(all.size() + 1);
    far.back().assign(queries.order.begin() + queries.outside, queries.order.end());
    parallel_for(t.threads, static_cast<Index>(all.size()), [&](Index i) {
      answer(all[static_cast<std::size_t>(i)], far[static_cast<std::size_t>(i)]);
    });
    std::vector<Index> result;
    for (const std::vector<Index>& some : far) result.insert(result.end(), some.begin(), some.end());
    sum_far(t, grid, keys, lines, result);
    std::sort(result.begin(), result.end());
    return result;
  }
};

bool sizes_fit(const Task& t) {
  constexpr Index kMost = Index{1} << 31;
  return t.kernel == Kernel::gaussian && t.depth == 2 && t.value_depth >= 0 &&
         t.value_depth <= kPlaneMostValues && t.keys < kMost && t.queries < kMost;
}

double moment_bytes(const Task& t, double boxes) {
  return boxes * static_cast<double>(kTerms * plane_stride(t.value_depth + 1)) * sizeof(double);
}

bool memory_fits(const Task& t, double boxes) {
  return moment_bytes(t, boxes) <= kSmallMemory || static_cast<double>(t.keys) >= kFewestKeys * boxes;
}

PlaneCost cost_on(const Task& t, const PlaneGrid& grid) {
  PlaneCost cost;
  if (!grid.countable) return cost;
  const Index columns = t.value_depth + 1, size = kTerms * plane_stride(columns);
  const auto n = static_cast<double>(t.keys), m = static_cast<double>(t.queries),
             width = static_cast<double>(columns);
  cost.boxes = estimate_boxes(grid, t.key, t.keys, t.threads);
  const double moments = moment_bytes(t, cost.boxes);
  cost.bytes = moments + 8 * (n + m) + static_cast<double>(t.threads * kWindow * kStrip * size) * 8;
  cost.possible = memory_fits(t, cost.boxes);
  // Fitted to 10^5 and 10^6 points, 1 and 8 value columns.
  const double targets = std::min(m, cost.boxes);
  cost.seconds = (n + m) * (26e-9 + 8e-9 * width) + (targets * 4.6e-6 + cost.boxes * 0.5e-6) * width;
  return cost;
}

PlaneGrid grid_of(const Task& t) { return lay_grid(t.key, t.keys, kBoxWidth * t.bandwidth, t.threads); }

}  // namespace

PlaneCost plane_cost(const Task& task) {
  return sizes_fit(task) ? cost_on(task, grid_of(task)) : PlaneCost{};
}

std::vector<Index> plane(const Task& task) {
  if (task.queries == 0) return {};
  if (sizes_fit(task)) {
    const PlaneGrid grid = grid_of(task);
    if (task.keys == 0) {
      std::fill_n(task.lse, task.queries, -std::numeric_limits<double>::infinity());
      std::fill_n(task.average, task.queries * task.value_depth, 0.0);
      return {};
    }
    if (grid.countable) {
      PlaneBoxes keys = sort_into_boxes(grid, task.key, task.keys, 0, grid.nx, task.threads);
      if (memory_fits(task, static_cast<double>(keys.boxes.size()))) {
        return Run(task, grid, std::move(keys)).run();
      }
    }
  }
  std::vector<Index> every(static_cast<std::size_t>(task.queries));
  std::iota(every.begin(), every.end(), Index{0});
  return every;
}

}  // namespace kith::points
