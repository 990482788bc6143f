#include <fmt/format.h>

#include <cmath>
#include <optional>

#include "neighbors/answer.h"
#include "neighbors/columns.h"
#include "neighbors/errors.h"
#include "neighbors/key_map.h"

namespace kith {
namespace {

/// Queries a call of the operator: bounds the memory of `why` and of encoded queries.
constexpr Index kQueries = 65536;

}  // namespace

Prediction predict(const Model& model, const Table& table, const PredictOptions& options) {
  const Model::Impl& m = model.impl();
  const bool regression = m.task == Task::regression;
  if (options.interval) {
    if (!(*options.interval > 0 && *options.interval < 1)) {
      throw Error(
          fmt::format("interval: {} is not a coverage between 0 and 1, such as 0.9", *options.interval));
    }
    if (!regression)
      throw Error("interval: the model predicts classes; their probabilities say how sure it is");
  }
  if (options.why < 0) throw Error(fmt::format("why: {} rows; a number from 0 is needed", options.why));
  const int top = static_cast<int>(std::min<Index>(options.why, m.rows()));

  Prediction p;
  const std::vector<Index> rows = neighbors::all_rows(table.rows);
  const neighbors::OwnedCells cells = neighbors::read_cells(table, m.features, m.encodings, rows, &p.notes);
  const Array<float, 2> query = neighbors::keys_of(m, cells.view());
  const Index width = query.shape()[1];
  std::pair<double, double> ends;
  if (options.interval) {
    ends = m.calibration.ends(*options.interval);
    if (m.calibration.too_few(*options.interval)) {
      p.notes.push_back(
          fmt::format("{} rows are too few to tell an interval of {}: it is as wide as the largest errors",
                      m.calibration.rows, *options.interval));
    }
  }
  std::optional<neighbors::Apart> apart;
  if (top > 0) apart.emplace(m, cells.view());
  if (!regression) p.probability = Array<double, 2>({cells.rows, static_cast<Index>(m.classes.size())});

  for (Index first = 0; first < cells.rows; first += kQueries) {
    const Index n = std::min(kQueries, cells.rows - first);
    const View<const float, 2> part(query.data() + first * width, {n, width});
    const neighbors::Answers answers =
        neighbors::answer(m.similarity(), m.key, m.value, m.prior, part, std::nullopt, top, options.threads);
    if (regression) {
      for (const neighbors::Neighborhood& at : answers.neighborhood) {
        p.value.push_back(m.center + m.deviation * at.mean);
        p.spread.push_back(m.deviation * std::sqrt(at.variance));
        if (!options.interval) continue;
        const double scale = m.deviation * m.calibration.scale(at);
        p.lower.push_back(p.value.back() + scale * ends.first);
        p.upper.push_back(p.value.back() + scale * ends.second);
      }
    } else {
      std::copy(answers.probability.begin(), answers.probability.end(),
                p.probability.data() + first * p.probability.shape()[1]);
    }
    for (Index i = 0; i < (top > 0 ? n : 0); ++i) {
      std::vector<Neighbor>& why = p.why.emplace_back();
      for (Index t = 0; t < top; ++t) {
        const Index j = answers.top_key(0, 0, i, t);
        if (j < 0) break;
        const auto row = static_cast<std::size_t>(j + 1);
        why.push_back({.row = model.table_row(row),
                       .weight = static_cast<double>(answers.top_weight(0, 0, i, t)),
                       .target = model.target_cell(row),
                       .apart = (*apart)(first + i, j)});
      }
    }
  }
  if (!regression) p.label = neighbors::likeliest(p.probability);
  return p;
}

}  // namespace kith
