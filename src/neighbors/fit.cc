#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "neighbors/assess.h"
#include "neighbors/columns.h"
#include "neighbors/key_map.h"
#include "neighbors/learn.h"
#include "neighbors/model.h"
#include "neighbors/own_rows.h"
#include "neighbors/target.h"

namespace kith {
namespace {

using neighbors::Encoding;
using neighbors::OwnedCells;

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

}  // namespace

Model fit(const Table& table, const FitOptions& options) {
  if (!(options.time_limit >= 0)) {
    throw Error(fmt::format("time_limit: {} s; a number from 0 is needed, 0 for none", options.time_limit));
  }
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  auto model = std::make_shared<Model::Impl>();
  auto stored = std::make_shared<neighbors::OwnRows>();
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

  bool late = false;
  const auto report = [&](FitProgress at) {
    at.seconds = elapsed();
    late = options.time_limit > 0 && at.seconds > options.time_limit;
    return (!options.progress || options.progress(at)) && !late;
  };
  neighbors::Progress progress(neighbors::most_steps(*model, options), report);
  neighbors::learn_metric(*model, options, progress);
  model->stopped_early = progress.stopped() && !late;
  if (late) {
    model->notes.push_back(fmt::format(
        "the time limit of {} s ended the search: the metric is the best so far", options.time_limit));
  }
  stored->key = neighbors::keys_of(*model, model->cells);
  model->key = stored->key.view();
  neighbors::assess(*model, options.threads);
  model->seconds = elapsed();
  return Model(std::move(model));
}

}  // namespace kith
