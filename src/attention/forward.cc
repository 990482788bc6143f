// The forward pass: prepare keys and values per head, then one task per block of queries.
//
// Keys are summed in fixed chunks counted from key 0 of their sequence, in the kernels' type within a chunk
// and in double across chunks, always merged in order through Partial. Threads take blocks of queries or,
// where there are few, single chunks; they never choose where a chunk ends, so a row's bits depend on
// neither.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <span>
#include <type_traits>
#include <vector>

#include "array/threads.h"
#include "attention/kernels/rows.h"
#include "attention/prepared_rows.h"
#include "attention/prepared_values.h"
#include "attention/run.h"
#include "attention/terms.h"
#include "attention/workspace.h"
#include "kith/partial.h"

namespace kith {
namespace {

using namespace kernels;

constexpr Index kCacheLine = 8;  // numbers of 8 bytes

template <class T>
struct ForwardRun {
  using Real = compute_t<T>;

  const Geometry& g;
  const View<const T, 4>&query, &key, &value;
  const AttentionOptions& options;
  int threads;
  BasicAttentionResult<Real>& result;
  const MaskPlan& plan;
  const KeyPages* pages;

  Lowered lowered = lower<Real>(options, g);
  TermArrays<Real> arrays{options, g, lowered, plan};
  bool dots_halves = std::is_same_v<T, bfloat16> && lowered.pair == Pair::dot && multiplies_bfloat16();
  PreparedRows<T> rows{query, key, options, g, plan, dots_halves};
  Index top = options.want.top;
  bool entropy = !result.entropy.empty(), largest = !result.largest.empty();
  bool with_terms = arrays.needed() || entropy || largest;

  bool moment = !result.second_moment.empty(), position = !result.position.empty();
  PreparedValues<T> values{value, g, plan, rows, moment, position};
  Index width = values.width();
  bool rounded = rows.halves() && options.round_weights && !values.narrow() && !values.extended();

  Index sequences = plan.sequence_count();
  Index most_queries = longest(&Sequence::queries), most_keys = longest(&Sequence::keys);
  /// A few queries read each key once: packing all of them first would read and write memory twice more. The
  /// kernel packs tile by tile instead, for all query heads of a group at a time where their rows are evenly
  /// spaced. Neither moves a bit.
  bool stream = most_queries <= kGroup && !values.extended() && !rounded;
  Index joined =
      stream && g.group() * most_queries <= kGroup && rows.evenly_spaced(most_queries) ? g.group() : 1;
  Index block_rows = std::min(kQueryBlock, joined* most_queries);
  Index blocks = (most_queries + kQueryBlock - 1) / kQueryBlock;
  Index chunks = std::max<Index>(1, (most_keys + kKeyChunk - 1) / kKeyChunk);
  Index tasks = sequences * (g.heads / joined) * blocks;
  /// Too few query blocks for the threads: their chunks become tasks of their own.
  bool split = chunks > 1 && tasks < 2 * Index{threads};
  /// Key heads that are prepared and then used: as many as the threads' second-level caches may hold, so that
  /// keys are still there when their queries come.
  Index together = stream || split ? rows.key_heads() : heads_together();

  // Workspace: per worker.
  Real* scratch = nullptr;
  Index scratch_size = static_cast<Index>(
      forward_scratch<Real>(width, values.narrow(), stream ? std::max<Index>(rows.depth(), 1) : 0));
  Index* visited = nullptr;  // [threads][kCacheLine]
  // States: one per worker, or with `split` one per task and chunk.
  struct State {
    double* max;        // [rows]
    double* sum;        // [rows]
    double* sum_logit;  // [rows]
    Real* largest;      // [rows]
    Real* weighted;     // [rows][width]
    Real* top_logit;    // [rows][top]
    Index* top_key;     // [rows][top]
  };
  State states{};
  // Totals, one per worker.
  double* total_max = nullptr;
  double* total_sum = nullptr;
  double* total_logit = nullptr;
  double* total_largest = nullptr;
  double* total_weighted = nullptr;  // [rows][width]

