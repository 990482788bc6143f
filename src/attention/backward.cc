// The backward pass. A head of keys is divided into fixed groups of keys; a group owns the gradients of its
// keys and values, and the gradient of a query is the sum of the groups' shares in group order. Where there
// are heads enough for the threads, one thread works on a head from its preparation to its end, group after
// group, and a share goes straight into the sum. Else the groups are the tasks; each has a private gradient
// of the queries, and the private ones are added in the same order. Queries pass by in stretches of fixed
// length, so that the private copies stay bounded. Groups and stretches depend on a sequence's sizes alone,
// never on the threads, so every sum has one order.
//
// Beside the products, 5 N M d multiplications, stand passes over the rows: looking for what is not finite,
// packing keys and values, d_out . out, unpacking dK and dV, scaling dQ. At 512 rows and d = 64 they read and
// write 1 MB a head, as much as many an L2 holds, so a group's tiles are packed and unpacked next to its
// products and, where only one query head wants them, always in the same memory. They take 12 % of the time
// of a causal call there, 3 % of a full one of 2048 rows (a Zen 4, one thread).
#include <algorithm>
#include <array>
#include <memory>
#include <new>
#include <vector>

#include "array/threads.h"
#include "attention/backward_inputs.h"
#include "attention/kernels/backward_scratch.h"
#include "attention/run.h"

namespace kith {
namespace {

using namespace kernels;

// Small groups leave many to divide among threads, and each costs one more pass over the gradient of the
// queries. Differences are summed across lanes once a group and want larger ones.
constexpr Index kMostGroups = 16;
constexpr Index kGroupStep = 48;  // whole tiles of every instruction set
constexpr Index kLeastGroupKeys = 3 * kGroupStep, kLeastDifferenceKeys = 8 * kGroupStep;
constexpr Index kStretch = 8192;

Index group_keys_of(Index keys, bool differences) {
  return std::max(differences ? kLeastDifferenceKeys : kLeastGroupKeys,
                  round_up((keys + kMostGroups - 1) / kMostGroups, kGroupStep));
}
Index groups_of(Index keys, bool differences) {
  const Index group = group_keys_of(keys, differences);
  return (keys + group - 1) / group;
}

BackwardSizes sizes_of(const MaskPlan& plan, bool differences) {
  BackwardSizes most;
  for (const Sequence& s : plan.sequences()) {
    most.queries = std::max(most.queries, s.queries);
    most.keys = std::max(most.keys, s.keys);
    most.groups = std::max(most.groups, groups_of(s.keys, differences));
  }
  most.group_keys = group_keys_of(most.keys, differences);
  most.stretch = std::min(most.queries, kStretch);
  return most;
}

template <class T>
struct BackwardRun {
  using Real = compute_t<T>;
  using Head = BackwardHead<Real>;

  const BackwardInputs<T>& in;
  int threads;
  BasicAttentionGradients<Real>& gradients;

  const Geometry& g = in.g;
  Index pull = in.pull, pull_stride = in.pull_stride, width = in.width, tile = in.tile;
  BackwardSizes sizes = sizes_of(in.plan, in.differences);
  Index all_heads = in.plan.sequence_count() * g.key_heads;
  Index scratch_size = static_cast<Index>(backward_scratch<Real>());
  ParameterSums<Real> parameters{in.options,       g,        in.lowered, in.plan, sizes, in.with_terms,
                                 in.upstream.bias, gradients};
  /// Heads worked on at once: whole ones, a thread each, and ones divided into groups of keys. Enough tasks
  /// for the threads, bounded memory.
  Index whole_heads = threads == 1 || parameters.heads_share_bias() ? 1 : 4 * Index{threads};
  Index split_heads =
      parameters.heads_share_bias() ? 1 : 4 * Index{threads} / std::max<Index>(sizes.groups, 1) + 1;
  /// A group's share of the queries' gradient is one addition to it.
  bool one_block = sizes.group_keys <= (in.differences ? kDirectKeys : kBackwardKeys);
  /// A group meets all its queries at once.
  bool one_visit = g.group() == 1 && sizes.queries <= sizes.stretch;
  /// The sum of the shares lies where the caller will find it.
  bool sum_in_place = in.query_rows.identity() && pull == pull_stride && pull == g.depth;

  std::vector<Head> heads{};
  Real* scratch = nullptr;

