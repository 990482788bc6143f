// What goes into a backward pass, head by head: rows in the type and form the kernels take, and what softmax
// subtracts in each row.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <type_traits>

#include "attention/backward_head.h"
#include "attention/kernels/rows.h"
#include "attention/prepared_rows.h"
#include "attention/terms.h"

namespace kith {

template <class T>
struct BackwardInputs {
  using Real = compute_t<T>;
  using Head = BackwardHead<Real>;

  const Geometry& g;
  const View<const T, 4>&query, &key, &value;
  const AttentionOptions& options;
  const BasicAttentionResult<Real>& result;
  const Upstream<Real>& upstream;

  Lowered lowered = lower<Real>(options, g);
  MaskPlan plan{options.mask, g.batch, g.queries, g.keys};
  TermArrays<Real> arrays{options, g, lowered, plan};
  MappedRows<T> query_rows{query, options, g, RowMap::Side::query};
  MappedRows<T> key_rows{key, options, g, RowMap::Side::key};
  bool entropy = upstream.entropy.data != nullptr;
  bool differences = lowered.pair != kernels::Pair::dot;
  /// Without terms the kernels have a faster path, for the dot and in float, and know nothing of parameters.
  bool with_terms = arrays.needed() || (differences && !std::is_same_v<Real, float>);
  /// The second moment is the average of the values' squares, which are columns behind the values.
  bool moment = upstream.second_moment.data != nullptr;
  Index width = g.value_depth * (moment ? 2 : 1);
  bool copy_values = moment || !std::is_same_v<T, Real>;
  Index tile = kernels::tile_keys<Real>();
  Index pull = lowered.depth;
  Index pull_stride = kernels::round_up(pull, kernels::vector_lanes<Real>());

  /// Of the head's inputs; `queries` and `keys` are the most a sequence has.
  void divide(Divider& memory, Head& head, Index queries, Index keys, Index groups) const {
    const Index rows = g.group() * queries, tiles = kernels::tile_count<Real>(keys);
    head.key_pull.resize(static_cast<std::size_t>(groups));
    head.query_pull.resize(static_cast<std::size_t>(g.group()));
    head.sink_rows.resize(static_cast<std::size_t>(g.group()));
    head.d_out_pull.resize(static_cast<std::size_t>(g.group()));
    head.mapped_keys = memory.take<Real>(key_rows.in_place() ? 0 : keys * pull);
    head.mapped_queries = memory.take<Real>(query_rows.in_place() ? 0 : rows * pull);
    head.value_rows = memory.take<Real>(copy_values ? keys * width : 0);
    head.key_tiles = memory.take<Real>(tiles * pull * tile);
    head.finite_key_tiles = memory.take<Real>(differences ? tiles * pull * tile : 0);
    head.value_tiles = memory.take<Real>(tiles * width * tile);
    head.key_rows = memory.take<Real>(keys * pull_stride);
    head.query_rows = memory.take<Real>(rows * pull_stride);
    head.d_out_raw = memory.take<Real>(moment ? rows * width : 0);
    head.d_out_rows = memory.take<Real>(rows * width);
    head.lse2 = memory.take<Real>(rows);
    head.delta = memory.take<Real>(rows);
    head.d_entropy = memory.take<Real>(entropy ? rows : 0);
    head.origin = memory.take<double>(g.depth);
  }

  Index head_of(const Head& head, Index q) const { return head.h * g.group() + q; }
  HeadRows<Real> queries(const Head& head, Index q) const {
    return query_rows.at(head.s, head_of(head, q), mapped_queries(head, q));
  }
  /// The gradients of out and, behind them, of the second moment.
  HeadRows<Real> d_out(const Head& head, Index q) const {
    if (moment) return {head.d_out_raw + q * head.s.queries * width, width};
    return head_rows(upstream.out, head.s.batch, head_of(head, q), head.s.first_query);
  }
  bool d_out_finite(const Head& head, Index q) const {
    return head.d_out_pull[static_cast<std::size_t>(q)].data == d_out(head, q).data;
  }

  /// Whether a term hides key j from query i though the mask does not.
  bool hides(const Head& head, Index q, Index i, Index j) const {
    if (!with_terms) return false;
    const HeadRows<Real> rows = queries(head, q);
    return arrays.hides(arrays.terms(head.number, head_of(head, q)), i, j, rows.data + i * rows.stride,
                        head.keys.data + j * head.keys.stride, 1);
  }

  /// Preparation of keys, values and each query head, which may run at the same time; then finish_preparing.
  Index parts() const { return 2 + g.group(); }
  void prepare(Head& head, Index part) const {
    if (part == 0) {
      head.keys = key_rows.apply(head.s, head.h, head.mapped_keys);
    } else if (part == 1) {
      prepare_values(head);
    } else {
      prepare_queries(head, part - 2);
    }
  }

