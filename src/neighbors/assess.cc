#include "neighbors/assess.h"

#include <fmt/format.h>

#include <algorithm>

#include "neighbors/answer.h"
#include "neighbors/errors.h"

namespace kith::neighbors {
namespace {

/// Leave-one-out errors are taken over as many rows as keep this (pairs times coordinates) affordable.
constexpr Index kAssessWork = 40'000'000'000;
constexpr const char* kSampleNote = "leave-one-out errors are those of ";

View<const float, 2> slice(View<const float, 2> rows, Index first, Index count) {
  rows.data += first * rows.stride[0];
  rows.shape[0] = count;
  return rows;
}

}  // namespace

void judge(Model::Impl& model, const std::vector<Asked>& parts, int threads) {
  Index count = 0;
  for (const Asked& part : parts) count += part.query.shape[0];
  std::vector<Neighborhood> neighborhood;
  std::vector<double> truth, value;
  std::vector<std::uint32_t> truth_code;
  Array<double, 2> probability;
  if (model.task == Task::classification) {
    probability = Array<double, 2>({count, static_cast<Index>(model.classes.size())});
  }
  for (const Asked& part : parts) {
    const Answers answers =
        answer(model.similarity(), model.key, model.value, model.prior, part.query, part.self, 0, threads);
    if (model.task == Task::regression) {
      for (const Neighborhood& at : answers.neighborhood) {
        neighborhood.push_back(at);
        value.push_back(model.center + model.deviation * at.mean);
      }
      truth.insert(truth.end(), part.number.begin(), part.number.end());
    } else {
      std::copy(answers.probability.begin(), answers.probability.end(),
                probability.data() + static_cast<Index>(truth_code.size()) * probability.shape()[1]);
      truth_code.insert(truth_code.end(), part.code.begin(), part.code.end());
    }
  }
  if (model.task == Task::classification) {
    model.leave_one_out = classification_errors(truth_code, probability);
    return;
  }
  std::vector<double> standardized;
  for (double y : truth) standardized.push_back((y - model.center) / model.deviation);
  model.calibration = Calibration::learn(neighborhood, standardized);
  model.leave_one_out = regression_errors(truth, value);
  add_interval_errors(model.leave_one_out, model.calibration, neighborhood, standardized, model.deviation,
                      0.9);
}

void assess(Model::Impl& model, int threads) {
  const Index n = model.rows();
  // Rows at equal distances stand for all where all would take too long.
  const Index count = std::min(n, std::max<Index>(2000, kAssessWork / (n * (model.key.shape[1] + 16))));
  // Leave-one-out is a slice of the keys against all keys, so the sample is made of runs.
  const Index runs = count == n ? 1 : 16, size = count / runs;
  std::vector<Asked> parts;
  for (Index r = 0; r < runs; ++r) {
    const Index first = (n - size) * r / std::max<Index>(1, runs - 1);
    Asked& part = parts.emplace_back();
    part.query = slice(model.key, first, size);
    part.self = first;
    for (Index i = first; i < first + size; ++i) {
      if (model.task == Task::regression) {
        part.number.push_back(model.target_number(i));
      } else {
        part.code.push_back(model.target_code(i));
      }
    }
  }
  judge(model, parts, threads);
  std::erase_if(model.notes, [](const std::string& note) { return note.starts_with(kSampleNote); });
  if (count < n) model.notes.push_back(fmt::format("{}{} of the {} rows", kSampleNote, size * runs, n));
  count_effective_neighbors(model, threads);
}

void count_effective_neighbors(Model::Impl& model, int threads) {
  const Index n = model.rows();
  const Index few = std::min<Index>(n, std::max<Index>(200, std::min<Index>(2000, 100'000'000 / n)));
  const Index first = (n - few) / 2;
  std::vector<double> effective =
      effective_neighbors(model.similarity(), model.key, slice(model.key, first, few), first, threads);
  std::nth_element(effective.begin(), effective.begin() + few / 2, effective.end());
  model.effective_neighbors = effective[static_cast<std::size_t>(few / 2)];
}

}  // namespace kith::neighbors
