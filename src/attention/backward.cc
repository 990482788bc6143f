// The backward pass. Per head of keys: fixed groups of key tiles are the tasks; each owns the gradients of
// its keys and values and a private gradient of the queries, and the private ones are added in group order.
// Queries pass by in stretches of fixed length, so that the private copies stay bounded. Groups and stretches
// depend on a sequence's sizes alone, never on the threads, so every sum has one order.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <type_traits>
#include <vector>

#include "array/threads.h"
#include "attention/backward_head.h"
#include "attention/backward_parameters.h"
#include "attention/prepared_rows.h"
#include "attention/run.h"
#include "attention/terms.h"
#include "attention/workspace.h"

namespace kith {
namespace {

using namespace kernels;

constexpr Index kMostGroups = 16;
constexpr Index kLeastGroupKeys = 4 * kKeyBlock;
constexpr Index kStretch = 8192;

Index group_keys_of(Index keys) {
  return std::max(kLeastGroupKeys, round_up((keys + kMostGroups - 1) / kMostGroups, kKeyBlock));
}
Index groups_of(Index keys) { return (keys + group_keys_of(keys) - 1) / group_keys_of(keys); }

BackwardSizes sizes_of(const MaskPlan& plan) {
  BackwardSizes most;
  for (const Sequence& s : plan.sequences()) {
    most.queries = std::max(most.queries, s.queries);
    most.keys = std::max(most.keys, s.keys);
    most.groups = std::max(most.groups, groups_of(s.keys));
  }
  most.group_keys = group_keys_of(most.keys);
  most.stretch = std::min(most.queries, kStretch);
  return most;
}

template <class T>
struct BackwardRun {
  using Real = compute_t<T>;

  const Geometry& g;
  const View<const T, 4>&query, &key, &value;
  const AttentionOptions& options;
  int threads;
  const BasicAttentionResult<Real>& result;
  const Upstream<Real>& upstream;
  BasicAttentionGradients<Real>& gradients;

  Lowered lowered = lower<Real>(options, g);
  MaskPlan plan{options.mask, g.batch, g.queries, g.keys};
  TermArrays<Real> arrays{options, g, lowered, plan};
  MappedRows<T> query_rows{query, options, g, RowMap::Side::query};
  MappedRows<T> key_rows{key, options, g, RowMap::Side::key};
  bool entropy = upstream.entropy.data != nullptr;
  /// Without terms the float kernels have a faster path, and know nothing of parameters.
  bool with_terms = !std::is_same_v<Real, float> || arrays.needed() || entropy;
  bool differences = lowered.pair != Pair::dot;
  /// The second moment is the average of the values' squares, which are columns behind the values.
  bool moment = upstream.second_moment.data != nullptr;
  Index width = g.value_depth * (moment ? 2 : 1);
  bool copy_values = moment || !std::is_same_v<T, Real>;

  BackwardSizes sizes = sizes_of(plan);
  Index tile = tile_keys<Real>();
  Index tiles = tile_count<Real>(sizes.keys);
  Index pull = lowered.depth;
  Index pull_stride = round_up(pull, vector_lanes<Real>());
  Index all_heads = plan.sequence_count() * g.key_heads;
  Index scratch_size = static_cast<Index>(backward_scratch<Real>());
  ParameterSums<Real> parameters{options, g, lowered, plan, sizes, with_terms, upstream.bias, gradients};
  /// Key heads worked on at once: enough tasks for the threads, bounded memory.
  Index wave = parameters.heads_share_bias()
                   ? 1
                   : std::clamp<Index>(4 * Index{threads} / std::max<Index>(sizes.groups, 1) + 1, 1,
                                       std::max<Index>(all_heads, 1));

  using Head = BackwardHead<Real>;
  std::vector<Head> heads{};
  Real* scratch = nullptr;

