#include "neighbors/errors.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace kith::neighbors {

Errors regression_errors(const std::vector<double>& truth, const std::vector<double>& value) {
  Errors e;
  const auto n = static_cast<double>(truth.size());
  if (truth.empty()) return e;
  double mean = 0;
  for (double y : truth) mean += y / n;
  double squares = 0, absolute = 0, total = 0;
  for (std::size_t i = 0; i < truth.size(); ++i) {
    const double error = value[i] - truth[i];
    squares += error * error;
    absolute += std::abs(error);
    total += (truth[i] - mean) * (truth[i] - mean);
  }
  e.rmse = std::sqrt(squares / n);
  e.mae = absolute / n;
  e.r2 = total > 0 ? 1 - squares / total : 0;
  return e;
}

void add_interval_errors(Errors& errors, const Calibration& calibration,
                         const std::vector<Neighborhood>& rows, const std::vector<double>& truth,
                         double deviation, double interval) {
  const auto [lower, upper] = calibration.ends(interval);
  double inside = 0, crps = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double scale = calibration.scale(rows[i]);
    const double z = (truth[i] - rows[i].mean) / scale;
    inside += z >= lower && z <= upper ? 1 : 0;
    crps += scale * calibration.crps(z);
  }
  const auto n = static_cast<double>(rows.size());
  errors.interval = interval;
  errors.coverage = rows.empty() ? 0 : inside / n;
  errors.crps = rows.empty() ? 0 : deviation * crps / n;
}

std::vector<std::uint32_t> likeliest(const Array<double, 2>& probability) {
  const Index classes = probability.shape()[1];
  std::vector<std::uint32_t> label(static_cast<std::size_t>(probability.shape()[0]));
  for (std::size_t i = 0; i < label.size(); ++i) {
    const double* p = probability.data() + static_cast<Index>(i) * classes;
    label[i] = static_cast<std::uint32_t>(std::max_element(p, p + classes) - p);
  }
  return label;
}

double auc(const std::vector<double>& score, const std::vector<bool>& positive) {
  std::vector<std::size_t> order(score.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return score[a] < score[b]; });
  double positives = 0, negatives_below = 0, wins = 0;
  for (std::size_t first = 0; first < order.size();) {
    std::size_t last = first;
    double p = 0, n = 0;
    for (; last < order.size() && score[order[last]] == score[order[first]]; ++last) {
      (positive[order[last]] ? p : n) += 1;
    }
    wins += p * (negatives_below + 0.5 * n);
    positives += p;
    negatives_below += n;
    first = last;
  }
  return positives > 0 && negatives_below > 0 ? wins / (positives * negatives_below) : 0.5;
}

Errors classification_errors(const std::vector<std::uint32_t>& truth, const Array<double, 2>& probability) {
  Errors e;
  if (truth.empty()) return e;
  const auto classes = static_cast<std::uint32_t>(probability.shape()[1]);
  const auto n = static_cast<double>(truth.size());
  const std::vector<std::uint32_t> label = likeliest(probability);
  for (std::size_t i = 0; i < truth.size(); ++i) {
    const double* p = probability.data() + static_cast<Index>(i) * classes;
    const double of_truth = truth[i] < classes ? p[truth[i]] : 0.0;
    e.accuracy += (label[i] == truth[i] ? 1 : 0) / n;
    e.log_loss -= std::log(std::max(of_truth, 1e-15)) / n;
    double squares = truth[i] < classes ? 0 : 1;
    for (std::uint32_t c = 0; c < classes; ++c) {
      const double d = p[c] - (c == truth[i] ? 1 : 0);
      squares += d * d;
    }
    e.brier += (classes == 2 ? 0.5 : 1.0) * squares / n;
  }
  double sum = 0, counted = 0;
  for (std::uint32_t c = classes == 2 ? 1 : 0; c < classes; ++c) {
    std::vector<double> score;
    std::vector<bool> positive;
    bool any = false, all = true;
    for (std::size_t i = 0; i < truth.size(); ++i) {
      if (truth[i] >= classes) continue;
      score.push_back(probability(static_cast<Index>(i), static_cast<Index>(c)));
      positive.push_back(truth[i] == c);
      any = any || truth[i] == c;
      all = all && truth[i] == c;
    }
    if (!any || all) continue;
    sum += auc(score, positive);
    counted += 1;
  }
  e.auc = counted > 0 ? sum / counted : 0.5;
  return e;
}

}  // namespace kith::neighbors
