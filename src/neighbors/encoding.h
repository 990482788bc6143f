// Columns to keys: what a cell becomes as coordinates, before any bandwidth.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kith/neighbors.h"

namespace kith::neighbors {

/// Codes at prediction: Column::kMissing for a blank, this for a category that fitting did not see.
inline constexpr std::uint32_t kUnseen = Column::kMissing - 1;
/// A categorical column keeps this many of its most frequent levels; the rest share one group.
inline constexpr std::size_t kMaxLevels = 255;

/// Bandwidths whose inverse is an ordinary float.
inline constexpr double kMinBandwidth = 1e-37, kMaxBandwidth = 1e37;

/// How one column becomes `width()` coordinates.
///  - numeric: the value through `scale` (0 where the cell is blank). For quantiles that is the normal
///    quantile of its rank; with `and_value` it is the rank itself, scaled to variance 1, and twice the
///    value, from the median in units of the middle half and within 5 of them: ranks adapt to how dense
///    the rows are, values keep the column's own distances. Then, if blanks were seen, 0, or `indicator`
///    where the cell is blank.
///  - categorical: one coordinate a group, 1/sqrt(2) in the cell's own and 0 elsewhere, so that different
///    groups are 1 apart; two groups need one coordinate only, -1/2 or 1/2. A blank is a group of its
///    own. An unseen category is all zeros: equally far from every group.
struct Encoding {
  Column::Kind kind = Column::Kind::numeric;
  bool has_missing = false;
  bool usable = false;  ///< false: constant, all blank or all different; no coordinates.

  Scale scale = Scale::quantile;
  std::vector<double> quantile;  ///< Scale::quantile: at equally spaced probabilities 0 ... 1, ascending.
  double margin = 0.5;           ///< Scale::quantile: probabilities stay this far from 0 and 1: half a row.
  bool and_value = false;        ///< the value beside its rank
  double center = 0, deviation = 1;  ///< of the value; without scaling the deviation is 1.
  double indicator = 1;              ///< without scaling, the column's deviation: as far as values are apart.

  std::vector<std::uint32_t> group;  ///< level -> group; several rare levels may share the last one.
  std::uint32_t groups = 0;          ///< without the blanks' group, which comes last.

  Index width() const;
};

/// The cells a model needs from a table, by kind: number [numeric features, rows] with NaN for blanks, and
/// code [categorical features, rows] into each feature's levels.
struct Cells {
  View<const double, 2> number;
  View<const std::uint32_t, 2> code;
  Index rows = 0;
};

/// `value`: the column's cells, NaN where blank; infinities have been refused.
Encoding fit_numeric(const double* value, Index rows, Scale scale);
/// `code`: into `levels` levels, each of which occurs.
Encoding fit_categorical(const std::uint32_t* code, Index rows, std::size_t levels);

/// The same columns by their ranks alone.
std::vector<Encoding> without_values(std::vector<Encoding> encodings);

/// One cell into `out[0 ... width())`, which holds zeros.
void encode_number(const Encoding& encoding, double value, float* out);
void encode_code(const Encoding& encoding, std::uint32_t code, float* out);

/// All coordinates of features with a finite bandwidth, divided by it: [rows, sum of their widths].
Array<float, 2> encode(const std::vector<Encoding>& encodings, const std::vector<double>& bandwidth,
                       const Cells& cells);

/// The feature each coordinate of `encode` belongs to.
std::vector<std::size_t> coordinate_features(const std::vector<Encoding>& encodings,
                                             const std::vector<double>& bandwidth);

/// A coordinate divided by its bandwidth; kept where its square is still a float.
float scaled(float coordinate, float inverse_bandwidth);

}  // namespace kith::neighbors
