#include "attention/backward_parameters.h"

#include <algorithm>
#include <functional>
#include <type_traits>

#include "attention/positions.h"

namespace kith {
namespace {

// An array of the shape of a view, zeros; empty if there is none.
template <class To, class T, int R>
Array<To, R> zeros_like(const View<T, R>& view) {
  return view.data == nullptr ? Array<To, R>() : Array<To, R>(view.shape);
}

void add_to(double* to, const std::vector<double>& from) {
  std::transform(from.begin(), from.end(), to, to, std::plus<>{});
}

}  // namespace

template <class Real>
ParameterSums<Real>::ParameterSums(const AttentionOptions& options, const Geometry& g, const Lowered& lowered,
                                   const MaskPlan& plan, const BackwardSizes& sizes, bool terms, bool bias,
                                   BasicAttentionGradients<Real>& gradients)
    : options_(options),
      g_(g),
      lowered_(lowered),
      plan_(plan),
      sizes_(sizes),
      gradients_(gradients),
      terms_(terms),
      query_(RowMap(options, g, RowMap::Side::query).parameters()),
      key_(RowMap(options, g, RowMap::Side::key).parameters()) {
  gradients.query_bandwidth = zeros_like<double>(options.adaptive.query);
  gradients.key_bandwidth = zeros_like<double>(options.adaptive.key);
  if (options.bias.relative) gradients.relative = zeros_like<double>(options.bias.relative->table);
  if (options.bias.t5) gradients.t5 = zeros_like<double>(options.bias.t5->table);
  gradients.alibi.assign(options.bias.alibi.size(), 0.0);
  gradients.sink.assign(options.sink.size(), 0.0);
  if (!query_.column_bandwidth.empty()) {
    gradients.column_bandwidth = Array<double, 1>({static_cast<Index>(query_.column_bandwidth.size())});
  }
  gradients.metric = zeros_like<double>(options.metric.matrix);
  if (const auto* bilinear = std::get_if<Bilinear>(&options.similarity)) {
    gradients.bilinear = zeros_like<double>(bilinear->matrix);
  } else if (const auto* additive = std::get_if<Additive>(&options.similarity)) {
    gradients.query_weight = zeros_like<double>(additive->query_weight);
    gradients.key_weight = zeros_like<double>(additive->key_weight);
    gradients.score = zeros_like<double>(additive->score);
  }
  wants_bias_ = bias && options.bias.has_array();
  if (!wants_bias_) return;
  bias_ = zeros_like<double>(options.bias.array);
  if (options.bias.array64.data != nullptr) bias_ = zeros_like<double>(options.bias.array64);
  heads_share_bias_ =
      bias_.shape()[0] < g.batch || bias_.shape()[1] < g.heads || !options.mask.ragged.empty();
}

template <class Real>
void ParameterSums<Real>::divide(Divider& memory, ParameterHead& head) const {
  const auto take = [&](bool wanted, Index count) { return memory.take<double>(wanted ? count : 0); };
  const bool query_scale = options_.adaptive.query.data != nullptr;
  const bool positions = options_.bias.has_positions();
  head.factor = take(true, sizes_.groups);
  head.soft_cap = take(true, sizes_.groups);
  head.coefficient = take(!gradients_.score.empty(), sizes_.groups * lowered_.depth);
  head.query_scale = take(query_scale, sizes_.groups * sizes_.stretch);
  head.toeplitz = take(positions, sizes_.groups * part());
  head.bias = take(wants_bias_, sizes_.groups * sizes_.stretch);
  head.row_scale = take(query_scale, g_.group() * sizes_.queries);
  head.key_scale = take(options_.adaptive.key.data != nullptr, sizes_.keys);
  head.toeplitz_sum = take(positions, g_.group() * (sizes_.queries + sizes_.keys));
  head.sink = take(true, g_.group());
}

template <class Real>
void ParameterSums<Real>::begin(ParameterHead& head) const {
  head.d_factor = 0;
  std::fill_n(head.factor, sizes_.groups, 0.0);
  std::fill_n(head.soft_cap, sizes_.groups, 0.0);
  std::fill_n(head.sink, g_.group(), 0.0);
  if (!gradients_.score.empty()) std::fill_n(head.coefficient, sizes_.groups * lowered_.depth, 0.0);
  if (options_.adaptive.query.data != nullptr) std::fill_n(head.row_scale, g_.group() * sizes_.queries, 0.0);
  if (options_.adaptive.key.data != nullptr) std::fill_n(head.key_scale, sizes_.keys, 0.0);
  if (options_.bias.has_positions()) {
    std::fill_n(head.toeplitz_sum, g_.group() * (sizes_.queries + sizes_.keys), 0.0);
  }
  head.query = RowMap(options_, g_, RowMap::Side::query).parameters();
  head.key = RowMap(options_, g_, RowMap::Side::key).parameters();
}

template <class Real>
double* ParameterSums<Real>::bias_at(const Sequence& s, Index h) {
  return bias_.data() + s.batch * bias_step(0) + h * bias_step(1) + s.first_query * bias_step(2) +
         s.first_key * bias_step(3);
}

template <class Real>
void ParameterSums<Real>::point(const ParameterHead& head, Index h, Index group,
                                kernels::BackwardTask<Real>& task) {
  if (!terms_) return;
  const Index first = task.first_query, last = task.last_query;
  task.d_factor = head.factor + group;
  if (options_.soft_cap != 0) task.d_soft_cap = head.soft_cap + group;
  if (!gradients_.score.empty()) task.d_coefficient = head.coefficient + group * lowered_.depth;
  if (options_.adaptive.query.data != nullptr) {
    task.d_query_scale = head.query_scale + group * sizes_.stretch;
    std::fill_n(task.d_query_scale, last - first, 0.0);
  }
  if (options_.adaptive.key.data != nullptr) task.d_key_scale = head.key_scale + task.first_key;
  if (options_.bias.has_positions()) {
    double* sums = head.toeplitz + group * part();
    std::fill_n(sums, last - first + task.last_key - task.first_key, 0.0);
    task.d_toeplitz = sums + (last - 1 - task.first_key);
  }
  if (!wants_bias_) return;
  if (bias_.shape()[3] == 1) {
    task.d_bias = head.bias + group * sizes_.stretch;
    task.d_bias_query_stride = bias_.shape()[2] == 1 ? 0 : 1;
    task.d_bias_key_stride = 0;
    std::fill_n(task.d_bias, bias_.shape()[2] == 1 ? 1 : last - first, 0.0);
  } else {
    task.d_bias_query_stride = bias_step(2);
    task.d_bias_key_stride = bias_step(3);
    task.d_bias = bias_at(sequence(head), h) + first * bias_step(2);
  }
}

template <class Real>
void ParameterSums<Real>::add_toeplitz(const ParameterHead& head, Index h, Index groups, Index group_keys,
                                       Index first, Index last) {
  double* total = head.toeplitz_sum + member(h) * (sizes_.queries + sizes_.keys);
  const Index keys = sequence(head).keys;
  for (Index group = 0; group < groups; ++group) {
    const Index key = group * group_keys, count = std::min(group_keys, keys - key) + last - first - 1;
    const double* sums = head.toeplitz + group * part();
    double* to = total + (key - (last - 1)) + sizes_.queries - 1;
    for (Index d = 0; d < count; ++d) to[d] += sums[d];
  }
}

template <class Real>
void ParameterSums<Real>::collect(const ParameterHead& head, Index h, Index groups, Index group_keys,
                                  Index first, Index last) {
  if (!terms_) return;
  if (options_.adaptive.query.data != nullptr) {
    double* rows = head.row_scale + member(h) * sizes_.queries + first;
    for (Index group = 0; group < groups; ++group) {
      const double* sums = head.query_scale + group * sizes_.stretch;
      for (Index i = 0; i < last - first; ++i) rows[i] += sums[i];
    }
  }
  if (options_.bias.has_positions()) add_toeplitz(head, h, groups, group_keys, first, last);
  if (!wants_bias_ || bias_.shape()[3] != 1) return;
  double* d_bias = bias_at(sequence(head), h) + first * bias_step(2);
  for (Index group = 0; group < groups; ++group) {
    const double* sums = head.bias + group * sizes_.stretch;
    const Index count = bias_.shape()[2] == 1 ? 1 : last - first;
    for (Index i = 0; i < count; ++i) d_bias[i * bias_step(2)] += sums[i];
  }
}

template <class Real>
void ParameterSums<Real>::add_bandwidths(const ParameterHead& head) {
  const Sequence& s = sequence(head);
  // x' = x scale, and scale is 1 / bandwidth^2 for squares, 1 / bandwidth for the others.
  const double power = lowered_.pair == kernels::Pair::squared ? -2 : -1;
  const auto add_to = [&](const View<const double, 3>& bandwidth, Array<double, 3>& gradient, Index h,
                          Index first, Index rows, const double* sums) {
    const Index b = bandwidth.shape[0] == 1 ? 0 : s.batch, at = bandwidth.shape[1] == 1 ? 0 : h;
    for (Index i = 0; i < rows; ++i) {
      gradient(b, at, first + i) += power * sums[i] / bandwidth(b, at, first + i);
    }
  };
  if (options_.adaptive.query.data != nullptr) {
    for (Index q = 0; q < g_.group(); ++q) {
      add_to(options_.adaptive.query, gradients_.query_bandwidth, head.key_head * g_.group() + q,
             s.first_query, s.queries, head.row_scale + q * sizes_.queries);
    }
  }
  if (options_.adaptive.key.data != nullptr) {
    add_to(options_.adaptive.key, gradients_.key_bandwidth, head.key_head, s.first_key, s.keys,
           head.key_scale);
  }
}

template <class Real>
void ParameterSums<Real>::add(const ParameterHead& head, Index groups) {
  d_factor_ += head.d_factor;
  for (Index group = 0; group < groups; ++group) {
    d_factor_ += head.factor[group];
    gradients_.soft_cap += head.soft_cap[group];
    for (Index c = 0; c < gradients_.score.size(); ++c) {
      gradients_.score(c) += head.coefficient[group * lowered_.depth + c];
    }
  }
  add_bandwidths(head);
  for (Index q = 0; q < g_.group(); ++q) {
    const Index h = head.key_head * g_.group() + q;
    if (options_.bias.has_positions() && sizes_.queries > 0 && sizes_.keys > 0) {
      relative_terms_backward(options_.bias, h, sizes_.queries, sizes_.keys,
                              head.toeplitz_sum + q * (sizes_.queries + sizes_.keys), gradients_);
    }
    if (!options_.sink.empty()) gradients_.sink[entry_of(options_.sink, h)] += head.sink[q];
  }
  query_.add(head.query);
  key_.add(head.key);
}

template <class Real>
void ParameterSums<Real>::finish() {
  gradients_.parameter = parameter_gradient(options_, d_factor_);
  if (std::holds_alternative<Bilinear>(options_.similarity)) {
    add_to(gradients_.bilinear.data(), query_.matrix);
  } else if (std::holds_alternative<Additive>(options_.similarity)) {
    add_to(gradients_.query_weight.data(), query_.matrix);
    add_to(gradients_.key_weight.data(), key_.matrix);
  }
  for (const RowMap::Parameters* side : {&query_, &key_}) {
    add_to(gradients_.column_bandwidth.data(), side->column_bandwidth);
    add_to(gradients_.metric.data(), side->metric);
  }
  if (!wants_bias_) return;
  if constexpr (std::is_same_v<Real, double>) {
    gradients_.bias = std::move(bias_);
  } else {
    gradients_.bias = Array<Real, 4>(bias_.shape());
    std::transform(bias_.begin(), bias_.end(), gradients_.bias.begin(),
                   [](double x) { return static_cast<Real>(x); });
  }
}

template class ParameterSums<float>;
template class ParameterSums<double>;

}  // namespace kith
