#include "neighbors/key_map.h"

#include <cmath>

#include "neighbors/linear.h"

namespace kith::neighbors {
namespace {

Array<float, 2> coordinates(const Model::Impl& model, const Cells& cells) {
  return encode(model.encodings, model.bandwidths(), cells);
}

}  // namespace

Array<float, 2> keys_of(const Model::Impl& model, const Cells& cells) {
  Array<float, 2> x = coordinates(model, cells);
  if (model.metric != Metric::linear) return x;
  return project(x, model.projection);
}

Apart::Apart(const Model::Impl& model, const Cells& cells)
    : model_(model),
      feature_of_(coordinate_features(model.encodings, model.bandwidths())),
      query_(coordinates(model, cells)) {
  if (model.metric == Metric::linear) stored_ = coordinates(model, model.cells);
}

std::vector<double> Apart::operator()(Index i, Index j) const {
  const auto width = static_cast<Index>(feature_of_.size());
  const float* query = query_.data() + i * width;
  const float* key =
      stored_.empty() ? model_.key.data + j * model_.key.stride[0] : stored_.data() + j * width;
  std::vector<double> squares(model_.features.size(), 0.0);
  const View<const double, 2> matrix = model_.projection.view();
  std::vector<double> part(static_cast<std::size_t>(matrix.shape[1]));
  for (std::size_t c = 0; c < feature_of_.size();) {
    const std::size_t feature = feature_of_[c];
    std::fill(part.begin(), part.end(), 0.0);
    for (; c < feature_of_.size() && feature_of_[c] == feature; ++c) {
      const double d = static_cast<double>(query[c]) - static_cast<double>(key[c]);
      if (part.empty()) squares[feature] += d * d;
      for (std::size_t r = 0; r < part.size(); ++r) {
        part[r] += d * matrix(static_cast<Index>(c), static_cast<Index>(r));
      }
    }
    for (const double d : part) squares[feature] += d * d;
  }
  for (double& s : squares) s = std::sqrt(s);
  return squares;
}

}  // namespace kith::neighbors
