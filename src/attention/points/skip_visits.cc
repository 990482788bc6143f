// How many keys skip() would visit, from a sample.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "attention/points/skip.h"
#include "attention/points/skip_tree.h"

namespace kith::points {
namespace {

using kernels::kSkipLeaf;

/// Evenly spaced rows, column by column.
std::vector<float> sample(const Rows& rows, Index count, Index depth, Index wanted) {
  std::vector<float> columns(static_cast<std::size_t>(depth * wanted));
  for (Index j = 0; j < wanted; ++j) {
    const float* row = rows[j * count / wanted];
    for (Index c = 0; c < depth; ++c) columns[static_cast<std::size_t>(c * wanted + j)] = row[c];
  }
  return columns;
}

/// The leaf that each key of a sample would lie in, in a tree of all keys: [column][key].
struct Leaves {
  std::vector<float> low, high;
};
/// A tree of the sample has leaves of the same shape, larger by the share of the keys that is missing; a key
/// keeps its place in its leaf.
Leaves leaves_of(const Task& task, Index keys) {
  const Index depth = task.depth;
  const auto size = static_cast<std::size_t>(keys * depth);
  std::vector<float> points(size);
  for (Index j = 0; j < keys; ++j)
    std::copy_n(task.key[j * task.keys / keys], depth, points.data() + j * depth);
  const Rows rows{points.data(), depth};
  const auto order = spatial_order(rows, keys, depth, kSkipLeaf, 1);
  const auto shrink = static_cast<float>(
      std::pow(static_cast<double>(keys) / static_cast<double>(task.keys), 1 / static_cast<double>(depth)));
  Leaves leaves{std::vector<float>(size), std::vector<float>(size)};
  for (Index first = 0; first < keys; first += kSkipLeaf) {
    const auto *from = order.data() + first, *end = order.data() + std::min(keys, first + kSkipLeaf);
    for (Index c = 0; c < depth; ++c) {
      float low = std::numeric_limits<float>::infinity(), high = -low;
      for (const auto* row = from; row < end; ++row) {
        low = std::min(low, rows[*row][c]), high = std::max(high, rows[*row][c]);
      }
      for (const auto* row = from; row < end; ++row) {
        const float x = rows[*row][c];
        const auto at = static_cast<std::size_t>(c * keys + *row);
        leaves.low[at] = x + shrink * (low - x);
        leaves.high[at] = x + shrink * (high - x);
      }
    }
  }
  return leaves;
}

/// The squared distance within which a query visits leaves, its squared distances to the sample being x.
double reach(const Task& task, const std::vector<float>& x, double share) {
  const double h = task.bandwidth;
  if (task.kernel != Kernel::gaussian && task.kernel != Kernel::laplace) return h * h;
  const bool squared = task.kernel == Kernel::gaussian;
  const auto rate = static_cast<float>(squared ? 1 / (2 * h * h) : 1 / h);
  const auto logit = [&](float at) { return rate * (squared ? at : std::sqrt(at)); };
  const float least = logit(*std::min_element(x.begin(), x.end()));
  constexpr float kNothing = 20;
  double total = 0;
  for (const float at : x) {
    const float above = logit(at) - least;
    if (above < kNothing) total += static_cast<double>(std::exp(-above));
  }
  // Of the exponent's distance to the outermost radius the cut saves about a fifth.
  const double beyond = std::log(2.0) * (25 + std::log2(static_cast<double>(task.keys))) -
                        std::max(std::log(total * share), 0.0);
  const double end = static_cast<double>(least) + 0.8 * std::max(beyond, 0.0);
  return squared ? 2 * h * h * end : std::pow(h * end, 2);
}

}  // namespace

double skip_visits(const Task& task) {
  constexpr Index kQueries = 64, kKeys = 4096;
  if (task.keys == 0 || task.queries == 0) return 0;
  const Index queries = std::min(task.queries, kQueries), keys = std::min(task.keys, kKeys);
  const double share = static_cast<double>(task.keys) / static_cast<double>(keys);
  const auto key = sample(task.key, task.keys, task.depth, keys);
  const Leaves leaves = leaves_of(task, keys);
  std::vector<float> distance(static_cast<std::size_t>(keys)), to_leaf(distance.size());
  Index visits = 0;
  for (Index s = 0; s < queries; ++s) {
    const float* query = task.query[s * task.queries / queries];
    std::fill(distance.begin(), distance.end(), 0.0F);
    std::fill(to_leaf.begin(), to_leaf.end(), 0.0F);
    for (Index c = 0; c < task.depth; ++c) {
      const float *x = key.data() + c * keys, *low = leaves.low.data() + c * keys,
                  *high = leaves.high.data() + c * keys;
      const float at = query[c];
      for (std::size_t j = 0; j < distance.size(); ++j) {
        const float apart = at - x[j], below = low[j] - at, above = at - high[j];
        // At most one of them is positive; by conditions, of which the compiler makes no branches.
        const float beyond = (below > 0 ? below : 0) + (above > 0 ? above : 0);
        distance[j] += apart * apart;
        to_leaf[j] += beyond * beyond;
      }
    }
    const auto near = static_cast<float>(reach(task, distance, share));
    visits += std::count_if(to_leaf.begin(), to_leaf.end(), [near](float x) { return x <= near; });
  }
  return share * static_cast<double>(visits) / static_cast<double>(queries);
}

}  // namespace kith::points