  void divide(Divider& memory) {
    arrays.divide(memory);
    heads.resize(static_cast<std::size_t>(wave));
    const Index rows = g.group() * sizes.queries;
    for (Head& head : heads) {
      if (!key_rows.in_place()) head.mapped_keys = memory.take<Real>(sizes.keys * pull);
      if (!query_rows.in_place()) head.mapped_queries = memory.take<Real>(rows * pull);
      head.key_tiles = memory.take<Real>(tiles * pull * tile);
      head.finite_key_tiles = memory.take<Real>(differences ? tiles * pull * tile : 0);
      head.value_rows = memory.take<Real>(copy_values ? sizes.keys * width : 0);
      head.value_tiles = memory.take<Real>(tiles * width * tile);
      head.key_rows = memory.take<Real>(sizes.keys * pull_stride);
      head.query_rows = memory.take<Real>(rows * pull_stride);
      head.d_out_raw = memory.take<Real>(moment ? rows * width : 0);
      head.d_out_rows = memory.take<Real>(rows * width);
      head.lse2 = memory.take<Real>(rows);
      head.delta = memory.take<Real>(rows);
      head.d_entropy = memory.take<Real>(entropy ? rows : 0);
      head.d_query = memory.take<Real>(sizes.groups * sizes.stretch * pull_stride);
      head.d_key = memory.take<Real>(tiles * pull * tile);
      head.d_value = memory.take<Real>(tiles * width * tile);
      head.d_mapped = memory.take<Real>(std::max(sizes.queries, sizes.keys) * pull);
      head.row_factor = memory.take<double>(sizes.queries);
      head.origin = memory.take<double>(g.depth);
      parameters.divide(memory, head.parameters);
    }
    scratch = memory.take<Real>(threads * scratch_size);
  }

  Index head_of(const Head& head, Index q) const { return head.h * g.group() + q; }

  Real* mapped_queries(const Head& head, Index q) const {
    return query_rows.in_place() ? nullptr : head.mapped_queries + q * head.s.queries * pull;
  }
  HeadRows<Real> queries(const Head& head, Index q) const {
    return query_rows.at(head.s, head_of(head, q), mapped_queries(head, q));
  }

  /// The gradients of out and, behind them, of the second moment.
  HeadRows<Real> d_out(const Head& head, Index q) const {
    if (moment) return {head.d_out_raw + q * head.s.queries * width, width};
    return head_rows(upstream.out, head.s.batch, head_of(head, q), head.s.first_query);
  }

  void prepare_keys(Head& head) {
    const HeadRows<Real> rows = key_rows.apply(head.s, head.h, head.mapped_keys);
    const Index count = tile_count<Real>(head.s.keys);
    pack_tiles<Real>(rows.data, rows.stride, head.s.keys, pull, 0, count, head.key_tiles);
    copy_finite(rows, head.s.keys, pull, head.key_rows, pull_stride);
    if (differences) {
      pack_tiles<Real>(head.key_rows, pull_stride, head.s.keys, pull, 0, count, head.finite_key_tiles);
    }
    std::fill_n(head.d_key, count * pull * tile, Real{0});
  }

  void prepare_values(Head& head) {
    const Index count = tile_count<Real>(head.s.keys);
    const HeadRows<T> raw = head_rows(value, head.s.batch, head.h, head.s.first_key);
    HeadRows<Real> rows{head.value_rows, width};
    if (copy_values) {
      for (Index j = 0; j < head.s.keys; ++j) {
        Real* to = head.value_rows + j * width;
        for (Index c = 0; c < g.value_depth; ++c) {
          to[c] = static_cast<Real>(raw.data[j * raw.stride + c]);
          if (moment) to[g.value_depth + c] = to[c] * to[c];
        }
      }
    } else if constexpr (std::is_same_v<T, Real>) {
      rows = raw;
    }
    pack_tiles<Real>(rows.data, rows.stride, head.s.keys, width, 0, count, head.value_tiles);
    std::fill_n(head.d_value, count * width * tile, Real{0});
  }

  void prepare_queries(Head& head, Index q) {
    const Index h = head_of(head, q), rows = head.s.queries;
    const HeadRows<Real> mapped = query_rows.apply(head.s, h, mapped_queries(head, q));
    copy_finite(mapped, rows, pull, head.query_rows + q * rows * pull_stride, pull_stride);
    if (moment) {
      const HeadRows<Real> first = head_rows(upstream.out, head.s.batch, h, head.s.first_query);
      const HeadRows<Real> second = head_rows(upstream.second_moment, head.s.batch, h, head.s.first_query);
      for (Index i = 0; i < rows; ++i) {
        Real* to = head.d_out_raw + (q * rows + i) * width;
        std::copy_n(first.data + i * first.stride, g.value_depth, to);
        std::copy_n(second.data + i * second.stride, g.value_depth, to + g.value_depth);
      }
    }
    const HeadRows<Real> d_out_rows = d_out(head, q);
    head.d_out_finite &= all_finite(d_out_rows, rows, width);
    copy_finite(d_out_rows, rows, width, head.d_out_rows + q * rows * width, width);
    for (Index i = 0; i < rows; ++i) prepare_row(head, q, i, d_out_rows.data + i * d_out_rows.stride);
  }