  Index longest(Index Sequence::*length) const {
    Index most = 0;
    for (Index s = 0; s < plan.sequence_count(); ++s) most = std::max(most, plan.sequence(s).*length);
    return most;
  }

  Index heads_together() const {
    constexpr Index kCache = 1 << 20;
    const Index bytes = most_keys * (rows.depth() + width) * static_cast<Index>(sizeof(Real));
    return std::clamp(threads * kCache / std::max<Index>(bytes, 1),
                      std::min<Index>(threads, rows.key_heads()), rows.key_heads());
  }

  void divide(Divider& memory) {
    arrays.divide(memory);
    rows.divide(memory, !stream, together);
    values.divide(memory, !stream, rounded);
    scratch = memory.take<Real>(threads * scratch_size);
    visited = memory.take<Index>(kCacheLine * threads);
    const Index count = split ? tasks * chunks : threads;
    states.max = memory.take<double>(count * block_rows);
    states.sum = memory.take<double>(count * block_rows);
    states.sum_logit = memory.take<double>(entropy ? count * block_rows : 0);
    states.largest = memory.take<Real>(largest ? count * block_rows : 0);
    states.weighted = memory.take<Real>(count * block_rows * width);
    states.top_logit = memory.take<Real>(count * block_rows * top);
    states.top_key = memory.take<Index>(count * block_rows * top);
    total_max = memory.take<double>(threads * block_rows);
    total_sum = memory.take<double>(threads * block_rows);
    total_logit = memory.take<double>(threads * block_rows);
    total_largest = memory.take<double>(threads * block_rows);
    total_weighted = memory.take<double>(threads * block_rows * width);
  }

  State state(Index i) const {
    return {states.max + i * block_rows,
            states.sum + i * block_rows,
            entropy ? states.sum_logit + i * block_rows : nullptr,
            largest ? states.largest + i * block_rows : nullptr,
            states.weighted + i * block_rows * width,
            states.top_logit + i * block_rows * top,
            states.top_key + i * block_rows * top};
  }

  void clear_top(const State& s) const {
    std::fill_n(s.top_logit, block_rows * top, -std::numeric_limits<Real>::infinity());
    std::fill_n(s.top_key, block_rows * top, Index{-1});
  }

  struct Task {
    Index number, h, first, rows, per_head;  // h: the first of its query heads
    Sequence sequence;
  };
  Task task_of(Index task) const {
    const Index head = task / blocks, first = task % blocks * kQueryBlock, heads = g.heads / joined;
    const Sequence s = plan.sequence(head / heads);
    const Index rows_of_head = std::min(kQueryBlock, s.queries - first);
    return {head / heads, head % heads * joined, first, joined * rows_of_head, rows_of_head, s};
  }

  StoredRows rows_of_page(const std::byte* page, Index head, Index columns) const {
    const Index bytes = pages->type == Dtype::float32 ? 4 : 2;
    return {page + head * kKeyChunk * columns * bytes, columns, pages->type};
  }

