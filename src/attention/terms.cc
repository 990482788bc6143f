#include "attention/terms.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "attention/positions.h"

namespace kith {
namespace {

using kernels::kMaxTileKeys;

// Where element (b, h, 0) of a copy with axes [B or 1][H or 1][row] begins.
Index row_of(const Shape<3>& shape, Index b, Index h) {
  return entry_of(shape[0], b) * shape[1] + entry_of(shape[1], h);
}

// A bandwidth's factor on what the pair sums to: squared distances go with its square.
double scale_of(double bandwidth, kernels::Pair pair) {
  return pair == kernels::Pair::squared ? 1 / (bandwidth * bandwidth) : 1 / bandwidth;
}

template <class Real>
void copy_scales(const View<const double, 3>& from, kernels::Pair pair, Index row, Real* to) {
  std::fill_n(to, from.shape[0] * from.shape[1] * row, Real{1});
  for (Index b = 0; b < from.shape[0]; ++b) {
    for (Index h = 0; h < from.shape[1]; ++h) {
      for (Index i = 0; i < from.shape[2]; ++i) {
        to[(b * from.shape[1] + h) * row + i] = static_cast<Real>(scale_of(from(b, h, i), pair));
      }
    }
  }
}

}  // namespace

template <class Real>
TermArrays<Real>::TermArrays(const AttentionOptions& options, const Geometry& g, const Lowered& lowered,
                             const MaskPlan& plan)
    : options_(options), g_(g), lowered_(lowered), plan_(plan) {
  for (Index s = 0; s < plan.sequence_count(); ++s) {
    most_queries_ = std::max(most_queries_, plan.sequence(s).queries);
    most_keys_ = std::max(most_keys_, plan.sequence(s).keys);
  }
}

template <class Real>
bool TermArrays<Real>::needed() const {
  return lowered_.map != kernels::Map::linear || lowered_.pair == kernels::Pair::absolute ||
         lowered_.pair == kernels::Pair::additive || options_.adaptive.query.data != nullptr ||
         options_.adaptive.key.data != nullptr || options_.soft_cap != 0 || options_.bias.has_array() ||
         options_.bias.has_positions() || options_.dropout.rate > 0;
}

template <class Real>
void TermArrays<Real>::divide(Divider& memory) {
  const auto& adaptive = options_.adaptive;
  const auto rows = [](const Shape<3>& shape) { return shape[0] * shape[1]; };
  query_scale_ = memory.take<Real>(rows(adaptive.query.shape) * scale_row(g_.queries));
  key_scale_ = memory.take<Real>(rows(adaptive.key.shape) * scale_row(g_.keys));
  coefficient_ = lowered_.pair == kernels::Pair::additive ? memory.take<Real>(lowered_.depth) : nullptr;
  toeplitz_ = memory.take<Real>(
      options_.bias.has_positions() ? g_.heads * (most_queries_ + most_keys_ + kMaxTileKeys) : 0);
}

template <class Real>
void TermArrays<Real>::fill() {
  const auto& adaptive = options_.adaptive;
  if (adaptive.query.data != nullptr) {
    copy_scales(adaptive.query, lowered_.pair, scale_row(g_.queries), query_scale_);
  }
  if (adaptive.key.data != nullptr) {
    copy_scales(adaptive.key, lowered_.pair, scale_row(g_.keys), key_scale_);
  }
  if (const auto* additive = std::get_if<Additive>(&options_.similarity)) {
    for (Index a = 0; a < lowered_.depth; ++a) coefficient_[a] = static_cast<Real>(additive->score(a));
  }
  if (!options_.bias.has_positions() || most_queries_ == 0 || most_keys_ == 0) return;
  const Index row = most_queries_ + most_keys_ + kMaxTileKeys;
  for (Index h = 0; h < g_.heads; ++h) {
    relative_terms(options_.bias, h, most_queries_, most_keys_, std::numbers::log2e, toeplitz_ + h * row,
                   kMaxTileKeys + 1);
  }
}

template <class Real>
kernels::Terms<Real> TermArrays<Real>::terms(Index s, Index h) const {
  const Sequence sequence = plan_.sequence(s);
  const Index b = sequence.batch;
  kernels::Terms<Real> t;
  t.map = lowered_.map;
  t.soft_cap = static_cast<Real>(options_.soft_cap * std::numbers::log2e);
  const auto& adaptive = options_.adaptive;
  if (adaptive.query.data != nullptr) {
    t.query_scale =
        query_scale_ + row_of(adaptive.query.shape, b, h) * scale_row(g_.queries) + sequence.first_query;
  }
  if (adaptive.key.data != nullptr) {
    t.key_scale =
        key_scale_ + row_of(adaptive.key.shape, b, h / g_.group()) * scale_row(g_.keys) + sequence.first_key;
  }
  const auto point_bias = [&](const auto& bias, auto& pointer) {
    if (bias.data == nullptr) return;
    const auto step = [&](std::size_t axis) { return bias.shape[axis] == 1 ? 0 : bias.stride[axis]; };
    t.bias_query_stride = step(2);
    t.bias_key_stride = step(3);
    pointer = bias.data + b * step(0) + h * step(1) + sequence.first_query * t.bias_query_stride +
              sequence.first_key * t.bias_key_stride;
  };
  point_bias(options_.bias.array, t.bias);
  point_bias(options_.bias.array64, t.bias64);
  if (options_.bias.has_positions()) {
    t.toeplitz = toeplitz_ + h * (most_queries_ + most_keys_ + kMaxTileKeys) + most_queries_ - 1;
  }
  if (options_.dropout.rate > 0) {
    const double below = std::round(options_.dropout.rate * 0x1p32);
    t.drop_below = static_cast<std::uint32_t>(std::min(below, 0x1p32 - 1));
    t.keep_scale = static_cast<Real>(1 / (1 - options_.dropout.rate));
    t.dropout_stream = kernels::dropout_stream(options_.dropout.seed, s + options_.dropout.first_batch, h);
  }
  return t;
}

template <class Real>
bool TermArrays<Real>::hides(const kernels::Terms<Real>& terms, Index i, Index j, const Real* query,
                             const Real* key, Index key_step) const {
  const Index at = i * terms.bias_query_stride + j * terms.bias_key_stride;
  if (terms.bias != nullptr && terms.bias[at] == -std::numeric_limits<float>::infinity()) return true;
  if (terms.bias64 != nullptr && terms.bias64[at] == -std::numeric_limits<double>::infinity()) return true;
  if (lowered_.linear_or_root() || lowered_.map == kernels::Map::inverse_distance) return false;
  double x = 0;
  for (Index c = 0; c < lowered_.depth; ++c) {
    const double difference = static_cast<double>(query[c]) - static_cast<double>(key[c * key_step]);
    x += difference * difference;
  }
  if (terms.query_scale != nullptr) x *= static_cast<double>(terms.query_scale[i]);
  if (terms.key_scale != nullptr) x *= static_cast<double>(terms.key_scale[j]);
  return lowered_.factor * x >= 1;
}

template class TermArrays<float>;
template class TermArrays<double>;

}  // namespace kith
