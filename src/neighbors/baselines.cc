#include <algorithm>

#include "neighbors/answer.h"
#include "neighbors/columns.h"
#include "neighbors/errors.h"
#include "neighbors/model.h"
#include "neighbors/target.h"

namespace kith {
namespace {

using neighbors::Answers;

/// Nearest neighbors averaged by plain kNN.
constexpr int kNearest = 9;

Errors errors_of(const Model::Impl& m, const neighbors::Truth& truth, const std::vector<double>& mean,
                 const Array<double, 2>& probability) {
  if (m.task == Task::classification) return neighbors::classification_errors(truth.code, probability);
  std::vector<double> value;
  for (double y : mean) value.push_back(m.center + m.deviation * y);
  return neighbors::regression_errors(truth.number, value);
}

Errors constant(const Model::Impl& m, const neighbors::Truth& truth) {
  const auto n = static_cast<Index>(truth.rows.size());
  Array<double, 2> probability({n, static_cast<Index>(m.prior.frequency.size())});
  for (Index i = 0; i < n; ++i)
    std::copy(m.prior.frequency.begin(), m.prior.frequency.end(),
              &probability.data()[i * probability.shape()[1]]);
  return errors_of(m, truth, std::vector<double>(truth.rows.size(), 0.0), probability);
}

Errors nearest(const Model::Impl& m, const neighbors::Truth& truth, const Array<float, 2>& key,
               const Array<float, 2>& query, int threads) {
  AttentionOptions options;
  options.similarity = Euclidean{};
  options.want.top = static_cast<int>(std::min<Index>(kNearest, m.rows()));
  options.threads = threads;
  const AttentionResult found = attend(query, key, m.value, options);
  const Index n = query.shape()[0], classes = static_cast<Index>(m.prior.frequency.size());
  std::vector<double> mean;
  Array<double, 2> probability({n, classes});
  for (Index i = 0; i < n; ++i) {
    double sum = 0, count = 0;
    // One more vote, by the prior, keeps the log loss finite.
    for (Index c = 0; c < classes; ++c) probability(i, c) = m.prior.frequency[static_cast<std::size_t>(c)];
    for (Index t = 0; t < options.want.top; ++t) {
      const Index j = found.top_key(0, 0, i, t);
      if (j < 0) break;
      count += 1;
      if (classes == 0) sum += static_cast<double>(m.value(j, 0));
      for (Index c = 0; c < classes; ++c) probability(i, c) += static_cast<double>(m.value(j, c));
    }
    mean.push_back(count > 0 ? sum / count : 0.0);
    for (Index c = 0; c < classes; ++c) probability(i, c) /= count + 1;
  }
  return errors_of(m, truth, mean, probability);
}

Errors one_bandwidth(const Model::Impl& m, const neighbors::Truth& truth, const Array<float, 2>& key,
                     const Array<float, 2>& query, int threads) {
  const neighbors::Prior prior{m.prior.frequency, m.one_bandwidth.prior_log_weight};
  const Answers answers = neighbors::answer(Gaussian{}, key, m.value, prior, query, std::nullopt, 0, threads);
  std::vector<double> mean;
  for (const neighbors::Neighborhood& at : answers.neighborhood) mean.push_back(at.mean);
  return errors_of(m, truth, mean, answers.probability);
}

}  // namespace

std::vector<Baseline> baselines(const Model& model, const Table& table, int threads) {
  const Model::Impl& m = model.impl();
  const neighbors::Truth truth = neighbors::read_truth(m, table);
  const neighbors::OwnedCells cells =
      neighbors::read_cells(table, m.features, m.encodings, truth.rows, nullptr);
  const std::vector<neighbors::Encoding> plain = neighbors::without_values(m.encodings);
  const auto keys = [&](const std::vector<double>& bandwidth) {
    return neighbors::encode(plain, bandwidth, m.cells);
  };
  const auto queries = [&](const std::vector<double>& bandwidth) {
    return neighbors::encode(plain, bandwidth, cells.view());
  };
  const std::vector<double> ones(m.features.size(), 1.0);
  return {
      {m.task == Task::regression ? "mean" : "majority", constant(m, truth)},
      {"kNN, k = 9", nearest(m, truth, keys(ones), queries(ones), threads)},
      {"one bandwidth",
       one_bandwidth(m, truth, keys(m.one_bandwidth.bandwidth), queries(m.one_bandwidth.bandwidth), threads)},
  };
}

}  // namespace kith