  // Calls body(ForwardTask) with the task's rows against keys [key_begin, key_end).
  template <class Body>
  void with_task(const Task& at, Index key_begin, Index key_end, const State& s, const Body& body) {
    const Index key_head = at.h / g.group();
    const HeadRows<Real> queries = rows.queries(at.number, at.h);
    ForwardTask<Real> t;
    t.pair = rows.halves() ? Pair::dot_halves : lowered.pair;
    t.factor = static_cast<Real>(lowered.task_factor());
    std::array<Terms<Real>, kGroup> terms;
    if (with_terms) {
      for (Index h = 0; h < joined; ++h)
        terms[static_cast<std::size_t>(h)] = arrays.terms(at.number, at.h + h);
      t.terms = terms.data();
    }
    t.coefficient = arrays.coefficient();
    t.query = queries.data + at.first * queries.stride;
    // With one query a head, a head's stride.
    t.query_stride =
        joined > 1 ? (rows.queries(at.number, at.h + 1).data - queries.data) / at.per_head : queries.stride;
    t.rows = at.rows;
    t.per_head = joined > 1 ? at.per_head : kQueryBlock;
    t.key_begin = key_begin;
    t.key_end = key_end;
    if (!stream) {
      t.key_tiles = rows.keys(at.number, key_head);
    } else if (pages == nullptr) {
      t.key_rows = rows.stored_keys(at.number, key_head, key_begin);
    }
    values.point(at.number, key_head, t);
    if (pages != nullptr) {
      const auto page = static_cast<std::size_t>(key_begin / kKeyChunk);
      const Index head = at.sequence.batch * g.key_heads + key_head;
      t.key_rows = rows_of_page(pages->key[page], head, g.key_depth);
      t.value_rows = rows_of_page(pages->value[page], head, g.value_depth);
    }
    t.depth = rows.depth();
    t.mask = &plan;
    t.sequence = at.number;
    t.head = at.h;
    t.first_query = at.first;
    t.top = {s.top_logit, s.top_key, static_cast<int>(top)};
    t.scratch = scratch + worker_index() * scratch_size;
    t.max = s.max;
    t.sum = s.sum;
    t.weighted = s.weighted;
    t.sum_logit = s.sum_logit;
    t.largest = s.largest;
    t.visited = visited + kCacheLine * worker_index();
    body(t);
  }

  Index chunks_of(const Task& at) const {
    return std::max<Index>(1, (at.sequence.keys + kKeyChunk - 1) / kKeyChunk);
  }

  // Whether a row of the task may see a key of the chunk. What no row sees need not be computed nor merged.
  bool sees(const Task& at, Index chunk) const {
    const Index begin = chunk * kKeyChunk, end = std::min(at.sequence.keys, begin + kKeyChunk);
    for (Index h = 0; h < joined; ++h) {
      if (plan.classify(at.number, at.h + h, at.first, at.first + at.per_head, begin, end) !=
          MaskPlan::Seen::none) {
        return true;
      }
    }
    return false;
  }

  void run_chunk(const Task& at, Index chunk, const State& s) {
    const Index begin = chunk * kKeyChunk;
    with_task(at, begin, std::min(at.sequence.keys, begin + kKeyChunk), s,
              [](const ForwardTask<Real>& t) { forward<Real>(t); });
  }

  // Rows that the narrow kernel leaves: those far from all their keys, or without any.
  bool has_far_rows(const Task& at, const State& s, const double* sum) {
    bool far = false;
    if constexpr (std::is_same_v<Real, float>) {
      if (std::none_of(sum, sum + at.rows, [](double x) { return x < kFarBelow; })) return false;
      with_task(at, 0, at.sequence.keys, s, [&](const ForwardTask<float>& t) { far = is_narrow(t); });
    }
    return far;
  }
  void sum_far_rows(const Task& at, const State& s, double* max, double* sum, double* weighted, double* logit,
                    double* most, double* top_zero) {
    if constexpr (std::is_same_v<Real, float>) {
      with_task(at, 0, at.sequence.keys, s, [&](const ForwardTask<float>& t) {
        std::array<Index, kFarRows> numbers{};
        std::array<FarRow, kFarRows> results{};
        for (Index next = 0; next < at.rows;) {
          std::size_t count = 0;
          for (; next < at.rows && count < numbers.size(); ++next) {
            if (!(sum[next] < kFarBelow)) continue;
            numbers[count] = next;
            results[count++].weighted = weighted + next * width;
          }
          kernels::sum_far_rows(t, lowered.task_factor(), numbers.data(), static_cast<Index>(count),
                                results.data());
          for (std::size_t i = 0; i < count; ++i) {
            const Index r = numbers[i];
            max[r] = results[i].max;
            sum[r] = results[i].sum;
            logit[r] = results[i].sum_logit;
            most[r] = results[i].largest;
            top_zero[r] = results[i].max;
          }
        }
      });
    }
  }

