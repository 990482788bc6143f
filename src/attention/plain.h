// The operator written plainly, a row and a pair at a time, in any scalar: double, long double or Dual. What
// the reference is made of, and the derivatives of derivatives.
#pragma once

#include <algorithm>
#include <tuple>
#include <type_traits>

#include "attention/dual.h"
#include "attention/geometry.h"
#include "attention/plain_rows.h"
#include "attention/plain_similarity.h"
#include "kith/reference.h"

namespace kith::plain {

/// What constants are computed in.
template <class T>
using Base = std::conditional_t<std::is_same_v<T, long double>, long double, double>;

/// x(index...), where an axis of extent 1 is repeated.
template <class T, int R, class... I>
T& repeated(const View<T, R>& x, I... index) {
  std::size_t axis = 0;
  const auto at = [&](Index i) { return x.shape[axis++] == 1 ? 0 : i; };
  const Shape<R> place{at(index)...};
  return std::apply([&](auto... i) -> T& { return x(i...); }, place);
}

/// The rows of one head [rows][columns].
template <class T>
T* head(Array<T, 4>& x, Index b, Index h) {
  return x.data() + (b * x.shape()[1] + h) * x.shape()[2] * x.shape()[3];
}

/// The same as T, with a derivative of 0 or, for dual numbers, the tangent's (empty: 0).
template <class T>
Array<T, 4> lifted(const View<const double, 4>& x, const View<const double, 4>& tangent = {}) {
  Array<T, 4> result(x.shape);
  for (Index b = 0; b < x.shape[0]; ++b) {
    for (Index h = 0; h < x.shape[1]; ++h) {
      for (Index i = 0; i < x.shape[2]; ++i) {
        for (Index c = 0; c < x.shape[3]; ++c) {
          if constexpr (std::is_same_v<T, Dual>) {
            result(b, h, i, c) = Dual(x(b, h, i, c), tangent.empty() ? 0.0 : tangent(b, h, i, c));
          } else {
            result(b, h, i, c) = x(b, h, i, c);
          }
        }
      }
    }
  }
  return result;
}

/// Where a row stands: in which batch row (or sequence, with `ragged`), and how far from its start.
struct Place {
  Index sequence, index;
};
inline Place place(const std::vector<Index>& starts, Index b, Index i) {
  if (starts.empty()) return {b, i};
  // the last start that is not beyond i: sequences may be empty
  const auto next = std::upper_bound(starts.begin(), starts.end(), i);
  return {next - starts.begin() - 1, i - *(next - 1)};
}

/// T5's bucket (Raffel et al. 2020, in the mesh implementation's words).
inline Index bucket(Index relative_position, bool bidirectional, Index buckets, Index max_distance) {
  Index first = 0, distance = std::max<Index>(-relative_position, 0);
  if (bidirectional) {
    buckets /= 2;
    if (relative_position > 0) first = buckets;
    distance = std::abs(relative_position);
  }
  const Index exact = buckets / 2;
  if (distance < exact) return first + distance;
  if (exact == 0) return first;  // one bucket alone
  const double share = std::log(static_cast<double>(distance) / static_cast<double>(exact)) /
                       std::log(static_cast<double>(max_distance) / static_cast<double>(exact));
  const double large = std::floor(share * static_cast<double>(buckets - exact));
  const auto last = static_cast<double>(buckets - 1 - exact);
  return first + exact + static_cast<Index>(std::min(large, last));
}

/// Outcomes of one query's softmax. A logit of -inf: not seen.
template <class T>
struct Row {
  std::vector<T> logit, weight;  ///< [M]
  bool seen = false;             ///< whether any key is
  T sink_logit = nothing<T>(), sink_weight{};
  T lse = nothing<T>(), entropy{};
};

/// Gradients of the outputs of one row; null: none.
template <class T>
struct RowUpstream {
  const T* out = nullptr;  ///< [Dv]
  T lse{}, entropy{};
  const T* second_moment = nullptr;  ///< [Dv]
};

/// Gradients of everything but query, key and value. The arrays have the shapes of what they belong to.
template <class T>
struct Sums : RowSums<T> {
  T number{}, soft_cap{};
  Array<T, 1> score;
  Array<T, 2> relative, t5;
  Array<T, 3> query_bandwidth, key_bandwidth;
  Array<T, 4> bias;  ///< empty: not wanted
  std::vector<T> alibi, sink;
};

/// The operator on given inputs. The options are checked already and outlive it.
template <class T>
class Call {
 public:
  Call(const AttentionOptions& options, const Geometry& n, Array<T, 4> query, Array<T, 4> key,
       Array<T, 4> value, T number)
      : options_(options),
        n_(n),
        query_(std::move(query)),
        key_(std::move(key)),
        value_(std::move(value)),
        number_(number),
        depth_(compared_depth(options, n.depth)),
        compared_query_(compared(Side::query)),
        compared_key_(compared(Side::key)) {}