  void divide(Divider& memory, TermArrays<Real>& arrays) {
    arrays.divide(memory);
    heads.resize(static_cast<std::size_t>(std::min(std::max(whole_heads, split_heads), all_heads)));
    const Index tiles = tile_count<Real>(sizes.keys);
    Index number = 0;
    for (Head& head : heads) {
      in.divide(memory, head, sizes.queries, sizes.keys, sizes.groups);
      const Index shares = threads > 1 && number++ < split_heads ? std::max<Index>(sizes.groups, 2) : 2;
      head.d_query = memory.take<Real>(shares * sizes.stretch * pull_stride);
      head.d_key = memory.take<Real>(tiles * pull * tile);
      head.d_value = memory.take<Real>(tiles * width * tile);
      head.d_mapped_query = memory.take<Real>(in.query_rows.identity() ? 0 : sizes.queries * pull);
      head.d_mapped_key = memory.take<Real>(in.key_rows.identity() ? 0 : sizes.keys * pull);
      head.row_factor = memory.take<double>(sizes.queries);
      head.key_factor = memory.take<double>(sizes.groups);
      parameters.divide(memory, head.parameters);
    }
    scratch = memory.take<Real>(threads * scratch_size);
  }

  void begin(Head& head, Index number) {
    head.number = head.parameters.sequence = number / g.key_heads;
    head.h = head.parameters.key_head = number % g.key_heads;
    head.s = in.plan.sequences()[static_cast<std::size_t>(head.number)];
    head.group_keys = group_keys_of(head.s.keys, in.differences);
    head.groups = groups_of(head.s.keys, in.differences);
    parameters.begin(head.parameters);
  }

  // Query head q of the group, queries of one stretch, keys of one group, whose share of the queries'
  // gradient is written to `d_query` or added there. `alone`: no other group of the head is at work.
  void run_group(Head& head, Index q, Index first, Index last, Index group, bool alone, Real* d_query,
                 bool add) {
    const Index first_key = head.first_key(group), at = alone && one_visit ? 0 : first_key / tile;
    const bool first_visit = q == 0 && first == 0;
    const bool last_visit = q + 1 == g.group() && last == head.s.queries;
    if (first_visit) in.prepare_group(head, group, at);
    const HeadRows<Real> mapped = in.queries(head, q), d_out_rows = in.d_out(head, q);
    const HeadRows<Real>& key_pull = head.key_pull[static_cast<std::size_t>(group)];
    const HeadRows<Real>& query_pull = head.query_pull[static_cast<std::size_t>(q)];
    const HeadRows<Real>& d_out_pull = head.d_out_pull[static_cast<std::size_t>(q)];
    const Index row = q * head.s.queries + first;
    BackwardTask<Real> t;
    t.pair = in.lowered.pair;
    t.factor = static_cast<Real>(in.lowered.task_factor());
    Terms<Real> terms;
    if (in.with_terms) {
      terms = in.arrays.terms(head.number, in.head_of(head, q));
      t.terms = &terms;
    }
    t.coefficient = in.arrays.coefficient();
    t.query = mapped.data + first * mapped.stride;
    t.query_stride = mapped.stride;
    t.key_tiles = head.key_tiles + at * pull * tile;
    t.d_out = d_out_rows.data + first * d_out_rows.stride;
    t.d_out_stride = d_out_rows.stride;
    t.value_tiles = head.value_tiles + at * width * tile;
    t.lse2 = head.lse2 + row;
    t.delta = head.delta + row;
    if (in.entropy) t.d_entropy = head.d_entropy + row;
    t.query_rows = query_pull.data + first * query_pull.stride;
    t.query_rows_stride = query_pull.stride;
    t.d_out_rows = d_out_pull.data + first * d_out_pull.stride;
    t.d_out_rows_stride = d_out_pull.stride;
    t.key_rows = key_pull.data;
    t.key_rows_stride = key_pull.stride;
    if (in.differences) t.finite_key_tiles = head.finite_key_tiles + at * pull * tile;
    t.depth = t.pull_depth = pull;
    t.value_depth = width;
    t.mask = &in.plan;
    t.sequence = head.number;
    t.head = in.head_of(head, q);
    t.first_query = first;
    t.last_query = last;
    t.first_key = t.key_base = first_key;
    t.last_key = first_key + head.key_count(group);
    t.scratch = scratch + worker_index() * scratch_size;
    t.add_query = add;
    t.add_key = !first_visit;
    t.skip_unseen = !alone && group > 0 && skips_unseen();
    t.d_query = d_query;
    t.d_query_stride = pull_stride;
    t.d_key_tiles = head.d_key + at * pull * tile;
    t.d_value_tiles = head.d_value + at * width * tile;
    parameters.point(head.parameters, in.head_of(head, q), group, t);
    backward<Real>(t);
    if (last_visit) finish_group(head, group, at);
  }