  // The rows of a task from its chunks, in order; `lists` has their largest logits once all were computed.
  template <class ChunkState>
  void finish(const Task& at, const State& lists, ChunkState&& chunk_state) {
    Index first = 0, end = chunks_of(at);
    while (first + 1 < end && !sees(at, first)) ++first;
    while (end > first + 1 && !sees(at, end - 1)) --end;
    State last = chunk_state(first);
    if (end - first == 1 && options.sink.empty() && !has_far_rows(at, lists, last.sum)) {
      // Merged with nothing, a chunk's numbers stay what they are.
      const State& s = last;
      for (Index r = 0; r < at.rows; ++r) {
        const RowTotal total{s.max[r], s.sum[r], entropy ? s.sum_logit[r] : 0,
                             largest ? static_cast<double>(s.largest[r]) : Partial::kNone, 0};
        finish_row(at, r, total, s.weighted + r * width, lists);
      }
      return;
    }
    const Index worker = worker_index(), count = at.rows;
    const auto columns = static_cast<std::size_t>(width);
    double* max = total_max + worker * block_rows;
    double* sum = total_sum + worker * block_rows;
    double* logit = total_logit + worker * block_rows;
    double* most = total_largest + worker * block_rows;
    double* weighted = total_weighted + worker * block_rows * width;
    std::fill_n(max, count, Partial::kNone);
    std::fill_n(sum, count, 0.0);
    std::fill_n(logit, count, 0.0);
    std::fill_n(most, count, Partial::kNone);
    std::fill_n(weighted, count * width, 0.0);
    for (Index chunk = first; chunk < end; ++chunk) {
      if (chunk > first) {
        if (!sees(at, chunk)) continue;
        last = chunk_state(chunk);
      }
      for (Index r = 0; r < count; ++r) {
        Partial row{max[r], sum[r], {weighted + r * width, columns}};
        if (entropy) {
          logit[r] = merged_logits(row, logit[r], last.max[r], last.sum[r], last.sum_logit[r]);
        }
        if (largest) most[r] = std::max(most[r], static_cast<double>(last.largest[r]));
        merge(row, last.max[r], last.sum[r], std::span<const Real>(last.weighted + r * width, columns));
        max[r] = row.max;
        sum[r] = row.sum;
      }
    }
    std::array<double, kQueryBlock> top_zero{};
    if (has_far_rows(at, lists, sum))
      sum_far_rows(at, lists, max, sum, weighted, logit, most, top_zero.data());
    for (Index r = 0; r < count; ++r) {
      Partial row{max[r], sum[r], {weighted + r * width, columns}};
      if (!options.sink.empty()) {
        const double sink =
            options.sink[entry_of(options.sink, at.h + r / at.per_head)] * std::numbers::log2e;
        if (entropy) logit[r] = merged_logits(row, logit[r], sink, 1, 0);
        merge_weight(row, sink, 1);
      }
      finish_row(at, r, {row.max, row.sum, logit[r], most[r], top_zero[static_cast<std::size_t>(r)]},
                 row.weighted.data(), lists);
    }
  }

  // What the chunks of a row make together, as in Partial, ForwardTask::sum_logit and ::largest; the top
  // logits count from top_zero.
  struct RowTotal {
    double max, sum, sum_logit, largest, top_zero;
  };