  const Geometry& geometry() const { return n_; }
  Index depth() const { return depth_; }  ///< columns of the compared rows

  /// The softmax of query i.
  Row<T> row(Index b, Index h, Index i) const;
  /// Adds to out [Dv].
  void average(const Row<T>& row, Index b, Index h, Index i, T* out) const;
  /// What a weight is multiplied by before it meets its value: 1 without dropout.
  T keep(Index b, Index h, Index i, Index j) const;
  const T* value(Index b, Index h, Index j) const { return &value_(b, h / n_.group(), j, 0); }

  Sums<T> sums(bool bias) const;
  /// Adds the gradients through one row: d_query [R] and d_key [M][R] of the compared rows, d_value [M][Dv].
  void pull(const Row<T>& row, Index b, Index h, Index i, const RowUpstream<T>& upstream, T* d_query,
            T* d_key, T* d_value, Sums<T>& to) const;
  /// From the gradients of all compared rows of one side to those of the rows as they were given.
  Array<T, 4> given(Side side, const Array<T, 4>& d_compared, RowSums<T>& to) const;

 private:
  Array<T, 4> compared(Side side) const;
  std::vector<T> turned(Side side, Index b, Index i, bool back, std::vector<T> x) const;
  T bandwidth(Index b, Index h, Index i, Index j) const;
  Pair<T> pair(Index b, Index h, Index i, Index j) const;
  bool hidden(Index b, Index h, Index i, Index j) const;
  Index distance(Index b, Index i, Index j) const;
  T similarity(const Pair<T>& pair) const;
  T bias(Index b, Index h, Index i, Index j) const;
  void pull_similarity(const Pair<T>& pair, T d_logit, PairGradients<T>& to, T& d_soft_cap) const;
  void pull_bias(Index b, Index h, Index i, Index j, T d_logit, Sums<T>& to) const;

