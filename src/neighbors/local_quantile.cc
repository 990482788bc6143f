#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "kith/attention.h"
#include "neighbors/local_regression.h"

namespace kith {
namespace {

/// Thresholds in one pass: each is a value column.
constexpr Index kThresholds = 64;
/// Sums of weights are that exact at most.
constexpr double kRounding = 1e-12;

/// One quantile of one query lies among the sorted targets at (low, high].
struct Search {
  Index query;
  double probability;
  Index low, high;
  double* answer;
};

}  // namespace

Array<double, 2> KernelRegression::quantiles(View<const double, 2> query,
                                             const std::vector<double>& probability) const {
  const neighbors::Impl& m = *impl_;
  m.kernel.check_rows(query, "query");
  for (const double p : probability) {
    if (!(p >= 0 && p <= 1)) throw Error(fmt::format("probability: {}; it lies from 0 to 1", p));
  }
  const Index n = query.shape[0], rows = m.rows.count();
  const auto count = static_cast<Index>(probability.size());
  Array<double, 2> out({n, count});
  std::vector<double> sorted = m.y;
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());

  // Searches in the same bracket share a pass, whose value columns say which targets are at most a threshold:
  // the averages are the distribution function there. Each pass makes a bracket 65 times narrower.
  std::map<std::pair<Index, Index>, std::vector<Search>> open;
  for (Index i = 0; i < n; ++i) {
    for (Index c = 0; c < count; ++c) {
      const Search search{i, probability[static_cast<std::size_t>(c)], -1,
                          static_cast<Index>(sorted.size()) - 1, &out(i, c)};
      open[{search.low, search.high}].push_back(search);
    }
  }
  const Array<double, 2> all = m.kernel.coordinates(query, m.bandwidth);
  AttentionOptions options;
  options.similarity = m.kernel.similarity();
  options.want.lse = true;
  options.threads = m.options.threads;
  while (!open.empty()) {
    const auto [low, high] = open.begin()->first;
    const std::vector<Search> searches = std::move(open.begin()->second);
    open.erase(open.begin());
    std::vector<Index> threshold;
    const Index inside = std::min(kThresholds, high - low - 1);
    for (Index t = 1; t <= inside; ++t) threshold.push_back(low + t * (high - low) / (inside + 1));
    // All targets are equal: what is left to find out is whether any is in sight.
    const Index columns = std::max<Index>(1, inside);
    Array<double, 2> value({rows, columns});
    for (Index j = 0; j < rows; ++j) {
      for (Index t = 0; t < inside; ++t) {
        value(j, t) = m.y[static_cast<std::size_t>(j)] <=
                              sorted[static_cast<std::size_t>(threshold[static_cast<std::size_t>(t)])]
                          ? 1
                          : 0;
      }
    }
    std::vector<Index> asked;
    for (const Search& search : searches) {
      if (asked.empty() || asked.back() != search.query) asked.push_back(search.query);
    }
    const auto result = attend(neighbors::take(all, asked), m.key, value, options);
    Index at = 0;
    for (Search search : searches) {
      while (asked[static_cast<std::size_t>(at)] != search.query) ++at;
      if (!std::isfinite(result.lse(0, 0, at))) {
        *search.answer = neighbors::kNaN;
        continue;
      }
      for (Index t = 0; t < inside; ++t) {
        const double below = result.out(0, 0, at, t);
        if (below > 0 && below >= search.probability - kRounding) {
          search.high = threshold[static_cast<std::size_t>(t)];
          break;
        }
        search.low = threshold[static_cast<std::size_t>(t)];
      }
      if (search.high - search.low <= 1) {
        *search.answer = sorted[static_cast<std::size_t>(search.high)];
      } else {
        open[{search.low, search.high}].push_back(search);
      }
    }
  }
  return out;
}

}  // namespace kith