  template <class X>
  void finish_row(const Task& at, Index r, const RowTotal& row, const X* weighted, const State& lists) {
    const Index i = at.sequence.first_query + at.first + r % at.per_head;
    const Index at_row = (at.sequence.batch * g.heads + at.h + r / at.per_head) * g.queries + i;
    const bool seen = row.max != Partial::kNone;
    const double scale = seen ? 1 / row.sum : 0;
    kernels::scale_row(weighted, g.value_depth, scale, result.out.data() + at_row * g.value_depth);
    if (moment) {
      kernels::scale_row(weighted + g.value_depth, g.value_depth, scale,
                         result.second_moment.data() + at_row * g.value_depth);
    }
    if (position) {
      result.position.data()[at_row] = static_cast<Real>(static_cast<double>(weighted[width - 1]) * scale);
    }
    if (!result.lse.empty()) {
      result.lse.data()[at_row] = static_cast<Real>(log_sum_exp({row.max, row.sum}));
    }
    if (entropy) {
      const double bits = seen ? std::log2(row.sum) - row.sum_logit / row.sum : 0;
      // A row with one key has entropy 0; rounding must not take it below.
      result.entropy.data()[at_row] = static_cast<Real>(bits < 0 ? 0 : bits * std::numbers::ln2);
    }
    if (largest) {
      // A NaN logit may have passed the maximum by; the row's sum has it.
      const double weight = std::exp2(row.largest - row.max) / row.sum;
      result.largest.data()[at_row] = static_cast<Real>(seen ? weight : 0);
    }
    for (Index k = 0; k < top; ++k) {
      const Index found = lists.top_key[r * top + k];
      const double above = static_cast<double>(lists.top_logit[r * top + k]) + (row.top_zero - row.max);
      result.top_key.data()[at_row * top + k] = found < 0 ? -1 : found + at.sequence.first_key;
      result.top_weight.data()[at_row * top + k] =
          found < 0 ? Real{0} : static_cast<Real>(std::exp2(above) / row.sum);
    }
  }

  // Lists of the chunks of one task into the list of its last chunk, earlier chunks first so that ties keep
  // the earlier key.
  void merge_top(Index task, Index own_chunks) {
    const State last = state(task * chunks + own_chunks - 1);
    struct Entry {
      Real logit;
      Index key;
    };
    std::vector<Entry> entries;
    for (Index r = 0; r < block_rows; ++r) {
      entries.clear();
      for (Index chunk = 0; chunk < own_chunks; ++chunk) {
        const State s = state(task * chunks + chunk);
        for (Index k = 0; k < top && s.top_key[r * top + k] >= 0; ++k) {
          entries.push_back({s.top_logit[r * top + k], s.top_key[r * top + k]});
        }
      }
      std::stable_sort(entries.begin(), entries.end(),
                       [](const Entry& x, const Entry& y) { return x.logit > y.logit; });
      for (Index k = 0; k < std::min<Index>(top, static_cast<Index>(entries.size())); ++k) {
        last.top_logit[r * top + k] = entries[static_cast<std::size_t>(k)].logit;
        last.top_key[r * top + k] = entries[static_cast<std::size_t>(k)].key;
      }
    }
  }

  // Values that are not finite were taken as 0; they reach exactly the rows that see their key.
  void spread_non_finite(Index number, Index h) {
    const Sequence s = plan.sequence(number);
    const HeadRows<T> raw = values.raw(number, h);
    std::vector<Real> key_row(static_cast<std::size_t>(rows.depth()));
    for (Index j = 0; j < s.keys; ++j) {
      const T* row = raw.data + j * raw.stride;
      const auto finite = [](T x) { return std::isfinite(static_cast<Real>(x)); };
      if (std::all_of(row, row + g.value_depth, finite)) continue;
      if (with_terms) rows.copy_key(number, h, j, key_row.data());
      for (Index q = h * g.group(); q < (h + 1) * g.group(); ++q) {
        const Terms<Real> terms = arrays.terms(number, q);
        const HeadRows<Real> queries = rows.queries(number, q);
        for (Index i = 0; i < s.queries; ++i) {
          if (!plan.visible(number, q, i, j)) continue;
          if (with_terms && arrays.hides(terms, i, j, queries.data + i * queries.stride, key_row.data(), 1))
            continue;
          for (Index c = 0; c < g.value_depth; ++c) {
            const Real x = static_cast<Real>(row[c]);
            if (std::isfinite(x)) continue;
            result.out(s.batch, q, s.first_query + i, c) += x;
            if (moment) result.second_moment(s.batch, q, s.first_query + i, c) += x * x;
          }
        }
      }
    }
  }