  // What softmax subtracts from dP: sum_j P dP = d_out . out, with what flows through lse and entropy. On the
  // way the gradient of the sink, a key whose dP is 0.
  void prepare_row(Head& head, Index q, Index i, const Real* d_out_row) {
    const Index b = head.s.batch, h = head_of(head, q), row = q * head.s.queries + i;
    const Index at = head.s.first_query + i;
    const auto dot = [&](const Real* d, const Array<Real, 4>& output) {
      const Real* x = &output(b, h, at, 0);
      double sum = 0;
      for (Index c = 0; c < g.value_depth; ++c) sum += static_cast<double>(d[c]) * static_cast<double>(x[c]);
      return sum;
    };
    const auto lse = static_cast<double>(result.lse(b, h, at));
    double delta = upstream.lse.data == nullptr ? 0 : -static_cast<double>(upstream.lse(b, h, at));
    delta += dot(d_out_row, result.out);
    if (moment) delta += dot(d_out_row + g.value_depth, result.second_moment);
    double d_entropy = 0;
    if (entropy) {
      d_entropy = static_cast<double>(upstream.entropy(b, h, at));
      delta += d_entropy * static_cast<double>(result.entropy(b, h, at));
      head.d_entropy[row] = static_cast<Real>(d_entropy * std::numbers::ln2);
    }
    head.delta[row] = static_cast<Real>(delta);
    head.lse2[row] = static_cast<Real>(lse * std::numbers::log2e);
    if (options.sink.empty()) return;
    const double sink = options.sink[entry_of(options.sink, h)];
    if (sees_sink_alone(result.lse(b, h, at), sink, &result.out(b, h, at, 0))) {
      head.lse2[row] = -std::numeric_limits<Real>::infinity();
      if (upstream.lse.data != nullptr)
        head.parameters.sink[q] += static_cast<double>(upstream.lse(b, h, at));
      return;
    }
    const double weight = sink == -HUGE_VAL ? 0 : std::exp(sink - lse);
    if (weight != 0) head.parameters.sink[q] -= weight * (delta + d_entropy * (sink - lse));
  }

  // A row whose keys are all hidden has the sink's logit for its lse, as the forward pass rounds it; so has
  // one whose keys all weigh less than its rounding, and then `out` tells them apart. Nothing but d_lse
  // reaches the sink there, whatever the row holds.
  bool sees_sink_alone(Real lse, double sink, const Real* out) const {
    return lse == static_cast<Real>(sink * std::numbers::log2e * std::numbers::ln2) &&
           std::all_of(out, out + g.value_depth, [](Real x) { return x == 0; });
  }

  // Differences do not change when one point is taken from all rows; near the rows it saves digits. A row
  // that sees a key serves: what is masked must not move a sum's rounding.
  void find_origin(Head& head) {
    head.has_origin = false;
    if (!differences || lowered.pair == Pair::additive) return;
    for (Index row = 0; row < g.group() * head.s.queries; ++row) {
      if (!std::isfinite(head.lse2[row])) continue;
      const Index q = row / head.s.queries, i = row % head.s.queries;
      const HeadRows<T> raw = query_rows.raw(head.s, head_of(head, q));
      if (!all_finite(HeadRows<T>{raw.data + i * raw.stride, raw.stride}, 1, g.depth)) continue;
      for (Index c = 0; c < g.depth; ++c)
        head.origin[c] = static_cast<double>(static_cast<Real>(raw.data[i * raw.stride + c]));
      head.mapped_origin = head.query_rows + row * pull_stride;
      head.has_origin = true;
      return;
    }
  }

