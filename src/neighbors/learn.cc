#include "neighbors/learn.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "neighbors/columns.h"
#include "neighbors/encoder_fit.h"
#include "neighbors/linear.h"
#include "neighbors/objective.h"
#include "neighbors/target.h"

namespace kith::neighbors {
namespace {

/// Below this many rows a tenth of them decides nothing; the leave-one-out loss of all rows does.
constexpr Index kSmallTable = 200;
/// A random order that is the same everywhere for a seed (std::shuffle's is not).
std::vector<Index> shuffled(Index count, std::uint64_t seed) {
  std::vector<Index> order = all_rows(static_cast<std::size_t>(count));
  std::mt19937_64 random(seed);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);
  return order;
}

/// Rows of `from` in the given order.
Array<float, 2> gather(const Array<float, 2>& from, const std::vector<Index>& order, Index width) {
  Array<float, 2> out({static_cast<Index>(order.size()), width});
  for (std::size_t i = 0; i < order.size(); ++i) {
    const float* row = from.data() + order[i] * from.shape()[1];
    std::copy(row, row + width, out.data() + static_cast<Index>(i) * width);
  }
  return out;
}

/// Variance of each feature's coordinates, summed over them.
std::vector<double> spread_of(const Array<float, 2>& x, const std::vector<std::size_t>& feature_of,
                              std::size_t features) {
  std::vector<double> spread(features, 0.0);
  const Index n = x.shape()[0];
  for (std::size_t c = 0; c < feature_of.size(); ++c) {
    double mean = 0, squares = 0;
    for (Index i = 0; i < n; ++i) mean += static_cast<double>(x(i, static_cast<Index>(c)));
    mean /= static_cast<double>(n);
    for (Index i = 0; i < n; ++i) {
      const double d = static_cast<double>(x(i, static_cast<Index>(c))) - mean;
      squares += d * d;
    }
    spread[feature_of[c]] += squares / static_cast<double>(n);
  }
  return spread;
}

/// What the search sees of a table: encoded rows and targets as the loss takes them.
struct LossRows {
  Array<float, 2> key, value;

  Rows view() const { return {key.view(), value.view()}; }
};

LossRows stored_rows(const Model::Impl& model, const std::vector<Encoding>& encodings,
                     const std::vector<double>& bandwidth, const std::vector<Index>& order) {
  const Array<float, 2> key = encode(encodings, bandwidth, model.cells);
  const Index values = model.task == Task::regression ? 1 : static_cast<Index>(model.classes.size());
  return {gather(key, order, key.shape()[1]), gather(model.value, order, values)};
}

LossRows validation_rows(const Model::Impl& model, const Table& table, const std::vector<double>& bandwidth) {
  Truth truth = read_truth(model, table);
  if (model.task == Task::classification) {
    // A class that fitting has not seen cannot guide it.
    Truth known;
    for (std::size_t i = 0; i < truth.rows.size(); ++i) {
      if (truth.code[i] == kUnseen) continue;
      known.rows.push_back(truth.rows[i]);
      known.code.push_back(truth.code[i]);
    }
    truth = std::move(known);
  }
  if (truth.rows.empty()) {
    throw Error(fmt::format("validation: no row has a target '{}' that fitting has seen", model.target));
  }
  const OwnedCells cells = read_cells(table, model.features, model.encodings, truth.rows, nullptr);
  const auto n = static_cast<Index>(truth.rows.size());
  LossRows out;
  out.key = encode(model.encodings, bandwidth, cells.view());
  out.value =
      Array<float, 2>({n, model.task == Task::regression ? 1 : static_cast<Index>(model.classes.size())});
  for (Index i = 0; i < n; ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (model.task == Task::regression) {
      out.value(i, 0) = static_cast<float>((truth.number[at] - model.center) / model.deviation);
    } else {
      out.value(i, static_cast<Index>(truth.code[at])) = 1.0F;
    }
  }
  return out;
}

void set_importance(Model::Impl& model, const std::vector<double>& rise) {
  const double total = std::accumulate(rise.begin(), rise.end(), 0.0);
  const auto used = std::count_if(model.features.begin(), model.features.end(),
                                  [](const Feature& f) { return std::isfinite(f.bandwidth); });
  for (std::size_t f = 0; f < rise.size(); ++f) {
    Feature& feature = model.features[f];
    feature.rise = rise[f];
    // Where no column lowers the error, none is more important than another.
    const double even = std::isfinite(feature.bandwidth) ? 1 / static_cast<double>(used) : 0.0;
    feature.importance = total > 0 ? rise[f] / total : even;
  }
}

/// Climbs from rung to rung; each leaves the model whole.
class Ladder {
 public:
  Ladder(Model::Impl& model, const FitOptions& options, Progress& progress)
      : model_(model),
        options_(options),
        progress_(progress),
        ones_(model.features.size(), 1.0),
        order_(shuffled(model.rows(), options.seed)),
        holds_out_(!options.validation && model.rows() >= kSmallTable) {}

