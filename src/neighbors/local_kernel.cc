#include "neighbors/local_kernel.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace kith::neighbors {
namespace {

/// log(K(equal) / K(different)) that stands for infinity: above what a double's exp can make of the largest
/// sensible distance, small enough that distances beside it keep their digits.
constexpr double kNever = 1e4;
/// More levels than this are numbers taken for categories; each costs a coordinate.
constexpr std::size_t kMaxLevels = 1000;

double quantity(double log_ratio) { return std::clamp(log_ratio, 0.0, kNever); }

}  // namespace

MixedKernel::MixedKernel(View<const double, 2> x, const KernelOptions& options)
    : column_(options.column), ordered_(options.ordered), unordered_(options.unordered), rows_(x.shape[0]) {
  const auto d = static_cast<std::size_t>(x.shape[1]);
  if (d == 0) throw Error("x: 0 columns; at least one is needed");
  if (column_.empty()) column_.resize(d);
  if (column_.size() != d) {
    throw Error(fmt::format("kernel.column: {} columns described, x has {}", column_.size(), d));
  }
  for (std::size_t c = 0; c < d; ++c) {
    if (column_[c].name.empty()) column_[c].name = fmt::format("column {}", c);
    const bool unordered = column_[c].kind == Regressor::Kind::unordered;
    if (unordered && column_[c].slope.value_or(false)) {
      throw Error(fmt::format("kernel.column: {}: an unordered column has no slope", name(c)));
    }
    if (options.compact && !numeric(c)) {
      throw Error(fmt::format(
          "kernel.compact: {} is a category; a compact kernel is of one distance over numeric columns, "
          "the Gaussian takes mixed ones",
          name(c)));
    }
  }
  if (options.compact) similarity_ = Compact{.kernel = *options.compact, .bandwidth = 1.0};
  check_rows(x, "x");
  const auto n = static_cast<double>(std::max<Index>(rows_, 1));
  level_.resize(d);
  for (std::size_t c = 0; c < d; ++c) {
    const auto at = static_cast<Index>(c);
    double sum = 0, square = 0;
    for (Index i = 0; i < rows_; ++i) sum += x(i, at) / n;
    for (Index i = 0; i < rows_; ++i) square += (x(i, at) - sum) * (x(i, at) - sum) / n;
    center_.push_back(sum);
    deviation_.push_back(square > 0 ? std::sqrt(square) : 1.0);
    if (numeric(c)) {
      coordinate_.push_back({c, true});
      continue;
    }
    std::vector<double>& level = level_[c];
    for (Index i = 0; i < rows_; ++i) level.push_back(x(i, at));
    std::sort(level.begin(), level.end());
    level.erase(std::unique(level.begin(), level.end()), level.end());
    if (level.size() > kMaxLevels) {
      throw Error(fmt::format("kernel.column: {}: {} levels, at most {} can be told apart", name(c),
                              level.size(), kMaxLevels));
    }
    const bool is_ordered = column_[c].kind == Regressor::Kind::ordered;
    const std::size_t steps = level.size() - (is_ordered && !level.empty() ? 1 : 0);
    for (std::size_t l = 0; l < steps; ++l) coordinate_.push_back({c, true});
    if (is_ordered && ordered_ == OrderedKernel::wang_van_ryzin) {
      for (std::size_t l = 0; l < level.size(); ++l) coordinate_.push_back({c, false});
    }
  }
  // The operator needs one; this one is 0 everywhere.
  if (coordinate_.empty()) coordinate_.push_back({0, false});
}

Similarity MixedKernel::squared() const { return Gaussian{.bandwidth = std::sqrt(0.5)}; }

void MixedKernel::check_rows(View<const double, 2> x, const char* argument) const {
  if (x.shape[1] != static_cast<Index>(column_.size())) {
    throw Error(fmt::format("{}: {} columns, the model has {}", argument, x.shape[1], column_.size()));
  }
  for (Index i = 0; i < x.shape[0]; ++i) {
    for (Index c = 0; c < x.shape[1]; ++c) {
      // Squares have to be finite too.
      if (!(std::abs(x(i, c)) <= 1e150)) {
        throw Error(fmt::format("{}, row {}, {}: {}; numbers up to 1e150 can be used", argument, i,
                                name(static_cast<std::size_t>(c)), x(i, c)));
      }
    }
  }
}

void MixedKernel::check_bandwidth(const std::vector<double>& bandwidth) const {
  if (bandwidth.size() != column_.size()) {
    throw Error(fmt::format("kernel.bandwidth: {} numbers for {} columns", bandwidth.size(), column_.size()));
  }
  for (std::size_t c = 0; c < column_.size(); ++c) {
    const double h = bandwidth[c];
    if (numeric(c)) {
      if (!(h > 0)) {
        throw Error(fmt::format("kernel.bandwidth, {}: {}; a number needs a positive one", name(c), h));
      }
      continue;
    }
    const bool aitken =
        column_[c].kind == Regressor::Kind::unordered && unordered_ == UnorderedKernel::aitchison_aitken;
    const auto levels = static_cast<double>(level_[c].size());
    const double most = aitken ? (levels - 1) / levels : 1.0;
    // An optimum at the bound may lie a rounding beyond.
    if (!(h >= 0 && h <= most * (1 + 1e-12))) {
      throw Error(fmt::format("kernel.bandwidth, {}: {}; this category's lies in [0, {}]", name(c), h, most));
    }
  }
}

