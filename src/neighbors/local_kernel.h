// Product kernels over mixed columns as one Gaussian: every factor is a squared distance of coordinates.
#pragma once

#include <string>
#include <vector>

#include "kith/attention.h"
#include "kith/regression.h"

namespace kith::neighbors {

/// Coordinates of a kernel with given columns and levels. A number x with bandwidth h is x / h. An unordered
/// level is one coordinate of 1 per level times s, so that different levels add s^2 to minus the logit:
/// s^2 = log(K(equal) / K(different)). An ordered one counts up: a coordinate for each step between
/// neighboring levels, 0 below and s sqrt(step) above, |difference| log(1 / l) = s^2 |difference| / 2 in all;
/// Wang and van Ryzin's factor 1/2 is a coordinate per level besides.
class MixedKernel {
 public:
  /// Learns levels and spreads from x [n, d]. Errors name the column or the row.
  MixedKernel(View<const double, 2> x, const KernelOptions& options);

  std::size_t columns() const { return column_.size(); }
  bool numeric(std::size_t c) const { return column_[c].kind == Regressor::Kind::numeric; }
  /// Whether a linear fit has a slope in the column.
  bool slope(std::size_t c) const { return column_[c].slope.value_or(numeric(c)); }
  const std::string& name(std::size_t c) const { return column_[c].name; }
  const std::vector<double>& levels(std::size_t c) const { return level_[c]; }
  double center(std::size_t c) const { return center_[c]; }
  double deviation(std::size_t c) const { return deviation_[c]; }  ///< 1 where the column is constant.
  const Similarity& similarity() const { return similarity_; }
  bool gaussian() const { return std::holds_alternative<Gaussian>(similarity_); }
  /// The similarity whose weights are the squares of this one's; Gaussian only.
  Similarity squared() const;

  /// Error, naming the column: a bandwidth outside its kernel's range, or too many or few.
  void check_bandwidth(const std::vector<double>& bandwidth) const;
  /// Error: `argument` has another number of columns, or a cell that is no finite number.
  void check_rows(View<const double, 2> x, const char* argument) const;

  /// [n, width] of checked rows. A level not seen before is different from all, and an ordered one lies where
  /// its number puts it.
  Array<double, 2> coordinates(View<const double, 2> x, const std::vector<double>& bandwidth) const;

  /// Where each numeric column's coordinate stands; -1 for categories.
  std::vector<Index> numeric_coordinates() const;

  /// Bandwidths as free numbers for a search: log h, and for categories log s^2.
  std::vector<double> free(const std::vector<double>& bandwidth) const;
  std::vector<double> bandwidth(const std::vector<double>& free) const;
  /// Normal reference, 1.06 sd n^(-1 / (4 + d)), times `factor`; for categories a weak kernel likewise.
  std::vector<double> reference(double factor) const;
  /// Adds to `gradient`, by free number, that of a loss whose derivatives by coordinates are given; columns
  /// beyond the kernel's coordinates are not read.
  void add_gradient(View<const double, 2> coordinate, View<const double, 2> derivative,
                    std::vector<double>& gradient) const;

 private:
  struct Coordinate {
    std::size_t column;
    bool scaled;  ///< by the bandwidth; not: Wang and van Ryzin's constant part.
  };
  double scale(std::size_t c, double bandwidth) const;

  std::vector<Regressor> column_;
  std::vector<std::vector<double>> level_;  ///< ascending; categories.
  std::vector<double> center_, deviation_;
  std::vector<Coordinate> coordinate_;
  Similarity similarity_ = Gaussian{};
  OrderedKernel ordered_;
  UnorderedKernel unordered_;
  Index rows_ = 0;
};

}  // namespace kith::neighbors
