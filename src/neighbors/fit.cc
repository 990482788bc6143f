#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <random>

#include "neighbors/answer.h"
#include "neighbors/columns.h"
#include "neighbors/errors.h"
#include "neighbors/key_map.h"
#include "neighbors/linear.h"
#include "neighbors/model.h"
#include "neighbors/objective.h"
#include "neighbors/search.h"
#include "neighbors/target.h"

namespace kith {
namespace {

using neighbors::Encoding;
using neighbors::OwnedCells;
using neighbors::Rows;

/// Below this many rows a tenth of them decides nothing; the leave-one-out loss of all rows does.
constexpr Index kSmallTable = 200;
/// Leave-one-out errors are taken over as many rows as keep this (pairs times coordinates) affordable.
constexpr Index kAssessWork = 40'000'000'000;

/// What a fitted model's views look at.
struct Stored {
  Array<float, 2> key;
  OwnedCells cells;
  std::vector<double> target_number;
  std::vector<std::uint32_t> target_code;
  std::vector<std::uint32_t> table_row;
};

template <class T>
View<const T, 1> view_of(const std::vector<T>& v) {
  return {v.data(), {static_cast<Index>(v.size())}};
}

/// A random order that is the same everywhere for a seed (std::shuffle's is not).
std::vector<Index> shuffled(Index count, std::uint64_t seed) {
  std::vector<Index> order = neighbors::all_rows(static_cast<std::size_t>(count));
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

Encoding fit_encoding(const Feature& feature, const OwnedCells& cells, Index position,
                      const FitOptions& options) {
  if (feature.kind == Column::Kind::categorical) {
    return neighbors::fit_categorical(cells.code.data() + position * cells.rows, cells.rows,
                                      feature.level.size());
  }
  Encoding e = neighbors::fit_numeric(cells.number.data() + position * cells.rows, cells.rows, options.scale);
  e.and_value = options.metric != Metric::scalar && options.scale == Scale::quantile;
  return e;
}

std::string why_unusable(const Feature& feature) {
  if (feature.blank == 1) return "every cell is blank";
  if (feature.kind == Column::Kind::categorical && feature.level.size() > 1) return "every cell is different";
  return "every cell is the same";
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
  const Array<float, 2> key = neighbors::encode(encodings, bandwidth, model.cells);
  const Index values = model.task == Task::regression ? 1 : static_cast<Index>(model.classes.size());
  return {gather(key, order, key.shape()[1]), gather(model.value, order, values)};
}

LossRows validation_rows(const Model::Impl& model, const Table& table, const std::vector<double>& bandwidth) {
  neighbors::Truth truth = neighbors::read_truth(model, table);
  if (model.task == Task::classification) {
    // A class that fitting has not seen cannot guide it.
    neighbors::Truth known;
    for (std::size_t i = 0; i < truth.rows.size(); ++i) {
      if (truth.code[i] == neighbors::kUnseen) continue;
      known.rows.push_back(truth.rows[i]);
      known.code.push_back(truth.code[i]);
    }
    truth = std::move(known);
  }
  if (truth.rows.empty()) {
    throw Error(fmt::format("validation: no row has a target '{}' that fitting has seen", model.target));
  }
  const OwnedCells cells = neighbors::read_cells(table, model.features, model.encodings, truth.rows, nullptr);
  const auto n = static_cast<Index>(truth.rows.size());
  LossRows out;
  out.key = neighbors::encode(model.encodings, bandwidth, cells.view());
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

/// Finds `model`'s metric, and one_bandwidth on the way.
void learn_metric(Model::Impl& model, const FitOptions& options, neighbors::Progress& progress) {
  const Index n = model.rows();
  const std::vector<double> ones(model.features.size(), 1.0);
  const std::vector<Index> order = shuffled(n, options.seed);
  const bool hold_out = !options.validation && n >= kSmallTable;
  const auto problem_of = [&](const Rows& all) {
    neighbors::SearchProblem problem;
    problem.train = hold_out ? all.slice(0, n - n / 10) : all;
    problem.held_out = hold_out ? all.slice(n - n / 10, n / 10) : all.slice(0, 0);
    return problem;
  };
  const auto objective_of = [&](const std::vector<Encoding>& encodings) {
    return neighbors::Objective(neighbors::coordinate_features(encodings, ones), encodings.size(),
                                model.prior.frequency, options.threads);
  };
  const auto set = [&](const neighbors::Smoother& found, neighbors::Objective& objective,
                       const neighbors::SearchProblem& problem) {
    model.prior.log_weight = model.prior_log_weight = found.prior_log_weight;
    for (std::size_t f = 0; f < model.features.size(); ++f) model.features[f].bandwidth = found.bandwidth[f];
    set_importance(model, neighbors::rise_without(objective, problem, found));
  };

  const bool diagonal = options.metric != Metric::scalar;
  const std::vector<Encoding> plain = neighbors::without_values(model.encodings);
  const LossRows rows = stored_rows(model, plain, ones, order);
  neighbors::SearchProblem problem = problem_of(rows.view());
  problem.spread = spread_of(rows.key, neighbors::coordinate_features(plain, ones), plain.size());
  if (std::none_of(problem.spread.begin(), problem.spread.end(), [](double s) { return s > 0; })) {
    throw Error(fmt::format(
        "target '{}': no other column tells rows apart, and a prediction needs at least one", model.target));
  }
  neighbors::Objective objective = objective_of(plain);
  model.one_bandwidth = neighbors::find_one_bandwidth(
      objective, problem, diagonal && options.scale == Scale::none, !diagonal, progress);
  if (!diagonal || progress.stopped()) return set(model.one_bandwidth, objective, problem);

  const LossRows full = stored_rows(model, model.encodings, ones, order);
  problem = problem_of(full.view());
  problem.spread = spread_of(full.key, neighbors::coordinate_features(model.encodings, ones), ones.size());
  LossRows validation;
  if (options.validation) {
    validation = validation_rows(model, *options.validation, ones);
    problem.held_out = validation.view();
  }
  objective = objective_of(model.encodings);
  neighbors::Smoother found = neighbors::find_bandwidths(objective, problem, model.one_bandwidth, progress);
  if (!progress.stopped()) {
    for (std::size_t f : neighbors::drop_useless(objective, problem, found)) {
      model.notes.push_back(
          fmt::format("column '{}' is ignored: predictions are no better with it", model.features[f].name));
    }
  }
  set(found, objective, problem);
  if (options.metric != Metric::linear || progress.stopped()) return;

  const std::vector<std::size_t> feature_of =
      neighbors::coordinate_features(model.encodings, model.bandwidths());
  const LossRows scaled = stored_rows(model, model.encodings, model.bandwidths(), order);
  problem = problem_of(scaled.view());
  if (options.validation) {
    validation = validation_rows(model, *options.validation, model.bandwidths());
    problem.held_out = validation.view();
  }
  neighbors::KeyLoss loss(Gaussian{}, model.prior.frequency, options.threads);
  neighbors::Projection projection =
      neighbors::find_projection(loss, problem, model.prior_log_weight, progress);
  model.prior.log_weight = model.prior_log_weight = projection.prior_log_weight;
  set_importance(model,
                 neighbors::rise_without(loss, problem, projection, feature_of, model.features.size()));
  model.projection = std::move(projection.matrix);
}

/// Leave-one-out errors, calibration and effective neighbors of the finished metric.
void assess(Model::Impl& model, int threads) {
  const Index n = model.rows();
  // Rows at equal distances stand for all where all would take too long.
  const Index count = std::min(n, std::max<Index>(2000, kAssessWork / (n * (model.key.shape[1] + 16))));
  // Leave-one-out is a slice of the keys against all keys, so the sample is made of runs.
  const Index runs = count == n ? 1 : 16;
  std::vector<neighbors::Neighborhood> neighborhood;
  std::vector<double> truth, value;
  std::vector<std::uint32_t> truth_code;
  Array<double, 2> probability;
  if (model.task == Task::classification) {
    probability = Array<double, 2>({count / runs * runs, static_cast<Index>(model.classes.size())});
  }
  for (Index r = 0; r < runs; ++r) {
    const Index size = count / runs, first = (n - size) * r / std::max<Index>(1, runs - 1);
    View<const float, 2> query = model.key;
    query.data += first * query.stride[0];
    query.shape[0] = size;
    const neighbors::Answers answers =
        neighbors::answer(model.key, model.value, model.prior, query, first, 0, threads);
    for (Index i = 0; i < size; ++i) {
      if (model.task == Task::regression) {
        neighborhood.push_back(answers.neighborhood[static_cast<std::size_t>(i)]);
        truth.push_back(model.target_number(first + i));
        value.push_back(model.center + model.deviation * neighborhood.back().mean);
      } else {
        truth_code.push_back(model.target_code(first + i));
        std::copy_n(answers.probability.data() + i * probability.shape()[1], probability.shape()[1],
                    probability.data() + (r * size + i) * probability.shape()[1]);
      }
    }
  }
  if (model.task == Task::regression) {
    std::vector<double> standardized;
    for (double y : truth) standardized.push_back((y - model.center) / model.deviation);
    model.calibration = neighbors::Calibration::learn(neighborhood, standardized);
    model.leave_one_out = neighbors::regression_errors(truth, value);
    neighbors::add_interval_errors(model.leave_one_out, model.calibration, neighborhood, standardized,
                                   model.deviation, 0.9);
  } else {
    model.leave_one_out = neighbors::classification_errors(truth_code, probability);
  }
  if (count < n) {
    model.notes.push_back(
        fmt::format("leave-one-out errors are those of {} of the {} rows", count / runs * runs, n));
  }

  const Index few = std::min<Index>(n, std::max<Index>(200, std::min<Index>(2000, 100'000'000 / n)));
  View<const float, 2> query = model.key;
  const Index first = (n - few) / 2;
  query.data += first * query.stride[0];
  query.shape[0] = few;
  std::vector<double> effective = neighbors::effective_neighbors(model.key, query, first, threads);
  std::nth_element(effective.begin(), effective.begin() + few / 2, effective.end());
  model.effective_neighbors = effective[static_cast<std::size_t>(few / 2)];
}

}  // namespace

Model fit(const Table& table, const FitOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  auto model = std::make_shared<Model::Impl>();
  auto stored = std::make_shared<Stored>();
  model->metric = options.metric;
  model->scale = options.scale;
  model->memory = stored;

  const std::vector<Index> rows =
      neighbors::learn_target(table, options, *model, stored->target_number, stored->target_code);
  for (Index row : rows) stored->table_row.push_back(static_cast<std::uint32_t>(row + 1));
  model->target_number = view_of(stored->target_number);
  model->target_code = view_of(stored->target_code);
  model->table_row = view_of(stored->table_row);

  model->features = neighbors::describe_features(table, options.target, rows);
  stored->cells = neighbors::read_cells(table, model->features, {}, rows, nullptr);
  model->cells = stored->cells.view();
  model->prepare();
  Index next_number = 0, next_code = 0;
  for (const Feature& feature : model->features) {
    Index& next = feature.kind == Column::Kind::numeric ? next_number : next_code;
    model->encodings.push_back(fit_encoding(feature, stored->cells, next++, options));
    if (!model->encodings.back().usable) {
      model->notes.push_back(fmt::format("column '{}' is ignored: {}", feature.name, why_unusable(feature)));
    }
  }

  const auto report = [&](FitProgress at) {
    at.seconds = elapsed();
    return !options.progress || options.progress(at);
  };
  int refinement = 0;
  if (options.metric == Metric::scalar) {
    if (model->task == Task::classification) refinement = neighbors::kOneBandwidthSteps;
  } else {
    refinement =
        neighbors::kDescentSteps + neighbors::kSweepStepsPerColumn * static_cast<int>(model->features.size());
  }
  if (options.metric == Metric::linear) refinement += neighbors::kDescentSteps;
  neighbors::Progress progress(neighbors::kOneBandwidthSteps + refinement, report);
  learn_metric(*model, options, progress);
  model->stopped_early = progress.stopped();
  if (options.metric == Metric::linear && model->projection.empty()) {
    const auto width = neighbors::coordinate_features(model->encodings, model->bandwidths()).size();
    model->projection = neighbors::identity(static_cast<Index>(width));
  }
  stored->key = neighbors::keys_of(*model, model->cells);
  model->key = stored->key.view();
  assess(*model, options.threads);
  model->seconds = elapsed();
  return Model(std::move(model));
}

}  // namespace kith