  const AttentionOptions& options_;
  Geometry n_;
  Array<T, 4> query_, key_, value_;
  T number_;
  Index depth_;
  Array<T, 4> compared_query_, compared_key_;  ///< [B, Hq, N, R], [B, Hk, M, R]
};

// --- From the given rows to those that are compared, and back

template <class T>
std::vector<T> Call<T>::turned(Side side, Index b, Index i, bool back, std::vector<T> x) const {
  if (!options_.rotary) return x;
  const Rotary& rotary = *options_.rotary;
  const bool query = side == Side::query;
  const auto& given = query ? rotary.query_position : rotary.key_position;
  const auto& starts = query ? options_.mask.ragged.query : options_.mask.ragged.key;
  const Index position = given.data != nullptr
                             ? given(given.shape[0] == 1 ? 0 : b, i)
                             : place(starts, b, i).index + (query ? rotary.query_offset : rotary.key_offset);
  return rotated(rotary, static_cast<Base<T>>(position), back, std::move(x));
}

template <class T>
Array<T, 4> Call<T>::compared(Side side) const {
  const Array<T, 4>& rows = side == Side::query ? query_ : key_;
  const Shape<4>& shape = rows.shape();
  Array<T, 4> result({shape[0], shape[1], shape[2], depth_});
  for (Index b = 0; b < shape[0]; ++b) {
    for (Index h = 0; h < shape[1]; ++h) {
      for (Index i = 0; i < shape[2]; ++i) {
        const T* x = &rows(b, h, i, 0);
        const std::vector<T> row(x, x + shape[3]);
        const std::vector<T> turn = turned(side, b, i, false, row);
        const std::vector<T> measure = measured(options_.metric, turn);
        const std::vector<T> y = projected(options_.similarity, side, measure);
        std::copy(y.begin(), y.end(), &result(b, h, i, 0));
      }
    }
  }
  return result;
}

template <class T>
Array<T, 4> Call<T>::given(Side side, const Array<T, 4>& d_compared, RowSums<T>& to) const {
  const Array<T, 4>& rows = side == Side::query ? query_ : key_;
  const Shape<4>& shape = rows.shape();
  Array<T, 4> result(shape);
  for (Index b = 0; b < shape[0]; ++b) {
    for (Index h = 0; h < shape[1]; ++h) {
      for (Index i = 0; i < shape[2]; ++i) {
        const T* d = &d_compared(b, h, i, 0);
        const std::vector<T> d_y(d, d + depth_);
        // A row that takes part in nothing has no influence, even where it holds a NaN.
        if (std::all_of(d_y.begin(), d_y.end(), [](T x) { return is_zero(x); })) continue;
        const T* x = &rows(b, h, i, 0);
        const auto turn = turned(side, b, i, false, {x, x + shape[3]});
        const auto d_measure =
            projected_back(options_.similarity, side, measured(options_.metric, turn), d_y, to);
        const auto d_x = turned(side, b, i, true, measured_back(options_.metric, turn, d_measure, to));
        std::copy(d_x.begin(), d_x.end(), &result(b, h, i, 0));
      }
    }
  }
  return result;
}

// --- The logit of a pair

template <class T>
T Call<T>::bandwidth(Index b, Index h, Index i, Index j) const {
  const auto& adaptive = options_.adaptive;
  T product(1);
  if (adaptive.query.data != nullptr) product = product * repeated(adaptive.query, b, h, i);
  if (adaptive.key.data != nullptr) product = product * repeated(adaptive.key, b, h / n_.group(), j);
  return product;
}

template <class T>
Pair<T> Call<T>::pair(Index b, Index h, Index i, Index j) const {
  return {&compared_query_(b, h, i, 0), &compared_key_(b, h / n_.group(), j, 0), depth_, number_,
          bandwidth(b, h, i, j)};
}

/// By the mask, or by a bias of -inf.
template <class T>
bool Call<T>::hidden(Index b, Index h, Index i, Index j) const {
  const Bias& bias = options_.bias;
  if (bias.array.data != nullptr && std::isinf(repeated(bias.array, b, h, i, j)) &&
      repeated(bias.array, b, h, i, j) < 0) {
    return true;
  }
  if (bias.array64.data != nullptr && std::isinf(repeated(bias.array64, b, h, i, j)) &&
      repeated(bias.array64, b, h, i, j) < 0) {
    return true;
  }
  return !reference::visible(options_.mask, b, i, j, h);
}

/// Key position minus query position, as the biases count it.
template <class T>
Index Call<T>::distance(Index b, Index i, Index j) const {
  const Ragged& ragged = options_.mask.ragged;
  return place(ragged.key, b, j).index - place(ragged.query, b, i).index - options_.bias.offset;
}

/// -inf outside the support of a compact kernel, also where there is a soft cap.
template <class T>
T Call<T>::similarity(const Pair<T>& pair) const {
  using std::tanh;
  const T s = std::visit([&](const auto& kind) { return logit(kind, pair); }, options_.similarity);
  const double cap = options_.soft_cap;
  return cap == 0 || s == nothing<T>() ? s : cap * tanh(s / cap);
}

/// The columns of the tables for a distance.
inline Index relative_column(const RelativeTable& relative, Index distance) {
  const Index right = relative.table.shape[1] - 1 - relative.left;
  return std::clamp(distance, -relative.left, right) + relative.left;
}
inline Index t5_column(const T5Buckets& t5, Index distance) {
  return bucket(distance, t5.bidirectional, t5.table.shape[1], t5.max_distance);
}
/// One number for all heads, or one per head.
inline std::size_t head_entry(const std::vector<double>& numbers, Index h) {
  return numbers.size() == 1 ? 0 : static_cast<std::size_t>(h);
}

template <class T>
T Call<T>::bias(Index b, Index h, Index i, Index j) const {
  const Bias& bias = options_.bias;
  T sum{};
  if (bias.array.data != nullptr) sum += T(static_cast<double>(repeated(bias.array, b, h, i, j)));
  if (bias.array64.data != nullptr) sum += T(repeated(bias.array64, b, h, i, j));
  if (!bias.has_positions()) return sum;
  const Index d = distance(b, i, j);
  if (bias.relative) {
    const auto& table = bias.relative->table;
    sum += T(table(table.shape[0] == 1 ? 0 : h, relative_column(*bias.relative, d)));
  }
  if (bias.t5) sum += T(bias.t5->table(bias.t5->table.shape[0] == 1 ? 0 : h, t5_column(*bias.t5, d)));
  if (!bias.alibi.empty()) {
    sum -= T(bias.alibi[head_entry(bias.alibi, h)]) * T(static_cast<double>(std::abs(d)));
  }
  return sum;
}

// --- A row

template <class T>
Row<T> Call<T>::row(Index b, Index h, Index i) const {
  using std::exp;
  using std::isnan;
  using std::log;
  Row<T> row{std::vector<T>(static_cast<std::size_t>(n_.keys), nothing<T>()),
             std::vector<T>(static_cast<std::size_t>(n_.keys))};

  // 1. logit [M] and the maximum over all outcomes. A NaN stays the maximum.
  if (!options_.sink.empty()) row.sink_logit = options_.sink[head_entry(options_.sink, h)];
  T max = row.sink_logit;
  for (Index j = 0; j < n_.keys; ++j) {
    if (hidden(b, h, i, j)) continue;
    const T l = similarity(pair(b, h, i, j)) + bias(b, h, i, j);
    row.logit[static_cast<std::size_t>(j)] = l;
    if (l == nothing<T>()) continue;
    row.seen = true;
    if (isnan(l) || l > max) max = l;
  }
  if (max == nothing<T>()) return row;

  // 2. lse; every outcome with a logit of -inf has weight 0
  T sum{};
  const auto add = [&](T l) {
    if (!(l == nothing<T>())) sum += exp(l - max);
  };
  for (const T& l : row.logit) add(l);
  add(row.sink_logit);
  row.lse = max + log(sum);

  // 3. weight [M] and entropy = -sum w log w
  const auto weigh = [&](T l) {
    if (l == nothing<T>()) return T(0);
    const T w = exp(l - max) / sum;
    if (!(w == T(0))) row.entropy -= w * (l - row.lse);
    return w;
  };
  std::transform(row.logit.begin(), row.logit.end(), row.weight.begin(), weigh);
  row.sink_weight = weigh(row.sink_logit);
  return row;
}

template <class T>
T Call<T>::keep(Index b, Index h, Index i, Index j) const {
  const Dropout& dropout = options_.dropout;
  if (dropout.rate == 0) return T(1);
  const Ragged& ragged = options_.mask.ragged;
  const Place query = place(ragged.query, b, i), key = place(ragged.key, b, j);
  if (reference::dropped(dropout, query.sequence + dropout.first_batch, h, query.index, key.index))
    return T(0);
  return T(1) / (T(1) - T(dropout.rate));
}

template <class T>
void Call<T>::average(const Row<T>& row, Index b, Index h, Index i, T* out) const {
  for (Index j = 0; j < n_.keys; ++j) {
    if (row.logit[static_cast<std::size_t>(j)] == nothing<T>()) continue;
    const T weight = keep(b, h, i, j) * row.weight[static_cast<std::size_t>(j)];
    for (Index c = 0; c < n_.value_depth; ++c) out[c] += weight * value(b, h, j)[c];
  }
}

// --- The backward pass of a row

template <class T>
Sums<T> Call<T>::sums(bool bias) const {
  const Similarity& similarity = options_.similarity;
  const auto like = []<int R>(const View<const double, R>& x) { return Array<T, R>(x.shape); };
  Sums<T> sums;
  if (const auto* s = std::get_if<Bilinear>(&similarity)) sums.bilinear = like(s->matrix);
  if (const auto* s = std::get_if<Additive>(&similarity)) {
    sums.query_weight = like(s->query_weight);
    sums.key_weight = like(s->key_weight);
    sums.score = like(s->score);
  }
  sums.column_bandwidth = Array<T, 1>({static_cast<Index>(options_.metric.column_bandwidth.size())});
  sums.metric = like(options_.metric.matrix);
  sums.query_bandwidth = like(options_.adaptive.query);
  sums.key_bandwidth = like(options_.adaptive.key);
  if (options_.bias.relative) sums.relative = like(options_.bias.relative->table);
  if (options_.bias.t5) sums.t5 = like(options_.bias.t5->table);
  if (bias) {
    sums.bias = options_.bias.array.data != nullptr ? Array<T, 4>(options_.bias.array.shape)
                                                    : like(options_.bias.array64);
  }
  sums.alibi.resize(options_.bias.alibi.size());
  sums.sink.resize(options_.sink.size());
  return sums;
}

/// Through the soft cap and the similarity.
template <class T>
void Call<T>::pull_similarity(const Pair<T>& pair, T d_logit, PairGradients<T>& to, T& d_soft_cap) const {
  using std::tanh;
  std::visit(
      [&](const auto& kind) {
        const double cap = options_.soft_cap;
        if (cap == 0) return plain::pull(kind, pair, d_logit, to);
        const T ratio = logit(kind, pair) / cap, t = tanh(ratio), slope = 1.0 - t * t;
        d_soft_cap += d_logit * t;
        if (slope == T(0)) return;  // saturated: 0 times what may be infinite
        d_soft_cap -= d_logit * ratio * slope;
        plain::pull(kind, pair, d_logit * slope, to);
      },
      options_.similarity);
}

template <class T>
void Call<T>::pull_bias(Index b, Index h, Index i, Index j, T d_logit, Sums<T>& to) const {
  const Bias& bias = options_.bias;
  if (!to.bias.empty()) repeated(to.bias.view(), b, h, i, j) += d_logit;
  if (!bias.has_positions()) return;
  const Index d = distance(b, i, j);
  if (bias.relative)
    to.relative(to.relative.shape()[0] == 1 ? 0 : h, relative_column(*bias.relative, d)) += d_logit;
  if (bias.t5) to.t5(to.t5.shape()[0] == 1 ? 0 : h, t5_column(*bias.t5, d)) += d_logit;
  if (!bias.alibi.empty()) {
    to.alibi[head_entry(bias.alibi, h)] -= d_logit * T(static_cast<double>(std::abs(d)));
  }
}

template <class T>
void Call<T>::pull(const Row<T>& row, Index b, Index h, Index i, const RowUpstream<T>& upstream, T* d_query,
                   T* d_key, T* d_value, Sums<T>& to) const {
  if (!row.seen) {  // all that can be left is lse = the sink's logit
    if (!to.sink.empty()) to.sink[head_entry(options_.sink, h)] += upstream.lse;
    return;
  }
  const auto seen = [&](Index j) { return !(row.logit[static_cast<std::size_t>(j)] == nothing<T>()); };
  const auto weight = [&](Index j) { return row.weight[static_cast<std::size_t>(j)]; };

  // 1. d_weight [M], through out and the second moment, and its mean, which softmax subtracts
  std::vector<T> d_weight(row.weight.size());
  T mean{};
  for (Index j = 0; j < n_.keys; ++j) {
    if (!seen(j)) continue;
    const T* v = value(b, h, j);
    const T kept = keep(b, h, i, j);
    T d = kept * dot(upstream.out, v, n_.value_depth);
    if (upstream.second_moment != nullptr) {
      for (Index c = 0; c < n_.value_depth; ++c) d += kept * upstream.second_moment[c] * v[c] * v[c];
    }
    d_weight[static_cast<std::size_t>(j)] = d;
    mean += weight(j) * d;

    // 2. d_value [Dv]
    for (Index c = 0; c < n_.value_depth; ++c) {
      T& to_value = d_value[j * n_.value_depth + c];
      to_value += kept * weight(j) * upstream.out[c];
      if (upstream.second_moment != nullptr) {
        to_value += 2.0 * kept * weight(j) * upstream.second_moment[c] * v[c];
      }
    }
  }

  // 3. d_logit = w (d_weight - mean + d_lse - d_entropy (log w + entropy)): of lse it is w, and of
  //    entropy = lse - sum w logit it is -w (logit - lse + entropy)
  const auto through_softmax = [&](T w, T l, T d) {
    if (w == T(0)) return w * d;
    return w * (d - mean + upstream.lse - upstream.entropy * (l - row.lse + row.entropy));
  };
  if (!to.sink.empty()) {
    to.sink[head_entry(options_.sink, h)] += through_softmax(row.sink_weight, row.sink_logit, T(0));
  }
  for (Index j = 0; j < n_.keys; ++j) {
    if (!seen(j)) continue;
    const T d_logit = through_softmax(weight(j), row.logit[static_cast<std::size_t>(j)],
                                      d_weight[static_cast<std::size_t>(j)]);

    // 4. through the biases, the soft cap and the similarity
    pull_bias(b, h, i, j, d_logit, to);
    const Pair<T> p = pair(b, h, i, j);
    PairGradients<T> gradients{d_query, d_key + j * depth_};
    gradients.score = to.score.data();
    pull_similarity(p, d_logit, gradients, to.soft_cap);
    to.number += gradients.number;
    const auto& adaptive = options_.adaptive;
    if (!to.query_bandwidth.empty()) {
      T& d = repeated(to.query_bandwidth.view(), b, h, i);
      d += gradients.bandwidth * p.bandwidth / repeated(adaptive.query, b, h, i);
    }
    if (!to.key_bandwidth.empty()) {
      T& d = repeated(to.key_bandwidth.view(), b, h / n_.group(), j);
      d += gradients.bandwidth * p.bandwidth / repeated(adaptive.key, b, h / n_.group(), j);
    }
  }
}

}  // namespace kith::plain
