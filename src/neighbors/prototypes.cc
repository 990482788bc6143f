#include "neighbors/prototypes.h"

#include <algorithm>
#include <limits>
#include <random>

#include "neighbors/answer.h"
#include "neighbors/columns.h"

namespace kith::neighbors {
namespace {

/// Clustering rounds; more lower the error by less than its noise.
constexpr int kRounds = 10;
/// What neighbors say counts this much against a bandwidth of distance. Leave-one-out errors at 2,000 rows:
/// on a housing table 1, 3, 10 give RMSE 0.481, 0.476, 0.478 (random rows 0.522); on a census table's classes
/// 1, 3, 10 give log loss 0.324, 0.325, 0.318 (random rows 0.325).
constexpr double kSaidRegression = 3, kSaidClassification = 10;

/// Rows in the space they are alike in: [rows, key's width + what neighbors say].
struct Space {
  Array<float, 2> x;
  Array<double, 2> said;   ///< the row's own target: [rows, values]
  Array<double, 2> heard;  ///< its neighbors'
  double weight = 0;

  Index rows() const { return x.shape()[0]; }
  Index width() const { return x.shape()[1]; }
  Index values() const { return said.shape()[1]; }
};

Space space_of(const Model::Impl& m, int threads) {
  const bool regression = m.task == Task::regression;
  const Index n = m.rows(), width = m.key.shape[1], values = regression ? 1 : m.value.shape()[1];
  constexpr Index kQueries = 65536;
  Space s{Array<float, 2>({n, width + values}), Array<double, 2>({n, values}), Array<double, 2>({n, values}),
          regression ? kSaidRegression : kSaidClassification};
  for (Index first = 0; first < n; first += kQueries) {
    View<const float, 2> query = m.key;
    query.data += first * query.stride[0];
    query.shape[0] = std::min(kQueries, n - first);
    const Answers answers = answer(m.similarity(), m.key, m.value, m.prior, query, first, 0, threads);
    for (Index q = 0; q < query.shape[0]; ++q) {
      const Index i = first + q;
      float* row = s.x.data() + i * s.width();
      std::copy_n(m.key.data + i * m.key.stride[0], width, row);
      for (Index c = 0; c < values; ++c) {
        s.said(i, c) = static_cast<double>(m.value(i, c));
        s.heard(i, c) =
            regression ? answers.neighborhood[static_cast<std::size_t>(q)].mean : answers.probability(q, c);
        row[width + c] = static_cast<float>(s.weight * s.heard(i, c));
      }
    }
  }
  return s;
}

/// A random order that is the same everywhere.
std::vector<Index> shuffled(Index count) {
  std::vector<Index> order = all_rows(static_cast<std::size_t>(count));
  std::mt19937_64 random(0);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);
  return order;
}

/// The row's distance from a center and its target's from what is wanted, squared and added.
double cost_of(const Space& s, Index row, const double* center, const double* wanted) {
  double sum = 0;
  for (Index d = 0; d < s.width(); ++d) {
    const double apart = static_cast<double>(s.x(row, d)) - center[d];
    sum += apart * apart;
  }
  for (Index c = 0; c < s.values(); ++c) {
    const double apart = s.weight * (s.said(row, c) - wanted[c]);
    sum += apart * apart;
  }
  return sum;
}

/// The nearest of `center` for each row.
std::vector<Index> nearest(const Space& s, const Array<double, 2>& center, int threads) {
  Array<float, 2> key(center.shape());
  std::transform(center.begin(), center.end(), key.begin(), [](double x) { return static_cast<float>(x); });
  AttentionOptions options;
  options.similarity = Gaussian{};
  options.want.top = 1;
  options.threads = threads;
  const Array<float, 2> nothing({key.shape()[0], 1});
  const AttentionResult found = attend(s.x.view(), key.view(), nothing.view(), options);
  std::vector<Index> cluster;
  for (Index i = 0; i < s.rows(); ++i) cluster.push_back(std::max<Index>(0, found.top_key(0, 0, i, 0)));
  return cluster;
}

std::vector<Index> of_clusters(const Space& s, Index count, int threads) {
  const std::vector<Index> order = shuffled(s.rows());
  Array<double, 2> center({count, s.width()});
  for (Index c = 0; c < count; ++c) {
    const float* row = s.x.data() + order[static_cast<std::size_t>(c)] * s.width();
    std::copy_n(row, s.width(), center.data() + c * s.width());
  }
  std::vector<Index> cluster;
  for (int round = 0; round < kRounds; ++round) {
    cluster = nearest(s, center, threads);
    Array<double, 2> sum({count, s.width()});
    std::vector<double> size(static_cast<std::size_t>(count), 0.0);
    for (Index i = 0; i < s.rows(); ++i) {
      const Index c = cluster[static_cast<std::size_t>(i)];
      size[static_cast<std::size_t>(c)] += 1;
      for (Index d = 0; d < s.width(); ++d) sum(c, d) += static_cast<double>(s.x(i, d));
    }
    for (Index c = 0; c < count; ++c) {
      const double rows = size[static_cast<std::size_t>(c)];
      for (Index d = 0; d < s.width() && rows > 0; ++d) center(c, d) = sum(c, d) / rows;
    }
  }
  std::vector<Index> best(static_cast<std::size_t>(count), -1);
  std::vector<double> least(static_cast<std::size_t>(count), std::numeric_limits<double>::infinity());
  for (Index i = 0; i < s.rows(); ++i) {
    const auto c = static_cast<std::size_t>(cluster[static_cast<std::size_t>(i)]);
    const double cost =
        cost_of(s, i, center.data() + static_cast<Index>(c) * s.width(), s.heard.data() + i * s.values());
    if (cost < least[c]) {
      least[c] = cost;
      best[c] = i;
    }
  }
  std::vector<bool> taken(static_cast<std::size_t>(s.rows()), false);
  std::erase(best, -1);
  for (Index i : best) taken[static_cast<std::size_t>(i)] = true;
  // Clusters that ran empty leave their place to rows at random.
  for (auto i = order.begin(); static_cast<Index>(best.size()) < count; ++i) {
    if (!taken[static_cast<std::size_t>(*i)]) best.push_back(*i);
  }
  return best;
}

/// Splits order[first, last) into `leaves` parts of nearly equal size, halving across the widest coordinate.
void split(const Space& s, std::vector<Index>& order, Index first, Index last, Index leaves,
           std::vector<std::pair<Index, Index>>& parts) {
  if (leaves == 1) {
    parts.emplace_back(first, last);
    return;
  }
  std::vector<double> sum(static_cast<std::size_t>(s.width()), 0.0), squares = sum;
  for (Index i = first; i < last; ++i) {
    const float* row = s.x.data() + order[static_cast<std::size_t>(i)] * s.width();
    for (std::size_t d = 0; d < sum.size(); ++d) {
      const auto x = static_cast<double>(row[d]);
      sum[d] += x;
      squares[d] += x * x;
    }
  }
  Index widest = 0;
  double most = -1;
  for (std::size_t d = 0; d < sum.size(); ++d) {
    const double variance = squares[d] - sum[d] * sum[d] / static_cast<double>(last - first);
    if (variance > most) {
      most = variance;
      widest = static_cast<Index>(d);
    }
  }
  const Index half = leaves / 2, middle = first + (last - first) * half / leaves;
  std::nth_element(order.begin() + first, order.begin() + middle, order.begin() + last,
                   [&](Index a, Index b) {
                     return s.x(a, widest) != s.x(b, widest) ? s.x(a, widest) < s.x(b, widest) : a < b;
                   });
  split(s, order, first, middle, half, parts);
  split(s, order, middle, last, leaves - half, parts);
}

std::vector<Index> of_cells(const Space& s, Index count) {
  std::vector<Index> order = shuffled(s.rows()), chosen;
  std::vector<std::pair<Index, Index>> parts;
  split(s, order, 0, s.rows(), count, parts);
  // Rows of each class that the cells so far should have given, and have not: cells that follow one another
  // are near one another, so shares even out locally.
  std::vector<double> owed(static_cast<std::size_t>(s.values()), 0.0);
  std::vector<double> center(static_cast<std::size_t>(s.width()));
  for (const auto& [first, last] : parts) {
    const double share = 1 / static_cast<double>(last - first);
    std::fill(center.begin(), center.end(), 0.0);
    for (Index i = first; i < last; ++i) {
      const Index row = order[static_cast<std::size_t>(i)];
      for (Index d = 0; d < s.width(); ++d) {
        center[static_cast<std::size_t>(d)] += share * static_cast<double>(s.x(row, d));
      }
      for (Index c = 0; c < s.values(); ++c) owed[static_cast<std::size_t>(c)] += share * s.said(row, c);
    }
    Index best = order[static_cast<std::size_t>(first)];
    double least = std::numeric_limits<double>::infinity();
    for (Index i = first; i < last; ++i) {
      const Index row = order[static_cast<std::size_t>(i)];
      const double cost = cost_of(s, row, center.data(), owed.data());
      if (cost < least) {
        least = cost;
        best = row;
      }
    }
    for (Index c = 0; c < s.values(); ++c) owed[static_cast<std::size_t>(c)] -= s.said(best, c);
    chosen.push_back(best);
  }
  return chosen;
}

}  // namespace

std::vector<Index> choose_prototypes(const Model::Impl& model, Index count, int threads) {
  const Space space = space_of(model, threads);
  std::vector<Index> chosen =
      model.task == Task::regression ? of_clusters(space, count, threads) : of_cells(space, count);
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

}  // namespace kith::neighbors
