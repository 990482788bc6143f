#include "attention/points/plane_far.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "array/threads.h"
#include "attention/points/kernels/plane.h"
#include "hwy/aligned_allocator.h"

namespace kith::points {
namespace {

constexpr Index kRowsATask = 64;

/// The keys and values in the order of the boxes, where so many rows are far that a copy pays; else read
/// through the order.
class SortedKeys {
 public:
  SortedKeys(const Task& t, const PlaneBoxes& keys, bool copy) : t_(t), order_(keys.order.data()) {
    if (!copy) return;
    const std::size_t values = static_cast<std::size_t>(t.value_depth);
    key_.resize(2 * static_cast<std::size_t>(t.keys));
    value_.resize(values * static_cast<std::size_t>(t.keys));
    const Index chunks = (t.keys + kKeysATask - 1) / kKeysATask;
    parallel_for(t.threads, chunks, [&](Index chunk) {
      for (Index i = chunk * kKeysATask; i < std::min(t.keys, (chunk + 1) * kKeysATask); ++i) {
        std::copy_n(key(i), 2, key_.data() + 2 * i);
        std::copy_n(value(i), t.value_depth, value_.data() + i * t.value_depth);
      }
    });
    copied_ = true;
  }
  const float* key(Index i) const { return copied_ ? key_.data() + 2 * i : t_.key[order_[i]]; }
  const float* value(Index i) const {
    return copied_ ? value_.data() + i * t_.value_depth : t_.value[order_[i]];
  }

 private:
  static constexpr Index kKeysATask = 16384;
  const Task& t_;
  const std::uint32_t* order_;
  bool copied_ = false;
  std::vector<float> key_, value_;
};

// In widths of a box, from the grid's corner.
struct Place {
  double x, y;
};

double distance_to(Index box, double at) {
  const auto low = static_cast<double>(box);
  return std::max({low - at, at - (low + 1), 0.0});
}
double square(double x) { return x * x; }

class FarSum {
 public:
  FarSum(const Task& task, const PlaneGrid& grid, const PlaneBoxes& keys, const std::vector<PlaneLine>& lines,
         const SortedKeys& sorted)
      : t_(task), grid_(grid), keys_(keys), lines_(lines), sorted_(sorted) {}

  /// False: costs too much, nothing is written.
  bool operator()(Index row) {
    query_ = place(t_.query[row]);
    if (!std::isfinite(square(query_.x) + square(query_.y))) return false;
    const double reach = 2 * std::log(1e8 * static_cast<double>(t_.keys)) / square(kBoxWidth);
    // Counts of boxes tell most rows that cost too much, before any key is looked at: the nearest key is not
    // nearer than the nearest box. Boxes are taken a little too large: a key's is known up to rounding.
    if (!walk([&](const PlaneBox& b, double distance) {
          nearest_ = distance;
          return b.end > b.begin;
        }) ||
        !collect((nearest_ + reach) * (1 - 1e-12))) {
      return false;
    }
    if (!walk([&](const PlaneBox& b, double) { return look_at(b); }) ||
        !collect((nearest_ + reach) * (1 + 1e-12))) {
      return false;
    }
    sum();
    const double weight = total(0), scale = square(kBoxWidth) / 2;
    t_.lse[row] = std::log(weight) - nearest_ * scale;
    for (Index c = 1; c < columns_; ++c) t_.average[row * t_.value_depth + c - 1] = total(c) / weight;
    return true;
  }

 private:
  Place place(const float* row) const { return {grid_.along_x(row), grid_.along_y(row)}; }
  const PlaneBox& box(Index i) const { return keys_.boxes[static_cast<std::size_t>(i)]; }
  Index first_line(double y) const {
    return std::lower_bound(lines_.begin(), lines_.end(), y,
                            [](const PlaneLine& l, double at) { return static_cast<double>(l.y) < at; }) -
           lines_.begin();
  }
  Index first_box(const PlaneLine& line, double x) const {
    return std::lower_bound(keys_.boxes.begin() + line.begin, keys_.boxes.begin() + line.end, x,
                            [](const PlaneBox& b, double at) { return static_cast<double>(b.x) < at; }) -
           keys_.boxes.begin();
  }

  bool look_at(const PlaneBox& b) {
    looked_ += b.end - b.begin;
    if (looked_ > kPlaneFarKeys) return false;
    for (Index i = b.begin; i < b.end; ++i) {
      const Place p = place(sorted_.key(i));
      const double distance = square(p.x - query_.x) + square(p.y - query_.y);
      if (distance < nearest_) {
        nearest_ = distance;
        nearest_key_ = p;
      }
    }
    return true;
  }

  // Calls visit(box, squared distance) for boxes nearer than nearest_, which a visit may lower, from the
  // query's line of boxes outwards and in each from the query's column outwards. False: too many lines, or
  // visit() said so.
  template <class Visit>
  bool walk(Visit&& visit) {
    nearest_ = std::numeric_limits<double>::infinity();
    looked_ = 0;
    const auto count = static_cast<Index>(lines_.size());
    Index above = first_line(std::floor(query_.y)), below = above - 1;
    for (Index seen = 0;; ++seen) {
      const double up = above < count ? distance_to(line(above).y, query_.y) : kNever;
      const double down = below >= 0 ? distance_to(line(below).y, query_.y) : kNever;
      const double dy = square(std::min(up, down));
      if (!(dy < nearest_)) return true;
      if (seen == kPlaneFarLines) return false;
      const PlaneLine& l = up <= down ? line(above++) : line(below--);
      const Index middle = first_box(l, std::floor(query_.x));
      for (const Index step : {1, -1}) {
        for (Index i = step > 0 ? middle : middle - 1; i >= l.begin && i < l.end; i += step) {
          const double distance = square(distance_to(box(i).x, query_.x)) + dy;
          if (distance >= nearest_) break;
          if (!visit(box(i), distance)) return false;
        }
      }
    }
  }

