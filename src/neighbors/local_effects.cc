#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "neighbors/local_regression.h"
#include "neighbors/normal_quantile.h"

namespace kith {

Bands bands(const RegressionFit& fit, double coverage) {
  // Nearer to 0 and 1 the quantile is not known.
  if (!(coverage >= 1e-9 && coverage <= 1 - 1e-9)) {
    throw Error(fmt::format("coverage: {}; it lies between 0 and 1", coverage));
  }
  if (fit.standard_error.size() != fit.mean.size()) {
    throw Error("fit: it has no standard errors; ask for them in FitWant");
  }
  const double z = neighbors::normal_quantile(0.5 + coverage / 2);
  Bands out;
  for (std::size_t i = 0; i < fit.mean.size(); ++i) {
    out.lower.push_back(fit.mean[i] - z * fit.standard_error[i]);
    out.upper.push_back(fit.mean[i] + z * fit.standard_error[i]);
  }
  return out;
}

PartialDependence KernelRegression::partial_dependence(std::size_t column, std::vector<double> at,
                                                       Index rows) const {
  const KernelRegression::Impl& m = *impl_;
  if (column >= m.kernel.columns()) {
    throw Error(fmt::format("column: {}; the model has {}", column, m.kernel.columns()));
  }
  if (rows < 1) throw Error(fmt::format("rows: {}; at least 1 is needed", rows));
  const auto c = static_cast<Index>(column);
  if (at.empty()) at = m.kernel.levels(column);
  if (at.empty()) {
    std::vector<double> sorted;
    for (Index i = 0; i < m.rows.count(); ++i) sorted.push_back(m.rows.x(i, c));
    std::sort(sorted.begin(), sorted.end());
    constexpr std::size_t kQuantiles = 25;
    for (std::size_t g = 0; g < kQuantiles; ++g)
      at.push_back(sorted[g * (sorted.size() - 1) / (kQuantiles - 1)]);
    at.erase(std::unique(at.begin(), at.end()), at.end());
  }
  std::vector<Index> order = neighbors::spread_order(m.rows.count(), rows);
  order.resize(static_cast<std::size_t>(std::min(rows, m.rows.count())));
  Array<double, 2> query = neighbors::take(m.rows.x, order);
  PartialDependence out{.at = std::move(at), .value = {}};
  for (const double value : out.at) {
    for (Index i = 0; i < query.shape()[0]; ++i) query(i, c) = value;
    m.kernel.check_rows(query, "at");
    double sum = 0;
    for (const double mean : neighbors::fit_at(m, query, {.errors = false}).mean) sum += mean;
    out.value.push_back(sum / static_cast<double>(query.shape()[0]));
  }
  return out;
}

}  // namespace kith
