#include "attention/points/space_far.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "array/threads.h"

namespace kith::points {
namespace {

constexpr Index kRowsATask = 64;
constexpr double kLeftOut = 1e-8;

double square(double x) { return x * x; }

class FarSum {
 public:
  FarSum(const Task& task, const SpaceGrid& grid, const SpaceSorted& keys)
      : t_(task), grid_(grid), keys_(keys), sums_(static_cast<std::size_t>(task.value_depth)) {
    std::fill_n(place_.get(), 3 * kSpaceFarBlock, 0.0);
  }

  /// False: costs too much, nothing is written.
  bool operator()(Index row) {
    for (int axis = 0; axis < 3; ++axis) {
      query_[static_cast<std::size_t>(axis)] = grid_.along(axis, t_.query[row]);
    }
    for (const Index reach : {kSpaceFarReach, kSpaceFarReach * 3 / 2}) {
      if (!collect(reach) || !find_nearest()) return false;
      if (beyond(reach) <= kLeftOut / 2) return cut(beyond(reach)) && sum(row);
    }
    return false;
  }

 private:
  struct Near {
    double distance;  // squared, in cells
    const CellRun* block;
  };

  // Blocks within reach, by distance.
  bool collect(Index reach) {
    std::array<Index, 3> middle{};
    for (std::size_t axis = 0; axis < 3; ++axis) {
      const double block = std::floor(query_[axis] / kSpaceSide);
      const double most = static_cast<double>(grid_.blocks[axis] - 2 * SpaceGrid::kMargin);
      if (!(block >= static_cast<double>(-reach) && block < most + static_cast<double>(reach))) return false;
      middle[axis] = static_cast<Index>(block);
    }
    near_.clear();
    const auto below = [](const CellRun& b, Index code) { return b.cell < code; };
    const auto clipped = [&](std::size_t axis, Index step) {
      const Index at = middle[axis] + step;
      return std::clamp<Index>(at, 0, grid_.blocks[axis] - 2 * SpaceGrid::kMargin - 1);
    };
    const auto begin = keys_.runs.begin(), end = keys_.runs.end();
    const Index low = clipped(2, -reach), high = clipped(2, reach);
    for (Index x = clipped(0, -reach); x <= clipped(0, reach); ++x) {
      for (Index y = clipped(1, -reach); y <= clipped(1, reach); ++y) {
        const Index line = (x + SpaceGrid::kMargin) * grid_.stride(0) +
                           (y + SpaceGrid::kMargin) * grid_.stride(1) + SpaceGrid::kMargin;
        for (auto b = std::lower_bound(begin, end, line + low, below); b != end && b->cell <= line + high;
             ++b) {
          near_.push_back(
              {square(distance(x, 0)) + square(distance(y, 1)) + square(distance(b->cell - line, 2)), &*b});
        }
      }
    }
    std::sort(near_.begin(), near_.end(), [](const Near& a, const Near& b) {
      return a.distance != b.distance ? a.distance < b.distance : a.block < b.block;
    });
    return !near_.empty();
  }
  double distance(Index block, std::size_t axis) const {
    const auto low = static_cast<double>(block * kSpaceSide);
    // Blocks a little too large: places are known up to rounding.
    return std::max({low - 1e-6 - query_[axis], query_[axis] - (low + kSpaceSide + 1e-6), 0.0});
  }

  bool find_nearest() {
    nearest_ = std::numeric_limits<double>::infinity();
    Index looked = 0;
    for (const Near& near : near_) {
      if (near.distance >= nearest_) break;
      looked += near.block->end - near.block->begin;
      if (looked > most_keys_) return false;
      for (Index i = near.block->begin; i < near.block->end; ++i) {
        double x = 0;
        std::array<double, 3> key{};
        for (std::size_t axis = 0; axis < 3; ++axis) {
          key[axis] = grid_.along(static_cast<int>(axis), point(i));
          x += square(key[axis] - query_[axis]);
        }
        if (x >= nearest_) continue;
        nearest_ = x;
        nearest_key_ = key;
      }
    }
    return true;
  }

