#include "neighbors/key_map.h"

#include <algorithm>
#include <cmath>

#include "neighbors/linear.h"

namespace kith::neighbors {
namespace {

Array<float, 2> coordinates(const Model::Impl& model, const Cells& cells) {
  return encode(model.encodings, model.bandwidths(), cells);
}

/// What is left to be done to these is linear, or nothing.
Array<float, 2> rows_before_the_map(const Model::Impl& model, const Cells& cells, int threads) {
  Array<float, 2> x = coordinates(model, cells);
  if (!model.encoder) return x;
  Encoder::Pass pass;
  model.encoder->embed(x, pass, threads);
  return std::move(pass.embedded);
}

Cells one_row(const Cells& cells, Index j) {
  Cells row{cells.number, cells.code, 1};
  row.number.data += j;
  row.code.data += j;
  row.number.shape[1] = row.code.shape[1] = 1;
  return row;
}

}  // namespace

Array<float, 2> keys_of(const Model::Impl& model, const Cells& cells, int threads) {
  Array<float, 2> x = coordinates(model, cells);
  if (model.metric == Metric::linear) return project(x, model.projection);
  if (model.metric == Metric::encoder) return model.encoder->keys(x, threads);
  return x;
}

std::vector<bool> number_coordinates(const std::vector<Encoding>& encodings) {
  std::vector<bool> is_number;
  for (const Encoding& e : encodings) {
    const Index numbers =
        e.usable && e.kind == Column::Kind::numeric ? e.width() - (e.has_missing ? 1 : 0) : 0;
    for (Index c = 0; c < e.width(); ++c) is_number.push_back(c < numbers);
  }
  return is_number;
}

Apart::Apart(const Model::Impl& model, const Cells& cells)
    : model_(model), query_(rows_before_the_map(model, cells, 0)), matrix_(model.projection) {
  const std::vector<std::size_t> coordinate = coordinate_features(model.encodings, model.bandwidths());
  if (!model.encoder) {
    feature_of_ = coordinate;
    return;
  }
  feature_of_.resize(static_cast<std::size_t>(query_.shape()[1]));
  for (std::size_t c = 0; c < coordinate.size(); ++c) {
    const auto [first, count] = model.encoder->columns_of(static_cast<Index>(c));
    std::fill_n(feature_of_.begin() + first, count, coordinate[c]);
  }
  const Array<float, 2>& weight = model.encoder->linear.weight.value;
  matrix_ = Array<double, 2>(weight.shape());
  std::copy(weight.begin(), weight.end(), matrix_.begin());
}

std::vector<double> Apart::operator()(Index i, Index j) const {
  const auto width = static_cast<Index>(feature_of_.size());
  const Array<float, 2> key = rows_before_the_map(model_, one_row(model_.cells, j), 1);
  const float* query = query_.data() + i * width;
  const std::size_t features = model_.features.size();
  const Index rank = matrix_.shape()[1];
  std::vector<double> squares(features, 0.0), parts(features * static_cast<std::size_t>(rank), 0.0);
  for (Index c = 0; c < width; ++c) {
    const std::size_t feature = feature_of_[static_cast<std::size_t>(c)];
    const double d = static_cast<double>(query[c]) - static_cast<double>(key(0, c));
    if (rank == 0) squares[feature] += d * d;
    double* part = parts.data() + static_cast<Index>(feature) * rank;
    for (Index r = 0; r < rank; ++r) part[r] += d * matrix_(c, r);
  }
  for (std::size_t p = 0; p < parts.size(); ++p)
    squares[p / static_cast<std::size_t>(rank)] += parts[p] * parts[p];
  for (double& s : squares) s = std::sqrt(s);
  return squares;
}

}  // namespace kith::neighbors