  void prepare(Head& head, Index number) {
    head.number = head.parameters.sequence = number / g.key_heads;
    head.h = head.parameters.key_head = number % g.key_heads;
    head.s = plan.sequences()[static_cast<std::size_t>(head.number)];
    head.group_keys = group_keys_of(head.s.keys);
    head.groups = groups_of(head.s.keys);
    head.d_out_finite = true;
    parameters.begin(head.parameters);
    prepare_keys(head);
    prepare_values(head);
    for (Index q = 0; q < g.group(); ++q) prepare_queries(head, q);
    find_origin(head);
  }

  // Query head q of the group, queries of one stretch, keys of one group.
  void run_group(Head& head, Index q, Index first, Index last, Index group) {
    Real* d_query = head.d_query + group * sizes.stretch * pull_stride;
    std::fill_n(d_query, (last - first) * pull_stride, Real{0});
    const HeadRows<Real> mapped = queries(head, q), d_out_rows = d_out(head, q);
    const Index row = q * head.s.queries + first;
    BackwardTask<Real> t;
    t.pair = lowered.pair;
    t.factor = static_cast<Real>(lowered.task_factor());
    Terms<Real> terms;
    if (with_terms) {
      terms = arrays.terms(head.number, head_of(head, q));
      t.terms = &terms;
    }
    t.coefficient = arrays.coefficient();
    t.query = mapped.data + first * mapped.stride;
    t.query_stride = mapped.stride;
    t.key_tiles = head.key_tiles;
    t.d_out = d_out_rows.data + first * d_out_rows.stride;
    t.d_out_stride = d_out_rows.stride;
    t.value_tiles = head.value_tiles;
    t.lse2 = head.lse2 + row;
    t.delta = head.delta + row;
    if (entropy) t.d_entropy = head.d_entropy + row;
    t.query_rows = head.query_rows + row * pull_stride;
    t.query_rows_stride = pull_stride;
    t.d_out_rows = head.d_out_rows + row * width;
    t.d_out_rows_stride = width;
    t.key_rows = head.key_rows;
    t.key_rows_stride = pull_stride;
    t.finite_key_tiles = head.finite_key_tiles;
    t.depth = t.pull_depth = pull;
    t.value_depth = width;
    t.mask = &plan;
    t.sequence = head.number;
    t.head = head_of(head, q);
    t.first_query = first;
    t.last_query = last;
    t.first_key = group * head.group_keys;
    t.last_key = std::min(head.s.keys, t.first_key + head.group_keys);
    t.scratch = scratch + worker_index() * scratch_size;
    t.d_query = d_query;
    t.d_query_stride = pull_stride;
    t.d_key_tiles = head.d_key + t.first_key / tile * pull * tile;
    t.d_value_tiles = head.d_value + t.first_key / tile * width * tile;
    parameters.point(head.parameters, head_of(head, q), group, t);
    backward<Real>(t);
  }

  // From the sums of one row (of queries, or of keys with sign -1 for q - k) to the gradient of its mapped
  // row, and its part of dL/dfactor, which with terms the kernel has summed.
  //   dot:       x = q.k        dq = sum dX k            dL/df = sum_i q_i . (sum_j dS_ij k_j)
  //   squared:   x = |q-k|^2    dq = 2 sum dX (q - k)    dL/df = sum_i q_i . a_i + sum_j k_j . a_j, for sums
  //   a absolute:  x = |q-k|_1    dq = sum dX sign(q - k) additive:                 dq = sum dX u (1 - t^2)
  //   and the keys' with the same sign
  // The second is homogeneity, which holds about any origin.
  double finish_row(const Head& head, const double* sums, const Real* row, double sign,
                    Real* gradient) const {
    if (lowered.pair == Pair::dot || lowered.pair == Pair::additive) sign = 1;
    const double scale = (lowered.pair == Pair::squared ? 2 : 1) * (with_terms ? 1 : lowered.factor);
    for (Index c = 0; c < pull; ++c) gradient[c] = static_cast<Real>(scale * sign * sums[c]);
    if (with_terms) return 0;
    double dot = 0;
    for (Index c = 0; c < pull; ++c) {
      const double origin = head.has_origin ? static_cast<double>(head.mapped_origin[c]) : 0;
      dot += (static_cast<double>(row[c]) - origin) * sign * sums[c];
    }
    return dot;
  }

