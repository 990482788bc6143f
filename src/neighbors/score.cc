#include <fmt/format.h>

#include "neighbors/answer.h"
#include "neighbors/columns.h"
#include "neighbors/errors.h"
#include "neighbors/key_map.h"
#include "neighbors/model.h"
#include "neighbors/target.h"

namespace kith {

Score score(const Model& model, const Table& table, double interval, int threads) {
  const Model::Impl& m = model.impl();
  if (!(interval > 0 && interval < 1)) {
    throw Error(fmt::format("interval: {} is not a coverage between 0 and 1, such as 0.9", interval));
  }
  const neighbors::Truth truth = neighbors::read_truth(m, table);
  if (truth.rows.empty()) {
    throw Error(fmt::format("{}target '{}': no row to score, every cell is blank",
                            table.source.empty() ? "" : table.source + ": ", m.target));
  }
  const neighbors::OwnedCells cells =
      neighbors::read_cells(table, m.features, m.encodings, truth.rows, nullptr);
  const Array<float, 2> query = neighbors::keys_of(m, cells.view());
  const neighbors::Answers answers =
      neighbors::answer(m.similarity(), m.key, m.value, m.prior, query, std::nullopt, 0, threads);
  Score out;
  out.rows = truth.rows.size();
  out.rows_left_out = table.rows - out.rows;
  if (m.task == Task::classification) {
    out.errors = neighbors::classification_errors(truth.code, answers.probability);
    return out;
  }
  std::vector<double> value, standardized;
  for (std::size_t i = 0; i < out.rows; ++i) {
    value.push_back(m.center + m.deviation * answers.neighborhood[i].mean);
    standardized.push_back((truth.number[i] - m.center) / m.deviation);
  }
  out.errors = neighbors::regression_errors(truth.number, value);
  neighbors::add_interval_errors(out.errors, m.calibration, answers.neighborhood, standardized, m.deviation,
                                 interval);
  return out;
}

}  // namespace kith