  /// The keys and values of a group, as tiles from tile `at` on and as rows.
  void prepare_group(Head& head, Index group, Index at) const {
    const Index first = head.first_key(group), count = head.key_count(group);
    const Index tiles = kernels::tile_count<Real>(count);
    HeadRows<Real> rows{head.keys.data + first * head.keys.stride, head.keys.stride};
    HeadRows<Real>& pulled = head.key_pull[static_cast<std::size_t>(group)];
    Real* copy = head.key_rows + first * pull_stride;
    // Rows in place are read in whole vectors.
    pulled = pull == pull_stride ? finite(rows, count, pull, copy, pull_stride)
                                 : HeadRows<Real>{copy, pull_stride};
    if (pull != pull_stride) copy_finite(rows, count, pull, copy, pull_stride);
    const Index columns = at * tile;
    kernels::pack_tiles<Real>(rows.data, rows.stride, count, pull, 0, tiles, head.key_tiles + columns * pull);
    if (differences) {
      kernels::pack_tiles<Real>(pulled.data, pulled.stride, count, pull, 0, tiles,
                                head.finite_key_tiles + columns * pull);
    }
    rows = {head.values.data + first * head.values.stride, head.values.stride};
    kernels::pack_tiles<Real>(rows.data, rows.stride, count, width, 0, tiles,
                              head.value_tiles + columns * width);
  }

  void finish_preparing(Head& head) const {
    for (Index q = 0; q < g.group(); ++q) {
      for (const SinkRow& row : head.sink_rows[static_cast<std::size_t>(q)]) {
        const Index i = row.query, at = head.s.first_query + i, h = head_of(head, q);
        if (sees_a_key(head, q, i)) {
          pull_sink(head, q, at, row);
          continue;
        }
        head.lse2[q * head.s.queries + i] = -std::numeric_limits<Real>::infinity();
        if (upstream.lse.data != nullptr)
          head.parameters.sink[q] += static_cast<double>(upstream.lse(head.s.batch, h, at));
      }
    }
    find_origin(head);
  }

 private:
  Real* mapped_queries(const Head& head, Index q) const {
    return query_rows.in_place() ? nullptr : head.mapped_queries + q * head.s.queries * pull;
  }

  // Where the products may read rows: where they lie, or a copy if one of them is not finite.
  HeadRows<Real> finite(HeadRows<Real> rows, Index count, Index depth, Real* copy, Index copy_stride) const {
    if (kernels::rows_finite<Real>(rows.data, rows.stride, count, depth)) return rows;
    copy_finite(rows, count, depth, copy, copy_stride);
    return {copy, copy_stride};
  }

  void prepare_values(Head& head) const {
    const HeadRows<T> raw = head_rows(value, head.s.batch, head.h, head.s.first_key);
    if constexpr (std::is_same_v<T, Real>) head.values = raw;
    if (!copy_values) return;
    for (Index j = 0; j < head.s.keys; ++j) {
      Real* to = head.value_rows + j * width;
      for (Index c = 0; c < g.value_depth; ++c) {
        to[c] = static_cast<Real>(raw.data[j * raw.stride + c]);
        if (moment) to[g.value_depth + c] = to[c] * to[c];
      }
    }
    head.values = {head.value_rows, width};
  }

  void prepare_queries(Head& head, Index q) const {
    const Index h = head_of(head, q), rows = head.s.queries;
    head.sink_rows[static_cast<std::size_t>(q)].clear();
    const HeadRows<Real> mapped = query_rows.apply(head.s, h, mapped_queries(head, q));
    head.query_pull[static_cast<std::size_t>(q)] =
        finite(mapped, rows, pull, head.query_rows + q * rows * pull_stride, pull_stride);
    if (moment) {
      const HeadRows<Real> first = head_rows(upstream.out, head.s.batch, h, head.s.first_query);
      const HeadRows<Real> second = head_rows(upstream.second_moment, head.s.batch, h, head.s.first_query);
      for (Index i = 0; i < rows; ++i) {
        Real* to = head.d_out_raw + (q * rows + i) * width;
        std::copy_n(first.data + i * first.stride, g.value_depth, to);
        std::copy_n(second.data + i * second.stride, g.value_depth, to + g.value_depth);
      }
    }
    const HeadRows<Real> d_rows = d_out(head, q);
    head.d_out_pull[static_cast<std::size_t>(q)] =
        finite(d_rows, rows, width, head.d_out_rows + q * rows * width, width);
    constexpr Index kRows = 64;
    double first[kRows], second[kRows];
    for (Index begin = 0; begin < rows; begin += kRows) {
      const Index count = std::min(kRows, rows - begin);
      const Real* d = d_rows.data + begin * d_rows.stride;
      const auto dots = [&](const Real* d_output, const Array<Real, 4>& output, double* to) {
        kernels::dot_rows<Real>(d_output, d_rows.stride,
                                &output(head.s.batch, h, head.s.first_query + begin, 0), g.value_depth, count,
                                g.value_depth, to);
      };
      dots(d, result.out, first);
      if (moment) dots(d + g.value_depth, result.second_moment, second);
      for (Index i = 0; i < count; ++i) {
        prepare_row(head, q, begin + i, first[i] + (moment ? second[i] : 0));
      }
    }
  }

