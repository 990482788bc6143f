#include "neighbors/linear.h"

#include <algorithm>
#include <cmath>

#include "array/threads.h"

namespace kith::neighbors {
namespace {

/// The identity's entries are 1; a step moves none of them further than this.
constexpr double kLongestStep = 0.5;

Loss loss_of(KeyLoss& loss, const Rows& keys, const Rows& queries, std::optional<Index> self,
             View<const double, 2> matrix, double log_weight, bool gradient) {
  KeyLoss::Value found =
      loss.evaluate(queries.key, queries.value, keys.key, keys.value, self, log_weight, gradient, matrix);
  if (gradient) {
    const Array<double, 2>& by_matrix = found.by_row.metric;
    found.loss.gradient.assign(by_matrix.begin(), by_matrix.end());
    if (loss.classifies()) found.loss.gradient.push_back(found.by_prior_log_weight);
  }
  return std::move(found.loss);
}

}  // namespace

Array<double, 2> identity(Index coordinates) {
  Array<double, 2> matrix({coordinates, coordinates});
  for (Index c = 0; c < coordinates; ++c) matrix(c, c) = 1;
  return matrix;
}

Array<float, 2> project(View<const float, 2> rows, View<const double, 2> matrix) {
  const Index n = rows.shape[0], width = matrix.shape[0], rank = matrix.shape[1];
  Array<float, 2> out({n, rank});
  constexpr Index kRows = 256;
  parallel_for(resolve_threads(0), (n + kRows - 1) / kRows, [&](Index block) {
    std::vector<double> sum(static_cast<std::size_t>(rank));
    for (Index i = block * kRows; i < std::min(n, (block + 1) * kRows); ++i) {
      std::fill(sum.begin(), sum.end(), 0.0);
      for (Index c = 0; c < width; ++c) {
        const auto x = static_cast<double>(rows(i, c));
        if (x == 0) continue;
        for (Index r = 0; r < rank; ++r) sum[static_cast<std::size_t>(r)] += x * matrix(c, r);
      }
      std::transform(sum.begin(), sum.end(), out.data() + i * rank,
                     [](double x) { return static_cast<float>(x); });
    }
  });
  return out;
}

Projection find_projection(KeyLoss& loss, const SearchProblem& problem, double prior_log_weight,
                           Progress& progress) {
  const Index width = problem.train.key.shape[1], size = width * width;
  const Array<double, 2> start = identity(width);
  std::vector<double> x(start.begin(), start.end());
  if (loss.classifies()) x.push_back(prior_log_weight);
  x = descend(
      problem, x, kLongestStep,
      [&](const Rows& keys, const Rows& queries, std::optional<Index> self, const std::vector<double>& at,
          bool gradient) {
        return loss_of(loss, keys, queries, self, {at.data(), {width, width}}, at.back(), gradient);
      },
      progress);
  Projection found{Array<double, 2>({width, width}), loss.classifies() ? x.back() : prior_log_weight};
  std::copy_n(x.begin(), size, found.matrix.begin());
  return found;
}

std::vector<double> rise_without(KeyLoss& loss, const SearchProblem& problem, const Projection& projection,
                                 const std::vector<std::size_t>& coordinate_feature, std::size_t features) {
  constexpr Index kQueries = 2048;
  const Rows queries = problem.train.slice(0, std::min(kQueries, problem.train.count()));
  const auto mean_loss = [&](const Array<double, 2>& matrix) {
    return loss_of(loss, problem.train, queries, 0, matrix, projection.prior_log_weight, false).mean;
  };
  const double with = mean_loss(projection.matrix);
  std::vector<double> rise(features, 0.0);
  for (std::size_t f = 0; f < features; ++f) {
    Array<double, 2> without = projection.matrix;
    bool used = false;
    for (std::size_t c = 0; c < coordinate_feature.size(); ++c) {
      if (coordinate_feature[c] != f) continue;
      used = true;
      std::fill_n(without.data() + static_cast<Index>(c) * without.shape()[1], without.shape()[1], 0.0);
    }
    if (!used) continue;
    const double ratio = mean_loss(without) / with;
    rise[f] = std::max(0.0, (loss.classifies() ? ratio : std::sqrt(ratio)) - 1);
    if (!std::isfinite(rise[f])) rise[f] = 0;
  }
  return rise;
}

}  // namespace kith::neighbors