  // From the sums of rows (of queries, or of keys with sign -1 for q - k) to the gradients of their mapped
  // rows, and to their parts of dL/dfactor, which with terms the kernel has summed.
  //   dot:       x = q.k        dq = sum dX k             dL/df = sum_i q_i . (sum_j dS_ij k_j)
  //   squared:   x = |q-k|^2    dq = 2 sum dX (q - k)     dL/df = sum_i q_i . a_i + sum_j k_j . a_j
  //   absolute:  x = |q-k|_1    dq = sum dX sign(q - k)   the same; a: the sums, of queries and keys
  //   additive:                 dq = sum dX u (1 - t^2)   none; the keys' with the same sign
  //
  // The second is homogeneity, which holds about any origin.
  void finish_rows(const Head& head, const Real* sums, Index sums_stride, const HeadRows<Real>& rows,
                   Index first, Index count, double sign, Real* gradients_of_rows, double* factors) const {
    if (in.lowered.pair == Pair::dot || in.lowered.pair == Pair::additive) sign = 1;
    const double scale = (in.lowered.pair == Pair::squared ? 2 : 1) * (in.with_terms ? 1 : in.lowered.factor);
    kernels::finish_rows<Real>(sums, sums_stride, rows.data + first * rows.stride, rows.stride,
                               head.has_origin ? head.mapped_origin : nullptr, count, pull, sign * scale,
                               gradients_of_rows, pull, factors);
    for (Index i = 0; i < count; ++i) factors[i] = in.with_terms ? 0 : sign * factors[i];
  }

  // The sum of the shares for queries [first, ...) of a stretch.
  Real* total(const Head& head, Index q, Index first) {
    if (sum_in_place && head.s.queries > 0)
      return &gradients.query(head.s.batch, in.head_of(head, q), head.s.first_query + first, 0);
    return head.d_query + first % sizes.stretch * pull_stride;
  }
  Real* share(const Head& head, Index group, Index first) const {
    return head.d_query + (group * sizes.stretch + first % sizes.stretch) * pull_stride;
  }

  // A share of blocks of queries that see none of the group's keys is neither written nor read: half of all
  // under a causal mask.
  bool skips_unseen() const { return one_block && !in.differences; }

  // Queries [first, last), one block of the kernel if there are shares, when the first `shares` of their
  // gradient are there: 0 is in the sum already.
  void finish_queries(Head& head, Index q, Index first, Index last, Index shares) {
    Real* sums = total(head, q, first);
    const Index count = (last - first) * pull_stride;
    if (head.groups == 0) std::fill_n(sums, count, Real{0});
    for (Index k = 1; k < shares; ++k) {
      const Index key = head.first_key(k), key_end = key + head.key_count(k);
      if (skips_unseen() && in.plan.classify(head.number, in.head_of(head, q), first, last, key, key_end) ==
                                MaskPlan::Seen::none) {
        continue;
      }
      add_numbers<Real>(share(head, k, first), count, sums);
    }
    Real* to = in.query_rows.identity()
                   ? &gradients.query(head.s.batch, in.head_of(head, q), head.s.first_query + first, 0)
                   : head.d_mapped_query + first * pull;
    finish_rows(head, sums, pull_stride, head.query_pull[static_cast<std::size_t>(q)], first, last - first, 1,
                to, head.row_factor + first);
  }

  // A query head is done: back through the map of its rows.
  void finish_query_head(Head& head, Index q) {
    for (Index i = 0; i < head.s.queries; ++i) head.parameters.d_factor += head.row_factor[i];
    if (in.query_rows.identity() || pull == 0 || head.s.queries == 0) return;
    const HeadRows<T> raw = in.query_rows.raw(head.s, in.head_of(head, q));
    in.query_rows.map().backward(raw.data, raw.stride, head.s, head.s.queries, head.d_mapped_query, pull,
                                 raw_origin(head),
                                 &gradients.query(head.s.batch, in.head_of(head, q), head.s.first_query, 0),
                                 g.depth, head.parameters.query);
  }

