#include "attention/points/line.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "array/threads.h"
#include "attention/points/line_method.h"
#include "attention/points/line_sort.h"

namespace kith::points {
namespace {

std::unique_ptr<LineMethod> make_method(Kernel kernel) {
  if (kernel == Kernel::gaussian) return make_line_gaussian();
  return kernel == Kernel::laplace ? make_line_laplace() : make_line_compact(kernel);
}

void grow(std::vector<double>& memory, Index count) {
  if (memory.size() < static_cast<std::size_t>(count)) memory.resize(static_cast<std::size_t>(count));
}

/// What one worker needs for a block.
struct Worker {
  std::vector<double> query, shift, sum;
};

}  // namespace

struct Line::Impl {
  LineSort key_sort, query_sort;
  std::vector<double> x, mass;
  std::vector<Worker> workers;
  std::map<Kernel, std::unique_ptr<LineMethod>> methods;

  LineKeys join_keys(const Task& task, const Place* places, Index first_column, Index columns);
  void sum_columns(const Task& task, const LineKeys& keys, const Place* queries, Index first_column);
  void sum_block(const Task& task, const LineKeys& keys, LineMethod& method, const Place* places, Index count,
                 Index first_column);
};

// The sums of equal keys are taken in the order of their rows.
LineKeys Line::Impl::join_keys(const Task& task, const Place* places, Index first_column, Index columns) {
  LineKeys keys;
  keys.columns = columns + 1;
  keys.stride = task.keys + kLinePadding;
  keys.total = static_cast<double>(task.keys);
  grow(x, keys.stride);
  grow(mass, keys.columns * keys.stride);
  Index at = -1;
  for (Index j = 0; j < task.keys; ++j) {
    const auto coordinate = static_cast<double>(coordinate_of(places[j]));
    const float* value = task.value[row_of(places[j])] + first_column;
    if (at < 0 || x[static_cast<std::size_t>(at)] != coordinate) {
      x[static_cast<std::size_t>(++at)] = coordinate;
      mass[static_cast<std::size_t>(at)] = 1;
      for (Index c = 0; c < columns; ++c)
        mass[static_cast<std::size_t>((c + 1) * keys.stride + at)] = static_cast<double>(value[c]);
    } else {
      mass[static_cast<std::size_t>(at)] += 1;
      for (Index c = 0; c < columns; ++c)
        mass[static_cast<std::size_t>((c + 1) * keys.stride + at)] += static_cast<double>(value[c]);
    }
  }
  keys.count = at + 1;
  for (Index pad = 0; pad < kLinePadding; ++pad) {
    x[static_cast<std::size_t>(keys.count + pad)] = x[static_cast<std::size_t>(at)];
    for (Index c = 0; c < keys.columns; ++c)
      mass[static_cast<std::size_t>(c * keys.stride + keys.count + pad)] = 0;
  }
  keys.x = x.data();
  keys.mass = mass.data();
  return keys;
}

void Line::Impl::sum_block(const Task& task, const LineKeys& keys, LineMethod& method, const Place* places,
                           Index count, Index first_column) {
  Worker& worker = workers[static_cast<std::size_t>(worker_index())];
  grow(worker.query, kLineQueryBlock);
  grow(worker.shift, kLineQueryBlock);
  grow(worker.sum, kLineColumns * kLineQueryBlock);
  for (Index i = 0; i < count; ++i)
    worker.query[static_cast<std::size_t>(i)] = static_cast<double>(coordinate_of(places[i]));
  const LineBlock block{count, worker.query.data(), worker.shift.data(), worker.sum.data()};
  method.sum(block);
  for (Index i = 0; i < count; ++i) {
    const Index row = row_of(places[i]);
    const double weight = block.column(0)[i];
    const double inverse = weight > 0 ? 1 / weight : 0;
    if (first_column == 0) {
      task.lse[row] =
          weight > 0 ? block.shift[i] + std::log(weight) : -std::numeric_limits<double>::infinity();
    }
    double* average = task.average + row * task.value_depth + first_column;
    for (Index c = 1; c < keys.columns; ++c) average[c - 1] = block.column(c)[i] * inverse;
  }
}

void Line::Impl::sum_columns(const Task& task, const LineKeys& keys, const Place* queries,
                             Index first_column) {
  auto& method = methods[task.kernel];
  if (!method) method = make_method(task.kernel);
  method->prepare(keys, task.bandwidth, task.threads);
  const Index blocks = (task.queries + kLineQueryBlock - 1) / kLineQueryBlock;
  parallel_for(task.threads, blocks, [&](Index block) {
    const Index first = block * kLineQueryBlock;
    sum_block(task, keys, *method, queries + first, std::min(kLineQueryBlock, task.queries - first),
              first_column);
  });
}

Line::Line() : impl_(std::make_unique<Impl>()) {}
Line::~Line() = default;
Line::Line(Line&&) noexcept = default;
Line& Line::operator=(Line&&) noexcept = default;

void Line::sum(const Task& task) {
  if (task.queries == 0) return;
  if (task.keys == 0) {
    std::fill(task.lse, task.lse + task.queries, -std::numeric_limits<double>::infinity());
    std::fill(task.average, task.average + task.queries * task.value_depth, 0.0);
    return;
  }
  impl_->workers.resize(std::max(impl_->workers.size(), static_cast<std::size_t>(std::max(task.threads, 1))));
  const Place* keys = impl_->key_sort.sort(task.key, task.keys, task.threads);
  const Place* queries = impl_->query_sort.sort(task.query, task.queries, task.threads);
  for (Index c = 0; c == 0 || c < task.value_depth; c += kLineColumns - 1) {
    const Index columns = std::min(kLineColumns - 1, task.value_depth - c);
    impl_->sum_columns(task, impl_->join_keys(task, keys, c, columns), queries, c);
  }
}

}  // namespace kith::points