  void finish_queries(Head& head, Index q, Index first, Index last) {
    std::vector<double> sums(static_cast<std::size_t>(pull_stride));
    for (Index i = first; i < last; ++i) {
      std::fill(sums.begin(), sums.end(), 0.0);
      for (Index group = 0; group < head.groups; ++group) {
        const Real* part = head.d_query + (group * sizes.stretch + i % sizes.stretch) * pull_stride;
        for (Index c = 0; c < pull; ++c) sums[static_cast<std::size_t>(c)] += static_cast<double>(part[c]);
      }
      const Real* row = head.query_rows + (q * head.s.queries + i) * pull_stride;
      Real* to = query_rows.identity()
                     ? &gradients.query(head.s.batch, head_of(head, q), head.s.first_query + i, 0)
                     : head.d_mapped + i * pull;
      head.row_factor[i] = finish_row(head, sums.data(), row, 1, to);
    }
  }

  // A query head is done: back through the map of its rows.
  void finish_query_head(Head& head, Index q) {
    for (Index i = 0; i < head.s.queries; ++i) head.parameters.d_factor += head.row_factor[i];
    if (query_rows.identity() || pull == 0 || head.s.queries == 0) return;
    const HeadRows<T> raw = query_rows.raw(head.s, head_of(head, q));
    query_rows.map().backward(raw.data, raw.stride, head.s, head.s.queries, head.d_mapped, pull,
                              raw_origin(head),
                              &gradients.query(head.s.batch, head_of(head, q), head.s.first_query, 0),
                              g.depth, head.parameters.query);
  }

  // Rows that are turned by their position have no origin in common.
  const double* raw_origin(const Head& head) const {
    return head.has_origin && !options.rotary ? head.origin : nullptr;
  }

  void finish_keys(Head& head) {
    std::vector<double> sums(static_cast<std::size_t>(pull));
    for (Index j = 0; j < head.s.keys; ++j) {
      const Index at = j / tile, lane = j % tile;
      Real* d_value = &gradients.value(head.s.batch, head.h, head.s.first_key + j, 0);
      for (Index c = 0; c < g.value_depth; ++c) {
        d_value[c] = head.d_value[(at * width + c) * tile + lane];
        if (!moment) continue;
        // A masked value may be infinite or NaN; nothing flows to its square then.
        const Real d_square = head.d_value[(at * width + g.value_depth + c) * tile + lane];
        if (d_square != 0) d_value[c] += 2 * head.value_rows[j * width + c] * d_square;
      }
      if (pull == 0) continue;
      for (Index c = 0; c < pull; ++c) {
        sums[static_cast<std::size_t>(c)] = static_cast<double>(head.d_key[(at * pull + c) * tile + lane]);
      }
      Real* to = key_rows.identity() ? &gradients.key(head.s.batch, head.h, head.s.first_key + j, 0)
                                     : head.d_mapped + j * pull;
      const double factor = finish_row(head, sums.data(), head.key_rows + j * pull_stride, -1, to);
      if (differences) head.parameters.d_factor += factor;
    }
    if (!key_rows.identity() && pull > 0 && head.s.keys > 0) {
      const HeadRows<T> raw = key_rows.raw(head.s, head.h);
      key_rows.map().backward(raw.data, raw.stride, head.s, head.s.keys, head.d_mapped, pull,
                              raw_origin(head), &gradients.key(head.s.batch, head.h, head.s.first_key, 0),
                              g.key_depth, head.parameters.key);
    }
    if (!head.d_out_finite) spread_non_finite(head);
  }

  // Entries of d_out that are not finite were taken as 0 in dV; they reach exactly the keys their row sees.
  void spread_non_finite(const Head& head) {
    for (Index q = 0; q < g.group(); ++q) {
      const HeadRows<Real> rows = d_out(head, q);
      const Terms<Real> terms = arrays.terms(head.number, head_of(head, q));
      for (Index i = 0; i < head.s.queries; ++i) {
        const Real* d = rows.data + i * rows.stride;
        if (std::all_of(d, d + width, [](Real x) { return std::isfinite(x); })) continue;
        for (Index j = 0; j < head.s.keys; ++j) {
          if (!plan.visible(head.number, head_of(head, q), i, j)) continue;
          if (with_terms && hides(head, terms, q, i, j)) continue;
          Real* d_value = &gradients.value(head.s.batch, head.h, head.s.first_key + j, 0);
          for (Index c = 0; c < width; ++c) {
            if (std::isfinite(d[c])) continue;
            const bool square = c >= g.value_depth;
            d_value[c % g.value_depth] +=
                square ? d[c] * 2 * head.value_rows[j * width + c - g.value_depth] : d[c];
          }
        }
      }
    }
  }