  // Key heads [head, end). False: a value in the pages is not finite.
  bool run_heads(Index head, Index end) {
    rows.prepare(threads, head, end);
    values.prepare(threads, head, end);
    const Index of_head = g.group() / joined * blocks, first = head * of_head, count = (end - head) * of_head;
    if (split) {
      parallel_for(threads, count * chunks, [&](Index i) {
        const Task task = task_of(first + i / chunks);
        if (task.rows <= 0 || i % chunks >= chunks_of(task)) return;
        const State s = state(i);
        if (top > 0) clear_top(s);
        const Index chunk = i % chunks;
        if (chunk + 1 == chunks_of(task) || sees(task, chunk)) run_chunk(task, chunk, s);
      });
      parallel_for(threads, count, [&](Index i) {
        const Task task = task_of(first + i);
        if (task.rows <= 0) return;
        if (top > 0) merge_top(i, chunks_of(task));
        finish(task, state(i * chunks + chunks_of(task) - 1),
               [&](Index chunk) { return state(i * chunks + chunk); });
      });
    } else {
      parallel_for(threads, count, [&](Index i) {
        const Task task = task_of(first + i);
        if (task.rows <= 0) return;
        const State s = state(worker_index());
        if (top > 0) clear_top(s);
        finish(task, s, [&](Index chunk) {
          run_chunk(task, chunk, s);
          return s;
        });
      });
    }
    for (Index i = head; i < end; ++i) {
      const Index number = i / g.key_heads, h = i % g.key_heads;
      if (values.finite(number, h)) continue;
      if (pages != nullptr) return false;
      spread_non_finite(number, h);
    }
    return true;
  }

  // False: a value in the pages is not finite.
  bool run() {
    arrays.fill();
    std::fill_n(visited, kCacheLine * threads, Index{0});
    values.clear();
    for (Index head = 0; head < rows.key_heads(); head += together) {
      if (!run_heads(head, std::min(rows.key_heads(), head + together))) return false;
    }
    for (Index worker = 0; worker < threads; ++worker) result.visited_blocks += visited[kCacheLine * worker];
    for (Index number = 0; number < sequences; ++number) {
      const Sequence s = plan.sequence(number);
      result.blocks += g.heads * ((s.queries + kGroup - 1) / kGroup) * ((s.keys + kKeyBlock - 1) / kKeyBlock);
    }
    return true;
  }
};

}  // namespace

template <class T>
bool run_forward(const Geometry& g, const View<const T, 4>& query, const View<const T, 4>& key,
                 const View<const T, 4>& value, const AttentionOptions& options, int threads,
                 BasicAttentionResult<compute_t<T>>& result, Workspace& workspace, const KeyPages* pages) {
  result.visited_blocks = result.blocks = 0;
  if (g.batch * g.heads * g.queries == 0) return true;
  MaskPlan& plan = workspace.impl().plan;
  plan.assign(options.mask, g.batch, g.queries, g.keys);
  ForwardRun<T> run{g, query, key, value, options, threads, result, plan, pages};
  divide_workspace(workspace, [&](Divider& memory) { run.divide(memory); });
  return run.run();
}

#define KITH_RUN_FORWARD(T)                                                                    \
  template bool run_forward(const Geometry&, const View<const T, 4>&, const View<const T, 4>&, \
                            const View<const T, 4>&, const AttentionOptions&, int,             \
                            BasicAttentionResult<compute_t<T>>&, Workspace&, const KeyPages*);
KITH_RUN_FORWARD(float)
KITH_RUN_FORWARD(double)
KITH_RUN_FORWARD(bfloat16)
KITH_RUN_FORWARD(float16)
#undef KITH_RUN_FORWARD

}  // namespace kith