  // Runs of keys in boxes not farther than sqrt(most).
  bool collect(double most) {
    runs_.clear();
    Index found = 0, seen = 0;
    const double radius = std::sqrt(most);
    const auto count = static_cast<Index>(lines_.size());
    for (Index i = first_line(query_.y - radius - 1); i < count; ++i) {
      const PlaneLine& l = line(i);
      if (static_cast<double>(l.y) > query_.y + radius) break;
      if (++seen > kPlaneFarLines) return false;
      const double left = most - square(distance_to(l.y, query_.y));
      if (left < 0) continue;
      const double half = std::sqrt(left);
      const Index begin = first_box(l, query_.x - half - 1);
      Index end = begin;
      while (end < l.end && static_cast<double>(box(end).x) <= query_.x + half) ++end;
      if (begin == end) continue;
      runs_.emplace_back(box(begin).begin, box(end - 1).end);
      found += runs_.back().second - runs_.back().first;
      if (found > kPlaneFarKeys) return false;
    }
    return true;
  }

  void sum() {
    std::fill_n(sums_.get(), columns_ * kPlaneLanes, 0.0);
    part_ = {kBoxWidth * (nearest_key_.x - query_.x),
             kBoxWidth * (nearest_key_.y - query_.y),
             x_.get(),
             y_.get(),
             value_.get(),
             0,
             columns_,
             sums_.get()};
    for (const auto& [begin, end] : runs_) {
      for (Index i = begin; i < end; ++i) {
        const Index j = part_.count++;
        const Place p = place(sorted_.key(i));
        const float* value = sorted_.value(i);
        x_[static_cast<std::size_t>(j)] = kBoxWidth * (p.x - nearest_key_.x);
        y_[static_cast<std::size_t>(j)] = kBoxWidth * (p.y - nearest_key_.y);
        value_[static_cast<std::size_t>(j)] = 1;
        for (Index c = 1; c < columns_; ++c) {
          value_[static_cast<std::size_t>(c * kPlaneBlock + j)] = static_cast<double>(value[c - 1]);
        }
        if (part_.count == kPlaneBlock) flush();
      }
    }
    flush();
  }
  void flush() {
    for (Index j = part_.count; j % kPlaneLanes != 0; ++j) {
      x_[static_cast<std::size_t>(j)] = y_[static_cast<std::size_t>(j)] = 0;
      for (Index c = 0; c < columns_; ++c) value_[static_cast<std::size_t>(c * kPlaneBlock + j)] = 0;
    }
    plane_add_far(part_);
    part_.count = 0;
  }
  double total(Index column) const {
    double all = 0;
    for (Index lane = 0; lane < kPlaneLanes; ++lane) {
      all += sums_[static_cast<std::size_t>(column * kPlaneLanes + lane)];
    }
    return all;
  }

  const PlaneLine& line(Index i) const { return lines_[static_cast<std::size_t>(i)]; }
  static hwy::AlignedFreeUniquePtr<double[]> numbers(Index count) {
    return hwy::AllocateAligned<double>(static_cast<std::size_t>(count));
  }
  static constexpr double kNever = std::numeric_limits<double>::infinity();

  const Task& t_;
  const PlaneGrid& grid_;
  const PlaneBoxes& keys_;
  const std::vector<PlaneLine>& lines_;
  const SortedKeys& sorted_;
  Index columns_ = t_.value_depth + 1, looked_ = 0;
  Place query_{}, nearest_key_{};
  double nearest_ = 0;  // squared
  std::vector<std::pair<Index, Index>> runs_;
  PlaneFarKeys part_;
  hwy::AlignedFreeUniquePtr<double[]> x_ = numbers(kPlaneBlock), y_ = numbers(kPlaneBlock),
                                      value_ = numbers(columns_ * kPlaneBlock),
                                      sums_ = numbers(columns_ * kPlaneLanes);
};

}  // namespace

void sum_far(const Task& task, const PlaneGrid& grid, const PlaneBoxes& keys,
             const std::vector<PlaneLine>& lines, std::vector<Index>& far) {
  const auto count = static_cast<Index>(far.size());
  if (count == 0) return;
  const SortedKeys sorted(task, keys, count > task.keys / kPlaneFarKeys);
  parallel_for(task.threads, (count + kRowsATask - 1) / kRowsATask, [&](Index chunk) {
    FarSum sum(task, grid, keys, lines, sorted);
    for (Index i = chunk * kRowsATask; i < std::min(count, (chunk + 1) * kRowsATask); ++i) {
      Index& row = far[static_cast<std::size_t>(i)];
      if (sum(row)) row = -1;
    }
  });
  far.erase(std::remove(far.begin(), far.end(), Index{-1}), far.end());
}

}  // namespace kith::points