  /// At most what the keys that were not collected weigh.
  double beyond(Index reach) const {
    return weight(square(static_cast<double>(reach * kSpaceSide))) * static_cast<double>(keys_.outside);
  }
  /// Leaves out the farthest blocks, as many as weigh little enough against the nearest key.
  bool cut(double left) {
    Index count = 0;
    for (const Near& near : near_) count += near.block->end - near.block->begin;
    while (near_.size() > 1) {
      const Near& last = near_.back();
      const Index keys = last.block->end - last.block->begin;
      left += weight(last.distance) * static_cast<double>(keys);
      if (!(left <= kLeftOut) || last.distance <= nearest_) break;
      count -= keys;
      near_.pop_back();
    }
    return count <= most_keys_;
  }
  // Of a key at this squared distance, in cells, where the nearest key's is 1.
  double weight(double at) const { return std::exp((nearest_ - at) / (2 * square(kSpaceSteps))); }

  bool sum(Index row) {
    std::fill(sums_.begin(), sums_.end(), 0.0);
    total_ = 0;
    SpaceFarKeys part;
    part.s = place_.get();
    part.weight = weight_.get();
    for (std::size_t axis = 0; axis < 3; ++axis) {
      part.p[axis] = (nearest_key_[axis] - query_[axis]) / kSpaceSteps;
    }
    for (const Near& near : near_) {
      for (Index i = near.block->begin; i < near.block->end; ++i) {
        for (std::size_t axis = 0; axis < 3; ++axis) {
          const double at = grid_.along(static_cast<int>(axis), point(i));
          place_[axis * kSpaceFarBlock + static_cast<std::size_t>(part.count)] =
              (at - nearest_key_[axis]) / kSpaceSteps;
        }
        row_[static_cast<std::size_t>(part.count++)] = keys_.order[static_cast<std::size_t>(i)];
        if (part.count == kSpaceFarBlock) add(part);
      }
    }
    add(part);
    t_.lse[row] = std::log(total_) - nearest_ / (2 * square(kSpaceSteps));
    for (std::size_t c = 0; c < sums_.size(); ++c) {
      t_.average[row * t_.value_depth + static_cast<Index>(c)] = sums_[c] / total_;
    }
    return true;
  }
  void add(SpaceFarKeys& part) {
    space_far_weights(part);
    for (Index j = 0; j < part.count; ++j) {
      const double w = part.weight[j];
      const float* value = t_.value[row_[static_cast<std::size_t>(j)]];
      total_ += w;
      for (std::size_t c = 0; c < sums_.size(); ++c) sums_[c] += w * static_cast<double>(value[c]);
    }
    part.count = 0;
  }
  const float* point(Index i) const { return keys_.point[static_cast<std::size_t>(i)].data(); }

  const Task& t_;
  const SpaceGrid& grid_;
  const SpaceSorted& keys_;
  Index most_keys_ = space_far_keys(keys_.outside);
  std::array<double, 3> query_{}, nearest_key_{};
  double nearest_ = 0;  // squared, in cells
  std::vector<Near> near_;
  double total_ = 0;
  std::vector<double> sums_;
  SpaceNumbers place_ = space_numbers(3 * kSpaceFarBlock), weight_ = space_numbers(kSpaceFarBlock);
  std::array<std::uint32_t, kSpaceFarBlock> row_{};
};

}  // namespace

void sum_space_far(const Task& task, const SpaceGrid& grid, const SpaceSorted& keys,
                   std::vector<Index>& far) {
  const auto count = static_cast<Index>(far.size());
  parallel_for(task.threads, (count + kRowsATask - 1) / kRowsATask, [&](Index chunk) {
    FarSum sum(task, grid, keys);
    for (Index i = chunk * kRowsATask; i < std::min(count, (chunk + 1) * kRowsATask); ++i) {
      Index& row = far[static_cast<std::size_t>(i)];
      if (sum(row)) row = -1;
    }
  });
  far.erase(std::remove(far.begin(), far.end(), Index{-1}), far.end());
}

}  // namespace kith::points
