#include "neighbors/learn.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <random>

#include "neighbors/columns.h"
#include "neighbors/encoder_fit.h"
#include "neighbors/key_map.h"
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

/// An encoder is stopped by rows held out, however few there are.
constexpr Index kFewestEncoderRows = 50;
Index fewest_to_hold_out(Metric metric) {
  return metric == Metric::encoder ? kFewestEncoderRows : kSmallTable;
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
        holds_out_(!options.validation && model.rows() >= fewest_to_hold_out(options.metric)) {}

  void climb() {
    one_bandwidth();
    if (options_.metric == Metric::scalar || progress_.stopped()) return;
    const bool few = model_.rows() < kFewestEncoderRows;
    if (options_.metric == Metric::encoder) {
      if (!few) return static_cast<void>(encoder());
      model_.notes.push_back(fmt::format("an encoder needs {} rows or more; bandwidths were fitted instead",
                                         kFewestEncoderRows));
    }
    const Loss by_bandwidths = bandwidths();
    if (progress_.stopped()) return;
    if (options_.metric == Metric::linear) projection();
    if (options_.metric == Metric::automatic && !by_bandwidths.row.empty()) {
      choose(by_bandwidths);
    }
  }

 private:
  /// From the bandwidths on, the rung whose held-out rows are predicted best; a higher one has to be better
  /// by more than a standard error, which on a few rows is much.
  void choose(Loss least) {
    std::string tried = error_text(Metric::diagonal, least.mean);
    Rung best = rung();
    for (const Metric metric : {Metric::linear, Metric::encoder}) {
      Loss held_out = metric == Metric::linear ? projection() : encoder();
      tried += ", " + error_text(metric, held_out.mean);
      if (rise_in_errors(least, held_out) < -1) {
        least = std::move(held_out);
        best = rung();
      }
      if (progress_.stopped()) break;
    }
    restore(std::move(best));
    model_.notes.push_back(
        fmt::format("error of the rows held out: {}; the metric is {}", tried, name(model_.metric)));
  }
  std::string error_text(Metric metric, double loss) const {
    const double error = model_.task == Task::regression ? model_.deviation * std::sqrt(loss) : loss;
    return fmt::format("{} {:.4g}", name(metric), error);
  }

  /// What a rung leaves in the model.
  struct Rung {
    Metric metric;
    std::vector<Feature> features;
    std::vector<Encoding> encodings;
    Array<double, 2> projection;
    std::optional<Encoder> encoder;
    double prior_log_weight;
  };
  Rung rung() const {
    return {model_.metric,     model_.features, model_.encodings,
            model_.projection, model_.encoder,  model_.prior_log_weight};
  }
  void restore(Rung rung) {
    model_.metric = rung.metric;
    model_.features = std::move(rung.features);
    model_.encodings = std::move(rung.encodings);
    model_.projection = std::move(rung.projection);
    model_.encoder = std::move(rung.encoder);
    set_prior(rung.prior_log_weight);
  }

  /// Rows of the table in random order, the last of which may be held out; or those of the validation table.
  struct Data {
    LossRows rows, validation;
    SearchProblem problem;
  };
  Data data(const std::vector<Encoding>& encodings, const std::vector<double>& bandwidth) const {
    Data d;
    d.rows = stored_rows(model_, encodings, bandwidth, order_);
    const Rows all = d.rows.view();
    const Index n = model_.rows(), held_out = holds_out_ ? n / (n < kSmallTable ? 5 : 10) : 0;
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
    model_.metric = options_.metric == Metric::scalar ? Metric::scalar : Metric::diagonal;
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
    set_prior(model_.one_bandwidth.prior_log_weight);
    if (last || progress_.stopped()) set(model_.one_bandwidth, objective, d.problem);
  }

  // Each rung from here on returns its held-out loss, of no rows where none are held out.
  Loss bandwidths() {
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
    if (d.problem.held_out.count() == 0) return {};
    return objective.evaluate(d.problem.train, d.problem.held_out, std::nullopt, objective.parameters(found),
                              false);
  }

  Loss projection() {
    const Data d = data_with_validation(model_.bandwidths());
    KeyLoss loss(Gaussian{}, model_.prior.frequency, options_.threads);
    Projection found = find_projection(loss, d.problem, model_.prior_log_weight, progress_);
    set_prior(found.prior_log_weight);
    set_importance(model_, rise_without(loss, d.problem, found,
                                        coordinate_features(model_.encodings, model_.bandwidths()),
                                        model_.features.size()));
    model_.projection = std::move(found.matrix);
    model_.metric = Metric::linear;
    const Rows &train = d.problem.train, &held_out = d.problem.held_out;
    if (held_out.count() == 0) return {};
    return loss
        .evaluate(held_out.key, held_out.value, train.key, train.value, std::nullopt, found.prior_log_weight,
                  false, model_.projection)
        .loss;
  }

  Loss encoder() {
    // A network finds a column's own distances from its normal quantiles, and is better without values beside
    // them.
    model_.encodings = without_values(model_.encodings);
    for (std::size_t f = 0; f < model_.features.size(); ++f) {
      model_.features[f].bandwidth = model_.encodings[f].usable ? 1 : std::numeric_limits<double>::infinity();
    }
    const Data d = data_with_validation(ones_);
    KeyLoss loss(Euclidean{}, model_.prior.frequency, options_.threads);
    EncoderFit fit;
    fit.seed = options_.seed;
    FittedEncoder found = fit_encoder(loss, d.problem, number_coordinates(model_.encodings),
                                      model_.prior_log_weight, fit, progress_);
    set_prior(found.prior_log_weight);
    model_.encoder = std::move(found.encoder);
    model_.projection = {};
    model_.metric = Metric::encoder;
    set_importance(model_,
                   rise_without(loss, d.problem, *model_.encoder, found.prior_log_weight,
                                coordinate_features(model_.encodings, ones_), model_.features.size()));
    return found.held_out;
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
  const bool all = options.metric == Metric::automatic;
  if (all || options.metric == Metric::linear) steps += kDescentSteps;
  if (all || options.metric == Metric::encoder) steps += EncoderFit().passes;
  return steps;
}

}  // namespace kith::neighbors
