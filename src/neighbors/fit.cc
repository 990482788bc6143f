#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "neighbors/answer.h"
#include "neighbors/columns.h"
#include "neighbors/errors.h"
#include "neighbors/key_map.h"
#include "neighbors/learn.h"
#include "neighbors/model.h"
#include "neighbors/target.h"

namespace kith {
namespace {

using neighbors::Encoding;
using neighbors::OwnedCells;

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
  neighbors::Progress progress(neighbors::most_steps(*model, options), report);
  neighbors::learn_metric(*model, options, progress);
  model->stopped_early = progress.stopped();
  stored->key = neighbors::keys_of(*model, model->cells);
  model->key = stored->key.view();
  assess(*model, options.threads);
  model->seconds = elapsed();
  return Model(std::move(model));
}

}  // namespace kith