  void climb() {
    one_bandwidth();
    if (options_.metric == Metric::scalar || progress_.stopped()) return;
    bandwidths();
    if (options_.metric == Metric::linear && !progress_.stopped()) projection();
  }

 private:
  /// Rows of the table in random order, the last of which may be held out; or those of the validation table.
  struct Data {
    LossRows rows, validation;
    SearchProblem problem;
  };
  Data data(const std::vector<Encoding>& encodings, const std::vector<double>& bandwidth) const {
    Data d;
    d.rows = stored_rows(model_, encodings, bandwidth, order_);
    const Rows all = d.rows.view();
    const Index n = model_.rows(), held_out = holds_out_ ? n / 10 : 0;
    d.problem.train = all.slice(0, n - held_out);
    d.problem.held_out = all.slice(n - held_out, held_out);
    d.problem.spread = spread_of(d.rows.key, coordinate_features(encodings, bandwidth), encodings.size());
    return d;
  }
  /// The same with the validation table, if there is one, as the rows held out.
  Data data_with_validation(const std::vector<double>& bandwidth) const {
    Data d = data(model_.encodings, bandwidth);
    if (options_.validation) {
      d.validation = validation_rows(model_, *options_.validation, bandwidth);
      d.problem.held_out = d.validation.view();
    }
    return d;
  }

  Objective objective_of(const std::vector<Encoding>& encodings) const {
    return Objective(coordinate_features(encodings, ones_), encodings.size(), model_.prior.frequency,
                     options_.threads);
  }
  void set_prior(double log_weight) { model_.prior.log_weight = model_.prior_log_weight = log_weight; }
  void set(const Smoother& found, Objective& objective, const SearchProblem& problem) {
    set_prior(found.prior_log_weight);
    for (std::size_t f = 0; f < model_.features.size(); ++f)
      model_.features[f].bandwidth = found.bandwidth[f];
    set_importance(model_, rise_without(objective, problem, found));
    if (options_.metric != Metric::linear) return;
    const auto width = coordinate_features(model_.encodings, model_.bandwidths()).size();
    model_.projection = identity(static_cast<Index>(width));
  }

  void one_bandwidth() {
    const bool last = options_.metric == Metric::scalar;
    const std::vector<Encoding> plain = without_values(model_.encodings);
    const Data d = data(plain, ones_);
    if (std::none_of(d.problem.spread.begin(), d.problem.spread.end(), [](double s) { return s > 0; })) {
      throw Error(
          fmt::format("target '{}': no other column tells rows apart, and a prediction needs at least one",
                      model_.target));
    }
    Objective objective = objective_of(plain);
    model_.one_bandwidth =
        find_one_bandwidth(objective, d.problem, !last && options_.scale == Scale::none, last, progress_);
    if (last || progress_.stopped()) set(model_.one_bandwidth, objective, d.problem);
  }

  void bandwidths() {
    const Data d = data_with_validation(ones_);
    Objective objective = objective_of(model_.encodings);
    Smoother found = find_bandwidths(objective, d.problem, model_.one_bandwidth, progress_);
    if (!progress_.stopped()) {
      for (std::size_t f : drop_useless(objective, d.problem, found)) {
        model_.notes.push_back(fmt::format("column '{}' is ignored: predictions are no better with it",
                                           model_.features[f].name));
      }
    }
    set(found, objective, d.problem);
  }

  void projection() {
    const Data d = data_with_validation(model_.bandwidths());
    KeyLoss loss(Gaussian{}, model_.prior.frequency, options_.threads);
    Projection found = find_projection(loss, d.problem, model_.prior_log_weight, progress_);
    set_prior(found.prior_log_weight);
    set_importance(model_, rise_without(loss, d.problem, found,
                                        coordinate_features(model_.encodings, model_.bandwidths()),
                                        model_.features.size()));
    model_.projection = std::move(found.matrix);
  }

  Model::Impl& model_;
  const FitOptions& options_;
  Progress& progress_;
  std::vector<double> ones_;
  std::vector<Index> order_;
  bool holds_out_;
};

}  // namespace

void learn_metric(Model::Impl& model, const FitOptions& options, Progress& progress) {
  Ladder(model, options, progress).climb();
}

int most_steps(const Model::Impl& model, const FitOptions& options) {
  int steps = kOneBandwidthSteps;
  if (options.metric == Metric::scalar) {
    return steps + (model.task == Task::classification ? kOneBandwidthSteps : 0);
  }
  steps += kDescentSteps + kSweepStepsPerColumn * static_cast<int>(model.features.size());
  return steps + (options.metric == Metric::linear ? kDescentSteps : 0);
}

}  // namespace kith::neighbors