  bool hides(const Head& head, const Terms<Real>& terms, Index q, Index i, Index j) const {
    const HeadRows<Real> rows = queries(head, q);
    return arrays.hides(terms, i, j, rows.data + i * rows.stride,
                        head.key_tiles + j / tile * pull * tile + j % tile, tile);
  }

  // Query head q of each of the wave's heads.
  void run_query_heads(Index count, Index q) {
    const auto head = [&](Index i) -> Head& { return heads[static_cast<std::size_t>(i)]; };
    for (Index first = 0; first < sizes.queries; first += sizes.stretch) {
      const auto last = [&](Index i) { return std::min(head(i).s.queries, first + sizes.stretch); };
      parallel_for(threads, count * sizes.groups, [&](Index task) {
        const Index i = task / sizes.groups, group = task % sizes.groups;
        if (group < head(i).groups && first < last(i)) run_group(head(i), q, first, last(i), group);
      });
      const Index parts = (sizes.stretch + kQueryBlock - 1) / kQueryBlock;
      parallel_for(threads, count * (parts + 1), [&](Index task) {
        const Index i = task / (parts + 1), part = task % (parts + 1);
        const Index begin = first + part * kQueryBlock;
        if (part == parts) {
          if (first < last(i)) {
            parameters.collect(head(i).parameters, head_of(head(i), q), head(i).groups, head(i).group_keys,
                               first, last(i));
          }
        } else if (begin < last(i)) {
          finish_queries(head(i), q, begin, std::min(last(i), begin + kQueryBlock));
        }
      });
    }
    parallel_for(threads, count, [&](Index i) { finish_query_head(head(i), q); });
  }

  void run() {
    arrays.fill();
    for (Index begin = 0; begin < all_heads; begin += wave) {
      const Index count = std::min(wave, all_heads - begin);
      const auto head = [&](Index i) -> Head& { return heads[static_cast<std::size_t>(i)]; };
      parallel_for(threads, count, [&](Index i) { prepare(head(i), begin + i); });
      for (Index q = 0; q < g.group(); ++q) run_query_heads(count, q);
      parallel_for(threads, count, [&](Index i) { finish_keys(head(i)); });
      for (Index i = 0; i < count; ++i) parameters.add(head(i).parameters, head(i).groups);
    }
    parameters.finish();
  }
};

}  // namespace

template <class T>
BasicAttentionGradients<compute_t<T>> run_backward(const Geometry& g, const View<const T, 4>& query,
                                                   const View<const T, 4>& key, const View<const T, 4>& value,
                                                   const AttentionOptions& options, int threads,
                                                   const BasicAttentionResult<compute_t<T>>& result,
                                                   const Upstream<compute_t<T>>& upstream) {
  BasicAttentionGradients<compute_t<T>> gradients;
  gradients.query = Array<compute_t<T>, 4>(query.shape);
  gradients.key = Array<compute_t<T>, 4>(key.shape);
  gradients.value = Array<compute_t<T>, 4>(value.shape);
  BackwardRun<T> run{g, query, key, value, options, threads, result, upstream, gradients};
  if (g.batch * g.heads * g.queries == 0) {
    run.parameters.finish();
    return gradients;
  }
  Workspace workspace;
  divide_workspace(workspace, [&](Divider& memory) { run.divide(memory); });
  run.run();
  return gradients;
}

#define KITH_INSTANTIATE(T)                                                                       \
  template BasicAttentionGradients<compute_t<T>> run_backward(                                    \
      const Geometry&, const View<const T, 4>&, const View<const T, 4>&, const View<const T, 4>&, \
      const AttentionOptions&, int, const BasicAttentionResult<compute_t<T>>&,                    \
      const Upstream<compute_t<T>>&);
KITH_INSTANTIATE(float)
KITH_INSTANTIATE(double)
KITH_INSTANTIATE(bfloat16)
KITH_INSTANTIATE(float16)
#undef KITH_INSTANTIATE

}  // namespace kith
