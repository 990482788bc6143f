#include "kith/layers/loss.h"

#include <cmath>
#include <vector>

#include "layers/rows.h"

namespace kith {

using namespace layers;

namespace {

struct Weights {
  std::span<const float> weight;
  double total;

  Weights(const char* loss, std::span<const float> given, Index rows) : weight(given), total(0) {
    if (given.empty()) {
      total = static_cast<double>(rows);
      return;
    }
    if (static_cast<Index>(given.size()) != rows)
      throw Error(fmt::format("{}: weight: got {}, needs {}, one a row, or none", loss, given.size(), rows));
    for (std::size_t i = 0; i < given.size(); ++i) {
      if (!(given[i] >= 0 && std::isfinite(given[i])))
        throw Error(fmt::format("{}: weight: got {} in row {}, needs a finite number that is not negative",
                                loss, given[i], i));
      total += static_cast<double>(given[i]);
    }
  }
  /// A row's share of the mean.
  double share(Index i) const {
    if (total == 0) return 0;
    return (weight.empty() ? 1.0 : static_cast<double>(weight[static_cast<std::size_t>(i)])) / total;
  }
};

/// Adds up row(i), in blocks whose sums are added in order.
template <class F>
double sum_rows(Index rows, Index numbers, int threads, F&& row) {
  std::vector<double> sum;
  const Index block = row_block(numbers);
  sum.resize(static_cast<std::size_t>(block_count(rows, block)));
  for_row_blocks(rows, numbers, threads, [&](Index first, Index count) {
    double mine = 0;
    for (Index i = first; i < first + count; ++i) mine += row(i);
    sum[static_cast<std::size_t>(first / block)] = mine;
  });
  double total = 0;
  for (const double part : sum) total += part;
  return total;
}

}  // namespace

double softmax_cross_entropy(View<const float, 2> logits, std::span<const std::uint32_t> label,
                             View<float, 2> d_logits, std::span<const float> weight, int threads) {
  constexpr const char* kName = "softmax_cross_entropy";
  const Index rows = logits.shape[0], classes = logits.shape[1];
  need_shape(kName, "logits", logits, kAny, kAny);
  if (wanted(d_logits)) need_shape(kName, "d_logits", d_logits, rows, classes);
  if (static_cast<Index>(label.size()) != rows)
    throw Error(fmt::format("{}: label: got {}, needs {}, one a row", kName, label.size(), rows));
  for (std::size_t i = 0; i < label.size(); ++i) {
    if (static_cast<Index>(label[i]) >= classes)
      throw Error(fmt::format("{}: label: got {} in row {}, needs less than {}, the number of classes", kName,
                              label[i], i, classes));
  }
  const Weights weights(kName, weight, rows);
  return sum_rows(rows, 4 * classes, threads, [&](Index i) {
    const double share = weights.share(i);
    return share * cross_entropy_row(logits.data + i * logits.stride[0], classes,
                                     label[static_cast<std::size_t>(i)], static_cast<float>(share),
                                     wanted(d_logits) ? d_logits.data + i * d_logits.stride[0] : nullptr);
  });
}

double squared_error(View<const float, 2> prediction, View<const float, 2> target,
                     View<float, 2> d_prediction, std::span<const float> weight, int threads) {
  constexpr const char* kName = "squared_error";
  const Index rows = prediction.shape[0], columns = prediction.shape[1];
  need_shape(kName, "prediction", prediction, kAny, kAny);
  need_shape(kName, "target", target, rows, columns);
  if (wanted(d_prediction)) need_shape(kName, "d_prediction", d_prediction, rows, columns);
  const Weights weights(kName, weight, rows);
  if (columns == 0) return 0;
  return sum_rows(rows, columns, threads, [&](Index i) {
    const double share = weights.share(i) / static_cast<double>(columns);
    return share *
           squared_error_row(prediction.data + i * prediction.stride[0], target.data + i * target.stride[0],
                             columns, static_cast<float>(2 * share),
                             wanted(d_prediction) ? d_prediction.data + i * d_prediction.stride[0] : nullptr);
  });
}

}  // namespace kith
