#include "kith/reference.h"

#include <cmath>

#include "attention/kernels/kernels.h"
#include "attention/plain.h"

namespace kith::reference {
namespace {

/// Lengths and prefixes: one number, or one per batch row (or sequence).
Index entry(const std::vector<Index>& numbers, Index b) {
  return numbers[numbers.size() == 1 ? 0 : static_cast<std::size_t>(b)];
}

/// query's and key's numbers of a pair, from arrays with one row for all batch rows or one for each.
template <class T>
std::pair<T, T> of_pair(const View<const T, 2>& query, const View<const T, 2>& key, Index b, Index i,
                        Index j) {
  return {query(query.shape[0] == 1 ? 0 : b, i), key(key.shape[0] == 1 ? 0 : b, j)};
}

template <class T>
plain::Call<T> make_call(View<const double, 4> query, View<const double, 4> key, View<const double, 4> value,
                         const AttentionOptions& options, const Geometry& n) {
  return {options,
          n,
          plain::lifted<T>(query),
          plain::lifted<T>(key),
          plain::lifted<T>(value),
          plain::number_of<T>(options.similarity, plain::compared_depth(options, n.depth))};
}

template <class T>
BasicResult<T> compute(View<const double, 4> query, View<const double, 4> key, View<const double, 4> value,
                       const AttentionOptions& options) {
  const Geometry n = check(query, key, value, options);
  const plain::Call<T> call = make_call<T>(query, key, value, options, n);
  const Shape<3> rows{n.batch, n.heads, n.queries};
  const Shape<4> averages{n.batch, n.heads, n.queries, n.value_depth};
  BasicResult<T> result{
      Array<T, 4>(averages), Array<T, 3>(rows),    Array<T, 4>({n.batch, n.heads, n.queries, n.keys}),
      Array<T, 3>(rows),     Array<T, 3>(rows),    Array<T, 3>({n.batch, n.heads, n.keys}),
      Array<T, 3>(rows),     Array<T, 4>(averages)};
  for (Index b = 0; b < n.batch; ++b) {
    for (Index h = 0; h < n.heads; ++h) {
      for (Index i = 0; i < n.queries; ++i) {
        // 1. the softmax, 2. out [Dv]
        const plain::Row<T> row = call.row(b, h, i);
        result.lse(b, h, i) = row.lse;
        result.entropy(b, h, i) = row.entropy;
        call.average(row, b, h, i, &result.out(b, h, i, 0));

        // 3. what else the weights of the visible keys say. A NaN stays the largest.
        for (Index j = 0; j < n.keys; ++j) {
          const auto at = static_cast<std::size_t>(j);
          if (row.logit[at] == plain::nothing<T>()) continue;
          const T weight = row.weight[at];
          result.weight(b, h, i, j) = weight;
          result.received(b, h, j) += weight;
          const T kept = call.keep(b, h, i, j) * weight;
          result.position(b, h, i) += kept * static_cast<T>(j);
          T& largest = result.largest(b, h, i);
          if (std::isnan(weight) || weight > largest) largest = weight;
          for (Index c = 0; c < n.value_depth; ++c) {
            const T v = call.value(b, h, j)[c];
            result.second_moment(b, h, i, c) += kept * v * v;
          }
        }
      }
    }
  }
  return result;
}

template <int R>
void check_shape(const char* name, const View<const double, R>& got,
                 const std::type_identity_t<Shape<R>>& needed) {
  if (got.shape != needed) throw Error(std::string(name) + ": its shape needs to be that of result's");
}

}  // namespace

bool visible(const Mask& mask, Index b, Index i, Index j, Index h) {
  // 1. the sequence, and the places in it
  const auto query = plain::place(mask.ragged.query, b, i), key = plain::place(mask.ragged.key, b, j);
  if (query.sequence != key.sequence) return false;
  const Index s = query.sequence;

  // 2. parts that go by place
  if (!mask.query_length.empty() && query.index >= entry(mask.query_length, s)) return false;
  if (key.index < mask.first_key) return false;
  if (!mask.key_length.empty() && key.index >= entry(mask.key_length, s)) return false;
  if (mask.causal_offset && key.index > query.index + *mask.causal_offset) {
    if (mask.prefix.empty() || key.index >= entry(mask.prefix, s)) return false;
  }
  if (mask.self_offset && key.index == query.index + *mask.self_offset) return false;
  if (mask.window) {
    const Index ahead = key.index - (query.index + mask.window->offset);
    if (ahead < -mask.window->left || ahead > mask.window->right) return false;
  }

  // 3. parts that are given for each query and key
  if (!mask.documents.empty()) {
    const auto [own, other] = of_pair(mask.documents.query, mask.documents.key, b, i, j);
    if (own != other) return false;
  }
  if (!mask.groups.empty()) {
    const auto [own, other] = of_pair(mask.groups.query, mask.groups.key, b, i, j);
    if (own == other) return false;
  }
  if (!mask.times.empty()) {
    const auto [own, other] = of_pair(mask.times.query, mask.times.key, b, i, j);
    if (!(other < own)) return false;
  }
  if (mask.blocks != nullptr) {
    const BlockMap& map = *mask.blocks;
    if (!plain::repeated(map.allowed.view(), b, h, i / map.query_block, j / map.key_block)) return false;
  }
  return mask.allowed.data == nullptr || plain::repeated(mask.allowed, b, h, i, j);
}

bool dropped(const Dropout& dropout, Index b, Index h, Index i, Index j) {
  const std::uint64_t stream = kernels::dropout_stream(dropout.seed, b, h);
  const std::uint32_t bits = kernels::dropout_bits(kernels::dropout_row(stream, i), j);
  return bits < std::min(std::round(dropout.rate * 0x1p32), 0x1p32 - 1);
}

Result attend(View<const double, 4> query, View<const double, 4> key, View<const double, 4> value,
              const AttentionOptions& options) {
  return compute<double>(query, key, value, options);
}

Result attend(View<const double, 4> query, View<const double, 4> key, View<const double, 4> value,
              const Similarity& similarity, const Mask& mask) {
  return compute<double>(query, key, value, {.similarity = similarity, .mask = mask});
}

BasicResult<long double> attend_long(View<const double, 4> query, View<const double, 4> key,
                                     View<const double, 4> value, const AttentionOptions& options) {
  return compute<long double>(query, key, value, options);
}

Gradients attend_backward(View<const double, 4> query, View<const double, 4> key, View<const double, 4> value,
                          const Result& result, const Upstream<double>& upstream,
                          const AttentionOptions& options) {
  const Geometry n = check(query, key, value, options);
  check_shape("out", upstream.out, result.out.shape());
  if (!upstream.lse.empty()) check_shape("lse", upstream.lse, result.lse.shape());
  if (!upstream.entropy.empty()) check_shape("entropy", upstream.entropy, result.entropy.shape());
  if (!upstream.second_moment.empty()) {
    check_shape("second_moment", upstream.second_moment, result.second_moment.shape());
  }
  const plain::Call<double> call = make_call<double>(query, key, value, options, n);

  // 1. of the rows that are compared, query [B, Hq, N, R] and key [B, Hk, M, R], of the values, and of all
  // else
  const Array<double, 4> d_out = plain::lifted<double>(upstream.out);
  const Array<double, 4> d_second_moment = plain::lifted<double>(upstream.second_moment);
  Array<double, 4> d_query({n.batch, n.heads, n.queries, call.depth()});
  Array<double, 4> d_key({n.batch, n.key_heads, n.keys, call.depth()});
  Array<double, 4> d_value(value.shape);
  plain::Sums<double> sums = call.sums(upstream.bias && options.bias.has_array());
  for (Index b = 0; b < n.batch; ++b) {
    for (Index h = 0; h < n.heads; ++h) {
      for (Index i = 0; i < n.queries; ++i) {
        const Index g = h / n.group();
        plain::RowUpstream<double> row{&d_out(b, h, i, 0)};
        if (!upstream.lse.empty()) row.lse = upstream.lse(b, h, i);
        if (!upstream.entropy.empty()) row.entropy = upstream.entropy(b, h, i);
        if (!d_second_moment.empty()) row.second_moment = &d_second_moment(b, h, i, 0);
        call.pull(call.row(b, h, i), b, h, i, row, &d_query(b, h, i, 0), plain::head(d_key, b, g),
                  plain::head(d_value, b, g), sums);
      }
    }
  }

  // 2. from the rows compared to the rows given
  Gradients gradients;
  gradients.query = call.given(plain::Side::query, d_query, sums);
  gradients.key = call.given(plain::Side::key, d_key, sums);
  gradients.value = std::move(d_value);
  gradients.parameter = sums.number;
  gradients.column_bandwidth = std::move(sums.column_bandwidth);
  gradients.metric = std::move(sums.metric);
  gradients.query_bandwidth = std::move(sums.query_bandwidth);
  gradients.key_bandwidth = std::move(sums.key_bandwidth);
  gradients.bilinear = std::move(sums.bilinear);
  gradients.query_weight = std::move(sums.query_weight);
  gradients.key_weight = std::move(sums.key_weight);
  gradients.score = std::move(sums.score);
  gradients.soft_cap = sums.soft_cap;
  gradients.bias = std::move(sums.bias);
  gradients.relative = std::move(sums.relative);
  gradients.t5 = std::move(sums.t5);
  gradients.alibi = std::move(sums.alibi);
  gradients.sink = std::move(sums.sink);
  return gradients;
}

Gradients attend_backward(View<const double, 4> query, View<const double, 4> key, View<const double, 4> value,
                          const Result& result, View<const double, 4> d_out, const Similarity& similarity,
                          const Mask& mask, View<const double, 3> d_lse) {
  return attend_backward(query, key, value, result, {.out = d_out, .lse = d_lse},
                         {.similarity = similarity, .mask = mask});
}

}  // namespace kith::reference
