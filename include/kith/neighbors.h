// Tables to predictions: rows become keys, the target column becomes values, and a prediction is the
// operator's weighted average of stored rows, which can therefore be shown.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kith/table.h"
#include "kith/view.h"

namespace kith {

enum class Task { regression, classification };
/// scalar: one bandwidth for all columns. diagonal: one a column (parametric attention pooling). linear: and
/// a matrix over all columns (metric learning for kernel regression); starts from diagonal's bandwidths.
/// encoder: keys made by a small network (ModernNCA, Ye et al. 2024), compared by their Euclidean distance.
/// automatic, for a fit alone: the one of the last three that predicts rows held out best.
enum class Metric { scalar, diagonal, linear, encoder, automatic };
/// What numeric columns go through: quantiles to a normal distribution, (x - mean) / deviation, or nothing.
enum class Scale { quantile, standard, none };

const char* name(Task);
const char* name(Metric);
const char* name(Scale);

/// Errors of predictions against the truth. Regression fills the first group, classification the second.
struct Errors {
  double rmse = 0, mae = 0, r2 = 0;
  double interval = 0;  ///< nominal coverage of the intervals scored.
  double coverage = 0;  ///< share of rows inside theirs.
  double crps = 0;      ///< continuous ranked probability score (Gneiting & Raftery 2007), in target units.

  double accuracy = 0, log_loss = 0, brier = 0;
  double auc = 0;  ///< area under the ROC curve; mean of one-against-rest for more than two classes.
};

/// One input column as the model knows it.
struct Feature {
  std::string name;
  Column::Kind kind = Column::Kind::numeric;
  std::vector<std::string> level;  ///< categories seen in fitting.
  bool has_missing = false;        ///< blanks were seen in fitting; they have an indicator of their own.
  /// Gaussian bandwidth in units of the encoded column (quantile-normal: standard deviations); +inf: ignored.
  double bandwidth = 0;
  /// By how much the leave-one-out error (RMSE, log loss) would rise if this column were ignored and the
  /// others kept their bandwidths, on a sample of rows: 0.35 is 35 %. Not negative.
  double rise = 0;
  /// This column's share of all columns' rises, 0 ... 1; they sum to 1.
  double importance = 0;
  /// Share of rows (0 ... 1) whose cell in this column is blank.
  double blank = 0;
};

struct FitProgress {
  int step = 0;
  int steps = 0;        ///< at most this many.
  double loss = 0;      ///< leave-one-out, of this step's rows.
  double held_out = 0;  ///< the error that decides when to stop.
  double seconds = 0;
};

struct FitOptions {
  std::string target;
  std::optional<Task>
      task{};  ///< not given: a numeric target is regression, a categorical one classification.
  Metric metric = Metric::diagonal;
  Scale scale = Scale::quantile;
  const Table* validation = nullptr;  ///< decides when to stop; not given: a tenth of the rows, held out.
  double time_limit = 0;              ///< seconds after which the best metric so far is taken; 0: none.
  std::uint64_t seed = 0;
  int threads = 0;
  /// Called after each step; false stops the fit, which then keeps the best so far.
  std::function<bool(const FitProgress&)> progress{};
};

/// One stored row behind a prediction.
struct Neighbor {
  std::size_t row = 0;        ///< data row in the table the model was fitted on, from 1.
  double weight = 0;          ///< its softmax weight, 0 ... 1.
  std::string target;         ///< its target cell.
  std::vector<double> apart;  ///< per feature: |difference| in bandwidths (encoded), 0 = the same.
};

struct PredictOptions {
  std::optional<double> interval{};  ///< nominal coverage in (0, 1); regression only.
  int why = 0;                       ///< this many rows behind each prediction.
  int threads = 0;
};

struct Prediction {
  std::vector<double> value;         ///< regression: the weighted mean, per row.
  std::vector<double> lower, upper;  ///< when an interval was asked for.
  Array<double, 2> probability;      ///< classification: [rows, classes].
  std::vector<std::uint32_t> label;  ///< classification: the likeliest class.
  std::vector<double> spread;        ///< regression: standard deviation of the weighted neighbors' targets.
  std::vector<std::vector<Neighbor>> why;  ///< per row, heaviest first.
  std::vector<std::string> notes;          ///< e.g. how many cells held a category not seen in fitting.
};

/// A fitted model: schema, encoding, metric and the stored rows. Immutable; copies share.
class Model {
 public:
  /// kith::Error names the file and what is wrong with it.
  static Model load(const std::string& path);
  void save(const std::string& path) const;  ///< whole or not at all; an old file survives a failure.

  Task task() const;
  Metric metric() const;
  Scale scale() const;
  const std::string& target() const;
  const std::vector<Feature>& features() const;
  const std::vector<std::string>& classes() const;  ///< classification only.
  std::size_t rows() const;                         ///< stored rows.
  const Errors& leave_one_out() const;              ///< of the stored rows (interval: 0.9).
  double effective_neighbors() const;             ///< median over stored rows of 1 / sum of squared weights.
  double seconds() const;                         ///< the fit took; 0 for a loaded model.
  bool stopped_early() const;                     ///< the caller's progress function ended it.
  const std::vector<std::string>& notes() const;  ///< rows left out, columns ignored, ... one sentence each.
  /// The stored cell as text, "" when blank. Row from 1, column a feature's position.
  std::string cell(std::size_t row, std::size_t feature) const;
  std::string target_cell(std::size_t row) const;
  /// Numeric target of a stored row; regression only.
  double target_value(std::size_t row) const;
  /// The data row (from 1) of the fitted table that stored row (from 1) came from, blank targets having been
  /// left out.
  std::size_t table_row(std::size_t row) const;

  /// How `read_csv` should read a table for this model: its columns and their kinds. `with_target` for
  /// scoring.
  CsvOptions csv_options(bool with_target) const;

  struct Impl;
  explicit Model(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  const Impl& impl() const { return *impl_; }

 private:
  std::shared_ptr<const Impl> impl_;
};

/// Learns the metric by leave-one-out loss: the operator forward and backward under `exclude_self`, over
/// log-bandwidths. Same table, options and seed give the same model on any number of threads.
Model fit(const Table& table, const FitOptions& options);

/// Errors on rows that a fit has not seen.
struct CrossValidation {
  std::vector<Errors> fold;
  Errors mean, deviation;  ///< over the folds, each measure by itself; the deviation is the sample's.
};
/// Puts the rows whose target is filled into `folds` parts at random, by the seed; fits on all parts but one
/// and scores that one, for each. Intervals cover 0.9. A fit that `progress` stops ends it: the folds are
/// then fewer. Errors: fewer than two folds, more than rows, and those of fit and score.
CrossValidation cross_validate(const Table& table, const FitOptions& options, int folds);

/// Errors name the column: a feature that the table lacks or holds in another kind.
Prediction predict(const Model& model, const Table& table, const PredictOptions& options = {});

struct Score {
  std::size_t rows = 0;  ///< rows scored: those whose target is filled.
  std::size_t rows_left_out = 0;
  Errors errors;
};
Score score(const Model& model, const Table& table, double interval = 0.9, int threads = 0);

/// What a simple predictor on the same encoded rows makes of the same table.
struct Baseline {
  std::string name;  ///< "mean" or "majority", "kNN, k = 9", "one bandwidth"
  Errors errors;
};
std::vector<Baseline> baselines(const Model& model, const Table& table, int threads = 0);

}  // namespace kith