  // Rows that are turned by their position have no origin in common.
  const double* raw_origin(const Head& head) const {
    return head.has_origin && !in.options.rotary ? head.origin : nullptr;
  }

  // A group has met all its queries: its keys and values from tile `at` on.
  void finish_group(Head& head, Index group, Index at) {
    const Index first_key = head.first_key(group), count = head.key_count(group);
    const Real* values = head.d_value + at * width * tile;
    Real* d_value = &gradients.value(head.s.batch, head.h, head.s.first_key + first_key, 0);
    if (!in.moment) {
      unpack_tiles<Real>(values, count, width, d_value, g.value_depth);
    } else {
      for (Index j = 0; j < count; ++j) {
        const Real* column = values + j / tile * width * tile + j % tile;
        for (Index c = 0; c < g.value_depth; ++c) {
          Real& to = d_value[j * g.value_depth + c];
          to = column[c * tile];
          // A masked value may be infinite or NaN; nothing flows to its square then.
          const Real d_square = column[(g.value_depth + c) * tile];
          if (d_square != 0) to += 2 * head.value_rows[(first_key + j) * width + c] * d_square;
        }
      }
    }
    head.key_factor[group] = 0;
    if (pull == 0) return;
    Real* d_key = in.key_rows.identity()
                      ? &gradients.key(head.s.batch, head.h, head.s.first_key + first_key, 0)
                      : head.d_mapped_key + first_key * pull;
    std::array<double, kMaxTileKeys> factors;
    for (Index first = 0; first < count; first += tile) {
      const Index keys = std::min(tile, count - first);
      Real* rows = d_key + first * pull;
      unpack_tiles<Real>(head.d_key + (at * tile + first) * pull, keys, pull, rows, pull);
      finish_rows(head, rows, pull, head.key_pull[static_cast<std::size_t>(group)], first, keys, -1, rows,
                  factors.data());
      // Those of the dot are what its queries give.
      for (Index j = 0; j < keys && in.differences; ++j)
        head.key_factor[group] += factors[static_cast<std::size_t>(j)];
    }
  }

  // All groups are done.
  void finish_keys(Head& head) {
    if (head.s.keys == 0 || head.s.queries == 0) return;
    for (Index group = 0; group < head.groups; ++group) head.parameters.d_factor += head.key_factor[group];
    if (!in.key_rows.identity() && pull > 0) {
      const HeadRows<T> raw = in.key_rows.raw(head.s, head.h);
      in.key_rows.map().backward(raw.data, raw.stride, head.s, head.s.keys, head.d_mapped_key, pull,
                                 raw_origin(head), &gradients.key(head.s.batch, head.h, head.s.first_key, 0),
                                 g.key_depth, head.parameters.key);
    }
    for (Index q = 0; q < g.group(); ++q) {
      if (!in.d_out_finite(head, q)) spread_non_finite(head, q);
    }
  }