  // What softmax subtracts from dP: sum_j P dP = d_out . out, `pulled`, with what flows through lse and
  // entropy. On the way the gradient of the sink, a key whose dP is 0.
  void prepare_row(Head& head, Index q, Index i, double pulled) const {
    const Index b = head.s.batch, h = head_of(head, q), row = q * head.s.queries + i;
    const Index at = head.s.first_query + i;
    const auto lse = static_cast<double>(result.lse(b, h, at));
    double delta = upstream.lse.data == nullptr ? 0 : -static_cast<double>(upstream.lse(b, h, at));
    delta += pulled;
    double d_entropy = 0;
    if (entropy) {
      d_entropy = static_cast<double>(upstream.entropy(b, h, at));
      delta += d_entropy * static_cast<double>(result.entropy(b, h, at));
      head.d_entropy[row] = static_cast<Real>(d_entropy * std::numbers::ln2);
    }
    head.delta[row] = static_cast<Real>(delta);
    head.lse2[row] = static_cast<Real>(lse * std::numbers::log2e);
    if (options.sink.empty()) return;
    const SinkRow sink_row{i, delta, d_entropy};
    if (like_sink_alone(result.lse(b, h, at), options.sink[entry_of(options.sink, h)],
                        &result.out(b, h, at, 0))) {
      head.sink_rows[static_cast<std::size_t>(q)].push_back(sink_row);
    } else {
      pull_sink(head, q, at, sink_row);
    }
  }

  void pull_sink(Head& head, Index q, Index at, const SinkRow& row) const {
    const double sink = options.sink[entry_of(options.sink, head_of(head, q))];
    const auto lse = static_cast<double>(result.lse(head.s.batch, head_of(head, q), at));
    const double weight = sink == -HUGE_VAL ? 0 : std::exp(sink - lse);
    if (weight != 0) head.parameters.sink[q] -= weight * (row.delta + row.d_entropy * (sink - lse));
  }

  // A row whose keys are all hidden has the sink's logit for its lse, as the forward pass rounds it, and its
  // out is 0. Nothing but d_lse reaches the sink there, whatever the row holds. So has one whose keys all
  // weigh less than that rounding, or are dropped: only its keys tell.
  bool like_sink_alone(Real lse, double sink, const Real* out) const {
    return lse == static_cast<Real>(sink * std::numbers::log2e * std::numbers::ln2) &&
           std::all_of(out, out + g.value_depth, [](Real x) { return x == 0; });
  }
  bool sees_a_key(const Head& head, Index q, Index i) const {
    const Index h = head_of(head, q), keys = head.s.keys;
    if (keys == 0 || plan.classify(head.number, h, i, i + 1, 0, keys) == MaskPlan::Seen::none) return false;
    for (Index j = 0; j < keys; ++j) {
      if (plan.visible(head.number, h, i, j) && !hides(head, q, i, j)) return true;
    }
    return false;
  }

  // Differences do not change when one point is taken from all rows; near the rows it saves digits. A row
  // that sees a key serves: what is masked must not move a sum's rounding.
  void find_origin(Head& head) const {
    head.has_origin = false;
    if (!differences || lowered.pair == kernels::Pair::additive) return;
    for (Index row = 0; row < g.group() * head.s.queries; ++row) {
      if (!std::isfinite(head.lse2[row])) continue;
      const Index q = row / head.s.queries, i = row % head.s.queries;
      const HeadRows<T> raw = query_rows.raw(head.s, head_of(head, q));
      if (!all_finite(HeadRows<T>{raw.data + i * raw.stride, raw.stride}, 1, g.depth)) continue;
      for (Index c = 0; c < g.depth; ++c)
        head.origin[c] = static_cast<double>(static_cast<Real>(raw.data[i * raw.stride + c]));
      const HeadRows<Real>& pulled = head.query_pull[static_cast<std::size_t>(q)];
      head.mapped_origin = pulled.data + i * pulled.stride;
      head.has_origin = true;
      return;
    }
  }
};

}  // namespace kith
