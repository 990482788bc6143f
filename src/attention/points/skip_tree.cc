#include "attention/points/skip_tree.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace kith::points {
namespace {

using kernels::kSkipFanout;
using kernels::kSkipLeaf;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <int D>
struct Point {
  float x[D];
  std::uint32_t row;
};

template <int D>
int widest(const Point<D>* points, Index count) {
  float low[D], high[D];
  for (int c = 0; c < D; ++c) low[c] = high[c] = points[0].x[c];
  for (Index i = 1; i < count; ++i) {
    for (int c = 0; c < D; ++c) {
      low[c] = std::min(low[c], points[i].x[c]);
      high[c] = std::max(high[c], points[i].x[c]);
    }
  }
  int best = 0;
  for (int c = 1; c < D; ++c) {
    if (high[c] - low[c] > high[best] - low[best]) best = c;
  }
  return best;
}

/// Where a range of more than one leaf is cut: after the largest power of two of leaves that leaves a rest.
Index cut(Index count, Index leaf) {
  const auto leaves = static_cast<std::uint64_t>((count + leaf - 1) / leaf);
  return static_cast<Index>(std::bit_floor(leaves - 1)) * leaf;
}

template <int D>
void halve(Point<D>* points, Index count, Index leaf) {
  const int c = widest(points, count);
  std::nth_element(points, points + cut(count, leaf), points + count,
                   [c](const Point<D>& a, const Point<D>& b) { return a.x[c] < b.x[c]; });
}

template <int D>
void sort_cells(Point<D>* points, Index count, Index leaf) {
  while (count > leaf) {
    halve(points, count, leaf);
    const Index left = cut(count, leaf);
    sort_cells(points, left, leaf);
    points += left;
    count -= left;
  }
}

template <int D>
std::vector<std::uint32_t> order(const Rows& rows, Index count, Index depth, Index leaf, int threads) {
  std::vector<Point<D>> points(static_cast<std::size_t>(count));
  for (Index i = 0; i < count; ++i) {
    auto& point = points[static_cast<std::size_t>(i)];
    for (int c = 0; c < D; ++c) point.x[c] = c < depth ? rows[i][c] : 0;
    point.row = static_cast<std::uint32_t>(i);
  }
  struct Range {
    Index begin, end;
  };
  std::vector<Range> ranges{{0, count}}, halves;
  constexpr Index kWorthATask = 16384;
  while (threads > 1 && static_cast<int>(ranges.size()) < 4 * threads &&
         ranges[0].end - ranges[0].begin > kWorthATask) {
    halves.assign(2 * ranges.size(), {0, 0});
    parallel_for(threads, static_cast<Index>(ranges.size()), [&](Index i) {
      const Range range = ranges[static_cast<std::size_t>(i)];
      Index middle = range.end;
      if (range.end - range.begin > leaf) {
        halve(points.data() + range.begin, range.end - range.begin, leaf);
        middle = range.begin + cut(range.end - range.begin, leaf);
      }
      halves[static_cast<std::size_t>(2 * i)] = {range.begin, middle};
      halves[static_cast<std::size_t>(2 * i + 1)] = {middle, range.end};
    });
    std::swap(ranges, halves);
  }
  parallel_for(threads, static_cast<Index>(ranges.size()), [&](Index i) {
    const Range range = ranges[static_cast<std::size_t>(i)];
    sort_cells(points.data() + range.begin, range.end - range.begin, leaf);
  });
  std::vector<std::uint32_t> result(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = points[i].row;
  return result;
}

}  // namespace

std::vector<std::uint32_t> spatial_order(const Rows& rows, Index count, Index depth, Index leaf,
                                         int threads) {
  if (depth <= 1) return order<1>(rows, count, depth, leaf, threads);
  if (depth == 2) return order<2>(rows, count, depth, leaf, threads);
  if (depth == 3) return order<3>(rows, count, depth, leaf, threads);
  if (depth <= 5) return order<5>(rows, count, depth, leaf, threads);
  if (depth <= 8) return order<8>(rows, count, depth, leaf, threads);
  return order<16>(rows, count, depth, leaf, threads);
}

KeyTree::KeyTree(const Task& task) {
  const Index depth = task.depth, stride = depth + task.value_depth;
  const Index leaves = (task.keys + kSkipLeaf - 1) / kSkipLeaf;
  const auto row = spatial_order(task.key, task.keys, depth, kSkipLeaf, task.threads);
  leaves_ = Array<float, 1>({(leaves + 1) * stride * kSkipLeaf});
  // Level 0, then up until one group is left; two levels at least.
  Index nodes = leaves;
  do {
    const Index groups = (nodes + kSkipFanout - 1) / kSkipFanout;
    boxes_.push_back(Array<float, 1>({groups * depth * 2 * kSkipFanout}));
    float* box = boxes_.back().data();
    for (Index i = 0; i < groups * depth * 2; ++i) {
      std::fill_n(box + i * kSkipFanout, kSkipFanout, i % 2 == 0 ? kInfinity : -kInfinity);
    }
    nodes = groups;
  } while (nodes > 1 || boxes_.size() < 2);

  constexpr Index kTaskLeaves = 1024;
  float* boxes = boxes_[0].data();
  parallel_for(task.threads, (leaves + kTaskLeaves - 1) / kTaskLeaves, [&](Index part) {
    for (Index leaf = part * kTaskLeaves; leaf < std::min(leaves, (part + 1) * kTaskLeaves); ++leaf) {
      float* to = leaves_.data() + leaf * stride * kSkipLeaf;
      float* box = boxes + leaf / kSkipFanout * depth * 2 * kSkipFanout + leaf % kSkipFanout;
      for (Index j = 0; j < kSkipLeaf; ++j) {
        const Index at = leaf * kSkipLeaf + j;
        if (at >= task.keys) {
          for (Index c = 0; c < depth; ++c) to[c * kSkipLeaf + j] = kInfinity;
          continue;
        }
        const auto i = static_cast<Index>(row[static_cast<std::size_t>(at)]);
        for (Index c = 0; c < depth; ++c) {
          const float x = task.key[i][c];
          to[c * kSkipLeaf + j] = x;
          float &low = box[2 * c * kSkipFanout], &high = box[(2 * c + 1) * kSkipFanout];
          low = std::min(low, x);
          high = std::max(high, x);
        }
        for (Index c = 0; c < task.value_depth; ++c) to[(depth + c) * kSkipLeaf + j] = task.value[i][c];
      }
    }
  });
  std::fill_n(leaves_.data() + leaves * stride * kSkipLeaf, depth * kSkipLeaf, kInfinity);
  for (std::size_t level = 1; level < boxes_.size(); ++level) {
    const Index width = depth * 2 * kSkipFanout;
    const Index children = boxes_[level - 1].size() / width;
    for (Index node = 0; node < children; ++node) {
      const float* from = boxes_[level - 1].data() + node * width;
      float* to = boxes_[level].data() + node / kSkipFanout * width + node % kSkipFanout;
      for (Index c = 0; c < depth; ++c) {
        const float *low = from + 2 * c * kSkipFanout, *high = low + kSkipFanout;
        to[2 * c * kSkipFanout] = *std::min_element(low, low + kSkipFanout);
        to[(2 * c + 1) * kSkipFanout] = *std::max_element(high, high + kSkipFanout);
      }
    }
  }
  view_ = {.depth = depth,
           .value_depth = task.value_depth,
           .groups = (leaves + kSkipFanout - 1) / kSkipFanout,
           .count = leaves,
           .leaves = leaves_.data(),
           .levels = static_cast<int>(boxes_.size())};
  for (std::size_t level = 0; level < boxes_.size(); ++level) view_.boxes[level] = boxes_[level].data();
}

}  // namespace kith::points