  // Entries of d_out that are not finite were taken as 0 in dV; they reach exactly the keys their row sees.
  void spread_non_finite(const Head& head, Index q) {
    const HeadRows<Real> rows = in.d_out(head, q);
    for (Index i = 0; i < head.s.queries; ++i) {
      const Real* d = rows.data + i * rows.stride;
      if (std::all_of(d, d + width, [](Real x) { return std::isfinite(x); })) continue;
      for (Index j = 0; j < head.s.keys; ++j) {
        if (!in.plan.visible(head.number, in.head_of(head, q), i, j) || in.hides(head, q, i, j)) continue;
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

  // A head from beginning to end.
  void run_head(Head& head) {
    for (Index part = 0; part < in.parts(); ++part) in.prepare(head, part);
    in.finish_preparing(head);
    for (Index q = 0; q < g.group(); ++q) {
      for (Index first = 0; first < head.s.queries; first += sizes.stretch) {
        const Index last = std::min(head.s.queries, first + sizes.stretch);
        Real* sum = total(head, q, first);
        for (Index group = 0; group < head.groups; ++group) {
          const bool apart = group > 0 && !one_block;
          run_group(head, q, first, last, group, true, apart ? share(head, 1, first) : sum,
                    group > 0 && !apart);
          if (apart) add_numbers<Real>(share(head, 1, first), (last - first) * pull_stride, sum);
        }
        parameters.collect(head.parameters, in.head_of(head, q), head.groups, head.group_keys, first, last);
        finish_queries(head, q, first, last, 1);
      }
      finish_query_head(head, q);
    }
    finish_keys(head);
  }

  // The first heads, their groups among the threads.
  void run_split(Index count) {
    const auto head = [&](Index i) -> Head& { return heads[static_cast<std::size_t>(i)]; };
    const Index parts = in.parts();
    parallel_for(threads, count * parts, [&](Index task) { in.prepare(head(task / parts), task % parts); });
    parallel_for(threads, count, [&](Index i) { in.finish_preparing(head(i)); });
    for (Index q = 0; q < g.group(); ++q) {
      for (Index first = 0; first < sizes.queries; first += sizes.stretch) run_stretch(count, q, first);
      parallel_for(threads, count, [&](Index i) { finish_query_head(head(i), q); });
    }
    parallel_for(threads, count, [&](Index i) { finish_keys(head(i)); });
  }

  // Query head q of each of these heads, queries of one stretch.
  void run_stretch(Index count, Index q, Index first) {
    const auto head = [&](Index i) -> Head& { return heads[static_cast<std::size_t>(i)]; };
    const auto last = [&](Index i) { return std::min(head(i).s.queries, first + sizes.stretch); };
    parallel_for(threads, count * sizes.groups, [&](Index task) {
      const Index i = task / sizes.groups, turn = task % sizes.groups;
      if (turn >= head(i).groups || first >= last(i)) return;
      // Under a causal mask early keys are seen by more queries than late ones: neighbors in the order of
      // tasks are an early and a late group, so that any stretch of tasks has about the same work.
      const Index group = turn % 2 == 0 ? turn / 2 : head(i).groups - 1 - turn / 2;
      Real* to = group == 0 ? total(head(i), q, first) : share(head(i), group, first);
      run_group(head(i), q, first, last(i), group, false, to, false);
    });
    const Index parts = (sizes.stretch + kBackwardQueries - 1) / kBackwardQueries;
    parallel_for(threads, count * (parts + 1), [&](Index task) {
      const Index i = task / (parts + 1), part = task % (parts + 1);
      const Index begin = first + part * kBackwardQueries;
      if (part == parts) {
        if (first < last(i)) {
          parameters.collect(head(i).parameters, in.head_of(head(i), q), head(i).groups, head(i).group_keys,
                             first, last(i));
        }
      } else if (begin < last(i)) {
        finish_queries(head(i), q, begin, std::min(last(i), begin + kBackwardQueries), head(i).groups);
      }
    });
  }

  void run() {
    for (Index first = 0; first < all_heads;) {
      const Index left = all_heads - first;
      const bool whole = threads == 1 || (!parameters.heads_share_bias() && left >= 2 * Index{threads});
      const Index count = std::min(whole ? whole_heads : split_heads, left);
      for (Index i = 0; i < count; ++i) begin(heads[static_cast<std::size_t>(i)], first + i);
      if (whole) {
        parallel_for(threads, count, [&](Index i) { run_head(heads[static_cast<std::size_t>(i)]); });
      } else {
        run_split(count);
      }
      for (Index i = 0; i < count; ++i) {
        const Head& head = heads[static_cast<std::size_t>(i)];
        parameters.add(head.parameters, head.groups);
      }
      first += count;
    }
    parameters.finish();
  }
};

struct FreeAligned {
  void operator()(std::byte* p) const { ::operator delete[](p, std::align_val_t{64}); }
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
  BackwardInputs<T> inputs{g, query, key, value, options, result, upstream};
  BackwardRun<T> run{inputs, threads, gradients};
  if (g.batch * g.heads * g.queries == 0) {
    run.parameters.finish();
    return gradients;
  }
  // Not a Workspace, which would be zeros: much of this is for rare cases and never touched.
  Divider measure;
  run.divide(measure, inputs.arrays);
  const std::unique_ptr<std::byte[], FreeAligned> memory(
      static_cast<std::byte*>(::operator new[](measure.used(), std::align_val_t{64})));
  Divider hand_out(memory.get());
  run.divide(hand_out, inputs.arrays);
  inputs.arrays.fill();
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
