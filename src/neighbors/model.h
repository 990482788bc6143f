// What a model holds.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kith/neighbors.h"
#include "neighbors/encoder.h"
#include "neighbors/encoding.h"
#include "neighbors/interval.h"
#include "neighbors/objective.h"

namespace kith {

struct Model::Impl {
  Task task = Task::regression;
  Metric metric = Metric::diagonal;
  Scale scale = Scale::quantile;

  std::string target;
  Column::Kind target_kind = Column::Kind::numeric;
  std::vector<std::string> classes;  ///< classification: ascending by number or text.
  double center = 0, deviation = 1;  ///< regression: of the stored targets.

  std::vector<Feature> features;
  std::vector<neighbors::Encoding> encodings;  ///< one a feature.
  double prior_log_weight = 0;                 ///< classification.
  std::optional<neighbors::Encoder> encoder;   ///< Metric::encoder.
  Array<double, 2> projection;        ///< Metric::linear: [coordinates, rank], on coordinates in bandwidths.
  neighbors::Smoother one_bandwidth;  ///< before columns got their own.

  neighbors::Calibration calibration;  ///< regression.
  Errors leave_one_out;
  double effective_neighbors = 0;
  double seconds = 0;  ///< not written to the file, so that the same fit gives the same bits.
  bool stopped_early = false;
  std::vector<std::string> notes;

  // The stored rows, in the fitted table's order; views into `memory` (a mapped file or arrays).
  View<const float, 2> key;                  ///< see keys_of.
  neighbors::Cells cells;                    ///< the original cells.
  View<const double, 1> target_number;       ///< regression.
  View<const std::uint32_t, 1> target_code;  ///< classification: into `classes`.
  View<const std::uint32_t, 1> table_row;    ///< from 1.
  std::shared_ptr<const void> memory;

  // Derived by `prepare`.
  Array<float, 2>
      value;  ///< regression [n, 2]: standardized target and its square. Classification: [n, classes].
  neighbors::Prior prior;

  Index rows() const { return cells.rows; }
  std::vector<double> bandwidths() const;
  /// What compares keys.
  Similarity similarity() const;
  void prepare();
};

namespace neighbors {

/// Digits that read back as the number.
std::string number_text(double number);

}  // namespace neighbors
}  // namespace kith