/// The coordinates' factor: 1 / h, or s.
double MixedKernel::scale(std::size_t c, double h) const {
  if (numeric(c)) return 1 / h;
  if (column_[c].kind == Regressor::Kind::ordered) return std::sqrt(2 * quantity(-std::log(h)));
  if (unordered_ == UnorderedKernel::li_racine) return std::sqrt(quantity(-std::log(h)));
  const auto others = static_cast<double>(level_[c].size()) - 1;
  return others > 0 ? std::sqrt(quantity(std::log((1 - h) * others / h))) : std::sqrt(kNever);
}

Array<double, 2> MixedKernel::coordinates(View<const double, 2> x,
                                          const std::vector<double>& bandwidth) const {
  const auto width = static_cast<Index>(coordinate_.size());
  Array<double, 2> out({x.shape[0], width});
  Index first = 0;
  for (std::size_t c = 0; c < column_.size(); ++c) {
    const auto at = static_cast<Index>(c);
    const double s = scale(c, bandwidth[c]);
    if (numeric(c)) {
      // Centered: what is subtracted in a distance should be small.
      for (Index i = 0; i < x.shape[0]; ++i) out(i, first) = (x(i, at) - center_[c]) * s;
      ++first;
      continue;
    }
    const std::vector<double>& level = level_[c];
    const auto count = static_cast<Index>(level.size());
    const bool is_ordered = column_[c].kind == Regressor::Kind::ordered;
    const bool halved = is_ordered && ordered_ == OrderedKernel::wang_van_ryzin;
    for (Index i = 0; i < x.shape[0]; ++i) {
      const double value = x(i, at);
      const auto found = std::lower_bound(level.begin(), level.end(), value);
      const bool known = found != level.end() && *found == value;
      const Index which = found - level.begin();
      if (is_ordered) {
        // A level between two others is so far along the step that the squared distances to them differ as
        // they should. What it is apart from all rows alike changes no weight.
        for (Index l = 0; l + 1 < count; ++l) {
          const double low = level[static_cast<std::size_t>(l)],
                       high = level[static_cast<std::size_t>(l) + 1];
          const double step = high - low;
          out(i, first + l) = s * std::clamp((value - low) / step, 0.0, 1.0) * std::sqrt(step);
        }
        if (halved && known) out(i, first + count - 1 + which) = std::sqrt(std::log(2.0));
      } else if (known) {
        out(i, first + which) = s;
      }
    }
    first += count - (is_ordered ? 1 : 0) + (halved ? count : 0);
  }
  return out;
}

std::vector<Index> MixedKernel::numeric_coordinates() const {
  std::vector<Index> at(column_.size(), -1);
  for (std::size_t k = 0; k < coordinate_.size(); ++k) {
    if (numeric(coordinate_[k].column)) at[coordinate_[k].column] = static_cast<Index>(k);
  }
  return at;
}

std::vector<double> MixedKernel::free(const std::vector<double>& bandwidth) const {
  std::vector<double> out;
  for (std::size_t c = 0; c < column_.size(); ++c) {
    const double s = scale(c, bandwidth[c]);
    out.push_back(numeric(c) ? std::log(bandwidth[c]) : 2 * std::log(s));
  }
  return out;
}

std::vector<double> MixedKernel::bandwidth(const std::vector<double>& free) const {
  std::vector<double> out;
  for (std::size_t c = 0; c < column_.size(); ++c) {
    const double value = std::exp(free[c]);
    if (numeric(c)) {
      constexpr double kMost = 1e100;  // its inverse's square is a number still
      out.push_back(std::clamp(value, 1 / kMost, kMost));
    } else if (column_[c].kind == Regressor::Kind::ordered) {
      out.push_back(std::exp(-value / 2));
    } else if (unordered_ == UnorderedKernel::li_racine) {
      out.push_back(std::exp(-value));
    } else {
      const double others = std::max(1.0, static_cast<double>(level_[c].size()) - 1);
      out.push_back(others / (others + std::exp(value)));
    }
  }
  return out;
}

std::vector<double> MixedKernel::reference(double factor) const {
  const double n = static_cast<double>(rows_), d = static_cast<double>(column_.size());
  std::vector<double> out;
  for (std::size_t c = 0; c < column_.size(); ++c) {
    if (numeric(c)) {
      out.push_back(1.06 * factor * deviation_[c] * std::pow(n, -1 / (4 + d)));
    } else {
      // l = 0.3 at factor 1, weaker with a larger one; for an ordered column a deviation apart.
      const double log_ratio = 1.2 / factor;
      const bool is_ordered = column_[c].kind == Regressor::Kind::ordered;
      const double s = is_ordered ? std::sqrt(2 * log_ratio / deviation_[c]) : std::sqrt(log_ratio);
      std::vector<double> one(column_.size(), 0.0);
      one[c] = 2 * std::log(s);
      out.push_back(bandwidth(one)[c]);
    }
  }
  return out;
}

void MixedKernel::add_gradient(View<const double, 2> coordinate, View<const double, 2> derivative,
                               std::vector<double>& gradient) const {
  std::vector<double> sum(coordinate_.size(), 0.0);
  for (Index i = 0; i < derivative.shape[0]; ++i) {
    for (std::size_t k = 0; k < sum.size(); ++k) {
      sum[k] += coordinate(i, static_cast<Index>(k)) * derivative(i, static_cast<Index>(k));
    }
  }
  // A coordinate is proportional to 1 / h = exp(-free), or to s = exp(free / 2).
  for (std::size_t k = 0; k < sum.size(); ++k) {
    const std::size_t c = coordinate_[k].column;
    if (coordinate_[k].scaled) gradient[c] += (numeric(c) ? -1.0 : 0.5) * sum[k];
  }
}

}  // namespace kith::neighbors
